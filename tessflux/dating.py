"""Messages whose time is not known when they come: they are held on disk, and judged once it is known.

There are two kinds. While the clock of this computer is not known, every message is held. Once it is known,
they are judged in the order in which they came, each with the date of its arrival; nothing more is read from
the broker until that is done. The other kind are readings that came late (`readings.backlog`): those of one
photometer are judged together when their times can be reckoned.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec
from twisted.logger import Logger

from tessflux.clock import Clock
from tessflux.limits import HELD_READINGS, REQUEUED
from tessflux.logs import Reports
from tessflux.readings import (
    LONGEST_WAIT,
    Admission,
    Admit,
    Episode,
    Held,
    Message,
    Outcome,
    Quarantined,
    Reckoned,
    Track,
    reckon,
)
from tessflux.spool import DISK_FAILED, Committer, Group, HeldAtStart, Store
from tessflux.stats import HELD, LOST, MqttStats

log = Logger(namespace="mqtt")

LOG_SECONDS = 600.0
"""Between two log lines about times that were reckoned: a photometer may be late again and again."""

SAME_CLOCK_MS = 60_000
"""A broker whose time is so near to ours may have ours."""

MOVED_MS = 1_000
"""A reading that came no later than this did not wait at the broker."""


Judging = Callable[[Message, Admit | None], Outcome]
"""Judges a message: see `Judge.judge`."""


class Dating:
    """Call `restore` first, `hold` with the messages that come while it `holds`, and `release` every
    second."""

    def __init__(
        self,
        clock: Clock,
        admission: Admission,
        committer: Committer,
        store: Store,
        stats: MqttStats,
        reports: Reports,
        judge: Judging,
    ) -> None:
        self._stats, self._reports = stats, reports
        self._clock, self._admission, self._judge = clock, admission, judge
        self._committer, self._store = committer, store
        self._undated = 0
        """Messages that are held because the clock was not known."""
        self._resumed: int | None = None
        """How much time had passed when a session was resumed before the clock was known."""
        self._waited = _Waited()

    def restore(self, held: HeldAtStart) -> None:
        """Remember what an earlier process has held."""
        self._undated = held.undated
        self._admission.restore_held(held.episodes, held.identities)

    def resumed(self) -> None:
        """The broker has kept our session: what comes first may have waited there."""
        if self._clock.known:
            self._admission.backlog.resumed(int(self._clock.now() * 1_000))
        else:
            self._resumed = self._clock.passed()

    @property
    def holds(self) -> bool:
        """Whether nobody knows yet when messages come, or some that came before are not judged yet."""
        return self._undated > 0 or not self._clock.known

    def hold(self, messages: Sequence[Message]) -> list[Held]:
        """The messages as they are held."""
        self._undated += len(messages)
        return [Held(message, None, self._clock.boot, self._clock.passed()) for message in messages]

    async def release(self) -> None:
        """Judge the messages whose time is known by now."""
        if not self._clock.known:
            self._clock.look()
        if self._clock.known and self._undated:
            self._committer.hold_back(True)
            if self._resumed is not None:
                self._admission.backlog.resumed(self._clock.date(self._resumed))
                self._resumed = None
            try:
                await self._release_undated()
            finally:
                self._committer.hold_back(False)
        now = int(self._clock.now() * 1_000)
        due = self._admission.due(now)
        if due:
            # Among what is not on disk yet may be the live reading that the others wait for.
            await self._committer.settle()
        for name, (track, episode) in due.items():
            try:
                await self._release_late(name, track, episode, now)
            except Exception:
                # Those of the other photometers do not wait for the mend.
                self._reports.bug(f"The times of held readings could not be reckoned: {name}")
            if self._store.stopping:
                return
        self._waited.log(self._clock.passed(), more=bool(self._admission.backlog.episodes))

    async def _release_undated(self) -> None:
        while self._undated:
            entries = await self._store.held("", REQUEUED)
            if entries is None:
                return
            if not entries and self._committer.pending:
                # Nothing more is read, so these are the last ones.
                await self._committer.settle()
                if self._store.failing:
                    return
                continue
            if not entries:
                self._undated = 0
                return
            outcomes = [self._dated(held) for held in entries.values()]
            if not await self._commit(entries, outcomes):
                return
            self._undated = max(0, self._undated - len(entries))

    def _dated(self, held: Held) -> Outcome:
        is_ours = held.boot == self._clock.boot
        date = self._clock.date(held.passed if is_ours else self._clock.passed())
        message = msgspec.structs.replace(held.message, received_at=date)
        if message.sent_at is not None and abs(message.sent_at - held.message.received_at) < SAME_CLOCK_MS:
            # A broker on this computer: its clock was as wrong as ours.
            message = msgspec.structs.replace(message, sent_at=None)
        if is_ours:
            return self._judge(message, None)
        outcome = self._judge(message, self._admission.admit_undated)
        if isinstance(outcome, Quarantined):
            # Nobody knows; what the clock showed says at least in which order they came.
            return outcome._replace(time=held.message.received_at)
        return outcome

    async def _release_late(self, name: str, track: Track, episode: Episode, now: int) -> None:
        """Judge the readings of a photometer that are held and on disk."""
        rows = await self._store.late_of(name)
        if rows is None:
            return
        missing = min(episode.count, HELD_READINGS) - len(rows)
        if missing > 0 and self._committer.pending:
            if 0 <= now - episode.since < LONGEST_WAIT:
                # Those on disk wait for those that are not yet there; the next look finds them.
                return
        elif missing > 0:
            # They are neither there nor on their way.
            self._stats.ended[HELD, ""] -= missing
            self._stats.ended[LOST, DISK_FAILED] += missing
            self._admission.backlog.released(name, missing)
        reckoned = reckon(track, [row[1:] for row in rows])
        times = dict(zip(rows, reckoned.times, strict=True))
        self._waited.add(reckoned, [arrival for _, _, arrival, _ in rows])
        for begin in range(0, len(rows), REQUEUED):
            found = await self._store.held(name, min(REQUEUED, len(rows) - begin)) or {}
            # After damage, other readings may have these numbers.
            entries = {number: held for number, held in found.items() if _row(number, held) in times}
            outcomes = [
                self._judge(held.message, partial(self._admission.admit_late, times[_row(number, held)]))
                for number, held in entries.items()
            ]
            if not entries or not await self._commit(entries, outcomes):
                return
            self._admission.backlog.released(name, len(entries))

    async def _commit(self, entries: dict[int, Held], outcomes: list[Outcome]) -> bool:
        """Each entry leaves the table in the same commit that stores its outcome."""
        group = Group(dated=list(entries))
        group.take(outcomes)
        return await self._committer.commit(group)


def _row(number: int, held: Held) -> tuple[int, float, int, int]:
    """What `Store.late_of` says of it."""
    late = held.late
    return number, late.seq if late else 0, held.message.received_at, late.connection if late else 0


class _Waited:
    """What is logged about readings that waited: how many, since when (ms), and how wrong (ms) their times
    may be."""

    def __init__(self) -> None:
        self._count, self._since, self._error, self._logged = 0, 0, 0.0, float("-inf")

    def add(self, reckoned: Reckoned, arrivals: list[int]) -> None:
        """Some more were released."""
        waited = [
            time for time, arrival in zip(reckoned.times, arrivals, strict=True) if arrival - time >= MOVED_MS
        ]
        if waited:
            self._since = min(self._since, waited[0]) if self._count else waited[0]
            self._count += len(waited)
            self._error = max(self._error, reckoned.error)

    def log(self, now: int, *, more: bool) -> None:
        """Log them, the first time once all have come; `now` is in ms."""
        is_first = self._logged < 0
        if not self._count or (more if is_first else now - self._logged < LOG_SECONDS * 1_000):
            return
        log.info(
            "{count} readings had waited at the broker since {since}; their times are reckoned,"
            " to about {error:.1f} s",
            count=self._count,
            since=f"{datetime.fromtimestamp(self._since / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC",
            error=self._error / 1_000,
        )
        self._count, self._error, self._logged = 0, 0.0, now
