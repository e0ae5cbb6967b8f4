"""The dashboards of grafana/ in a test, and their queries as Grafana would send them.

The interpolation follows Grafana's: of a variable's formats only those that the kit uses, and of its own
variables those that a data source replaces.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parents[2] / "grafana"

DASHBOARDS: dict[str, Any] = {
    str(path.relative_to(GRAFANA)): json.loads(path.read_text())
    for path in (*sorted(GRAFANA.glob("*/*.json")), *sorted(GRAFANA.glob("*.json")))
}
"""By the path in grafana/."""

EVERYTHING = "$__all"
"""The value of a variable of which all is chosen."""


@dataclass(frozen=True)
class Time:
    """What a dashboard shows: seconds since 1970, and so many seconds for each point."""

    start: int
    end: int
    interval: int


def panels(name: str) -> dict[str, Any]:
    """The panels of a dashboard, by title."""
    return {panel["title"]: panel for panel in DASHBOARDS[name]["panels"]}


def variables(name: str) -> dict[str, Any]:
    """The variables of a dashboard, by name, in their order."""
    return {each["name"]: each for each in DASHBOARDS[name]["templating"]["list"]}


def queries() -> Iterator[tuple[str, str, Any]]:
    """Each target, with its dashboard and the title of its panel."""
    for name in DASHBOARDS:
        for title, panel in panels(name).items():
            for target in panel["targets"]:
                yield name, title, target


def interpolate(text: str, name: str, chosen: Mapping[str, list[str]], time: Time) -> str:
    """A query of a dashboard with its variables filled in."""

    def value(match: re.Match[str]) -> str:
        variable, form = match["plain"] or match["braced"], match["form"] or ""
        if variable not in chosen:
            return match[0]
        if chosen[variable] == [EVERYTHING]:
            # A value for all that was written by hand is never escaped.
            return str(variables(name)[variable]["allValue"])
        return formatted(chosen[variable], form)

    text = re.sub(r"\$(?P<plain>\w+)|\$\{(?P<braced>\w+)(?::(?P<form>\w+))?\}", value, text)
    own = {
        "$timeFilter": f"time >= {time.start * 1000}ms and time <= {time.end * 1000}ms",
        "$__interval": f"{time.interval}s",
        "$__range": f"{time.end - time.start}s",
        "$__rate_interval": f"{4 * time.interval}s",
    }
    return re.sub(r"\$(timeFilter|__\w+)", lambda match: own[match[0]], text)


def formatted(values: list[str], form: str) -> str:
    """What a variable's values become in a query, by the format after its name."""
    match form:
        case "raw" | "":
            (one,) = values
            return one
        case "regex":
            escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", each) for each in values]
            return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
    raise AssertionError(f"the kit uses no format {form!r}")
