"""A database in the place that it has behind Grafana: a panel is asked for what it shows.

Series are what a chart draws: points by legend, without those that have no value. Tables are their rows after
the panel's own transformations, as far as the kit uses them.
"""

import json
import re
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from servers import Influxd, VictoriaMetrics, ask

from tests.grafana.kit import Time, interpolate, panels, variables

Row = dict[str, Any]
Series = dict[str, dict[int, float]]
"""By legend: the values by time, in seconds since 1970."""

Chosen = Mapping[str, list[str]]
"""The values of the variables."""


class Asked(ABC):
    """The dashboards of a language, and a database that has the readings."""

    folder: str
    """In grafana/; with a slash."""

    def options(self, dashboard: str, name: str, chosen: Chosen, time: Time) -> list[str]:
        """What a variable of a dashboard can be."""
        variable = variables(f"{self.folder}{dashboard}.json")[name]
        query = variable["query"]
        text = query if isinstance(query, str) else query["query"]
        found = self._options(interpolate(text, f"{self.folder}{dashboard}.json", chosen, time))
        pattern = re.compile(variable.get("regex", "/.*/")[1:-1])
        matches = [match for match in map(pattern.search, found) if match]
        return [match[1] if pattern.groups else match.string for match in matches]

    def series(self, dashboard: str, title: str, chosen: Chosen, time: Time) -> Series:
        """What a chart shows."""
        return {
            legend: {at: value for at, value in points.items() if value is not None}
            for legend, points in self.points(dashboard, title, chosen, time).items()
        }

    def points(self, dashboard: str, title: str, chosen: Chosen, time: Time) -> dict[str, dict[int, Any]]:
        """What a chart gets: also points without a value, which is None."""
        found: dict[str, dict[int, Any]] = {}
        for target in self._targets(dashboard, title, chosen, time):
            for legend, points in self._series(target, time).items():
                assert found.setdefault(legend, points) == points, f"two lines are called {legend}"
        return found

    def table(self, dashboard: str, title: str, chosen: Chosen, time: Time) -> list[Row]:
        """The rows that a table shows."""
        frames = {
            target["refId"]: self._rows(target, time)
            for target in self._targets(dashboard, title, chosen, time)
        }
        for step in panels(f"{self.folder}{dashboard}.json")[title]["transformations"]:
            chosen_frames = [step["filter"]["options"]] if "filter" in step else list(frames)
            match step["id"]:
                case "organize":
                    frames |= {ref: organized(frames[ref], step["options"]) for ref in chosen_frames}
                case "joinByField":
                    frames = {"joined": joined(frames, step["options"]["byField"])}
                case other:
                    raise AssertionError(f"what does {other} do?")
        (rows,) = frames.values()
        return rows

    def _targets(self, dashboard: str, title: str, chosen: Chosen, time: Time) -> list[Any]:
        name = f"{self.folder}{dashboard}.json"
        filled = ("query", "expr")
        return [
            {
                key: interpolate(value, name, chosen, time) if key in filled else value
                for key, value in each.items()
            }
            for each in panels(name)[title]["targets"]
        ]

    @abstractmethod
    def _options(self, query: str) -> list[str]: ...

    @abstractmethod
    def _series(self, target: Any, time: Time) -> dict[str, dict[int, Any]]: ...

    @abstractmethod
    def _rows(self, target: Any, time: Time) -> list[Row]: ...


def organized(rows: list[Row], options: Any) -> list[Row]:
    """Columns that are left out, and others with new names; each that is named must be there."""
    renamed, dropped = options["renameByName"], options.get("excludeByName", {})
    for row in rows:
        assert {*renamed, *dropped} <= row.keys(), (row, options)
    return [
        {renamed.get(column, column): value for column, value in row.items() if column not in dropped}
        for row in rows
    ]


def joined(frames: Mapping[str, list[Row]], column: str) -> list[Row]:
    """One row for each value of a column, with None where a frame has none."""
    empty = dict.fromkeys(name for rows in frames.values() for row in rows for name in row)
    found: dict[str, Row] = {}
    for rows in frames.values():
        for row in rows:
            found[row[column]] = found.get(row[column], empty) | row
    return list(found.values())


def filled(legend: str, pattern: str, words: Mapping[str, str]) -> str:
    """A legend with the words that stand for the variables of the pattern."""
    return re.sub(pattern, lambda match: words[match[1]], legend)


class Influx(Asked):
    """As the data source InfluxDB asks, in InfluxQL."""

    folder = "influxql/"

    def __init__(self, server: Influxd, db: str) -> None:
        self.server, self.db = server, db

    def _options(self, query: str) -> list[str]:
        (found,) = self.server.query(query, self.db)
        return [values[1 if query.startswith("SHOW TAG VALUES") else 0] for values in found["values"]]

    def _series(self, target: Any, time: Time) -> dict[str, dict[int, Any]]:
        assert target["resultFormat"] == "time_series"
        found = {}
        for series in self.server.query(target["query"], self.db):
            for index, column in enumerate(series["columns"][1:], 1):
                words = {"col": column} | {f"tag_{tag}": text for tag, text in series.get("tags", {}).items()}
                legend = filled(target["alias"], r"\$(\w+)", words)
                found[legend] = {values[0] // 1000: values[index] for values in series["values"]}
        return found

    def _rows(self, target: Any, time: Time) -> list[Row]:
        assert target["resultFormat"] == "table"
        rows = self.server.select(target["query"], self.db)
        return [{"Time": row.pop("time") // 1000, **row} for row in rows]


class Victoria(Asked):
    """As the data source Prometheus asks a VictoriaMetrics."""

    folder = "victoriametrics/"

    def __init__(self, server: VictoriaMetrics) -> None:
        self.server = server

    def _options(self, query: str) -> list[str]:
        if match := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
            return list(self._get(f"label/{match[2]}/values", **{"match[]": match[1]}))
        (pattern,) = re.fullmatch(r"metrics\((.*)\)", query).groups()  # type: ignore[union-attr]
        return [name for name in self._get("label/__name__/values") if re.search(pattern, name)]

    def _series(self, target: Any, time: Time) -> dict[str, dict[int, Any]]:
        legend = target["legendFormat"]
        return {
            filled(legend, r"\{\{(\w+)\}\}", each["metric"]): {
                int(at): float(value) for at, value in each.get("values") or [each["value"]]
            }
            for each in self._results(target, time)
        }

    def _rows(self, target: Any, time: Time) -> list[Row]:
        assert target["format"] == "table"
        value = {"Value": None, f"Value #{target['refId']}": None}
        return [
            {"Time": each["value"][0], **each["metric"], **dict.fromkeys(value, float(each["value"][1]))}
            for each in self._results(target, time)
        ]

    def _results(self, target: Any, time: Time) -> list[Any]:
        if target.get("instant"):
            assert not target.get("range")
            return list(self._get("query", query=target["expr"], time=time.end)["result"])
        # Grafana has the points on multiples of the interval.
        start, end = (at // time.interval * time.interval for at in (time.start, time.end))
        found = self._get("query_range", query=target["expr"], start=start, end=end, step=time.interval)
        return list(found["result"])

    def _get(self, what: str, **parameters: Any) -> Any:
        query = urllib.parse.urlencode(parameters)
        return json.loads(ask(f"{self.server.url}/api/v1/{what}?{query}"))["data"]
