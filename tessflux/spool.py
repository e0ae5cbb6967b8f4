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
from typing import Any, Protocol

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
        self._given: Batch | None = None
        self._retired = self._retired_on_disk = 0
        self._failing = ""
        self._failing_logged = 0.0
        self._full_memory = False
        self._holding = False
        self._left_to_broker = False
        self._stopping = False

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted: list[Admitted] = await self._in_thread(self._open)
        if self.waiting:
            self.oldest = self._clock.seconds() - self._flush_interval
            log.info("{waiting} readings wait for InfluxDB", waiting=self.waiting)
        return admitted

    def _open(self) -> list[Admitted]:
        try:
            self._open_file()
            return list(self._journal.admitted())
        except (sqlite3.Error, ValueError) as error:
            if isinstance(error, sqlite3.Error) and not is_damaged(error):
                raise
            self._begin_anew(error)
            return []

    def _open_file(self) -> None:
        config = self._config
        self._journal = Journal(config.directory, max_size=config.max_size, quarantine=config.quarantine)
        # A batch of a former file must not be retired from this one: its numbers begin anew.
        self._given = None
        self._retired = self._retired_on_disk = 0
        self.waiting = self._journal.waiting

    def _begin_anew(self, error: Exception) -> None:
        if hasattr(self, "_journal"):
            self._journal.close()
        aside = move_aside(self._config.directory)
        log.error(
            "The spool was damaged ({error}). It was moved to {path} and a new one begun;"
            " readings that waited in it are there.",
            error=error,
            path=str(aside),
        )
        self._open_file()

    def reconfigure(self, config: SpoolConfig, flush_interval: float) -> None:
        """Use new bounds and another interval from now on; the directory stays."""
        self._config, self._flush_interval = config, flush_interval
        self._launch(
            self._in_thread(
                lambda: self._journal.resize(max_size=config.max_size, quarantine=config.quarantine)
            )
        )

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
        self._gathered(REFUSED, refused.cause, len(refused.payload), acknowledge)

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
        elif gathering.messages >= GROUP_READINGS and not self._busy:
            self._commit()
        if gathering.messages >= PENDING_MESSAGES or gathering.size >= PENDING_BYTES:
            self._full_memory = True
            self._hold_or_not()

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
                while not await self._try(gathering.group):
                    if self._stopping:
                        self._give_up(gathering)
                        return
                    await deferLater(self._clock, RETRY)
                self._settle(gathering)
                following = self._gathering
                if following.messages < GROUP_READINGS and not following.acknowledge:
                    break
        finally:
            self._busy = False
            self._in_commit = 0
        if self._gathering.messages:
            age = self._clock.seconds() - self._gathering.since
            self._timer = self._clock.callLater(max(0, self._flush_interval - age), self._commit)

    async def _try(self, group: Group) -> bool:
        try:
            self.forgotten += await self._in_thread(self._journal.commit, group, self._retired)
        except sqlite3.Error as error:
            await self._failed(error)
            return False
        self._retired_on_disk = self._retired
        if self._failing:
            self._failing = ""
            log.info("The spool takes readings again")
        return True

    async def _failed(self, error: sqlite3.Error) -> None:
        if is_damaged(error):
            await self._in_thread(self._begin_anew, error)
            return
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL and await self._in_thread(
            self._journal.is_full
        )
        cause = "spool full" if full else "disk failed"
        now = self._clock.seconds()
        if cause != self._failing or now - self._failing_logged >= REPEAT:
            self._failing, self._failing_logged = cause, now
            self._hold_or_not()
            log.error(
                "Cannot store readings: {cause} ({error}; {path}). {advice}; tessflux keeps trying.",
                cause=cause,
                error=error,
                path=str(self._journal.path),
                advice="Bring the database back or raise [spool] max_size"
                if full
                else "Look after the disk and its permissions",
            )

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
        self._full_memory = self._gathering.messages >= PENDING_MESSAGES
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
        try:
            batch: Batch = await self._in_thread(self._head, limit)
        except sqlite3.Error as error:
            await self._failed(error)
            return Batch(0, [])
        self._given = batch
        if self.waiting > len(batch.lines) and self.oldest is None:
            self.oldest = self._clock.seconds() - self._flush_interval
        return batch

    def _head(self, limit: int) -> Batch:
        return self._journal.head(self._retired, limit)

    async def retire(self, batch: Batch, refused: Iterable[Quarantined] = ()) -> None:
        """InfluxDB has answered for the batch: forget it, and keep what it refused in quarantine.

        Without refused lines this waits for the next commit: were it lost, the batch would be written
        once more, which InfluxDB takes as the same points.
        """
        quarantined = list(refused)
        while self._given is batch:
            self._retired = batch.last
            if not quarantined or await self._try(Group(quarantined=quarantined)):
                self.waiting -= len(batch.lines)
                self._given = None
            else:
                await deferLater(self._clock, RETRY)

    async def tidy(self) -> None:
        """Write down what is retired, if no commit came to do so. Call it now and then."""
        if self._retired != self._retired_on_disk and not self._busy:
            await self._try(Group())

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
        await self._in_thread(self._journal.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _launch(self, work: Awaitable[Any]) -> None:
        async def run() -> None:
            try:
                await work
            except sqlite3.Error as error:
                await self._failed(error)

        Deferred.fromCoroutine(run())
