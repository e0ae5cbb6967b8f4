"""Readings out of a database that is asked in a language like SQL, and answers in tables.

They come day by day and in pages, so that neither side holds more than one of these; each begins after
the last time of the one before. A page of a long time would have InfluxDB open all of that. Names are quoted,
whatever is in them.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tessflux.archive.server import Server
from tessflux.archive.source import BEGINNING, END, Extent, Registration, Row, days
from tessflux.errors import Unavailable
from tessflux.limits import PAGE_ROWS
from tessflux.readings import REGISTRATIONS_MEASUREMENT

NO_FIELDS = ("time", "timestamp", "name")

_LARGEST = sys.float_info.max


class Table(NamedTuple):
    """An answer: the names of the columns, and the rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Tables(ABC):
    """A `Source`; what differs between the languages is below."""

    kind: str
    """What it is called, with its article."""
    everything: str
    """What selects all fields, and the time as an integer in a column `time`."""
    time: str
    """The column with the time, as a condition has it."""
    per_ms: int
    """The unit of that integer."""
    newest: str
    """The function that gives the last value of a field, whichever reading has it."""

    def __init__(self, server: Server) -> None:
        self._server, self._measurement = server, server.config.measurement

    @abstractmethod
    def ask(self, statement: str) -> Table:
        """The answer to a statement, empty if there is no such measurement. Raises Unavailable."""

    @abstractmethod
    def ask_names(self, measurement: str) -> Table:
        """The names of all photometers, in the last column."""

    @abstractmethod
    def of(self, measurement: str) -> str:
        """How a statement names a measurement."""

    @abstractmethod
    def identifier(self, name: str) -> str:
        """A name as a statement has it."""

    @abstractmethod
    def text(self, value: str) -> str:
        """A text as a statement has it."""

    def stranger(self) -> Unavailable:
        """The error about an answer that makes no sense."""
        return self._server.trouble(f"its answer is not that of {self.kind}")

    def names(self) -> Sequence[str]:
        """See `Source`."""
        # Rows without a name are nobody's.
        found = [row[-1] for row in self.ask_names(self._measurement).rows if row and row[-1] is not None]
        if not all(isinstance(name, str) for name in found):
            raise self.stranger()
        return sorted(found)

    def extent(self, name: str, start: int, end: int) -> Extent | None:
        """See `Source`."""
        asked = self._measurement, name, start * self.per_ms, end * self.per_ms
        first = self._page(*asked, "LIMIT 1")
        last = self._page(*asked, f"ORDER BY {self.time} DESC LIMIT 1")
        if not (first and last):
            return None
        fields = [column for column in first[0] if column not in NO_FIELDS]
        values = ", ".join(f"{self.newest}({self.identifier(field)})" for field in fields)
        # Before them may stand a time, which is that of none of them.
        rows = self.ask(f"SELECT {values} {self._choose(*asked)}").rows
        occurring = _numbers(dict(zip(fields, rows[-1][-len(fields) :], strict=False))) if rows else {}
        return Extent(self._ms(first[0]), self._ms(last[0]), frozenset(occurring))

    def readings(self, name: str, start: int, end: int) -> Iterator[Row]:
        """See `Source`."""
        for day in days(start, end):
            for found in self._pages(self._measurement, name, *day):
                yield Row(self._ms(found), _numbers(found))

    def registrations(self, name: str) -> Sequence[Registration]:
        """See `Source`."""
        return [
            Registration(self._ms(found), {**_texts(found), **_numbers(found)})
            for found in self._pages(REGISTRATIONS_MEASUREMENT, name, BEGINNING, END)
        ]

    def _pages(self, measurement: str, name: str, start: int, end: int) -> Iterator[Mapping[str, Any]]:
        begin, rest = start * self.per_ms, f"ORDER BY {self.time} LIMIT {PAGE_ROWS}"
        # A short page may be one that the server has cut: only an empty one is the end.
        while page := self._page(measurement, name, begin, end * self.per_ms, rest):
            yield from page
            begin = page[-1]["time"] + 1

    def _choose(self, measurement: str, name: str, begin: int, end: int) -> str:
        """The part of a statement that says which readings."""
        whose = f"{self.identifier('name')} = {self.text(name)}"
        when = f"{self.time} >= {begin} AND {self.time} < {end}"
        return f"FROM {self.of(measurement)} WHERE {whose} AND {when}"

    def _page(self, measurement: str, name: str, begin: int, end: int, rest: str) -> list[Mapping[str, Any]]:
        chosen = self._choose(measurement, name, begin, end)
        table = self.ask(f"SELECT {self.everything} {chosen} {rest}")
        rows: list[Mapping[str, Any]] = [dict(zip(table.columns, row, strict=False)) for row in table.rows]
        times = [row.get("time") for row in rows]
        # Of times that nobody asked for there may be no end.
        if not all(type(time) is int and begin <= time < end for time in times):
            raise self.stranger()
        return rows

    def _ms(self, found: Mapping[str, Any]) -> int:
        time: int = found["time"] // self.per_ms
        return time


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """The fields that are finite numbers. A whole one may come without a point."""
    return {
        key: float(each)
        for key, each in found.items()
        if type(each) in (float, int) and abs(each) <= _LARGEST and key not in NO_FIELDS
    }


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    return {key: each for key, each in found.items() if isinstance(each, str) and key not in NO_FIELDS}
