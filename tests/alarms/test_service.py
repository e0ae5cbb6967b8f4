"""The alarms through time, with a program and a disk that do what a test wants."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, PropertyMock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.alarms import Alarms, Ended, Notice
from tessflux.alarms.kept import FILE_NAME
from tessflux.alarms.service import FAILURE_PERIOD
from tessflux.config import AlarmConfig
from tessflux.photometers import HEARD, MOVED, SILENT, Event, Register
from tessflux.status import Snapshot
from tests.log_lines import record
from tests.status.site import BROKER, NOW, WELL

CONFIG = AlarmConfig(command="/usr/local/bin/alarm", per_hour=3)
AWAY = replace(WELL, broker=replace(BROKER, state="away", since=NOW - 600, problem="refused"))
WELL_TEXT = "the broker at tcp:localhost:1883 is back"
AWAY_TEXT = "the broker at tcp:localhost:1883 is away since 2027-01-15 07:50 UTC: refused"


class Program:
    """Runs begin in `runs`, and last until the test ends them."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, Notice]] = []
        self.stopped = False
        self.running: Deferred[Ended] | None = None

    def run(self, path: str, notice: Notice) -> Any:
        assert self.running is None, "one at a time"
        self.runs.append((path, notice))
        self.running = Deferred()
        return self.running

    def stop(self) -> None:
        self.stopped = True

    def end(self, problem: str = "", *, stopped: bool = False) -> None:
        running, self.running = self.running, None
        assert running is not None
        running.callback(Ended(problem, "no route to host" if problem else "", stopped))

    @property
    def texts(self) -> list[str]:
        return [notice.text for _, notice in self.runs]


class World:
    """Alarms, and what is around them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock, self.snapshot = Clock(), WELL
        self.begin()

    def begin(self, config: AlarmConfig = CONFIG) -> None:
        """Start a process."""
        self.program, self.register = Program(), Mock(Register)
        self.silent: list[str] = []
        type(self.register).silent = PropertyMock(side_effect=lambda: len(self.silent))
        self.register.all = lambda: [
            SimpleNamespace(name=name, silent=True, heard=int(NOW * 1_000)) for name in self.silent
        ]
        self.alarms = Alarms(
            config,
            str(self.directory),
            self.register,
            self.program,
            snapshot=self._take,
            clock=self.clock,
            now=lambda: NOW,
            in_thread=self._in_thread,
            run_in_thread=self._in_thread,
        )
        self.do(self.alarms.open)

    async def _take(self) -> Snapshot:
        return self.snapshot

    async def _in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        result = call(*args)
        return await result if isinstance(result, Deferred) else result

    def do(self, call: Callable[[], Any]) -> None:
        result: list[Any] = []
        Deferred.fromCoroutine(call()).addBoth(result.append)
        assert result == [None]

    def look(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.do(self.alarms.look)


class Service(SynchronousTestCase):
    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.said = record(self, "tessflux")
        self.world = World(Path(directory.name))

    def test_what_begins_and_ends_is_told_and_logged_once(self) -> None:
        world = self.world
        for snapshot in (WELL, AWAY, AWAY):
            world.look(snapshot)
        assert [alarm.text for alarm in world.alarms.raised] == [AWAY_TEXT]
        for snapshot in (WELL, WELL):
            world.look(snapshot)
        assert world.program.texts == [AWAY_TEXT]
        world.program.end()
        assert world.program.texts == [AWAY_TEXT, WELL_TEXT]
        assert {path for path, _ in world.program.runs} == {"/usr/local/bin/alarm"}
        assert self.said() == [f"Alarm: {AWAY_TEXT}"]
        assert self.said(LogLevel.info) == [f"Alarm over: {WELL_TEXT}"]
        assert world.alarms.raised == []

    def test_without_a_command_the_log_says_it_all_the_same(self) -> None:
        self.world.begin(AlarmConfig())
        self.world.look(AWAY)
        assert self.world.program.runs == []
        assert self.said() == [f"Alarm: {AWAY_TEXT}"]
        assert self.world.clock.getDelayedCalls() == []

    def test_a_restart_raises_nothing_again(self) -> None:
        self.world.look(AWAY)
        self.world.program.end()
        self.world.begin()
        self.world.look(AWAY)
        assert self.world.program.texts == []
        self.world.look(WELL)
        assert self.world.program.texts == [WELL_TEXT]

    def test_what_a_kill_kept_from_being_told_is_told_by_the_next_process(self) -> None:
        self.world.look(AWAY)
        assert len(self.world.program.runs) == 1
        self.world.begin()
        assert self.world.program.texts == [], "a start handles no signals yet, which a run lets through"
        self.world.look(AWAY)
        assert self.world.program.texts == [AWAY_TEXT]

    def test_a_stop_ends_the_command_and_the_next_process_tells_it_again(self) -> None:
        world = self.world
        world.look(AWAY)
        world.alarms.stop()
        assert world.program.stopped
        world.program.end("was ended", stopped=True)
        world.do(world.alarms.close)
        assert world.clock.getDelayedCalls() == []
        assert len(self.said()) == 1, "a stop is no failure"
        world.begin()
        world.look(AWAY)
        assert world.program.texts == [AWAY_TEXT]

    def test_a_damaged_file_is_forgotten(self) -> None:
        self.world.look(AWAY)
        (self.world.directory / FILE_NAME).write_text("{")
        self.world.begin()
        self.world.look(AWAY)
        assert self.world.program.texts == [AWAY_TEXT]

    def test_a_command_that_fails_is_logged_and_tried_again(self) -> None:
        world = self.world
        world.look(AWAY)
        world.program.end("failed with exit code 1")
        assert self.said()[1:] == [
            "The alarm command /usr/local/bin/alarm failed with exit code 1; it is tried again."
            " See 'tessflux test-alarm'. It printed: no route to host"
        ]
        assert len(world.program.runs) == 1
        world.clock.advance(60)
        assert world.program.texts == [AWAY_TEXT, AWAY_TEXT]

    def test_a_bug_of_ours_is_a_failure_like_any_other(self) -> None:
        world = self.world
        world.look(AWAY)
        running, world.program.running = world.program.running, None
        assert running is not None
        running.errback(ZeroDivisionError())
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        world.clock.advance(60)
        assert world.program.texts == [AWAY_TEXT, AWAY_TEXT]

    def test_a_command_that_is_mended_by_a_reload_is_used_at_the_next_attempt(self) -> None:
        world = self.world
        world.look(AWAY)
        world.program.end("failed with exit code 1")
        world.alarms.reconfigure(replace(CONFIG, command="/mended"))
        world.clock.advance(60)
        assert world.program.runs[-1][0] == "/mended"

    def test_no_more_than_so_many_in_an_hour(self) -> None:
        world = self.world
        for snapshot in (AWAY, WELL) * 4:
            world.look(snapshot)
            if world.program.running:
                world.program.end()
        assert len(world.program.runs) == 3
        world.clock.advance(3_600)
        _, last = world.program.runs[-1]
        assert (last.text, last.more) == (WELL_TEXT, 4)

    def test_photometers_that_are_silent_or_heard_again_are_told_as_one(self) -> None:
        world = self.world
        names = tuple(f"stars{number}" for number in range(1_000))
        world.silent = list(names)
        world.alarms.heard(Event(SILENT, names, int(NOW * 1_000)))
        [alarm] = world.alarms.raised
        assert (alarm.kind, alarm.since) == ("silent", NOW)
        assert "1,000 photometers are silent" in alarm.text
        world.silent = []
        assert world.alarms.raised == []
        world.alarms.heard(Event(HEARD, ("stars7",), int(NOW * 1_000)))
        world.program.end()
        [silent, heard] = [notice for _, notice in world.program.runs]
        assert (silent.event, silent.state, silent.subject) == ("silent", "raised", "")
        assert (heard.event, heard.state, heard.subject) == ("silent", "cleared", "stars7")
        assert self.said() == [], "the register has said it"

    def test_nobody_is_told_of_silence_if_the_config_says_so(self) -> None:
        self.world.begin(replace(CONFIG, silent=False))
        self.world.silent = ["stars1"]
        self.world.alarms.heard(Event(SILENT, ("stars1",), 0))
        assert self.world.alarms.raised == []
        assert self.world.program.runs == []

    def test_a_name_that_moves_to_another_mac_is_told_once_and_raises_nothing_that_lasts(self) -> None:
        world = self.world
        moved = Event(MOVED, ("stars7",), int(NOW * 1_000) - 5_000)
        world.alarms.heard(moved)
        [notice] = [notice for _, notice in world.program.runs]
        assert (notice.event, notice.state, notice.subject) == ("moved", "raised", "stars7")
        assert (notice.text, notice.since) == (str(moved), NOW - 5)
        world.program.end()
        world.look(WELL)
        assert (world.alarms.raised, len(world.program.runs)) == ([], 1)
        world.begin(replace(CONFIG, moved=False))
        world.alarms.heard(moved)
        assert world.program.runs == []

    def test_a_disk_that_fails_is_said_once_and_hinders_nothing(self) -> None:
        self.world.directory = Path("/proc/none")
        self.world.begin()
        self.world.look(AWAY)
        self.world.look(AWAY)
        assert self.world.program.texts == [AWAY_TEXT]
        [line] = [line for line in self.said() if "cannot be used" in line]
        assert "/proc/none/alarms.json" in line
        self.world.clock.advance(FAILURE_PERIOD)
        self.world.look(AWAY)
        assert len([line for line in self.said() if "cannot be used" in line]) == 2
