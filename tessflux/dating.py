"""Messages whose time is not known when they come: they are held on disk, and judged once it is known.

There are two kinds. While the clock of this computer is not known, every message is held. Once it is known,
they are judged in the order in which they came, each with the date of its arrival; nothing more is read from
the broker until that is done. The other kind are readings that came late (`readings.backlog`): those of one
photometer are judged together when their times can be reckoned.
"""

from datetime import UTC, datetime
from typing import Protocol

import msgspec
from twisted.logger import Logger

from tessflux.clock import Clock
from tessflux.limits import REQUEUED
from tessflux.logs import Reports
from tessflux.readings import Admission, Episode, Held, Message, Outcome, Quarantined, Reckoned, Track, reckon
from tessflux.spool import Committer, Group, HeldAtStart, Store

log = Logger(namespace="mqtt")

PATIENCE_MS = 360_000
"""How long those that are on disk wait for those that are not yet; a disk that failed may have lost them."""

LOG_SECONDS = 60.0
"""Between two log lines about times that were reckoned, while a backlog comes."""

MOVED_MS = 1_000
"""A reading that came no later than this did not wait at the broker."""


class Judging(Protocol):
    """Judges a message: see `Judge.judge`."""

    def __call__(
        self, message: Message, *, published: int | None = None, arrival_known: bool = True
    ) -> Outcome: ...


class Dating:
    """Call `restore` first, `hold` with each message, and `release` every second."""

    def __init__(
        self,
        clock: Clock,
        admission: Admission,
        committer: Committer,
        store: Store,
        reports: Reports,
        judge: Judging,
    ) -> None:
        self._reports = reports
        self._clock, self._admission, self._judge = clock, admission, judge
        self._committer, self._store = committer, store
        self._undated = 0
        """Messages that are held because the clock was not known."""
        self._waited = _Waited()

    def restore(self, held: HeldAtStart) -> None:
        """Remember what an earlier process has held."""
        self._undated = held.undated
        self._admission.restore_held(held.episodes, held.identities)

    def hold(self, message: Message) -> Held | None:
        """The message as it is held, if nobody knows yet when it came."""
        if self._clock.known and not self._undated:
            return None
        self._undated += 1
        return Held(message, None, self._clock.boot, self._clock.passed())

    async def release(self) -> None:
        """Judge the messages whose time is known by now."""
        if not self._clock.known:
            self._clock.look()
        if self._clock.known and self._undated:
            self._committer.hold_back(True)
            try:
                await self._release_undated()
            finally:
                self._committer.hold_back(False)
        now = int(self._clock.now() * 1_000)
        for name, (track, episode) in self._admission.due(now).items():
            try:
                done = await self._release_late(
                    name, track, episode, overdue=now - episode.since > PATIENCE_MS
                )
            except Exception:
                # Those of the other photometers do not wait for the mend.
                self._reports.bug(f"The times of held readings could not be reckoned: {name}")
            else:
                if not done:
                    return
        self._waited.log(self._clock.passed(), more=bool(self._admission.backlog.episodes))

    async def _release_undated(self) -> None:
        while self._undated:
            entries = await self._store.held("", REQUEUED)
            if not entries:
                if not self._committer.pending:
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
        if is_ours:
            return self._judge(message)
        outcome = self._judge(message, arrival_known=False)
        if isinstance(outcome, Quarantined):
            # Nobody knows; what the clock showed says at least in which order they came.
            return outcome._replace(time=held.message.received_at)
        return outcome

    async def _release_late(self, name: str, track: Track, episode: Episode, *, overdue: bool) -> bool:
        """Judge the readings of a photometer that are held; False if a stop came."""
        rows = await self._store.late_of(name)
        if len(rows) < episode.count and self._committer.pending and not overdue:
            # The next look finds them on disk.
            return True
        # What is neither there nor on its way was lost with a damaged disk.
        count = max(len(rows), episode.count)
        reckoned = reckon(track, [(seq, arrival) for _, seq, arrival in rows])
        times = {number: time for (number, _, _), time in zip(rows, reckoned.times, strict=True)}
        self._waited.add(reckoned, [arrival for _, _, arrival in rows])
        for begin in range(0, len(rows), REQUEUED):
            entries = await self._store.held(name, min(REQUEUED, len(rows) - begin))
            outcomes = [
                self._judge(held.message, published=times[number])
                for number, held in entries.items()
                if number in times
            ]
            if not await self._commit(entries, outcomes):
                return False
        self._admission.backlog.released(name, count)
        return True

    async def _commit(self, entries: dict[int, Held], outcomes: list[Outcome]) -> bool:
        """Each entry leaves the table in the same commit that stores its outcome."""
        group = Group(dated=list(entries))
        for outcome in outcomes:
            group.take(outcome, None)
        return await self._committer.commit(group)


class _Waited:
    """What is logged about readings that waited: how many, since when (ms), and how wrong (ms) their times
    may be."""

    def __init__(self) -> None:
        self._count, self._since, self._error, self._logged = 0, 0, 0.0, 0

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
        """Log them once all have come, or after a while; `now` is in ms."""
        if not self._count or (more and now - self._logged < LOG_SECONDS * 1_000):
            return
        log.info(
            "{count} readings had waited at the broker since {since}; their times are reckoned,"
            " to about {error:.1f} s",
            count=self._count,
            since=f"{datetime.fromtimestamp(self._since / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC",
            error=self._error / 1_000,
        )
        self._count, self._error, self._logged = 0, 0.0, now
