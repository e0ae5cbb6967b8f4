"""The file of one month in the community standard for skyglow observations, "IDA": 35 lines of header, and
a line for each reading. Pure.

The lines are those of the files that the TESS network publishes, and its tools read them. Columns are
separated by `;`. A number that is not known is `nan`: the tools would read an empty column as 0.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tessflux.archive.period import clock_time
from tessflux.archive.source import Registration, Row
from tessflux.config import Place, SiteConfig

HEADER_LINES = 35
_COMMENTS = 7
_NAN = float("nan")
_SUFFIXES = {1: ("",), 4: ("1", "2", "3", "4")}
"""Of the fields of each channel."""

OF_CHANNELS = frozenset(f"{key}{suffix}" for key in ("mag", "freq") for suffix in _SUFFIXES[4])
"""Fields that only a photometer with four channels has, each as long as that channel is not broken."""

_MODELS = {1: "TESS-W", 4: "TESS4C"}
# What no photometer says of itself is what the database of the network takes for granted.
_FILTERS = {1: "UV/IR-740", 4: ("UV/IR-750", "UV/IR-650", "RGB-R", "RGB-B")}
_ZENITH = (0.0, 0.0)  # azimuth and distance from the zenith, degrees
_FIELD_OF_VIEW = 17.0  # degrees
_COVER_OFFSET = 0.0  # magnitudes


class Subject(NamedTuple):
    """Whose readings a file has. It has 1 channel, or the 4 of a TESS4C. Without a place the local time is
    UTC. `registrations` are what the photometer ever said of itself, oldest first."""

    name: str
    channels: int
    place: Place | None
    site: SiteConfig
    registrations: Sequence[Registration]

    def said(self, time: int) -> Mapping[str, str | float]:
        """What it said of itself last before this time (ms), or first after it."""
        after = bisect_right(self.registrations, (time + 1,))
        return self.registrations[max(after - 1, 0)].said if self.registrations else {}

    @property
    def zone(self) -> str:
        """The time zone of the local time."""
        return self.place.zone if self.place else "UTC"


def file_lines(subject: Subject, start: int, end: int, rows: Iterable[Row]) -> Iterator[str]:
    """The lines of the file for the time from `start` until `end` (ms since 1970 UTC), each with its newline.
    `rows` are in the order of their times."""
    yield from (f"# {line}\n" for line in _header(subject, start, end))
    zone = UTC if subject.zone == "UTC" else ZoneInfo(subject.zone)
    for row in rows:
        yield _line(row, zone, _zero_points(subject.said(row.time), subject.channels))


def _header(subject: Subject, start: int, end: int) -> list[str]:
    channels, place, site = subject.channels, subject.place, subject.site
    said = subject.said(end - 1)
    position = (*place.position, place.elevation) if place else (None, None, None)
    zero_points = _zero_points(said, channels)
    columns, units = _columns(channels)
    return [
        "Definition of the community standard for skyglow observations 1.0",
        "URL: http://www.darksky.org/NSBM/sdf1.0.pdf",
        f"Number of header lines: {HEADER_LINES}",
        f"This data is released under the following license: {_text(site.licence)}",
        f"Device type: {_text(said.get('model', _MODELS[channels]))}",
        f"Instrument ID: {_text(subject.name)}",
        f"Data supplier: {_item(site.observer)} / {_item(site.organization)}",
        f"Location name: {_location(place)}",
        f"Position: {', '.join(map(str, position))}",
        f"Local timezone: {subject.zone}",
        "Time Synchronization: timestamp added by MQTT subscriber",
        "Moving / Stationary position: STATIONARY",
        "Moving / Fixed look direction: FIXED",
        f"Number of channels: {channels}",
        f"Filters per channel: {_FILTERS[channels]}",
        f"Measurement direction per channel: {_ZENITH * channels}",
        f"Field of view: {_FIELD_OF_VIEW}",
        f"Number of fields per line: {len(columns)}",
        f"TESS MAC address: {_text(said.get('mac', ''))}",
        f"TESS firmware version: {_text(said.get('firmware', ''))}",
        f"TESS cover offset value: {_COVER_OFFSET}",
        f"TESS zero point: {zero_points[0] if channels == 1 else zero_points}",
        *(f"Comment: {comment}".rstrip() for comment in _comments(subject, start, end)),
        *(f"blank line {number}" for number in (30, 31, 32)),
        ", ".join(columns),
        ";".join(units),
        "END OF HEADER",
    ]


def _columns(channels: int) -> tuple[list[str], list[str]]:
    """Names and units."""
    time, light = "YYYY-MM-DDTHH:mm:ss.fff", ["Hz", "mag/arcsec^2", "mag/arcsec^2"]
    names = ["UTC Date & Time", "Local Date & Time", "Enclosure Temperature", "Sky Temperature"]
    if channels == 1:
        names += ["Frequency", "MSAS", "ZP"]
    else:
        names += [f"{name}{suffix}" for suffix in _SUFFIXES[channels] for name in ("Freq", "MSAS", "ZP")]
    names.append("Sequence Number")
    return names, [time, time, "Celsius", "Celsius", *light * channels, " Multiple of Tx period"]


def _comments(subject: Subject, start: int, end: int) -> list[str]:
    """What the photometer was before, as far as it changed; the DOI; and where magnitudes come from."""
    last = [f"DOI {_text(subject.site.doi)}"] if subject.site.doi else []
    last.append("MSAS = ZP - 2.5*log10(Frequency)")
    changes = []
    for before, after in pairwise(subject.registrations):
        identity = _identity(before.said, subject.channels)
        if start <= after.time < end and identity != _identity(after.said, subject.channels):
            changes.append(f"Until {clock_time(after.time, UTC)} UTC it was {identity}")
    room = _COMMENTS - len(last)
    if len(changes) > room:
        untold = len(changes) - room + 1
        changes[:untold] = [f"Before that it changed {untold} times"]
    return [*changes, *[""] * (room - len(changes)), *last]


def _identity(said: Mapping[str, str | float], channels: int) -> str:
    zero_points = ", ".join(map(str, _zero_points(said, channels)))
    return f"MAC address {_text(said.get('mac', ''))}, zero point {zero_points}"


def _line(row: Row, zone: tzinfo, zero_points: Sequence[float]) -> str:
    values = row.values
    columns: list[object] = [clock_time(row.time, UTC), clock_time(row.time, zone)]
    columns += [values.get("tamb", _NAN), values.get("tsky", _NAN)]
    for suffix, zero_point in zip(_SUFFIXES[len(zero_points)], zero_points, strict=True):
        columns.append(_light(values, "freq", suffix, _NAN))
        columns.append(_light(values, "mag", suffix, _NAN))
        columns.append(_light(values, "zp", suffix, zero_point))
    # Readers take a whole number here, and no nan.
    columns.append(int(values.get("seq", -1)))
    return ";".join(map(str, columns)) + "\n"


def _zero_points(said: Mapping[str, str | float], channels: int) -> tuple[float, ...]:
    numbers = {key: value for key, value in said.items() if isinstance(value, float)}
    return tuple(_light(numbers, "zp", suffix, _NAN) for suffix in _SUFFIXES[channels])


def _light(values: Mapping[str, float], key: str, suffix: str, unless: float) -> float:
    """Of a channel. That of a TESS-W, which had the name before the TESS4C, is the first one."""
    if suffix == "1":
        unless = values.get(key, unless)
    return values.get(key + suffix, unless)


def _location(place: Place | None) -> str:
    """Place, town, sub-region, region and country."""
    said = place.town.split("/", 3) if place and place.town else []
    return " / ".join(["None", *map(_item, said), *["None"] * (4 - len(said))])


def _item(text: str) -> str:
    """One of several with / between them."""
    return _text(re.sub(r"\s*/\s*", ", ", text.strip()))


def _text(value: object) -> str:
    """On one line, with nothing in it that a reader takes for the end of a key; None if it is empty."""
    printable = "".join(each if each.isprintable() else " " for each in str(value))
    return " ".join(re.sub(r":+(?=\s|$)", " ", printable).split()) or "None"
