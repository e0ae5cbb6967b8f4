"""What a database gives back, whichever kind it is. Pure.

A `Source` asks one database. Nothing it returns grows with the time that is asked for, except the iterators,
which hold one answer of the database at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

BEGINNING, END = 0, 9_223_372_036_854
"""All times that a database has, in ms since 1970 UTC: from there to 2262, where InfluxDB ends."""

DAY = 86_400_000
"""In ms."""


class Row(NamedTuple):
    """One reading: when it was taken (ms since 1970 UTC), and its fields, as far as it has them."""

    time: int
    values: Mapping[str, float]


class Registration(NamedTuple):
    """What a photometer said of itself, when (ms since 1970 UTC): texts like `mac`, `firmware` and `model`,
    numbers like `zp`, `zp1`, `offsethz`, `latitude`, as far as it said them."""

    time: int
    said: Mapping[str, str | float]


class Extent(NamedTuple):
    """The times of the first and the last reading (ms since 1970 UTC), and the fields that occur."""

    first: int
    last: int
    fields: frozenset[str]


def days(start: int, end: int) -> Iterator[tuple[int, int]]:
    """A period in parts that end with a day of UTC."""
    while start < end:
        following = min((start // DAY + 1) * DAY, end)
        yield start, following
        start = following


class Source(Protocol):
    """The readings in one database. `start` is inclusive, `end` exclusive, in ms since 1970 UTC.

    Every method raises Unavailable when the database does not answer, or not with what was asked for.
    """

    def names(self) -> Sequence[str]:
        """The photometers of which there are readings, sorted."""
        ...

    def extent(self, name: str, start: int, end: int) -> Extent | None:
        """Which readings of a photometer there are; None if there are none."""
        ...

    def readings(self, name: str, start: int, end: int) -> Iterator[Row]:
        """The readings of a photometer in the order of their times. Each day of the period is asked for by
        itself, also an empty one: `extent` says where there are some."""
        ...

    def registrations(self, name: str) -> Sequence[Registration]:
        """What a photometer has said of itself, oldest first; empty if the database does not know."""
        ...
