"""The queue between the broker and the database, on disk. Only what a commit has synced counts as stored.

Messages gather in a group; a group is committed when GROUP_READINGS have gathered, when it is
`flush_interval` old, or at once when `flush` says that somebody waits for an acknowledgement. One commit
at a time: what arrives meanwhile is the next group. After a commit, and not before, its messages are
counted and acknowledged, in the order in which they came.

A commit that fails is tried again every second. When memory for what waits is used up, nothing more is read
from the broker (`hold`); but while commits fail, messages are read on: those that the broker does not keep
are counted as lost, the others are left to it unacknowledged, and asked for again (`redeliver`) afterwards.
"""

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.admission import Admitted
from tessflux.config import SpoolConfig
from tessflux.disk import Disk, InThread
from tessflux.gathering import Acknowledge, Gathering
from tessflux.journal import Batch, Group, Quarantined
from tessflux.stats import LOST, MqttStats

log = Logger(namespace="spool")

RETRY = 1.0
"""Seconds between two attempts to commit."""


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
        self._disk = Disk(config, clock=clock, in_thread=in_thread, begun_anew=self._begun_anew)
        self._flush_interval, self._stats, self._clock = flush_interval, stats, clock
        self.committed: Callable[[], None] = lambda: None
        self.hold: Callable[[bool], None] = lambda hold: None
        self.redeliver: Callable[[], None] = lambda: None
        self.forgotten = 0
        """Quarantined payloads that went because newer ones came."""
        self.waiting = 0
        """Lines on disk that wait for InfluxDB."""
        self.oldest: float | None = None
        """When the oldest line arrived that `head` has not yet given out (clock seconds)."""
        self._gathering = Gathering()
        self._in_commit = 0
        self._busy = False
        self._commits: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._retired = self._retired_on_disk = 0
        self._full_memory = False
        self._holding = False
        self._left_to_broker = False
        self._stopping = False

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted, last, self.waiting = await self._disk.open()
        self._retired = self._retired_on_disk = last - self.waiting
        if self.waiting:
            self.oldest = self._clock.seconds() - self._flush_interval
            log.info("{waiting} readings wait for InfluxDB", waiting=self.waiting)
        return admitted

    def _begun_anew(self) -> None:
        # The numbers go on, so a batch of the former file retires nothing of the new one.
        self._retired += self.waiting
        self._retired_on_disk = self._retired
        self.waiting = 0

    def reconfigure(self, config: SpoolConfig, flush_interval: float) -> None:
        """Use new bounds and another interval from now on; the directory stays."""
        self._flush_interval = flush_interval
        Deferred.fromCoroutine(self._resize(config))

    async def _resize(self, config: SpoolConfig) -> None:
        if not await self._disk.resize(config):
            self._hold_or_not()

    @property
    def pending(self) -> int:
        """Messages that are received but not yet counted, because their commit is not done."""
        return self._gathering.messages + self._in_commit

    def admits(self, *, kept_by_broker: bool) -> bool:
        """Whether there is room for one more message; if not it is lost, or left to its broker."""
        if not (self._full_memory and self._disk.failing):
            return True
        if kept_by_broker:
            self._left_to_broker = True
        else:
            self._stats.received += 1
            self._stats.ended[LOST, self._disk.failing] += 1
        return False

    def store(self, line: str, admitted: Admitted, acknowledge: Acknowledge | None) -> None:
        """Put a line into the next commit."""
        self._gathering.store(line, admitted, acknowledge)
        self._gathered()

    def quarantine(self, refused: Quarantined, acknowledge: Acknowledge | None) -> None:
        """Put a refused payload into the next commit."""
        self._gathering.quarantine(refused, acknowledge)
        self._gathered()

    def pass_by(self, kind: str, cause: str, acknowledge: Acknowledge | None) -> None:
        """Nothing to store, but it is counted, and acknowledged in its turn."""
        if acknowledge is None:
            self._stats.ended[kind, cause] += 1
        else:
            self._gathering.pass_by(kind, cause, acknowledge)
            self._gathered()

    def _gathered(self) -> None:
        gathering = self._gathering
        if gathering.messages == 1:
            gathering.since = self._clock.seconds()
            if not self._busy:
                self._timer = self._clock.callLater(self._flush_interval, self._commit)
        if gathering.fills_memory:
            self._full_memory = True
            self._hold_or_not()
        if not self._busy and (self._full_memory or gathering.is_group):
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
                gathering, self._gathering = self._gathering, Gathering()
                self._in_commit = gathering.messages
                while not await self._try(gathering.group, self._retired):
                    if self._stopping:
                        self._give_up(gathering)
                        return
                    await deferLater(self._clock, RETRY)
                self._settle(gathering)
                following = self._gathering
                if not (self._full_memory or following.is_group or following.acknowledge):
                    break
        finally:
            self._busy = False
            self._in_commit = 0
            if self._gathering.messages:
                age = self._clock.seconds() - self._gathering.since
                self._timer = self._clock.callLater(max(0, self._flush_interval - age), self._commit)

    async def _try(self, group: Group, retired: int) -> bool:
        """Commit a group, and forget the lines up to number `retired`."""
        forgotten = await self._disk.commit(group, retired)
        if forgotten is None:
            self._hold_or_not()
            return False
        self.forgotten += forgotten
        self._retired_on_disk = max(self._retired_on_disk, retired)
        return True

    def _settle(self, gathering: Gathering) -> None:
        self._in_commit = 0
        gathering.settle(self._stats)
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

    def _give_up(self, gathering: Gathering) -> None:
        cause = self._disk.failing
        log.error(
            "{lost} messages are lost ({cause}); {kept} were not acknowledged, the broker keeps them",
            lost=gathering.give_up(self._stats, cause),
            cause=cause,
            kept=len(gathering.acknowledge),
        )

    def _hold_or_not(self) -> None:
        hold = self._full_memory and not self._disk.failing
        if hold != self._holding:
            self._holding = hold
            self.hold(hold)

    async def head(self, limit: int) -> Batch:
        """The oldest lines that are not retired, in whole chunks. Empty when there are none."""
        self.oldest = None
        batch = await self._disk.head(self._retired, limit)
        if batch is None:
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
        await self._disk.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
