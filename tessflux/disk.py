"""The spool's file from the side of the reactor: calls go to its thread, and what fails there is said.

It is said when it begins, once a minute while it lasts, and when it is over. Nothing is tried again here.
All SQLite runs in that one thread; its calls come back in the order in which they were made.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.admission import Admitted
from tessflux.config import SpoolConfig
from tessflux.journal import Batch, Group, Journal
from tessflux.spoolfile import SpoolFile

log = Logger(namespace="spool")

REPEAT = 60.0
"""Seconds between two log lines about the same failure."""

SPOOL_FULL = "spool full"
DISK_FAILED = "disk failed"

_ADVICE = {
    SPOOL_FULL: "Bring the database back or raise [spool] max_size",
    DISK_FAILED: "Look after the disk and its permissions",
}

T = TypeVar("T")


class InThread(Protocol):
    """Runs a blocking call in the spool's one thread, after those before it."""

    def __call__(self, call: Callable[..., Any], *args: Any) -> Awaitable[Any]: ...


class Disk:
    """Call `open` first and `close` last. It calls `begun_anew` when a damaged file was replaced by a new
    one, before it returns anything from that."""

    def __init__(
        self,
        config: SpoolConfig,
        *,
        clock: IReactorTime,
        in_thread: InThread,
        begun_anew: Callable[[], None],
    ) -> None:
        self._file = SpoolFile(config)
        self._clock, self._in_thread, self._begun_anew = clock, in_thread, begun_anew
        self.failing = ""
        """Why no commit succeeds now, "" while they do."""
        self._failing_logged = self._unreadable_logged = float("-inf")

    async def open(self) -> tuple[list[Admitted], int, int]:
        """What was committed earlier, the number of the last line, and how many lines wait.

        Raises sqlite3.Error or OSError.
        """
        return await self._ask(lambda journal: (list(journal.admitted()), journal.last, journal.waiting))

    async def commit(self, group: Group, retired: int) -> int | None:
        """As Journal.commit; None when it failed."""
        try:
            forgotten = await self._ask(lambda journal: journal.commit(group, retired))
        except (sqlite3.Error, OSError) as error:
            await self._failed(error, group)
            return None
        if self.failing:
            self.failing = ""
            log.info("The spool takes readings again")
        return forgotten

    async def head(self, after: int, limit: int) -> Batch | None:
        """As Journal.head; None when it failed."""
        try:
            return await self._ask(lambda journal: journal.head(after, limit))
        except (sqlite3.Error, OSError) as error:
            now = self._clock.seconds()
            if now - self._unreadable_logged >= REPEAT:
                self._unreadable_logged = now
                log.error("Cannot read what waits: {error}; tessflux keeps trying.", error=error)
            return None

    async def resize(self, config: SpoolConfig) -> bool:
        """Use new bounds, now and for a file that is begun later; False when the present one refuses them."""
        self._file.config = config
        try:
            await self._ask(
                lambda journal: journal.resize(max_size=config.max_size, quarantine=config.quarantine)
            )
        except (sqlite3.Error, OSError) as error:
            await self._failed(error, Group())
            return False
        return True

    async def close(self) -> None:
        """Close the file; nothing more after it."""
        await self._in_thread(self._file.close)

    async def _ask(self, call: Callable[[Journal], T]) -> T:
        result: T
        result, begun_anew = await self._in_thread(self._file.use, call)
        if begun_anew:
            self._begun_anew()
        return result

    async def _failed(self, error: Exception, group: Group) -> None:
        cause = SPOOL_FULL if await self._is_full(error, group) else DISK_FAILED
        now = self._clock.seconds()
        if cause != self.failing or now - self._failing_logged >= REPEAT:
            self.failing, self._failing_logged = cause, now
            log.error(
                "Cannot store readings: {cause} ({error}; {path}). {advice}; tessflux keeps trying.",
                cause=cause,
                error=error,
                path=self._file.config.directory,
                advice=_ADVICE[cause],
            )

    async def _is_full(self, error: Exception, group: Group) -> bool:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            return False
        try:
            return await self._ask(lambda journal: journal.is_full(group))
        except (sqlite3.Error, OSError):
            return False
