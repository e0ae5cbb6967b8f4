"""What the demo shows: the answers of InfluxDB -> rows -> lines of text. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Series = Mapping[str, Any]
"""One series as InfluxDB's /query gives it, with times in milliseconds since 1970 UTC."""

LATEST = 'SELECT * FROM "readings" GROUP BY "name" ORDER BY time DESC LIMIT 1'
STORED = 'SELECT COUNT("seq") FROM "readings" GROUP BY "name"'

_HEADS = ("photometer", "last reading (UTC)", "mag/arcsec2", "Hz", "tamb °C", "tsky °C", "stored")
_LEFT = 2
"""So many columns are texts, the others numbers."""


@dataclass(frozen=True)
class Row:
    """A photometer: when it last measured, what (by field), and how many readings are stored."""

    name: str
    at: datetime
    fields: Mapping[str, float]
    stored: int


def rows(latest: Sequence[Series], stored: Sequence[Series]) -> list[Row]:
    """Bring the answers to LATEST and STORED together, ordered by name, stars2 before stars10."""
    counts = {series["tags"]["name"]: series["values"][0][1] for series in stored}
    found = []
    for series in latest:
        name = series["tags"]["name"]
        values = dict(zip(series["columns"], series["values"][0], strict=True))
        at = datetime.fromtimestamp(values.pop("time") / 1000, UTC)
        fields = {key: value for key, value in values.items() if value is not None}
        found.append(Row(name, at, fields, counts.get(name, 0)))
    return sorted(found, key=_by_name)


def table(rows: Sequence[Row], limit: int) -> list[str]:
    """At most `limit` rows under their heads, and how many more there are; blanks align them."""
    cells = [_HEADS, *(_cells(row) for row in rows[:limit])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number < _LEFT else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    if not rows:
        lines.append("no reading yet")
    if len(rows) > limit:
        lines.append(f"and {len(rows) - limit} more")
    return lines


def summary(rows: Sequence[Row]) -> str:
    """How much is stored of how many."""
    return f"{sum(row.stored for row in rows)} readings of {len(rows)} photometers"


def _cells(row: Row) -> tuple[str, ...]:
    # A photometer with four channels numbers them; the first stands for all.
    channel = "1" if "freq1" in row.fields else ""
    values = (
        _number(row.fields.get(key), digits)
        for key, digits in ((f"mag{channel}", 2), (f"freq{channel}", 2), ("tamb", 1), ("tsky", 1))
    )
    name = f"{row.name} (channel 1)" if channel else row.name
    return (name, f"{row.at:%Y-%m-%d %H:%M:%S}", *values, str(row.stored))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _by_name(row: Row) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", row.name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
