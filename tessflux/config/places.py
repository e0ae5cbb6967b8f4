"""The file that says where photometers stand: CSV with commas, UTF-8.

Its first line names the columns: name, latitude and longitude, and, if wanted, elevation, zone and town, in
any order. Degrees are decimal, north and east positive; elevation is in metres, zone a time zone of the IANA.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tessflux.config.converters import readable_file, unreadable
from tessflux.limits import PLACES_BYTES

_NEEDED = ("name", "latitude", "longitude")
_OPTIONAL = ("elevation", "zone", "town")


class Place(NamedTuple):
    """Where a photometer stands: degrees north and east, metres above the sea if known, the name of its time
    zone, and the town in words, "" if nobody said."""

    latitude: float
    longitude: float
    elevation: float | None = None
    zone: str = "UTC"
    town: str = ""

    @property
    def position(self) -> tuple[float, float]:
        """Degrees north and east."""
        return self.latitude, self.longitude


def read_places(value: str) -> Mapping[str, Place]:
    """By name in lower case, what the file at this absolute path says; nothing for "". The last line of a
    name counts."""
    if not readable_file(value):
        return {}
    try:
        with open(value, encoding="utf-8-sig", newline="") as file:
            text = file.read(PLACES_BYTES + 1)
    except OSError as error:
        raise ValueError(unreadable(error)) from None
    except UnicodeDecodeError:
        raise ValueError("the file must be UTF-8 text; this converts it: iconv -f latin1 -t utf-8") from None
    if len(text) > PLACES_BYTES:
        raise ValueError(f"the file must not be larger than {PLACES_BYTES // 2**20} MB")
    return dict(_places(text))


def _places(text: str) -> Iterator[tuple[str, Place]]:
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        columns = _columns(next(rows, []))
        for row in rows:
            if any(map(str.strip, row)):
                yield _place(columns, row)
    except (csv.Error, ValueError) as error:
        problem = f"is no CSV ({error})" if isinstance(error, csv.Error) else error
        raise ValueError(f"line {max(rows.line_num, 1)} of the file {problem}") from None


def _columns(row: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in row]
    known = (*_NEEDED, *_OPTIONAL)
    if not set(_NEEDED) <= set(columns) <= set(known) or len(set(columns)) < len(columns):
        raise ValueError(f"must name its columns, as does this one: {','.join(known)}")
    return columns


def _place(columns: list[str], row: list[str]) -> tuple[str, Place]:
    if len(row) > len(columns):
        raise ValueError(f'must have no more than {len(columns)} cells; put one that has a comma in "quotes"')
    said = {column: cell.strip() for column, cell in zip(columns, row, strict=False) if cell.strip()}
    if not (said.keys() >= set(_NEEDED) and all(map(str.isprintable, said.values()))):
        raise ValueError(f"must have {', '.join(_NEEDED)}, and no control characters")
    return said["name"].lower(), Place(
        _number("latitude", said, -90, 90),
        _number("longitude", said, -180, 180),
        _number("elevation", said, -500, 9_000) if "elevation" in said else None,
        _zone(said.get("zone", "UTC")),
        said.get("town", ""),
    )


def _number(column: str, said: Mapping[str, str], low: int, high: int) -> float:
    try:
        number = float(said[column])
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(f"must have a number from {low} to {high} as its {column}, such as 28.76")
    return number


def _zone(name: str) -> str:
    # Some containers have no time zones; that one needs none.
    if name == "UTC":
        return name
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"must have a time zone that this computer knows, such as Europe/Madrid: {name} is none"
        ) from None
