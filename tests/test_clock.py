"""What time it is: believed when the kernel says that it is synchronised, or after a wait since the boot.

How much time has passed is never in doubt.
"""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux import clock
from tests.log_lines import record

NOW = 1_795_700_000.0
DAY = 86_400.0
OK, TIME_ERROR, UNSYNC = 0, 5, 0x40

SYNCHRONISED = "The clock of this computer is synchronised"
BELIEVED = (
    "The kernel does not say that its clock is synchronised; this computer runs for more than"
    " {} s ([global] clock_wait), so tessflux believes it"
)


@dataclass
class Computer:
    """Its true time, how long it is up, by how much its clock is wrong, and whether NTP has answered."""

    up: float = 10.0
    wrong: float = 0.0
    synchronised: bool = False
    time: float = field(default=NOW, init=False)

    def later(self, seconds: float) -> None:
        self.time += seconds
        self.up += seconds

    def ntp_answers(self) -> None:
        self.wrong, self.synchronised = 0.0, True

    def clock(self, wait: float = 300.0) -> clock.Clock:
        """The clock of a daemon that starts now."""
        return clock.Clock(
            wait,
            wall=lambda: self.time + self.wrong,
            boot_seconds=lambda: self.up,
            synchronised=lambda: self.synchronised,
            boot_id=lambda: "a boot",
        )


class ClockCase(SynchronousTestCase):
    def setUp(self) -> None:
        lines = record(self, "tessflux")
        self.logged = lambda: lines(*LogLevel.iterconstants())


class Known(ClockCase):
    def test_ntp_that_has_answered_before_the_start_is_believed_without_a_word(self) -> None:
        clock = Computer(synchronised=True).clock()
        assert clock.known
        assert not clock.look()
        assert self.logged() == []

    def test_ntp_that_answers_after_20_seconds_makes_it_known_once(self) -> None:
        for wrong, said in (
            (0.0, ""),
            (0.9, ""),
            (-NOW, "; since tessflux started it was set forward by 1795700000 s"),
            (-2 * DAY, "; since tessflux started it was set forward by 172800 s"),
            (3600.0, "; since tessflux started it was set back by 3600 s"),
        ):
            computer = Computer(wrong=wrong)
            clock = computer.clock()
            looks = []
            for _ in range(20):
                computer.later(1)
                looks.append(clock.look())
            assert not clock.known
            computer.ntp_answers()
            looks += [clock.look(), clock.look()]
            assert looks == [False] * 20 + [True, False]
            assert clock.known
            assert self.logged()[-1] == SYNCHRONISED + said
        assert len(self.logged()) == 5

    def test_without_an_answer_it_is_believed_when_the_computer_is_up_for_so_long(self) -> None:
        """What counts is the boot, not the start of the daemon."""
        computer = Computer(up=200.0, wrong=-2 * DAY)
        clock = computer.clock()
        computer.later(99)
        assert not clock.look()
        computer.later(1)
        assert clock.look()
        assert not clock.look()
        assert clock.known
        assert self.logged() == [BELIEVED.format(300)]

    def test_a_computer_that_is_up_for_longer_is_believed_at_the_start(self) -> None:
        """A container, whose kernel may never say that it is synchronised."""
        clock = Computer(up=300.0).clock()
        assert clock.look()
        assert clock.known
        assert self.logged() == [BELIEVED.format(300)]

    def test_a_wait_of_0_believes_at_once(self) -> None:
        assert Computer(up=0.0).clock(wait=0).known
        assert self.logged() == []

    def test_a_wait_that_is_made_shorter_is_over_sooner(self) -> None:
        clock = Computer(up=20.0).clock()
        assert not clock.look()
        clock.wait = 15.5
        assert clock.look()
        assert self.logged() == [BELIEVED.format(15.5)]

    def test_once_known_it_stays_known(self) -> None:
        """The kernel takes it back when NTP has not answered for nine hours."""
        computer = Computer(synchronised=True)
        clock = computer.clock()
        computer.synchronised = False
        computer.later(5)
        assert not clock.look()
        assert clock.known


@pytest.mark.parametrize("wrong", [0.0, -NOW, -2 * DAY, 3600.0])
def test_once_the_clock_is_right_each_moment_of_this_boot_has_its_true_time(wrong: float) -> None:
    computer = Computer(wrong=wrong)
    clock = computer.clock()
    assert clock.now() == NOW + wrong
    moments = {}
    for _ in range(20):
        computer.later(1.5)
        moments[clock.passed()] = computer.time
    computer.ntp_answers()
    computer.later(7)
    assert {clock.date(passed): true for passed, true in moments.items()} == {
        int(true * 1000): true for true in moments.values()
    }


def test_a_computer_that_interrupts_us_between_two_looks_makes_no_time_wrong() -> None:
    computer = Computer(synchronised=True)
    clock = computer.clock()
    passed, at = clock.passed(), computer.time
    busy = [0.04, 0.04]

    def interrupted() -> float:
        time = computer.time
        if busy:
            computer.later(busy.pop())
        return time

    clock._wall = interrupted
    assert clock.date(passed) == pytest.approx(at * 1000, abs=1)


def test_what_has_passed_does_not_change_when_the_clock_is_set() -> None:
    computer = Computer(up=12.3456)
    clock = computer.clock()
    assert clock.passed() == 12_345
    computer.wrong = DAY
    assert clock.passed() == 12_345


# What the kernel says


@pytest.mark.parametrize(
    ("state", "status", "synchronised"),
    [
        (OK, 0, True),
        (OK, 0x2001, True),  # what ntpd and chrony set besides
        (1, 0x10, True),  # a leap second is to come
        (3, 0x10, True),  # it is now
        (OK, UNSYNC, False),
        (TIME_ERROR, UNSYNC, False),
        (TIME_ERROR, 0x1000, False),  # the clock's hardware has failed
        (-1, 0, False),  # EPERM or ENOSYS: some containers
    ],
)
def test_what_adjtimex_says(state: int, status: int, synchronised: bool) -> None:
    def adjtimex(timex: clock._Timex) -> int:
        assert timex.modes == 0
        timex.status = status
        return state

    assert clock.kernel_is_synchronised(adjtimex) is synchronised


def test_the_kernel_of_this_computer_answers() -> None:
    timex = clock._Timex()
    assert clock._adjtimex(timex) == (TIME_ERROR if timex.status & UNSYNC else OK)
    assert timex.maxerror > 0
    assert clock.kernel_is_synchronised() is not bool(timex.status & UNSYNC)


def test_this_boot_has_an_id_and_it_is_the_same_for_every_process() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", clock.read_boot_id())
    assert clock.Clock(0).boot == clock.Clock(0).boot == clock.read_boot_id()


def test_without_an_id_each_process_is_a_boot_of_its_own(tmp_path: Path) -> None:
    """Else what was held an age ago would pass for what was held in this boot."""
    assert clock.read_boot_id(str(tmp_path / "missing")) == ""
    (tmp_path / "binary").write_bytes(b"\xff")
    assert clock.read_boot_id(str(tmp_path / "binary")) == ""
    first, second = (clock.Clock(0, boot_id=str).boot for _ in range(2))
    assert "" != first != second != ""


def test_the_sources_by_default_are_those_of_this_computer() -> None:
    real = clock.Clock(0)
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    passed = real.passed()
    assert int(before * 1000) <= passed <= time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    before = time.time()
    assert before <= real.now() <= time.time()
