"""Messages in memory -> the disk. Only what a commit has synced counts as stored.

Messages gather in a group. It is committed when GROUP_READINGS have gathered, when it is `flush_interval`
old, or at once when `flush` finds a message that waits for its acknowledgement. No commit overlaps another:
what arrives meanwhile is the next group. After a commit, and not before, its messages are counted and
acknowledged, in the order in which they came.

A commit that fails is retried every second. When the memory for what waits is used up, nothing more is read
from the broker (backpressure). But while commits fail, messages are read on: those at QoS 0 are lost, since
the broker would not keep them either; the others stay with the broker, unacknowledged, which delivers them
again afterwards.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tessflux.readings import Acknowledge, Admitted, Filtered, Outcome
from tessflux.spool.group import Group
from tessflux.spool.store import Store
from tessflux.stats import FILTERED, LOST, MqttStats

log = Logger(namespace="spool")


class Committer:
    """It calls `committed` with each group of lines that is on disk, `backpressure` with True when the broker
    is to wait and with False when it may go on, `redeliver` when messages were left to the broker and can be
    taken now, and `given_up` with what was admitted and cannot be stored."""

    def __init__(
        self,
        store: Store,
        *,
        flush_interval: float,
        stats: MqttStats,
        clock: IReactorTime,
        committed: Callable[[float], None],
        backpressure: Callable[[bool], None],
        redeliver: Callable[[], None],
        given_up: Callable[[list[Admitted]], None],
    ) -> None:
        self._store, self._stats, self._clock = store, stats, clock
        self.flush_interval = flush_interval
        self._committed, self._backpressure = committed, backpressure
        self._redeliver, self._given_up = redeliver, given_up
        self._group = Group()
        """What gathers for the next commit."""
        self._committing = Group()
        self._commits: Deferred[None] | None = None
        """Fires when no commit is under way any more."""
        self._timer: IDelayedCall | None = None
        self._holds_back = False
        self._left_to_broker = False

    @property
    def pending(self) -> int:
        """Messages that are received but not yet counted, because their commit is not done."""
        return self._group.messages + self._committing.messages

    @property
    def _memory_is_full(self) -> bool:
        return self._group.fills_memory or self._committing.fills_memory

    def admits(self, *, kept_by_broker: bool) -> bool:
        """Whether there is room for one more message; if not it is lost, or left to its broker."""
        if not (self._store.failing and self._memory_is_full):
            return True
        if kept_by_broker:
            self._left_to_broker = True
        else:
            self._stats.received += 1
            self._stats.ended[LOST, self._store.failing] += 1
        return False

    def take(self, outcome: Outcome, acknowledge: Acknowledge | None) -> None:
        """Put a message into the next commit."""
        if acknowledge is None and isinstance(outcome, Filtered):
            # Nothing to write, and nobody waits.
            self._stats.ended[FILTERED, outcome.cause] += 1
            return
        group = self._group
        group.take(outcome, acknowledge)
        if group.messages == 1:
            group.since = self._clock.seconds()
            if self._commits is None:
                self._timer = self._clock.callLater(self.flush_interval, self._start)
        if group.is_due:
            if group.fills_memory:
                self.update_backpressure()
            if self._commits is None:
                self._start()

    def flush(self) -> None:
        """Nothing more to read: commit now if a message waits for its acknowledgement."""
        if self._group.acknowledge and self._commits is None:
            self._start()

    def _start(self) -> Deferred[None]:
        """Commit what has gathered, and then what has gathered meanwhile, as long as that is due."""
        self._cancel_timer()
        self._commits = done = Deferred[None]()
        work = Deferred.fromCoroutine(self._commit_groups())
        work.addErrback(lambda failure: log.failure("A commit went wrong", failure))
        work.chainDeferred(done)
        return done

    async def _commit_groups(self) -> None:
        try:
            while self._group.messages:
                group, self._group = self._group, Group()
                self._committing = group
                done = await self._store.keep_committing(group, failed=self.update_backpressure)
                self._committing = Group()
                if done:
                    self._on_disk(group)
                else:
                    self._give_up(group)
                following = self._group
                if not (following.is_due or following.acknowledge):
                    break
        finally:
            self._commits = None
            self._committing = Group()
            if self._group.messages:
                age = self._clock.seconds() - self._group.since
                self._timer = self._clock.callLater(max(0, self.flush_interval - age), self._start)

    def _on_disk(self, group: Group) -> None:
        try:
            group.committed(self._stats)
            if group.lines:
                self._committed(group.since)
        except Exception:
            log.failure("What follows a commit went wrong")
        self._after_commit()

    def _give_up(self, group: Group) -> None:
        self._given_up(group.admitted)
        cause = self._store.failing
        # Of those that came meanwhile some may be copies of what is given up, filtered as duplicates.
        following = self._group.acknowledge
        self._left_to_broker |= bool(group.acknowledge or following)
        following.clear()
        log.error(
            "{lost} messages are lost ({cause}); {kept} were not acknowledged, the broker keeps them",
            lost=group.given_up(self._stats, cause),
            cause=cause,
            kept=len(group.acknowledge),
        )
        self._after_commit()

    def _after_commit(self) -> None:
        self.update_backpressure()
        if self._left_to_broker and not self._memory_is_full and not self._store.stopping:
            self._left_to_broker = False
            self._redeliver()

    def update_backpressure(self) -> None:
        """Have the broker wait while memory is used up, unless commits fail or we stop."""
        holds_back = self._memory_is_full and not self._store.failing
        if holds_back != self._holds_back and not self._store.stopping:
            self._holds_back = holds_back
            self._backpressure(holds_back)

    async def commit(self, group: Group) -> bool:
        """Commit a group of one's own, for as long as it takes; False when it was given up."""
        done = await self._store.keep_committing(group, failed=self.update_backpressure)
        if done:
            self._on_disk(group)
        else:
            self._given_up(group.admitted)
        return done

    async def stop(self) -> None:
        """Commit what is pending, now; on a disk that takes nothing it is tried just once more."""
        self._store.stopping = True
        if self._commits is not None:
            await self._commits
        self._cancel_timer()
        if self._group.messages:
            await self._start()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
