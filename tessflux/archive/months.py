"""The readings of a photometer as a file for each month of UTC: NAME/NAME_YYYY-MM.dat, as `ida` has it."""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tessflux.archive.files import whole_file, writing
from tessflux.archive.ida import HEADER_LINES, OF_CHANNELS, Subject, file_lines
from tessflux.archive.period import Period, month
from tessflux.archive.source import Extent, Row, Source
from tessflux.config import Place, SiteConfig


class Written(NamedTuple):
    """A file, and how many readings are in it."""

    path: Path
    readings: int


def write_months(
    source: Source,
    name: str,
    extent: Extent,
    directory: Path,
    place: Place | None,
    site: SiteConfig,
    *,
    watched: Callable[[Iterator[Row]], Generator[Row, None, None]],
) -> Iterator[Written]:
    """Write a file below the directory for each month in which there are readings of the extent; all of them
    pass through `watched`. Raises CannotCreate and Unavailable."""
    registrations = source.registrations(name)
    for label, part in months(Period(extent.first, extent.last + 1)):
        found = source.extent(name, *part)
        if found is not None:
            channels = 4 if found.fields & OF_CHANNELS else 1
            subject = Subject(name, channels, place, site, registrations)
            path = _path(directory, name, label)
            with closing(watched(source.readings(name, found.first, found.last + 1))) as rows:
                readings = _write(path, file_lines(subject, *part, rows))
            yield Written(path, readings)


def months(period: Period) -> Iterator[tuple[str, Period]]:
    """The months of UTC in which the period is, each as YYYY-MM and with its part of the period."""
    start = period.start
    while start < period.end:
        label = f"{datetime.fromtimestamp(start // 1_000, UTC):%Y-%m}"
        following = min(month(label).end, period.end)
        yield label, Period(start, following)
        start = following


def _path(directory: Path, name: str, label: str) -> Path:
    # A name is whatever a photometer sends, and no way out of the directory.
    stem = re.sub(r"^\.|/", "_", name)
    return directory / stem / f"{stem}_{label}.dat"


def _write(path: Path, lines: Iterator[str]) -> int:
    with writing(str(path.parent)):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as out:
        return sum(1 for line in lines if out.write(line)) - HEADER_LINES
