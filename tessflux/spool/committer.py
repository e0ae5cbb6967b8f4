"""The queue between the broker and the database, on disk. Only what a commit has synced counts as stored.

Messages gather in a group; a group is committed when GROUP_READINGS have gathered, when it is
`flush_interval` old, or at once when `flush` says that somebody waits for an acknowledgement. One commit
at a time: what arrives meanwhile is the next group. After a commit, and not before, its messages are
counted and acknowledged, in the order in which they came.

A commit that fails is tried again every second; one that fails by a bug of ours only ATTEMPTS times, so that
one bad message does not stop all others. When memory for what waits is used up, nothing more is read from the
broker (`hold`); but while commits fail, messages are read on. Those that are given up are lost if the broker
does not keep them; the others are left to it unacknowledged, and asked for again (`redeliver`) afterwards.
"""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.config import SpoolConfig
from tessflux.readings import Acknowledge, Admitted
from tessflux.spool.group import Gathering
from tessflux.spool.journal import Batch, Group
from tessflux.spool.quarantine import Quarantined
from tessflux.spool.store import BUG, Disk, InThread
from tessflux.stats import FILTERED, LOST, MqttStats

log = Logger(namespace="spool")

RETRY = 1.0
"""Seconds between two attempts to commit."""

ATTEMPTS = 5
"""How often a group is tried that fails by our own fault; then it is given up, so that others get through."""


class Spool:
    """Call `open` first and `close` last. It calls `committed` after every commit that brought lines,
    `hold` with True when the broker is to wait and with False when it may go on, `redeliver` when messages
    were left to the broker and can be taken now, `given_up` with what was admitted and cannot be stored."""

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
        self.given_up: Callable[[list[Admitted]], None] = lambda admitted: None
        self.forgotten = 0
        """Quarantined payloads that went because newer ones came."""
        self.oldest: float | None = None
        """When the oldest line arrived that `head` has not yet given out (clock seconds)."""
        self._gathering = Gathering()
        self._committing = Gathering()
        self._busy = False
        self._commits: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._last = self._retired = self._retired_on_disk = 0
        self._holding = False
        self._left_to_broker = False
        self._stopping = False

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted, self._last, waiting = await self._disk.open()
        self._retired = self._retired_on_disk = self._last - waiting
        if waiting:
            self.oldest = self._clock.seconds() - self._flush_interval
            log.info("{waiting} readings wait for InfluxDB", waiting=waiting)
        return admitted

    def _begun_anew(self) -> None:
        # The numbers go on, so a batch of the former file retires nothing of the new one.
        self._retired = self._retired_on_disk = self._last

    def reconfigure(self, config: SpoolConfig, flush_interval: float) -> None:
        """Use new bounds and another interval from now on; the directory stays."""
        self._flush_interval = flush_interval
        Deferred.fromCoroutine(self._resize(config))

    async def _resize(self, config: SpoolConfig) -> None:
        if not await self._disk.resize(config):
            self._hold_or_not()

    @property
    def waiting(self) -> int:
        """Lines on disk that wait for InfluxDB."""
        return self._last - self._retired

    @property
    def pending(self) -> int:
        """Messages that are received but not yet counted, because their commit is not done."""
        return self._gathering.messages + self._committing.messages

    @property
    def _full_memory(self) -> bool:
        return self._gathering.fills_memory or self._committing.fills_memory

    def admits(self, *, kept_by_broker: bool) -> bool:
        """Whether there is room for one more message; if not it is lost, or left to its broker."""
        if not (self._disk.failing and self._full_memory):
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

    def filter_out(self, cause: str, acknowledge: Acknowledge | None) -> None:
        """Nothing to store, but it is counted, and acknowledged in its turn."""
        if acknowledge is None:
            self._stats.ended[FILTERED, cause] += 1
        else:
            self._gathering.filter_out(cause, acknowledge)
            self._gathered()

    def _gathered(self) -> None:
        gathering = self._gathering
        if gathering.messages == 1:
            gathering.since = self._clock.seconds()
            if not self._busy:
                self._timer = self._clock.callLater(self._flush_interval, self._commit)
        if gathering.is_group:
            if gathering.fills_memory:
                self._hold_or_not()
            if not self._busy:
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
                self._committing = gathering
                done = await self._keep_trying(gathering.group)
                self._committing = Gathering()
                if done:
                    self._settle(gathering)
                else:
                    self._give_up(gathering)
                following = self._gathering
                if not (following.is_group or following.acknowledge):
                    break
        finally:
            self._busy = False
            self._committing = Gathering()
            if self._gathering.messages:
                age = self._clock.seconds() - self._gathering.since
                self._timer = self._clock.callLater(max(0, self._flush_interval - age), self._commit)

    async def _keep_trying(self, group: Group) -> bool:
        """Commit a group, for as long as it takes; False if the stop came before, or it is our fault."""
        attempts = 0
        while not await self._try(group, self._retired):
            attempts += 1
            if self._stopping or (self._disk.failing == BUG and attempts >= ATTEMPTS):
                return False
            await deferLater(self._clock, RETRY)
        return True

    async def _try(self, group: Group, retired: int) -> bool:
        """Commit a group, and forget the lines up to number `retired`."""
        forgotten = await self._disk.commit(group, retired)
        if forgotten is None:
            self._hold_or_not()
            return False
        self.forgotten += forgotten
        self._retired = max(self._retired, retired)
        self._retired_on_disk = max(self._retired_on_disk, retired)
        return True

    def _settle(self, gathering: Gathering) -> None:
        lines = len(gathering.group.lines)
        self._last += lines
        if lines and self.oldest is None:
            self.oldest = gathering.since
        try:
            gathering.settle(self._stats)
            if lines:
                self.committed()
        except Exception:
            log.failure("What follows a commit went wrong")
        self._make_room()

    def _make_room(self) -> None:
        self._hold_or_not()
        if self._left_to_broker and not self._full_memory:
            self._left_to_broker = False
            self.redeliver()

    def _give_up(self, gathering: Gathering) -> None:
        self.given_up(gathering.group.admitted)
        cause = self._disk.failing
        # Of those that came meanwhile some may be copies of what is given up, filtered as duplicates.
        following = self._gathering.acknowledge
        self._left_to_broker |= bool(gathering.acknowledge or following) and not self._stopping
        following.clear()
        log.error(
            "{lost} messages are lost ({cause}); {kept} were not acknowledged, the broker keeps them",
            lost=gathering.give_up(self._stats, cause),
            cause=cause,
            kept=len(gathering.acknowledge),
        )
        self._make_room()

    def _hold_or_not(self) -> None:
        hold = self._full_memory and not self._disk.failing
        if hold != self._holding:
            self._holding = hold
            self.hold(hold)

    async def head(self, limit: int) -> Batch:
        """The oldest lines that are not retired, in whole chunks. Empty when there are none."""
        self.oldest = None
        retired = self._retired
        batch = await self._disk.read(lambda journal: journal.head(retired, limit), otherwise=Batch(0, []))
        if batch.lines and self.waiting > len(batch.lines) and self.oldest is None:
            self.oldest = self._clock.seconds() - self._flush_interval
        return batch

    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> bool:
        """InfluxDB has answered for the batch: forget it, and keep what it refused in quarantine.

        False when a stop came before that was possible: then the batch goes on waiting.
        Without refused lines this waits for the next commit: were it lost, the batch would be written
        once more, which InfluxDB takes as the same points.
        """
        if refused:
            done: Deferred[bool] = Deferred()
            # Whoever waits for it may be cancelled; the commit is not, or it might be made twice.
            Deferred.fromCoroutine(self._set_apart(batch, refused)).chainDeferred(done)
            if not await done:
                return False
        self._retired = max(self._retired, batch.last)
        if self._disk.failing:
            # On a full disk this makes room for what waits in memory.
            await self._try(Group(), self._retired)
        return True

    async def _set_apart(self, batch: Batch, refused: Sequence[Quarantined]) -> bool:
        """Keep what was refused, for as long as it takes; False when the stop came before."""
        group = Group(quarantined=list(refused))
        # The same commit forgets the lines, so that those that were refused are always somewhere.
        while not await self._try(group, max(self._retired, batch.last)):
            await deferLater(self._clock, RETRY)
            if self._stopping:
                return False
        return True

    async def again(self, limit: int) -> dict[int, Quarantined]:
        """The oldest in quarantine that an operator wants to be tried again, by their numbers."""
        if self._stopping:
            return {}
        return await self._disk.read(lambda journal: journal.quarantine.again(limit), otherwise={})

    async def put(self, gathering: Gathering) -> bool:
        """Commit a gathering of its own, for as long as it takes; False when it was given up."""
        done = await self._keep_trying(gathering.group)
        if done:
            self._settle(gathering)
        else:
            self.given_up(gathering.group.admitted)
        return done

    async def subscriptions(self, session: str) -> frozenset[str]:
        """The topics that were remembered for a session at a broker; none if the disk fails."""
        return await self._disk.read(
            lambda journal: journal.subscriptions(session), otherwise=frozenset[str]()
        )

    async def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None:
        """Remember these topics for a session, and no others; a disk that fails is said."""
        await self._disk.remember_subscriptions(session, topics)

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
