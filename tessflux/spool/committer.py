"""Messages in memory -> the disk. Only what a commit has synced counts as stored.

Messages gather in a group. It is committed when GROUP_READINGS have gathered, when it is `flush_interval`
old, or when `flush` finds messages that wait for their acknowledgement: at once if they are many, else after
HOLD, since what a commit costs, the disk above all, hardly depends on how many there are. Only a broker that
sends nothing more until it has their acknowledgement is not kept waiting. No commit overlaps another: what
arrives meanwhile is the next group. After a commit, and not before, its messages are counted and
acknowledged, in the order in which they came.

A commit that fails is retried every second. When the memory for what waits is used up, nothing more is read
from the broker (backpressure). While commits fail, however, reading goes on. QoS 0 messages are lost then, as
the broker would not keep them either; the others stay unacknowledged, so the broker delivers them again
later.
"""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tessflux.readings import Acknowledge, Admitted, Filtered, Late, Outcome, Registered
from tessflux.spool.group import Group
from tessflux.spool.store import Store
from tessflux.stats import FILTERED, LOST, MqttStats

log = Logger(namespace="spool")

MANY = 10
"""With so many unacknowledged messages the usual brokers may send nothing more."""

HOLD = 0.25
"""Seconds for which fewer wait for others."""

IN_VAIN = 3
"""After so many holds in which nothing more came, and each time something did as soon as they were
acknowledged, it is the broker that waits for us."""

Forget = Callable[[list[Admitted], list[Late], list[Registered]], None]
"""Gets what was admitted, held as late and registered, and is given up."""


class Committer:
    """It calls `added` when lines are on disk, with the time when the first of them arrived;
    `backpressure` with True when the broker is to wait and with False when it may go on; `redeliver` when
    there is room again for messages that were left with the broker; and `forget` with what was admitted,
    held or registered and cannot be stored."""

    def __init__(
        self,
        store: Store,
        *,
        flush_interval: float,
        stats: MqttStats,
        clock: IReactorTime,
        added: Callable[[float], None],
        backpressure: Callable[[bool], None],
        redeliver: Callable[[], None],
        forget: Forget,
    ) -> None:
        self._store, self._stats, self._clock = store, stats, clock
        self.flush_interval = flush_interval
        self._added, self._backpressure = added, backpressure
        self._redeliver, self._forget = redeliver, forget
        self._group = Group()
        """What gathers for the next commit."""
        self._committing = Group()
        self._heard = 0.0
        """When messages to acknowledge came last (clock seconds)."""
        self._acknowledged: float | None = None
        """When messages were acknowledged, unless others have come since then (clock seconds)."""
        self._in_vain = 0
        """How many holds in a row were in vain, as IN_VAIN says."""
        self._under_way: Deferred[None] | None = None
        """The commits that are being made, until the last of them is done."""
        self._waiters: list[Deferred[None]] = []
        """They wait for the next commit to succeed or to fail."""
        self._cancelled = False
        """Whether a stop has waited long enough for the disk."""
        self._timer: IDelayedCall | None = None
        self._holds_back = False
        self._asked_to_hold_back = False
        self._left_to_broker = False

    @property
    def pending(self) -> int:
        """Messages that are received but not yet counted, because their commit is not done."""
        return self._group.messages + self._committing.messages

    @property
    def _memory_is_full(self) -> bool:
        return self._group.fills_memory or self._committing.fills_memory

    def admits(self, messages: int, *, kept_by_broker: int) -> bool:
        """Whether there is room for more messages; if not, those that the broker keeps are left to it, and
        the others are lost."""
        if not (self._store.failing and self._memory_is_full):
            return True
        self._left_to_broker |= kept_by_broker > 0
        if lost := messages - kept_by_broker:
            self._stats.received += lost
            self._stats.ended[LOST, self._store.failing] += lost
        return False

    def take(self, outcomes: Sequence[Outcome], mids: Sequence[int], acknowledge: Acknowledge) -> None:
        """Put messages into the next commit, of which those with these packet identifiers are acknowledged
        after it."""
        if not mids:
            outcomes = self._without_filtered(outcomes)
            if not outcomes:
                return
        group = self._group
        begins = not group.messages
        group.take(outcomes)
        if mids:
            group.keep(mids, acknowledge)
        if begins:
            group.since = self._clock.seconds()
            if self._under_way is None:
                self._look_in(self.flush_interval)
        if group.is_due:
            if group.fills_memory:
                self.update_backpressure()
            if self._under_way is None:
                self._start()

    def _without_filtered(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """What is filtered is only counted: there is nothing to write, and nobody waits."""
        others = [outcome for outcome in outcomes if type(outcome) is not Filtered]
        if len(others) < len(outcomes):
            for outcome in outcomes:
                if isinstance(outcome, Filtered):
                    self._stats.ended[FILTERED, outcome.cause] += 1
        return others

    def flush(self) -> None:
        """Nothing more to read: commit soon if a message waits for its acknowledgement."""
        if not self._group.unacknowledged:
            return
        now = self._clock.seconds()
        if self._acknowledged is not None:
            soon = self._hold / 2
            in_vain = self._acknowledged - self._heard > soon or self._broker_waits
            self._in_vain = self._in_vain + 1 if in_vain and now - self._acknowledged < soon else 0
        self._heard, self._acknowledged = now, None
        if self._under_way is None:
            self._start_when_due()

    @property
    def _hold(self) -> float:
        return min(HOLD, self.flush_interval)

    @property
    def _broker_waits(self) -> bool:
        """Whether the broker sends nothing more until all is acknowledged."""
        return self._in_vain >= IN_VAIN

    def _due(self) -> float:
        """When what has gathered is to be committed, if nothing more comes (clock seconds)."""
        group = self._group
        if not group.unacknowledged:
            return group.since + self.flush_interval
        if group.kept_by_broker >= MANY or self._broker_waits:
            return group.since
        return group.since + self._hold

    def _start_when_due(self) -> None:
        """Commit what has gathered when that is due, perhaps now."""
        wait = self._due() - self._clock.seconds()
        if wait <= 0:
            self._start()
        else:
            self._look_in(wait)

    def _look_in(self, seconds: float) -> None:
        """Look then whether what has gathered is due, if no earlier look finds that it is."""
        if self._timer is None or not self._timer.active():
            self._timer = self._clock.callLater(seconds, self._start_when_due)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(seconds)

    def _start(self) -> Deferred[None]:
        """Commit what has gathered, and then what has gathered meanwhile, as long as it is due or waited for.

        Cancelling the result gives up what is not on disk by then: a stop does not wait for ever for a disk.
        """
        self._cancel_timer()

        def cancel(_: Deferred[None]) -> None:
            self._cancelled = True
            work.cancel()

        self._under_way = done = Deferred[None](cancel)
        work = Deferred.fromCoroutine(self._commit_groups())
        work.addErrback(lambda failure: log.failure("A commit went wrong", failure))
        work.chainDeferred(done)
        return done

    async def _commit_groups(self) -> None:
        try:
            while self._group.messages:
                group, self._group = self._group, Group()
                self._committing = group
                done = await self._store.keep_committing(group, failed=self._commit_failed)
                self._committing = Group()
                if done:
                    self._on_disk(group)
                else:
                    self._give_up(group)
                self._tell_waiters()
                waited_for = self._group.unacknowledged and self._due() <= self._clock.seconds()
                if not (self._group.is_due or waited_for or self._waiters):
                    break
        finally:
            self._under_way = None
            self._committing = Group()
            if self._group.messages:
                self._look_in(max(0, self._due() - self._clock.seconds()))

    def _commit_failed(self) -> None:
        self.update_backpressure()
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _on_disk(self, group: Group) -> None:
        try:
            group.count_and_acknowledge(self._stats)
            if group.unacknowledged:
                self._acknowledged = self._clock.seconds()
            if len(group.lines) > len(group.registered):
                self._stats.last_stored = self._clock.seconds()
            if group.lines:
                self._added(group.since)
        except Exception:
            log.failure("What follows a commit went wrong")
        self._after_commit()

    def _give_up(self, group: Group) -> None:
        self._forget_messages(group)
        cause = self._store.failing
        # Some that came meanwhile may be duplicates of what is given up, and filtered for that.
        following = self._group.unacknowledged
        self._left_to_broker |= bool(group.kept_by_broker or following)
        following.clear()
        log.error(
            "{lost} messages are lost ({cause}); {kept} were not acknowledged, the broker keeps them",
            lost=group.count_lost(self._stats, cause),
            cause=cause,
            kept=group.kept_by_broker,
        )
        self._after_commit()

    def _after_commit(self) -> None:
        self.update_backpressure()
        if self._left_to_broker and not self._memory_is_full and not self._store.stopping:
            self._left_to_broker = False
            self._redeliver()

    def update_backpressure(self) -> None:
        """Have the broker wait while memory is used up, unless commits fail or we stop."""
        holds_back = (self._memory_is_full or self._asked_to_hold_back) and not self._store.failing
        if holds_back != self._holds_back and not self._store.stopping:
            self._holds_back = holds_back
            self._backpressure(holds_back)

    def hold_back(self, on: bool) -> None:
        """Have the broker wait until this is called again with False."""
        self._asked_to_hold_back = on
        self.update_backpressure()

    async def settle(self) -> None:
        """Commit what was taken until now, and wait until that is done or commits fail."""
        taken = [group for group in (self._committing, self._group) if group.messages]
        while not self._store.failing and any(
            group is self._committing or group is self._group for group in taken
        ):
            if self._under_way is None:
                self._start()
            else:
                waiter = Deferred[None]()
                self._waiters.append(waiter)
                await waiter

    async def commit(self, group: Group) -> bool:
        """Commit a group of the caller's own, retrying until it succeeds; False if it was given up."""
        done = await self._store.keep_committing(group, failed=self.update_backpressure)
        if done:
            self._on_disk(group)
        else:
            self._forget_messages(group)
        return done

    def _forget_messages(self, group: Group) -> None:
        if group.dated:
            # They are held as before, and judged again.
            self._forget([], [], group.registered)
            return
        late = [held.late for held in group.held if held.late is not None]
        self._forget(group.admitted, late, group.registered)

    async def stop(self) -> None:
        """Commit what is pending, now; if the disk fails, it is tried only once more. If this is cancelled,
        all that is not on disk is given up."""
        self._store.stop()
        if self._under_way is not None:
            await self._under_way
        self._cancel_timer()
        if self._cancelled and self._group.messages:
            group, self._group = self._group, Group()
            self._give_up(group)
        elif self._group.messages:
            await self._start()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
