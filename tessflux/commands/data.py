"""`tessflux data`: the readings of a photometer out of the database, as CSV or in IDA files."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TextIO, TypeVar

from tessflux.archive import (
    EVER,
    SKY,
    Extent,
    Period,
    Source,
    csv_lines,
    iso,
    night,
    open_source,
    period,
    whole_file,
    with_sky,
    write_months,
    writing,
    zone_of,
)
from tessflux.commands import output
from tessflux.commands.progress import with_progress
from tessflux.config import FIRST_OUTPUT, Config, InfluxConfig, Place
from tessflux.errors import NoReadings, UsageError
from tessflux.logs import escape
from tessflux.words import number

CSV, IDA = "csv", "ida"

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Wanted:
    """Which readings, and out of which database, in the words of the command line; "" leaves it open."""

    name: str
    begin: str = ""
    end: str = ""
    month: str = ""
    night: str = ""
    """The day on which the night begins."""
    sun_moon: bool = False
    form: str = CSV
    output: str = ""
    retpol: str | None = None
    """Another retention policy than that of the config."""


def data(config: Config, wanted: Wanted, file: str, terminal: TextIO | None) -> None:
    """Write the readings, oldest first, into a file, or on standard output if it has no name; IDA files go
    below a directory of this name. On the terminal is shown how far that has come.

    Raises UsageError, Unavailable, NoReadings and CannotCreate.
    """
    if wanted.form == IDA and wanted.sun_moon:
        raise UsageError("IDA files have no columns for --sun-moon; take --format csv")
    asked = _asked(wanted)
    source = open_source(_database(config, wanted))
    needed = wanted.sun_moon or wanted.form == IDA or not isinstance(asked, Period)
    place = _place(config, source, wanted.name) if needed else None
    when = asked if isinstance(asked, Period) else night(asked, zone_of(place))
    name, extent = _find(source, wanted.name, when)
    watched = partial(with_progress, extent=extent, terminal=terminal, now=monotonic)
    if wanted.form == IDA:
        if place is None:
            output.print_line(
                f"where {name} stands is not known, so there will be no position, and UTC as the local time:"
                " it should be in the file of [site] places"
            )
        files = write_months(source, name, extent, Path(file), place, config.site, watched=watched)
        for path, readings in files:
            output.print_line(f"{path}: {number(readings)} readings")
        return
    if wanted.sun_moon and not (place or {"lat", "long"} <= extent.fields):
        raise UsageError(
            f"where {name} stands is not known, so nor are the Sun and the Moon over it:"
            " it must be in the file of [site] places"
        )
    fields = extent.fields | SKY.keys() if wanted.sun_moon else extent.fields
    with (
        closing(watched(source.readings(name, extent.first, extent.last + 1))) as found,
        _opened(file) as out,
    ):
        rows = with_sky(found, place.position if place else None) if wanted.sun_moon else found
        out.writelines(csv_lines(rows, fields))


def _asked(wanted: Wanted) -> Period | date:
    """The period, or the evening of the night. Raises UsageError."""
    if not wanted.name.isprintable():
        raise UsageError(f"no photometer has a name such as {escape(wanted.name)}")
    if sum(map(bool, (wanted.month, wanted.night, wanted.begin or wanted.end))) > 1:
        raise UsageError("take one of --month, --night, and --from with --to")
    if wanted.night:
        return _read("--night", period.evening, wanted.night)
    if wanted.month:
        return _read("--month", period.month, wanted.month)
    begin, end = EVER
    if wanted.begin:
        begin = _read("--from", period.begin, wanted.begin)
    if wanted.end:
        end = _read("--to", period.end, wanted.end)
    if wanted.begin and wanted.end and begin >= end:
        raise UsageError(f"--to {wanted.end} must be after --from {wanted.begin}")
    return Period(begin, end)


def _read(option: str, convert: Callable[[str], _Read], text: str) -> _Read:
    try:
        return convert(text)
    except ValueError as error:
        raise UsageError(f"{option} {text} {error}") from None


def _database(config: Config, wanted: Wanted) -> InfluxConfig:
    section = config.section_of(wanted.output) if wanted.output else FIRST_OUTPUT
    database = config.outputs[section]
    if wanted.retpol is None:
        return database
    if database.bucket or database.database:
        raise UsageError(f"[{section}] is no InfluxDB 1, so there are no retention policies to choose from")
    return replace(database, retpol=wanted.retpol)


def _place(config: Config, source: Source, name: str) -> Place | None:
    """Where a photometer stands: by the config, or else by what it last said of itself."""
    name = name.strip().lower()
    if place := config.site.places.get(name):
        return place
    for _, said in reversed(source.registrations(name)):
        latitude, longitude = said.get("latitude"), said.get("longitude")
        if isinstance(latitude, float) and isinstance(longitude, float):
            return Place(latitude, longitude)
    return None


def _find(source: Source, asked: str, when: Period) -> tuple[str, Extent]:
    """The name as it is in the database, and which readings there are. Raises NoReadings."""
    # tessflux stores names in lower case, but others may have written before it.
    either = dict.fromkeys((asked, asked.strip().lower()))
    for name in either:
        if extent := source.extent(name, *when):
            return name, extent
    for name in either:
        if extent := source.extent(name, *EVER):
            raise NoReadings(
                f"there are no readings of {name} from {iso(when.start)} to {iso(when.end)};"
                f" the first is of {iso(extent.first)}, the last of {iso(extent.last)}"
            )
    names = source.names()
    near = get_close_matches(asked, names, n=3) or names[:3]
    some = ", ".join([*map(escape, near), *["..."][: len(names) - len(near)]])
    known = f"; there are: {some}" if near else ""
    raise NoReadings(f"there are no readings of {asked}{known}")


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file:
        with whole_file(Path(file)) as out:
            yield out
        return
    with writing("standard output"):
        try:
            yield output.in_utf8()
            output.in_utf8().flush()
        except OSError:
            # What could not be written would be tried again at the exit.
            output.discard()
            raise
