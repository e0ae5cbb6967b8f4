"""Messages whose time is not known wait on disk, also over kill -9, and are stored under their right time."""

import json
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import Mock

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux import dating
from tessflux.clock import Clock as TimeOfDay
from tessflux.config import BrokerAddress, InfluxConfig, MqttConfig
from tessflux.intake import Intake
from tessflux.limits import REQUEUED
from tessflux.logs import Reports
from tessflux.photometers import Register
from tessflux.readings import LONGEST_WAIT, Admission, Judge, Message, Reckoned, Track
from tessflux.readings import reckon as reckon_times
from tessflux.readings.admission import NO_TIME
from tessflux.spool.store import RETRY
from tessflux.stats import FILTERED, HELD, LOST, REFUSED, STORED
from tessflux.watch import Watch
from tests.log_lines import record
from tests.spool.site import Site, disk_error

NOW = 1_772_323_214
"""The true time at which each test begins, s."""

CONFIG = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))


def reading(seq: int, name: str = "stars1", **more: Any) -> bytes:
    return json.dumps({"seq": seq, "name": name, "freq": 0.5, "mag": 21.19, **more}).encode()


class Case(SynchronousTestCase):
    """A computer that has been up for a minute. Its clock is `off` by so many seconds; `known` says whether
    the kernel has it from NTP."""

    def setUp(self) -> None:
        self.log = record(self, "mqtt")
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = Site(self, directory.name)
        self.clock, self.stats = self.site.clock, self.site.stats
        self.off, self.known, self.boot = 0.0, True, "a boot"
        self.booted_at = 0.0
        self.begin()
        self.addCleanup(self.site.stop)

    def begin(self) -> None:
        """The daemon starts, with what is in the spool."""
        admitted = self.site.open()
        self.time = TimeOfDay(
            300,
            wall=lambda: self.true + self.off,
            boot_seconds=lambda: 60 + self.clock.seconds() - self.booted_at,
            synchronised=lambda: self.known,
            boot_id=lambda: self.boot,
        )
        judge = Judge(admission := Admission())
        self.site.forget = judge.forget
        self.intake = Intake(
            CONFIG,
            InfluxConfig(),
            {},
            judge,
            self.site.committer,
            self.site.store,
            self.stats,
            Reports(Logger(observer=cast(ILogObserver, lambda event: None)), self.clock),
            Mock(Watch, unseen=()),
            Register(history=False),
            self.time,
        )
        admission.restore(admitted, now=int(self.time.now() * 1_000))
        self.intake.dating.restore(self.site.result(self.site.store.held_at_start()))

    def kill(self) -> None:
        """Kill -9: what was not committed is gone. Then it starts again."""
        self.site.abandon()
        self.begin()

    @property
    def true(self) -> float:
        return NOW + self.clock.seconds()

    def take(self, *payloads: bytes, qos: int = 1, **options: Any) -> None:
        """They come right now."""
        for payload in payloads:
            message = Message(
                "STARS4ALL/stars1/reading",
                payload,
                False,
                int(self.time.now() * 1_000),
                7 if qos else None,
                **options,
            )
            self.intake.take([message], self.site.acknowledge)
        if qos:
            self.site.settle()

    def wait(self, seconds: float) -> None:
        """So many seconds go by, with a look in each of them."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.look()

    def look(self) -> Any:
        work: Deferred[Any] = Deferred.fromCoroutine(self.intake.dating.release())
        return work

    def stored(self) -> dict[tuple[str, int], float]:
        """Photometer and `seq` -> the time in the spool, s after the beginning."""
        found = {}
        for line in self.site.on_disk():
            series, fields, time = line.rsplit(" ", 2)
            name, seq = series.partition("name=")[2], int(float(fields.split(",")[0].removeprefix("seq=")))
            assert (name, seq) not in found
            found[name, seq] = int(time) / 1_000 - NOW
        return found

    def held(self) -> int:
        (count,) = self.site.query("SELECT count(*) FROM held")
        return int(count)


class WrongClockTest(Case):
    """The clock of the computer is not known when it starts."""

    def start_with(self, off: float) -> None:
        self.off, self.known = off, False
        self.booted_at = self.clock.seconds()
        self.kill()

    def test_readings_get_their_time_when_the_clock_is_set(self) -> None:
        for off in (-NOW, -2 * 86_400, 3_600):
            with self.subTest(off=off):
                self.setUp()
                self.start_with(off)
                for seq in range(5):
                    self.take(reading(seq))
                    self.wait(4)
                assert (self.stored(), self.held()) == ({}, 5)
                assert self.site.events.count(7) == 5
                assert self.stats.ended[HELD, ""] == self.stats.received == 5
                self.off, self.known = 0, True
                self.wait(2)
                self.take(reading(5))
                assert self.stored() == {("stars1", seq): 4.0 * seq for seq in range(5)} | {
                    ("stars1", 5): 22.0
                }
                assert (self.stats.ended[STORED, ""], self.stats.ended[HELD, ""]) == (6, 0)
                assert self.held() == 0

    def test_a_clock_that_is_never_set_is_believed_after_a_while(self) -> None:
        self.start_with(-3_600)
        self.take(reading(1))
        self.wait(239)
        assert self.stored() == {}
        self.wait(3)
        self.take(reading(2))
        assert self.stored() == {("stars1", 1): -3_600.0, ("stars1", 2): -3_600.0 + 242}

    def test_a_right_time_of_a_publisher_is_not_refused(self) -> None:
        self.start_with(-NOW)
        self.take(reading(1, tstamp="2026-03-01T00:00:14Z"), reading(2, tstamp="1999-03-01T00:00:14Z"))
        self.off, self.known = 0, True
        self.wait(2)
        assert self.stored() == {("stars1", 1): 0.0}
        assert self.stats.ended[REFUSED, "bad time"] == 1

    def test_killed_before_it_is_known_the_same_boot_knows_when_they_came(self) -> None:
        self.start_with(-NOW)
        self.take(reading(1))
        self.wait(10)
        self.kill()
        self.take(reading(2))
        # Delivered again after the kill.
        self.take(reading(1))
        self.wait(10)
        self.off, self.known = 0, True
        self.wait(2)
        assert self.stored() == {("stars1", 1): 0.0, ("stars1", 2): 10.0}
        assert self.stats.ended[FILTERED, "duplicate"] == 1
        assert self.stats.received == 3

    def test_after_another_boot_only_a_time_of_its_own_tells_when_a_reading_came(self) -> None:
        self.start_with(-86_400)
        self.take(reading(1), reading(2, tstamp="2026-03-01T00:00:14Z"))
        self.boot, self.booted_at = "another boot", self.clock.seconds()
        self.kill()
        self.take(reading(3))
        self.off, self.known = 0, True
        self.wait(2)
        assert self.stored() == {("stars1", 2): 0.0, ("stars1", 3): pytest.approx(0.001, abs=1e-4)}
        assert self.site.query("SELECT cause FROM quarantine") == [NO_TIME]
        # What the clock showed then.
        assert self.site.query("SELECT time FROM quarantine") == [(NOW - 86_400) * 1_000]

    def test_many_are_judged_in_their_order_and_nothing_is_read_meanwhile(self) -> None:
        self.start_with(-NOW)
        for seq in range(3 * REQUEUED + 7):
            self.take(reading(seq, mag=20 + seq / 1_000))
            self.clock.advance(0.3)
        self.off, self.known = 0, True
        self.site.thread.held = True
        self.look()
        assert self.site.events[-1] == "backpressure"
        # What was on its way comes behind them.
        self.take(reading(5_000))
        self.site.thread.release()
        assert "go on" in self.site.events
        self.wait(3)
        assert len(self.stored()) == 3 * REQUEUED + 8
        assert self.held() == 0

    def test_a_backlog_that_comes_before_the_clock_is_known_is_reckoned_all_the_same(self) -> None:
        for seq in range(20):
            self.take(reading(seq))
            self.wait(10)
        self.start_with(-NOW)
        self.intake.dating.resumed()
        self.clock.advance(200)
        self.take(*(reading(seq) for seq in range(20, 41)))
        self.wait(10)
        self.take(reading(41))
        self.wait(10)
        self.off, self.known = 0, True
        self.wait(5)
        times = self.stored()
        assert times["stars1", 41] == pytest.approx(410.0, abs=0.001)
        for seq in range(20, 41):
            assert times["stars1", seq] == pytest.approx(10.0 * seq, abs=5)


class KnownCase(Case):
    """A photometer that is known, with ten readings stored."""

    def setUp(self) -> None:
        super().setUp()
        for seq in range(10):
            self.take(reading(seq))
            self.wait(10)


class LateTest(KnownCase):
    """Readings that waited at the broker."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(90)
        self.intake.dating.resumed()

    def check(self, *seqs: int, within: float = 0.1) -> None:
        times = self.stored()
        assert {seq for _, seq in times} == {*range(10), *seqs}
        for seq in seqs:
            assert times["stars1", seq] == pytest.approx(10.0 * seq, abs=within), seq

    def test_they_wait_for_the_first_live_one_and_get_the_time_of_their_number(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 20)))
        assert self.held() == 10
        assert self.site.events.count(7) == 20
        self.wait(10)
        assert self.held() == 10
        self.take(reading(20))
        self.look()
        self.check(*range(10, 21))
        [line] = [text for text in self.log(LogLevel.info) if "waited" in text]
        assert line == (
            "9 readings had waited at the broker since 2026-03-01 00:01:54 UTC;"
            " their times are reckoned, to about 5.0 s"
        )
        self.wait(10)
        self.take(reading(21))
        assert self.held() == 0
        assert (self.stats.ended[STORED, ""], self.stats.received) == (22, 22)

    def test_a_retained_reading_that_a_broker_sends_without_the_flag_gets_no_wrong_time(self) -> None:
        """As moquette does in a session that it has kept. Such a reading is like one that waited."""
        # We have it already: it is the last one that came.
        self.take(reading(9))
        assert (self.held(), self.stats.ended[FILTERED, "duplicate"]) == (0, 1)
        # It was published while we were away.
        self.take(reading(14))
        assert self.held() == 1
        for seq in (20, 21):
            self.wait(10)
            self.take(reading(seq))
        self.look()
        self.check(14, 20, 21)

    def test_without_a_live_one_they_wait_for_two_periods(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 15)))
        self.wait(19)
        assert self.held() == 5
        self.wait(2)
        self.check(*range(10, 15))

    def test_killed_in_the_middle_they_are_neither_lost_nor_doubled(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 15)))
        self.kill()
        assert self.stats.ended[HELD, ""] == 5
        self.intake.dating.resumed()
        # Some come again, since their acknowledgements were lost.
        self.take(*(reading(seq) for seq in range(12, 20)))
        self.kill()
        self.wait(10)
        self.take(reading(20))
        self.kill()
        self.wait(21)
        self.check(*range(10, 21))
        assert self.stats.ended[FILTERED, "duplicate"] == 3

    def test_killed_between_two_parts_of_a_large_backlog_the_rest_is_reckoned_alike(self) -> None:
        count = 2 * REQUEUED + 50
        self.clock.advance(10 * count - 100)
        self.take(*(reading(seq) for seq in range(10, 10 + count)))
        self.wait(10)
        self.take(reading(10 + count))
        self.site.thread.held = True
        self.look()
        # The list, the first part, its commit.
        for _ in range(3):
            self.site.thread.work()
            self.site.thread.tell()
        assert self.held() == count + 1 - REQUEUED
        self.site.thread.held = False
        self.kill()
        self.wait(21)
        self.check(*range(10, 11 + count))

    def test_a_disk_that_fails_meanwhile_delays_them(self) -> None:
        self.site.thread.error = disk_error()
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.wait(10)
        self.take(reading(20))
        self.look()
        assert self.stored().keys() == {("stars1", seq) for seq in range(10)}
        self.site.thread.error = None
        self.clock.advance(RETRY)
        self.wait(2)
        self.check(*range(10, 21))

    def test_what_the_disk_lost_holds_up_no_other(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.site.execute("DELETE FROM held WHERE seq < 15")
        self.wait(LONGEST_WAIT / 1_000)
        self.take(reading(50))
        self.wait(LONGEST_WAIT / 1_000 + 60)
        self.take(reading(90))
        self.wait(30)
        self.take(reading(95))
        assert self.held() == 0
        assert ("stars1", 95) in self.stored()

    def test_qos_0_that_cannot_be_held_is_lost_and_may_come_again(self) -> None:
        self.site.thread.error = MemoryError()
        self.take(reading(10), qos=0)
        for _ in range(20):
            self.clock.advance(RETRY)
        assert self.stats.total(LOST) == 1
        self.site.thread.error = None
        self.flushLoggedErrors(MemoryError)
        self.wait(10)
        self.take(reading(10), reading(11))
        self.wait(30)
        assert {("stars1", 10), ("stars1", 11)} <= self.stored().keys()

    def test_other_photometers_are_not_held_up(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.take(reading(7, "stars2"))
        self.wait(3)
        self.take(reading(8, "stars2"))
        assert self.stored()["stars2", 8] == pytest.approx(193, abs=0.1)
        assert self.held() == 10

    def test_a_reading_that_the_lists_stop_meanwhile_is_filtered(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.intake.reconfigure(replace(CONFIG, blacklist=frozenset({"stars1"})), InfluxConfig(), {})
        self.wait(30)
        assert self.held() == 0
        assert self.stats.ended[FILTERED, "blacklist"] == 10

    def test_a_number_that_no_counter_has_tells_nothing_and_the_reading_is_stored(self) -> None:
        numbers = (10**300, 2**64, 2**63, 2**53, -1, -(2**70), 0.5)
        for seq in numbers:
            self.take(reading(seq, "stars7"))  # type: ignore[arg-type]
            self.wait(5)
        assert len(self.site.on_disk()) == 10 + len(numbers)
        self.kill()
        self.take(reading(10**300, "stars8"))
        assert len(self.site.on_disk()) == 11 + len(numbers)

    def test_a_bug_with_one_photometer_holds_up_no_other(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 20)), reading(7, "stars2"))
        broken = [True]

        def fail(track: Track, held: list[tuple[int, int, int]]) -> Reckoned:
            if broken and len(held) > 1:
                raise ZeroDivisionError
            return reckon_times(track, held)

        self.patch(dating, "reckon", fail)
        self.wait(30)
        assert self.held() == 10
        assert ("stars2", 7) in self.stored()
        broken.clear()
        self.wait(2)
        assert self.held() == 0
        assert {seq for name, seq in self.stored() if name == "stars1"} == {*range(20)}

    def test_nothing_of_this_is_logged_as_an_error(self) -> None:
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.wait(30)
        assert self.log(LogLevel.warn) == self.log(LogLevel.error) == []
