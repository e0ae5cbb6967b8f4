"""The alarms through time: when a look is taken, a notice told, and the file saved.

Nothing here hinders the readings: a look takes a snapshot, as everybody may; the command and the disk have
threads. Silence is raised by the register of photometers, which remembers over restarts who is silent.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tessflux.alarms import kept
from tessflux.alarms.board import Board
from tessflux.alarms.command import Ended
from tessflux.alarms.kept import Kept
from tessflux.alarms.notice import CLEARED, RAISED, Notice, one_line
from tessflux.alarms.outbox import Outbox
from tessflux.config import AlarmConfig
from tessflux.logs import RateLimit
from tessflux.photometers import MOVED, SILENT, Event, InThread, Register
from tessflux.status import Alarm, Snapshot

log = Logger(namespace="tessflux")

LOOK = 2.0
"""Seconds between two calls of `look`: less than any time that the config may ask for."""

FAILURE_PERIOD = 3_600.0
"""Seconds between two log lines about a file that cannot be saved."""


class Program(Protocol):
    """Tells a notice to the program at a path; blocking, but for `stop`, which any thread may call."""

    def run(self, path: str, notice: Notice) -> Ended: ...
    def stop(self) -> None: ...


class Alarms:
    """`open` it first, then `look` every LOOK seconds, `heard` with each event; `stop`, and `close` it last.

    `snapshot` takes one, `now` gives seconds since 1970 UTC. The file has one thread; `run_in_thread` is for
    the command, which may take a minute.
    """

    def __init__(
        self,
        config: AlarmConfig,
        directory: str,
        register: Register,
        program: Program,
        *,
        snapshot: Callable[[], Awaitable[Snapshot]],
        clock: IReactorTime,
        now: Callable[[], float],
        in_thread: InThread,
        run_in_thread: InThread,
    ) -> None:
        self._config, self._directory = config, directory
        self._register, self._program = register, program
        self._snapshot, self._clock, self._now = snapshot, clock, now
        self._in_thread, self._run_in_thread = in_thread, run_in_thread
        self._board, self._outbox = Board(), Outbox()
        self._silent: tuple[int, list[Alarm]] = 0, []
        self._saved = Kept()
        self._one_save = DeferredLock()
        self._failures = RateLimit(clock, period=FAILURE_PERIOD, lines=1)
        self._timer: IDelayedCall | None = None
        self._stopping = False

    @property
    def raised(self) -> list[Alarm]:
        """All that are raised now."""
        return [*self._board.raised, *(self._silence() if self._config.silent else ())]

    def _silence(self) -> list[Alarm]:
        count, alarms = self._silent
        # It takes long to look at a hundred thousand.
        if count != (now := self._register.silent):
            silent = [each for each in self._register.all() if each.silent]
            alarms = []
            if silent:
                since = max(each.heard for each in silent)
                event = Event(SILENT, tuple(sorted(each.name for each in silent)), since)
                alarms = [Alarm("silent", _only(event), since / 1_000, one_line(str(event)))]
            self._silent = now, alarms
        return alarms

    async def open(self) -> None:
        """Remember what an earlier process kept. Raises nothing."""
        try:
            before: Kept = await self._in_thread(kept.load, self._directory)
        except OSError as error:
            self._failed(error)
            return
        self._saved = before
        self._board.restore(before.raised)
        if self._config.command:
            self._outbox.restore(before.untold)

    def reconfigure(self, config: AlarmConfig) -> None:
        """Use another config from the next look on."""
        self._config = config
        self._tell()

    def heard(self, event: Event) -> None:
        """Photometers are silent, heard again or moved; the log has that already."""
        if event.kind == MOVED:
            if self._config.moved:
                # It is never over.
                self._put(Notice("moved", RAISED, _only(event), str(event), self._now(), event.since / 1_000))
            return
        self._silent = -1, []
        if self._config.silent:
            state = RAISED if event.kind == SILENT else CLEARED
            self._put(Notice("silent", state, _only(event), str(event), self._now(), event.since / 1_000))

    async def look(self) -> None:
        """See what has changed, tell it, and keep it. Nothing is told before the first one: `Command` lets
        signals through, and one that comes during a start would end a process that does not handle it yet."""
        if self._stopping:
            return
        for notice in self._board.look(await self._snapshot(), self._config):
            if notice.state == RAISED:
                log.warn("Alarm: {text}", text=notice.text)
            else:
                log.info("Alarm over: {text}", text=notice.text)
            self._put(notice)
        self._tell()
        await self.save()

    def _put(self, notice: Notice) -> None:
        if self._config.command:
            self._outbox.put(notice)
            self._tell()

    def _tell(self) -> None:
        """Tell the next notice, now or when that may be."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        delay = None if self._stopping else self._outbox.delay(self._clock.seconds(), self._config.per_hour)
        if delay:
            self._timer = self._clock.callLater(delay, self._tell)
        elif delay == 0 and self._config.command:
            work = Deferred.fromCoroutine(self._run(self._config.command))
            work.addErrback(partial(log.failure, "An alarm could not be told"))

    async def _run(self, command: str) -> None:
        notice = self._outbox.take(self._clock.seconds())
        try:
            ended: Ended = await self._run_in_thread(self._program.run, command, notice)
        except Exception:
            # Else this one would be told for ever, and none after it.
            log.failure("An alarm could not be told")
            ended = Ended("was not run, or its end not seen")
        if ended.stopped:
            self._outbox.interrupted()
            return
        if not ended.problem:
            self._outbox.told()
        else:
            again = self._outbox.failed(self._clock.seconds())
            log.error(
                "The alarm command {command} {problem}; {again}. See 'tessflux test-alarm'. It printed:"
                " {output}",
                command=command,
                problem=ended.problem,
                again="it is tried again" if again else f"nobody was told: {notice.text}",
                output=ended.output or "nothing",
            )
        self._tell()
        # A kill before the next look would have it told twice.
        await self.save()

    async def save(self) -> None:
        """Save what changed."""
        await self._one_save.run(lambda: Deferred.fromCoroutine(self._save()))

    async def _save(self) -> None:
        new = Kept(self._board.raised, self._outbox.untold)
        if new == self._saved:
            return
        try:
            await self._in_thread(kept.save, self._directory, new)
        except OSError as error:
            self._failed(error)
            return
        self._saved = new
        if self._failures.over():
            log.info("The alarms can be saved again")

    def _failed(self, error: OSError) -> None:
        if self._failures.admits("file"):
            log.error(
                "{path} cannot be used: {error}. A restart may raise alarms once more; check the disk and its"
                " permissions",
                path=f"{self._directory}/{kept.FILE_NAME}",
                error=error.strerror,
            )

    def stop(self) -> None:
        """Tell nothing more; what was not told is told after the next start."""
        self._stopping = True
        self._program.stop()
        self._tell()

    async def close(self) -> None:
        """Save what changed."""
        await self.save()


def _only(event: Event) -> str:
    """The photometer, if it is one."""
    return event.names[0] if len(event.names) == 1 else ""
