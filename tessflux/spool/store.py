"""The spool's file from the side of the reactor: calls go to its thread, and what fails there is said.

It is said when it begins, once a minute while it lasts, and when it is over. Nothing is tried again here.
All SQLite runs in that one thread; its calls come back in the order in which they were made.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.config import SpoolConfig
from tessflux.readings import Admitted
from tessflux.spool.file import SpoolFile
from tessflux.spool.journal import Group, Journal

log = Logger(namespace="spool")

REPEAT = 60.0
"""Seconds between two log lines about the same failure."""

SPOOL_FULL = "spool full"
DISK_FAILED = "disk failed"
BUG = "internal error"

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
        self._cause_logged = ""
        self._failing_logged = self._complained = float("-inf")
        self._told = False
        """Whether it was said that commits fail, and not yet that they succeed."""

    async def open(self) -> tuple[list[Admitted], int, int]:
        """What was committed earlier, the number of the last line, and how many lines wait.

        Raises sqlite3.Error or OSError.
        """
        return await self._ask(lambda journal: (list(journal.admitted()), journal.last, journal.waiting))

    async def commit(self, group: Group, retired: int) -> int | None:
        """As Journal.commit; None when it failed."""
        try:
            forgotten = await self._ask(lambda journal: journal.commit(group, retired))
        except Exception as error:
            await self._failed(error, group)
            return None
        # To forget what is delivered may succeed where readings find no room.
        if self.failing and (group.lines or group.quarantined):
            self.failing = ""
            if self._told:
                self._told = False
                log.info("The spool takes readings again")
        return forgotten

    async def read(self, call: Callable[[Journal], T], *, otherwise: T) -> T:
        """What the call reads from the journal; `otherwise` when it failed, which is said."""
        try:
            return await self._ask(call)
        except (sqlite3.Error, OSError) as error:
            self._complain("Cannot read the spool: {error}; tessflux keeps trying.", error)
            return otherwise

    async def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None:
        """As Journal.remember_subscriptions; a failure is said."""
        try:
            await self._ask(lambda journal: journal.remember_subscriptions(session, topics))
        except (sqlite3.Error, OSError) as error:
            # No reading has failed, and none need come to say that all is well again.
            self._complain("Cannot write down the topics that are subscribed: {error}", error)

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

    def _complain(self, text: str, error: Exception) -> None:
        now = self._clock.seconds()
        if now - self._complained >= REPEAT:
            self._complained = now
            log.error(text, error=error)

    async def _failed(self, error: Exception, group: Group) -> None:
        self.failing = cause = await self._cause(error, group)
        now = self._clock.seconds()
        # A full spool that is being emptied may fail and succeed many times a second.
        if cause == self._cause_logged and now - self._failing_logged < REPEAT:
            return
        self._cause_logged, self._failing_logged, self._told = cause, now, True
        if cause == BUG:
            log.failure("Cannot store readings; tessflux keeps trying", Failure(error))
        else:
            log.error(
                "Cannot store readings: {cause} ({error}; {path}). {advice}; tessflux keeps trying.",
                cause=cause,
                error=error,
                path=self._file.config.directory,
                advice=_ADVICE[cause],
            )

    async def _cause(self, error: Exception, group: Group) -> str:
        # A stop does not wait for ever for a disk that does not answer.
        if not isinstance(error, sqlite3.Error | OSError | CancelledError):
            return BUG
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            return DISK_FAILED
        try:
            return SPOOL_FULL if await self._ask(lambda journal: journal.is_full(group)) else DISK_FAILED
        except Exception:
            return DISK_FAILED
