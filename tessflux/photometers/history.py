"""The last nights of the photometers, for who draws them: means of five minutes, read in the thread of the
file. A disk that fails, or a photometer that nobody knows, gives an empty answer; what went wrong is in the
log."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.limits import SPARKLINES
from tessflux.logs import RateLimit
from tessflux.photometers.database import Database
from tessflux.photometers.means import SECONDS, Mean, bucket
from tessflux.photometers.register import Register

log = Logger(namespace="tessflux")

MOST_BUCKETS = 10 * 86_400 // SECONDS
"""Ten days: no more is read at a time."""

InThread = Callable[..., Awaitable[Any]]
"""Makes a blocking call: in the thread of the file after those before it, or in any thread."""

T = TypeVar("T")


class History:
    """What is newer than five minutes may not be there yet. Times are in seconds since 1970 UTC."""

    def __init__(
        self, register: Register, database: Database, *, clock: IReactorTime, in_thread: InThread
    ) -> None:
        self._register, self._database, self._in_thread = register, database, in_thread
        self._failures = RateLimit(clock, period=3_600.0, lines=1)

    async def night(self, name: str, start: float, end: float) -> list[Mean]:
        """The means of one photometer from `start` until before `end`, at most ten days; where nothing was
        stored there is no mean."""
        photometer = self._register.get(name)
        if photometer is None:
            return []
        return await self._read(self._database.night, photometer.number, _buckets(start, end), otherwise=[])

    async def sparklines(
        self, names: Sequence[str], start: float, end: float, *, every: int = 1
    ) -> dict[str, list[float | None]]:
        """The magnitudes (of a TESS4C that of its first channel) of at most 2,000 photometers: one for each
        five minutes, or with `every` of every so manieth, from `start` until before `end`, at most ten days;
        None is a gap."""
        found = [each for name in names[:SPARKLINES] if (each := self._register.get(name))]
        numbers, none = [each.number for each in found], list[list[float | None]]()
        buckets = _buckets(start, end)[::every]
        lines = await self._read(self._database.magnitudes, numbers, buckets, otherwise=none)
        return {each.name: line for each, line in zip(found, lines, strict=False)}

    async def _read(self, call: Callable[..., T], *args: Any, otherwise: T) -> T:
        try:
            found: T = await self._in_thread(call, *args)
        except (sqlite3.Error, OSError) as error:
            if self._failures.admits("read"):
                log.error("Cannot read the history of photometers: {error}", error=error)
            return otherwise
        return found


def _buckets(start: float, end: float) -> range:
    first = bucket(start)
    return range(first, min(bucket(end - 1) + 1, first + MOST_BUCKETS))
