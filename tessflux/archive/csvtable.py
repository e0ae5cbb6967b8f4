"""Readings as CSV (RFC 4180), a line for each. Pure.

The first line names the columns, with their units. A number stands there as it is stored; nothing stands
where a reading does not have the field.
"""

import csv
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from io import StringIO

from tessflux.archive.period import iso
from tessflux.archive.source import Row
from tessflux.readings import UNITS
from tessflux.sky import sky

TIME = "time (ISO 8601 UTC)"

SKY: Mapping[str, str] = {"sun_altitude": "degrees", "moon_altitude": "degrees", "moon_lit": "0 to 1"}
"""Fields that `with_sky` adds, with their units."""


def with_sky(rows: Iterable[Row], position: tuple[float, float] | None) -> Iterator[Row]:
    """Readings with where the Sun and the Moon stood over that place (degrees north and east), to what `sky`
    is good for; without one, over that which the reading itself tells, if it does."""
    for row in rows:
        here = position or (row.values.get("lat"), row.values.get("long"))
        if here[0] is None or here[1] is None:
            yield row
        else:
            there = sky(row.time / 1000, here[0], here[1])
            added = (round(there.sun, 2), round(there.moon, 1), round(there.lit, 2))
            yield Row(row.time, {**row.values, **dict(zip(SKY, added, strict=True))})


def csv_lines(rows: Iterable[Row], fields: Collection[str]) -> Generator[str, None, None]:
    """The header, and a line for each reading with these fields: in the order of the table of readings, then
    of their names."""
    known = [field for field in (*UNITS, *SKY) if field in fields]
    columns = [*known, *sorted(set(fields) - set(known))]
    units = {**UNITS, **SKY}
    yield _line([TIME, *(_head(column, units.get(column, "")) for column in columns)])
    for time, values in rows:
        yield ",".join([iso(time), *[_number(values.get(column)) for column in columns]]) + "\r\n"


def _head(column: str, unit: str) -> str:
    return f"{column} ({unit})" if unit else column


def _line(cells: list[str]) -> str:
    out = StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _number(value: float | None) -> str:
    """In the shortest form that is exact; a whole one without a point."""
    return "" if value is None else repr(value).removesuffix(".0")
