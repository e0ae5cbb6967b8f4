"""The queue between the broker and the database, on disk. Only what a commit has synced counts as stored.

Messages gather in a group; a group is committed when GROUP_READINGS have gathered, when it is
`flush_interval` old, or at once when `flush` says that somebody waits for an acknowledgement. One commit
at a time: what arrives meanwhile is the next group. After a commit, and not before, its messages are
counted and acknowledged, in the order in which they came.

A commit that fails is tried again every second. When memory for what waits is used up, nothing more is read
from the broker (`hold`); but while commits fail, messages are read on: those that the broker does not keep
are counted as lost, the others are left to it unacknowledged, and asked for again (`redeliver`) afterwards.

All SQLite runs in one thread; its calls come back in the order in which they were made.
"""

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.admission import Admitted
from tessflux.config import SpoolConfig
from tessflux.journal import Batch, Group, Journal, Quarantined, is_damaged, move_aside
from tessflux.limits import GROUP_READINGS, PENDING_BYTES, PENDING_MESSAGES
from tessflux.stats import LOST, REFUSED, STORED, MqttStats

log = Logger(namespace="spool")

RETRY = 1.0
"""Seconds between two attempts to commit."""

REPEAT = 60.0
"""Seconds between two log lines while commits fail."""

Acknowledge = Callable[[], None]
T = TypeVar("T")


class InThread(Protocol):
    """Runs a blocking call in the spool's one thread, after those before it."""

    def __call__(self, call: Callable[..., Any], *args: Any) -> Awaitable[Any]: ...


@dataclass(slots=True)
class _Gathering:
    """The next group, and what is to be done once it is on disk."""

    group: Group = field(default_factory=Group)
    acknowledge: list[Acknowledge] = field(default_factory=list)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: int = 0
    size: int = 0
    since: float = 0.0

    @property
    def fills_memory(self) -> bool:
        return self.messages >= PENDING_MESSAGES or self.size >= PENDING_BYTES


class Spool:
    """Call `open` first and `close` last. It calls `committed` after every commit that brought lines,
    `hold` with True when the broker is to wait and with False when it may go on, `redeliver` when messages
    were left to the broker and can be taken now."""

    def __init__(
        self,
        config: SpoolConfig,
        *,
        flush_interval: float,
        stats: MqttStats,
        clock: IReactorTime,
        in_thread: InThread,
    ) -> None:
        self._config, self._flush_interval = config, flush_interval
        self._stats, self._clock, self._in_thread = stats, clock, in_thread
        self.committed: Callable[[], None] = lambda: None
        self.hold: Callable[[bool], None] = lambda hold: None
        self.redeliver: Callable[[], None] = lambda: None
        self.forgotten = 0
        """Quarantined payloads that went because newer ones came."""
        self.waiting = 0
        """Lines on disk that wait for InfluxDB."""
        self.oldest: float | None = None
        """When the oldest line arrived that `head` has not yet given out (clock seconds)."""
        self._gathering = _Gathering()
        self._in_commit = 0
        self._busy = False
        self._commits: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._retired = self._retired_on_disk = 0
        self._failing = ""
        self._failing_logged = self._unreadable_logged = float("-inf")
        self._full_memory = False
        self._holding = False
        self._left_to_broker = False
        self._stopping = False
        # These belong to the thread.
        self._journal: Journal | None = None
        self._last = 0
        self._begun_anew = False

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted, last, self.waiting = await self._ask(
            lambda journal: (list(journal.admitted()), journal.last, journal.waiting)
        )
        self._retired = self._retired_on_disk = last - self.waiting
        if self.waiting:
            self.oldest = self._clock.seconds() - self._flush_interval
            log.info("{waiting} readings wait for InfluxDB", waiting=self.waiting)
        return admitted

    async def _ask(self, call: Callable[[Journal], T]) -> T:
        """Call with the open journal, in the thread. Raises sqlite3.Error or OSError."""
        result: T
        result, begun_anew = await self._in_thread(self._on_journal, call)
        if begun_anew:
            # The numbers go on, so a batch of the former file retires nothing of the new one.
            self._retired += self.waiting
            self._retired_on_disk = self._retired
            self.waiting = 0
        return result

    def _on_journal(self, call: Callable[[Journal], T]) -> tuple[T, bool]:
        """In the thread: the result, and whether a file was begun anew since the last result.

        A damaged file is replaced here, before another call can come upon it.
        """
        try:
            result = call(self._journal or self._open_file())
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._move_aside(error)
            result = call(self._open_file())
        begun_anew, self._begun_anew = self._begun_anew, False
        return result, begun_anew

    def _open_file(self) -> Journal:
        config = self._config
        self._journal = Journal(
            config.directory, max_size=config.max_size, quarantine=config.quarantine, last=self._last
        )
        return self._journal

    def _move_aside(self, error: sqlite3.Error) -> None:
        aside = move_aside(self._config.directory)
        log.error(
            "The spool was damaged ({error}). It was moved to {path} and a new one begun;"
            " readings that waited in it are there.",
            error=str(error)[:200],
            path=str(aside),
        )
        self._begun_anew = True
        if self._journal is not None:
            self._last = self._journal.last
            self._journal.close()
            self._journal = None

    def reconfigure(self, config: SpoolConfig, flush_interval: float) -> None:
        """Use new bounds and another interval from now on; the directory stays."""
        self._config, self._flush_interval = config, flush_interval
        Deferred.fromCoroutine(self._resize(config))

    async def _resize(self, config: SpoolConfig) -> None:
        try:
            await self._ask(
                lambda journal: journal.resize(max_size=config.max_size, quarantine=config.quarantine)
            )
        except (sqlite3.Error, OSError) as error:
            await self._failed(error, Group())

    @property
    def pending(self) -> int:
        """Messages that are received but not yet counted, because their commit is not done."""
        return self._gathering.messages + self._in_commit

    def admits(self, *, kept_by_broker: bool) -> bool:
        """Whether there is room for one more message; if not it is lost, or left to its broker."""
        if not (self._full_memory and self._failing):
            return True
        if kept_by_broker:
            self._left_to_broker = True
        else:
            self._stats.received += 1
            self._stats.ended[LOST, self._failing] += 1
        return False

    def store(self, line: str, admitted: Admitted, acknowledge: Acknowledge | None) -> None:
        """Put a line into the next commit."""
        gathering = self._gathering
        gathering.group.lines.append(line)
        gathering.group.admitted.append(admitted)
        self._gathered(STORED, "", len(line), acknowledge)

    def quarantine(self, refused: Quarantined, acknowledge: Acknowledge | None) -> None:
        """Put a refused payload into the next commit."""
        self._gathering.group.quarantined.append(refused)
        self._gathered(REFUSED, refused.cause, len(refused.payload) + len(refused.topic), acknowledge)

    def pass_by(self, kind: str, cause: str, acknowledge: Acknowledge | None) -> None:
        """Nothing to store, but it is counted, and acknowledged in its turn."""
        if acknowledge is None:
            self._stats.ended[kind, cause] += 1
        else:
            self._gathered(kind, cause, 0, acknowledge)

    def _gathered(self, kind: str, cause: str, size: int, acknowledge: Acknowledge | None) -> None:
        gathering = self._gathering
        gathering.ended[kind, cause] += 1
        if acknowledge is not None:
            gathering.acknowledge.append(acknowledge)
        gathering.size += size
        gathering.messages += 1
        if gathering.messages == 1:
            gathering.since = self._clock.seconds()
            if not self._busy:
                self._timer = self._clock.callLater(self._flush_interval, self._commit)
        if gathering.fills_memory:
            self._full_memory = True
            self._hold_or_not()
        if not self._busy and (self._full_memory or gathering.messages >= GROUP_READINGS):
            self._commit()

    def flush(self) -> None:
        """Nothing more to read: commit now if a message waits for its acknowledgement."""
        if self._gathering.acknowledge and not self._busy:
            self._commit()

    def _commit(self) -> None:
        self._cancel_timer()
        self._busy = True
        self._commits = Deferred.fromCoroutine(self._commit_groups())
        self._commits.addErrback(lambda failure: log.failure("A commit went wrong", failure))

    async def _commit_groups(self) -> None:
        try:
            while self._gathering.messages:
                gathering, self._gathering = self._gathering, _Gathering()
                self._in_commit = gathering.messages
                while not await self._try(gathering.group, self._retired):
                    if self._stopping:
                        self._give_up(gathering)
                        return
                    await deferLater(self._clock, RETRY)
                self._settle(gathering)
                following = self._gathering
                enough = self._full_memory or following.messages >= GROUP_READINGS
                if not enough and not following.acknowledge:
                    break
        finally:
            self._busy = False
            self._in_commit = 0
            if self._gathering.messages:
                age = self._clock.seconds() - self._gathering.since
                self._timer = self._clock.callLater(max(0, self._flush_interval - age), self._commit)

    async def _try(self, group: Group, retired: int) -> bool:
        """Commit a group, and forget the lines up to number `retired`."""
        try:
            self.forgotten += await self._ask(lambda journal: journal.commit(group, retired))
        except (sqlite3.Error, OSError) as error:
            await self._failed(error, group)
            return False
        self._retired_on_disk = max(self._retired_on_disk, retired)
        if self._failing:
            self._failing = ""
            log.info("The spool takes readings again")
        return True

    async def _failed(self, error: Exception, group: Group) -> None:
        cause = "spool full" if await self._is_full(error, group) else "disk failed"
        now = self._clock.seconds()
        if cause != self._failing or now - self._failing_logged >= REPEAT:
            self._failing, self._failing_logged = cause, now
            self._hold_or_not()
            log.error(
                "Cannot store readings: {cause} ({error}; {path}). {advice}; tessflux keeps trying.",
                cause=cause,
                error=error,
                path=self._config.directory,
                advice="Bring the database back or raise [spool] max_size"
                if cause == "spool full"
                else "Look after the disk and its permissions",
            )

    async def _is_full(self, error: Exception, group: Group) -> bool:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            return False
        try:
            return await self._ask(lambda journal: journal.is_full(group))
        except (sqlite3.Error, OSError):
            return False

    def _settle(self, gathering: _Gathering) -> None:
        self._in_commit = 0
        for key, count in gathering.ended.items():
            self._stats.ended[key] += count
        for acknowledge in gathering.acknowledge:
            acknowledge()
        if gathering.group.lines:
            self.waiting += len(gathering.group.lines)
            if self.oldest is None:
                self.oldest = gathering.since
            self.committed()
        self._full_memory = self._gathering.fills_memory
        self._hold_or_not()
        if self._left_to_broker and not self._full_memory:
            self._left_to_broker = False
            self.redeliver()

    def _give_up(self, gathering: _Gathering) -> None:
        """Stopping, and the disk takes nothing: what the broker does not keep is lost."""
        lost = gathering.messages - len(gathering.acknowledge)
        self._stats.ended[LOST, self._failing] += lost
        self._stats.received -= len(gathering.acknowledge)
        log.error(
            "{lost} messages are lost ({cause}); {kept} were not acknowledged, the broker keeps them",
            lost=lost,
            cause=self._failing,
            kept=len(gathering.acknowledge),
        )

    def _hold_or_not(self) -> None:
        hold = self._full_memory and not self._failing
        if hold != self._holding:
            self._holding = hold
            self.hold(hold)

    async def head(self, limit: int) -> Batch:
        """The oldest lines that are not retired, in whole chunks. Empty when there are none."""
        self.oldest = None
        after = self._retired
        try:
            batch = await self._ask(lambda journal: journal.head(after, limit))
        except (sqlite3.Error, OSError) as error:
            now = self._clock.seconds()
            if now - self._unreadable_logged >= REPEAT:
                self._unreadable_logged = now
                log.error("Cannot read what waits: {error}; tessflux keeps trying.", error=error)
            return Batch(0, [])
        if self.waiting > len(batch.lines) and self.oldest is None:
            self.oldest = self._clock.seconds() - self._flush_interval
        return batch

    async def retire(self, batch: Batch, refused: Iterable[Quarantined] = ()) -> None:
        """InfluxDB has answered for the batch: forget it, and keep what it refused in quarantine.

        Without refused lines this waits for the next commit: were it lost, the batch would be written
        once more, which InfluxDB takes as the same points.
        """
        group = Group(quarantined=list(refused))
        # The same commit forgets the lines, so that those that were refused are always somewhere.
        while group.quarantined and not await self._try(group, max(self._retired, batch.last)):
            await deferLater(self._clock, RETRY)
        retired = max(self._retired, batch.last)
        self.waiting -= retired - self._retired
        self._retired = retired

    async def tidy(self) -> None:
        """Write down what is retired, if no commit came to do so. Call it now and then."""
        if self._retired != self._retired_on_disk and not self._busy:
            await self._try(Group(), self._retired)

    async def settle(self) -> None:
        """Commit what is pending, now; on a disk that takes nothing it is tried just once more."""
        self._stopping = True
        if self._busy and self._commits is not None:
            await self._commits
        self._cancel_timer()
        if self._gathering.messages:
            self._commit()
            assert self._commits is not None
            await self._commits

    async def close(self) -> None:
        """Close the file; `settle` comes first, and nothing more after it."""
        await self.tidy()
        await self._in_thread(self._close)

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
