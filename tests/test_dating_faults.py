"""Whatever disk and clock do while messages are held, none stays held, and none is lost in silence."""

import os
import sqlite3
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux import dating
from tessflux.config import SpoolConfig
from tessflux.readings import Message, backlog
from tessflux.spool import held
from tessflux.spool.store import DISK_FAILED
from tessflux.stats import HELD, LOST
from tests.log_lines import record
from tests.spool.site import disk_error
from tests.test_dating import NOW, KnownCase, reading


class FaultCase(KnownCase):
    """A clock or a disk that fails."""

    def setUp(self) -> None:
        super().setUp()
        self._looking: Any = None

    def look(self) -> Any:
        """One after the other, as the daemon does."""
        if getattr(self, "_looking", None) is None or self._looking.called:
            self._looking = super().look()
        return self._looking

    def kill(self) -> None:
        self._looking = None
        super().kill()

    def backlog(self, count: int = 10) -> None:
        """So many readings that waited, and the first live one."""
        self.clock.advance(10 * count - 10)
        self.take(*(reading(seq) for seq in range(10, 10 + count)))
        self.wait(10)
        self.take(reading(10 + count))

    def start_with_wrong_clock(self) -> None:
        self.off, self.known = -float(NOW), False
        self.booted_at = self.clock.seconds()
        self.kill()

    def set_clock(self) -> None:
        self.off, self.known = 0.0, True

    def break_calls(
        self, broken: Callable[..., bool], error: Exception | None = None, times: int = 10**6
    ) -> None:
        """Calls of the journal for which `broken` fail, the first so many of them."""
        use, left = self.site.store._file.use, [times]

        def fail(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
            if left[0] and broken(call, *args):
                left[0] -= 1
                raise error or disk_error()
            return use(call, *args, **options)

        self.patch(self.site.store._file, "use", fail)

    def mend_calls(self) -> None:
        """All calls of the journal succeed again."""
        del self.site.store._file.use

    def check(self, *seqs: int) -> None:
        """Nothing is held; these have the time of their number, and everything is counted."""
        times = self.stored()
        assert self.held() == 0
        for seq in seqs:
            assert times["stars1", seq] == pytest.approx(10.0 * seq, abs=5), seq
        assert self.stats.received == sum(self.stats.ended.values()) + self.site.committer.pending


def reads(name: str) -> Callable[..., bool]:
    """Calls that read this from the journal."""
    return lambda call, *_: name in getattr(getattr(call, "__code__", None), "co_names", ())


def releases(call: Callable[..., Any], *args: Any) -> bool:
    """Commits that store what was held."""
    return getattr(call, "__name__", "") == "commit" and bool(args[0].dated)


class DiskTest(FaultCase):
    def test_a_read_that_fails_once_is_repeated(self) -> None:
        for name in ("late_of", "held"):
            with self.subTest(name):
                self.doCleanups()
                self.setUp()
                self.backlog()
                self.break_calls(reads(name), times=1)
                self.look()
                self.wait(60)
                self.check(*range(10, 21))

    def test_a_read_of_undated_messages_that_fails_once_is_repeated(self) -> None:
        self.start_with_wrong_clock()
        self.take(*(reading(seq, "stars2") for seq in range(5)))
        self.set_clock()
        self.break_calls(reads("held"), times=1)
        self.wait(10)
        assert self.held() == 0
        assert len(self.stored()) == 15

    def test_more_readings_than_are_released_at_once_are_released_one_part_after_the_other(self) -> None:
        for module in (backlog, dating, held):
            self.patch(module, "HELD_READINGS", 300)
        self.backlog(700)
        self.wait(60)
        self.check(*range(10, 711))

    def test_commits_that_fail_for_minutes_strand_nothing(self) -> None:
        self.clock.advance(90)
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.break_calls(lambda call, *_: getattr(call, "__name__", "") == "commit")
        for seq in range(20, 50):
            self.wait(10)
            self.take(reading(seq))
        self.wait(80)
        self.mend_calls()
        self.wait(100)
        self.check(*range(10, 50))

    def test_at_qos_0_they_wait_for_no_flush_interval(self) -> None:
        self.site.committer.flush_interval = 60.0
        self.clock.advance(90)
        for seq in [*range(10, 20), 20]:
            message = Message("STARS4ALL/stars1/reading", reading(seq), False, int(self.time.now() * 1_000))
            if seq == 20:
                self.wait(10)
                message = Message(message.topic, message.payload, False, int(self.time.now() * 1_000))
            self.intake.take([message], self.site.acknowledge)
        self.wait(3)
        self.check(*range(10, 21))

    def test_a_spool_that_is_full_of_them_is_emptied(self) -> None:
        self.start_with_wrong_clock()
        self.site.result(self.site.store.resize(SpoolConfig(str(self.site.directory), 1_000_000, 100)))
        seq = 0
        while not self.site.store.failing:
            self.take(reading(seq, "stars2", text="x" * 300))
            seq += 1
        self.set_clock()
        for _ in range(120):
            self.wait(1)
            batch = self.site.result(self.site.queue.head(10**6))
            if batch.lines:
                self.site.result(self.site.queue.retire(batch))
            self.site.result(self.site.store.tidy())
        assert (self.held(), self.site.on_disk(), self.site.store.failing) == (0, [], "")

    def test_a_disk_filled_to_the_reserve_takes_what_was_held(self) -> None:
        self.start_with_wrong_clock()
        for seq in range(300):
            self.take(reading(seq, "stars2"))
        self.site.settle()
        self.patch(os, "statvfs", lambda path: SimpleNamespace(f_bavail=20 * 256, f_frsize=4_096))
        self.set_clock()
        self.wait(20)
        assert (self.held(), self.site.store.failing) == (0, "")

    def test_a_release_that_is_given_up_holds_up_no_other_and_is_tried_again(self) -> None:
        for seq in range(10, 20):
            self.take(reading(seq), reading(seq, "stars2"))
            self.wait(10)
        self.clock.advance(90)
        self.take(*(reading(seq, name) for name in ("stars1", "stars2") for seq in range(20, 30)))

        def of_the_first(call: Callable[..., Any], *args: Any) -> bool:
            return releases(call, *args) and "stars1" in args[0].lines[0]

        self.break_calls(of_the_first, MemoryError())
        self.wait(60)
        self.flushLoggedErrors(MemoryError)
        assert ("stars2", 25) in self.stored()
        assert self.held() == 10
        # Its readings are known still.
        self.take(reading(25))
        assert self.held() == 10

    def test_what_a_damaged_spool_has_lost_is_counted_as_lost(self) -> None:
        self.clock.advance(90)
        self.take(*(reading(seq) for seq in range(10, 20)))
        self.site.store._file._move_aside(disk_error(sqlite3.SQLITE_CORRUPT))
        self.wait(60)
        assert (self.stats.ended[HELD, ""], self.stats.ended[LOST, DISK_FAILED]) == (0, 10)
        assert self.stats.received == sum(self.stats.ended.values())

    def test_readings_in_a_new_file_do_not_get_the_times_of_those_in_the_damaged_one(self) -> None:
        self.clock.advance(1_490)
        self.take(*(reading(seq) for seq in range(10, 160)))
        self.wait(10)
        self.take(reading(160))
        thread, damaged = self.site.thread, [False]
        thread.held = True
        use = self.site.store._file.use

        def damage(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
            if releases(call, *args) and not damaged[0]:
                damaged[0] = True
                self.site.store._file._move_aside(disk_error(sqlite3.SQLITE_CORRUPT))
            return use(call, *args, **options)

        self.patch(self.site.store._file, "use", damage)
        self.look()
        for _ in range(2):
            thread.work()
            thread.tell()
        self.clock.advance(10)
        self.take(reading(161))
        arrived = self.clock.seconds()
        thread.release()
        self.wait(400)
        assert damaged[0]
        assert self.stored()["stars1", 161] == pytest.approx(arrived, abs=10)
        assert self.held() == 0

    def test_a_stop_ends_a_release_without_an_error(self) -> None:
        errors = record(self, "spool")
        self.backlog()
        self.site.thread.held = True
        self.look()
        stopped = [Deferred.fromCoroutine(step()) for step in (self.site.spool.stop, self.site.spool.close)]
        for _ in range(20):
            self.site.thread.work()
            self.site.thread.tell()
        assert all(step.called for step in stopped)
        self.site.thread.held = False
        assert errors(LogLevel.error) == []
        self.begin()
        self.wait(60)
        self.check(*range(10, 21))


class ClockTest(FaultCase):
    def test_a_clock_that_is_set_back_holds_nothing_for_longer(self) -> None:
        self.clock.advance(90)
        self.take(*(reading(seq) for seq in range(10, 15)))
        self.off = -3_600.0
        self.wait(300)
        assert self.held() == 0

    def test_a_photometer_that_is_late_again_and_again_has_six_lines_an_hour(self) -> None:
        seq = 10
        for _ in range(60):
            for _ in range(4):
                self.take(reading(seq))
                self.wait(10)
                seq += 1
            self.wait(10)
            self.take(reading(seq), reading(seq + 1))
            self.wait(10)
            seq += 2
        assert 3 <= len([text for text in self.log(LogLevel.info) if "waited" in text]) <= 7

    def test_the_end_of_undated_messages_comes_though_something_is_always_pending(self) -> None:
        self.start_with_wrong_clock()
        self.set_clock()
        for seq in range(30):
            message = Message("a/b", reading(seq, "stars2"), False, int(self.time.now() * 1_000))
            self.intake.take([message], self.site.acknowledge)
            self.wait(1)
        assert self.site.events.count("backpressure") < 5

    def test_the_time_of_a_broker_that_shares_our_wrong_clock_is_not_believed(self) -> None:
        self.start_with_wrong_clock()
        self.off = -86_400.0
        self.take(reading(3, "stars2"), sent_at=int(self.time.now() * 1_000) - 20)
        self.wait(5)
        self.set_clock()
        self.wait(3)
        assert self.stored()["stars2", 3] == pytest.approx(100.0, abs=0.1)
