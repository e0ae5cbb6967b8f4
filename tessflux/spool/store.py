"""The reactor's side of the spool's file, and the numbers of its lines.

Lines are numbered as they are committed. `last` is the number of the newest line on disk. Each output has a
position among them. A commit records it, and deletes the lines that no output needs any more; if the outputs
take lines twice without harm, only some commits do, since that takes more pages of the disk than a second's
readings. All SQLite runs in one thread; its calls come back in the order in which they were made. A failure
is logged when it begins, once a minute while it lasts, and when it is over.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.config import SpoolConfig
from tessflux.limits import GROUP_READINGS
from tessflux.logs import RateLimit
from tessflux.readings import Admitted, Held, Quarantined, Said
from tessflux.spool.file import SpoolFile
from tessflux.spool.group import Group
from tessflux.spool.held import HeldAtStart
from tessflux.spool.journal import Batch, Figures, Journal, Mark, NoRoom
from tessflux.spool.positions import Keeping, Position
from tessflux.stats import CommitStats

log = Logger(namespace="spool")

MINUTE = 60.0
"""Seconds between two log lines about a failure that lasts."""

RETRY = 1.0
"""Seconds between two attempts to commit."""

RECORD = 10.0
"""Seconds for which the positions on disk may be out of date, if that doubles nothing after a kill."""

ATTEMPTS = 5
"""How often a commit that fails because of our own bug is tried. Then it is given up, so that others
succeed."""

GIVE_WAY = 10
"""Of a full spool, the part that an output has to miss at once if it is not required."""

SPOOL_FULL = "spool full"
DISK_FAILED = "disk failed"
BUG = "internal error"
LOSSES = (SPOOL_FULL, DISK_FAILED, BUG)
"""What a reading can be lost by."""

_ADVICE = {
    SPOOL_FULL: "Bring the database back or raise [spool] max_size",
    DISK_FAILED: "Check the disk and its permissions",
}

NO_LINES = Batch(0, [])

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
        self.last = 0
        """The number of the newest line."""
        self.positions: dict[str, Position] = {}
        """By the names of the outputs."""
        self.forgotten = 0
        """Quarantined payloads that went because newer ones came."""
        self.failing = ""
        """Why no commit succeeds now, "" while they do."""
        self.commits = CommitStats()
        self._first = 0
        """No line up to this number is on disk."""
        self._recorded: dict[str, Mark] = {}
        """The positions on disk."""
        self._recorded_at = float("-inf")
        """When they were recorded (clock seconds)."""
        self._gone: dict[str, Mark | None] = {}
        """Outputs that are no more, but still on disk."""
        self._running = 0
        self._commit_failures = RateLimit(clock, period=MINUTE, lines=3)
        self._other_failures = RateLimit(clock, period=MINUTE, lines=1)
        self._missing_out = RateLimit(clock, period=MINUTE, lines=1)

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted, self.last, self._first, self._recorded = await self._ask(
            lambda journal: (list(journal.admitted()), journal.last, journal.first, journal.outputs())
        )
        return admitted

    def keep_for(self, outputs: Mapping[str, Keeping]) -> None:
        """Keep lines for these outputs and no others.

        One that is new begins with the next line. The first one of all gets what waits already.
        """
        begins_at_oldest = not self._recorded and not self.positions
        self._gone = dict.fromkeys((self.positions.keys() | self._recorded.keys()) - outputs.keys())
        for name in sorted(self._gone):
            self.positions.pop(name, None)
            log.warn("[{output}] is no longer in the config: nothing waits for it any more", output=name)
        for name, keeping in outputs.items():
            if name in self.positions:
                continue
            mark = self._recorded.get(name)
            if mark is None:
                begin = self._first if begins_at_oldest or keeping.begins_at_oldest else self.last
                mark = Mark(begin, begin)
            self.positions[name] = Position(*mark, keeping)

    def stop(self) -> None:
        """A stop has begun: a commit that fails is not retried."""
        self.stopping = True

    def retire(self, output: str, batch: Batch) -> None:
        """An output has dealt with all lines of a batch; a commit will record it."""
        if position := self.positions.get(output):
            position.retire(batch.last, batch.generation, self._clock.seconds())

    async def close(self) -> None:
        """Write down what is retired, and close the file; nothing more after it."""
        self._recorded_at = float("-inf")
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
            self._commit_failed(error, await self._cause(error, Group()))

    async def commit(self, group: Group, output: str = "", batch: Batch = NO_LINES) -> bool:
        """Try once to make a group durable, and the fact that an `output` has dealt with a batch; False if
        that failed."""
        marks = self._marks(output, batch.last)
        changed = {name: mark for name, mark in marks.items() if self._recorded.get(name) != mark}
        gone = self._gone
        records = bool(output or gone) or self._is_to_record(marks, changed)
        first = self._deletable(marks) if records else self._first
        if not records:
            changed = {}
        self._running += 1
        began = self._clock.seconds()
        try:
            forgotten = await self._ask(Journal.commit, group, first, changed | gone)
        except Exception as error:
            self.commits.failed += 1
            cause = await self._cause(error, group)
            is_full = cause == SPOOL_FULL or isinstance(error, NoRoom)
            if is_full and (not records or await self._make_room()):
                self._recorded_at = float("-inf")
                return await self.commit(group, output, batch)
            self._commit_failed(error, cause)
            return False
        finally:
            self._running -= 1
        self.commits.took(self._clock.seconds() - began)
        if records:
            self._recorded_at = began
        self.last += len(group.lines)
        self._first = max(first, self._first)
        # Not all marks: a file that was begun anew has no others.
        self._recorded |= changed
        for name in gone:
            self._recorded.pop(name, None)
        self._gone = {name: None for name in self._gone if name not in gone}
        self.retire(output, batch)
        self.forgotten += forgotten
        # Forgetting what is delivered may succeed while readings find no room.
        if self.failing and (group.lines or group.quarantined or group.held):
            self.failing = ""
            # A full spool that is being emptied may fail and succeed many times a second.
            if self._commit_failures.over(forget=False):
                log.info("The spool takes readings again")
        return True

    def _deletable(self, marks: Mapping[str, Mark]) -> int:
        """Up to which number no output needs a line any more."""
        return min((mark.settled for mark in marks.values()), default=self._first)

    def _is_to_record(self, marks: Mapping[str, Mark], changed: Iterable[str]) -> bool:
        """Whether the next commit records how far the outputs have come, and deletes what none needs."""
        return (
            # What it deletes makes room on a full disk.
            bool(self.failing)
            or self._clock.seconds() >= self._recorded_at + RECORD
            or self._deletable(marks) >= self._first + GROUP_READINGS
            or any(name not in self._recorded for name in changed)
            or any(not self.positions[name].keeping.resend for name in changed)
        )

    def _marks(self, output: str, retired: int) -> dict[str, Mark]:
        """How far the outputs have come, and one of them a little further than it says."""
        marks = {}
        for name, position in self.positions.items():
            settled, answered = position.settled, position.answered
            if name == output:
                answered = max(answered, retired)
                settled = settled if position.keeping.resend else max(settled, retired)
            marks[name] = Mark(settled, answered)
        return marks

    async def _make_room(self) -> bool:
        """Give up the oldest lines, if they need not stay: those that may have to be sent again, but hardly,
        and are kept for nothing else, or those that are kept for an output that is not required. Whether
        there are any."""
        settled = {name: position.settled for name, position in self.positions.items()}
        first = min(settled.values(), default=self.last)
        oldest = [position for position in self.positions.values() if position.settled == first]
        now = self._clock.seconds()
        if oldest and all(position.may_let_go(self.last, now) for position in oldest):
            for position in oldest:
                position.let_go_oldest()
            return True
        needed = min(
            (position.settled for position in self.positions.values() if position.keeping.required),
            default=self.last,
        )
        if needed <= first:
            return False
        some = first + max(GROUP_READINGS, (self.last - first) // GIVE_WAY)
        # A chunk of which only the beginning is missed would make no room, and be delivered as a whole.
        until = min(needed, await self._read(lambda journal: journal.end_of_chunk(some), otherwise=some))
        late = [name for name, position in self.positions.items() if position.settled < until]
        for name in late:
            missed = self.positions[name].skip(until)
            if missed and self._missing_out.admits(name):
                log.error(
                    "The spool is full: [{output}] is not required and misses its oldest {missed} readings",
                    output=name,
                    missed=missed,
                )
        return bool(late)

    async def keep_committing(
        self,
        group: Group,
        output: str = "",
        batch: Batch = NO_LINES,
        *,
        failed: Callable[[], None] = lambda: None,
    ) -> bool:
        """Commit a group for as long as it takes, and call `failed` for each failure; False if a stop came
        before it succeeded, or if it fails because of our own bug."""
        attempts = 0
        while not await self.commit(group, output, batch):
            attempts += 1
            failed()
            if self.stopping or (self.failing == BUG and attempts >= ATTEMPTS):
                return False
            await deferLater(self._clock, RETRY)
        return True

    async def tidy(self) -> None:
        """Write down how far the outputs have come, if no commit is about to do so. Call it now and then."""
        if self._running:
            return
        marks = self._marks("", 0)
        # While lines are let go one after the other, nothing is written for each step.
        news = [
            name
            for name, mark in marks.items()
            if mark.answered != (old := self._recorded.get(name, Mark(-1, -1))).answered
            or (mark.settled != old.settled and mark.settled == mark.answered)
        ]
        if self._gone or (news and self._is_to_record(marks, news)):
            await self.commit(Group())

    async def head(self, after: int, limit: int, until: int | None = None) -> Batch:
        """The oldest lines after number `after`, in whole chunks, and none after number `until`; empty when
        there are none."""
        return await self._read(lambda journal: journal.head(after, limit, until), otherwise=NO_LINES)

    async def figures(self) -> Figures | None:
        """What the file holds; None if the disk fails. It waits for the calls before it."""
        delivered = {name: position.delivered for name, position in self.positions.items()}
        return await self._read(lambda journal: journal.figures(delivered), otherwise=None)

    async def requeued(self, limit: int) -> dict[int, Quarantined]:
        """The oldest in quarantine that an operator wants to be tried again, by their numbers."""
        if self.stopping:
            return {}
        return await self._read(lambda journal: journal.quarantine.requeued(limit), otherwise={})

    async def registered(self) -> list[tuple[str, Said]]:
        """What was written last of what each photometer says of itself, the oldest first. Raises
        sqlite3.Error or OSError."""
        return await self._ask(lambda journal: journal.registered.all())

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
            self._first = self.last
            self._recorded = {}
            for position in self.positions.values():
                position.begin_anew(self.last)
        return result

    def _failed(self, text: str, error: Exception) -> None:
        if self._other_failures.admits(text):
            log.error(text, error=error)

    def _commit_failed(self, error: Exception, cause: str) -> None:
        self.failing = cause
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
