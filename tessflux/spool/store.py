"""The reactor's side of the spool's file, and the numbers of its lines.

Lines are numbered as they are committed. `last` is the number of the newest line on disk. The database has
dealt with all lines up to `retired`; the next commit records that. All SQLite runs in one thread; its calls
come back in the order in which they were made. A failure is logged when it begins, once a minute while it
lasts, and when it is over.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.config import SpoolConfig
from tessflux.logs import RateLimit
from tessflux.readings import Admitted, Held, Quarantined
from tessflux.spool.file import SpoolFile
from tessflux.spool.group import Group
from tessflux.spool.held import HeldAtStart
from tessflux.spool.journal import Batch, Journal

log = Logger(namespace="spool")

MINUTE = 60.0
"""Seconds between two log lines about a failure that lasts."""

RETRY = 1.0
"""Seconds between two attempts to commit."""

ATTEMPTS = 5
"""How often a commit that fails because of our own bug is tried. Then it is given up, so that others
succeed."""

SPOOL_FULL = "spool full"
DISK_FAILED = "disk failed"
BUG = "internal error"

_ADVICE = {
    SPOOL_FULL: "Bring the database back or raise [spool] max_size",
    DISK_FAILED: "Check the disk and its permissions",
}

P = ParamSpec("P")
T = TypeVar("T")


class InThread(Protocol):
    """Runs a blocking call in the spool's one thread, after those before it."""

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Awaitable[Any]: ...


class Store:
    """Call `open` first and `close` last. After `stop`, what fails is not retried."""

    def __init__(self, config: SpoolConfig, *, clock: IReactorTime, in_thread: InThread) -> None:
        self._file = SpoolFile(config)
        self._clock, self._in_thread = clock, in_thread
        self.stopping = False
        self.last = self.retired = 0
        """Numbers of lines."""
        self.forgotten = 0
        """Quarantined payloads that went because newer ones came."""
        self.failing = ""
        """Why no commit succeeds now, "" while they do."""
        self._retired_on_disk = 0
        self._running = 0
        self._commit_failures = RateLimit(clock, period=MINUTE, lines=3)
        self._other_failures = RateLimit(clock, period=MINUTE, lines=1)

    @property
    def waiting(self) -> int:
        """Lines on disk that wait for the database."""
        return self.last - self.retired

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted, self.last, waiting = await self._ask(
            lambda journal: (list(journal.admitted()), journal.last, journal.waiting)
        )
        self.retired = self._retired_on_disk = self.last - waiting
        return admitted

    def stop(self) -> None:
        """A stop has begun: a commit that fails is not retried."""
        self.stopping = True

    def retire(self, last: int) -> None:
        """The database has dealt with all lines up to this number; the next commit records it."""
        self.retired = max(self.retired, last)

    async def close(self) -> None:
        """Write down what is retired, and close the file; nothing more after it."""
        await self.tidy()
        closed = self._in_thread(self._file.close)
        if not self.failing:
            # A disk that does not answer would keep us here; the end of the thread waits for it anyway.
            await closed

    async def resize(self, config: SpoolConfig) -> None:
        """Use new bounds, now and for a file that is begun later; the directory stays."""
        self._file.config = config
        try:
            await self._ask(Journal.resize, max_size=config.max_size, quarantine=config.quarantine)
        except (sqlite3.Error, OSError) as error:
            await self._commit_failed(error, Group())

    async def commit(self, group: Group, retired: int = 0) -> bool:
        """Try once to make a group durable and to forget the lines up to number `retired`; False if that
        failed."""
        retired = max(self.retired, retired)
        self._running += 1
        try:
            forgotten = await self._ask(Journal.commit, group, retired)
        except Exception as error:
            await self._commit_failed(error, group)
            return False
        finally:
            self._running -= 1
        self.last += len(group.lines)
        self.retire(retired)
        self._retired_on_disk = max(self._retired_on_disk, retired)
        self.forgotten += forgotten
        # Forgetting what is delivered may succeed while readings find no room.
        if self.failing and (group.lines or group.quarantined or group.held):
            self.failing = ""
            # A full spool that is being emptied may fail and succeed many times a second.
            if self._commit_failures.over(forget=False):
                log.info("The spool takes readings again")
        return True

    async def keep_committing(
        self, group: Group, retired: int = 0, *, failed: Callable[[], None] = lambda: None
    ) -> bool:
        """Commit a group for as long as it takes, and call `failed` for each failure; False if a stop came
        before it succeeded, or if it fails because of our own bug."""
        attempts = 0
        while not await self.commit(group, retired):
            attempts += 1
            failed()
            if self.stopping or (self.failing == BUG and attempts >= ATTEMPTS):
                return False
            await deferLater(self._clock, RETRY)
        return True

    async def tidy(self) -> None:
        """Write down what is retired, if no commit is about to do so. Call it now and then."""
        if self.retired != self._retired_on_disk and not self._running:
            await self.commit(Group())

    async def head(self, limit: int) -> Batch:
        """The oldest lines that are not retired, in whole chunks; empty when there are none."""
        retired = self.retired
        return await self._read(lambda journal: journal.head(retired, limit), otherwise=Batch(0, []))

    async def requeued(self, limit: int) -> dict[int, Quarantined]:
        """The oldest in quarantine that an operator wants to be tried again, by their numbers."""
        if self.stopping:
            return {}
        return await self._read(lambda journal: journal.quarantine.requeued(limit), otherwise={})

    async def held_at_start(self) -> HeldAtStart:
        """What was held earlier. Raises sqlite3.Error or OSError."""
        return await self._ask(lambda journal: journal.held.at_start())

    async def late_of(self, photometer: str) -> list[tuple[int, float, int, int]] | None:
        """Number, `seq`, arrival and connection of each reading of a photometer that is held as late; None if
        the disk fails or a stop has begun."""
        if self.stopping:
            return None
        return await self._read(lambda journal: journal.held.late(photometer), otherwise=None)

    async def held(self, photometer: str, limit: int) -> dict[int, Held] | None:
        """The oldest messages of a photometer that are held, by their numbers; without a name those that came
        before the clock was known. None as for `late_of`."""
        if self.stopping:
            return None
        return await self._read(lambda journal: journal.held.oldest(photometer, limit), otherwise=None)

    async def subscriptions(self, session: str) -> frozenset[str]:
        """The topics that were remembered for a session at a broker; none if the disk fails."""
        return await self._read(lambda journal: journal.subscriptions(session), otherwise=frozenset[str]())

    async def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None:
        """Remember these topics for a session, and no others; a disk that fails is logged."""
        try:
            await self._ask(Journal.remember_subscriptions, session, topics)
        except (sqlite3.Error, OSError) as error:
            self._failed("Cannot remember the subscribed topics: {error}", error)

    async def mqtt_version(self, broker: str) -> tuple[str, float] | None:
        """The version of MQTT that was remembered for a broker, and since when; None if the disk fails."""
        return await self._read(lambda journal: journal.mqtt_version(broker), otherwise=None)

    async def remember_mqtt_version(self, broker: str, version: str, since: float) -> None:
        """Remember by which version of MQTT a broker lets us in; a disk that fails is logged."""
        try:
            await self._ask(Journal.remember_mqtt_version, broker, version, since)
        except (sqlite3.Error, OSError) as error:
            self._failed("Cannot remember the version of MQTT: {error}", error)

    async def _read(self, call: Callable[[Journal], T], *, otherwise: T) -> T:
        """What the call reads from the journal; `otherwise` when it failed, which is logged."""
        try:
            return await self._ask(call)
        except (sqlite3.Error, OSError) as error:
            self._failed("Cannot read the spool: {error}; tessflux keeps trying.", error)
            return otherwise

    async def _ask(self, call: Callable[Concatenate[Journal, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a call with the journal, in the thread."""
        result: T
        result, begun_anew = await self._in_thread(self._file.use, call, *args, **kwargs)
        if begun_anew:
            # The numbers go on, so a batch of the damaged file retires nothing of the new one.
            self.retired = self._retired_on_disk = self.last
        return result

    def _failed(self, text: str, error: Exception) -> None:
        if self._other_failures.admits(text):
            log.error(text, error=error)

    async def _commit_failed(self, error: Exception, group: Group) -> None:
        self.failing = cause = await self._cause(error, group)
        if not self._commit_failures.admits(cause):
            return
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
        # A stop cancels the call of a disk that does not answer.
        if not isinstance(error, sqlite3.Error | OSError | CancelledError):
            return BUG
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            return DISK_FAILED
        try:
            return SPOOL_FULL if await self._ask(Journal.is_full, group) else DISK_FAILED
        except Exception:
            return DISK_FAILED
