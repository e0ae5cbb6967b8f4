"""What the spool does on a disk that fails, is full, or comes back; and what a start finds."""

import sqlite3
from itertools import pairwise
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config.sections import SpoolConfig
from tessflux.limits import GROUP_READINGS, PENDING_MESSAGES
from tessflux.readings import Admitted, Quarantined
from tessflux.spool.journal import Batch, Figures, Journal
from tessflux.spool.positions import Keeping
from tessflux.spool.store import MINUTE, RECORD, RETRY
from tessflux.stats import LOST, STORED
from tests.spool.site import FLUSH, OUTPUT, Case, disk_error, lines, make_spool


class Start(Case):
    def test_a_new_spool_is_empty(self) -> None:
        assert (self.opened, self.site.queue.waiting, self.site.queue.oldest) == ([], 0, None)
        assert self.log(LogLevel.info, LogLevel.warn, LogLevel.error) == []

    def test_what_was_committed_is_remembered_and_what_waits_is_due_at_once(self) -> None:
        self.site.take(GROUP_READINGS)
        self.retire(self.head())
        self.site.take(3)
        self.clock.advance(100.0)
        admitted = self.site.restart()
        assert admitted == [Admitted("stars1", n, n) for n in range(GROUP_READINGS + 3)]
        assert self.log(LogLevel.info) == ["3 readings wait for [influxdb]"]
        assert self.site.queue.waiting == 3
        assert (self.site.queue.oldest or self.clock.seconds()) < self.clock.seconds()
        batch = self.head()
        assert batch.lines == lines(GROUP_READINGS, GROUP_READINGS + 3)
        self.retire(batch)
        assert (self.head().lines, self.site.queue.waiting) == ([], 0)

    def test_a_disk_that_fails_is_raised_and_no_damage(self) -> None:
        self.site.stop()
        self.thread.error = disk_error()
        failure = self.failureResultOf(Deferred.fromCoroutine(self.site.spool.open({OUTPUT: Keeping()})))
        assert isinstance(failure.value, sqlite3.OperationalError)
        assert self.site.asides() == []
        self.thread.error = None
        self.site.open()

    def test_a_directory_that_is_not_there_is_raised(self) -> None:
        self.site.stop()
        directory = self.site.directory
        self.site.directory = directory / "missing"
        spool = make_spool(SpoolConfig(str(directory / "missing")), clock=self.clock)
        failure = self.failureResultOf(Deferred.fromCoroutine(spool.open({OUTPUT: Keeping()})))
        assert isinstance(failure.value, sqlite3.OperationalError)


class FiguresOfTheFile(Case):
    def figures(self) -> Figures:
        found = self.successResultOf(Deferred.fromCoroutine(self.site.spool.store.figures()))
        assert found is not None
        return found

    def test_the_oldest_reading_that_an_output_lacks_has_its_time(self) -> None:
        empty = self.figures()
        assert (empty.oldest, empty.quarantined) == ({}, 0)
        self.site.take(GROUP_READINGS)
        self.site.take(3)
        self.clock.advance(FLUSH)
        assert self.figures().oldest == {OUTPUT: 0}
        assert empty.used < self.figures().used
        self.retire(self.head(GROUP_READINGS))
        assert self.figures().oldest == {OUTPUT: GROUP_READINGS}
        self.retire(self.head())
        assert self.figures().oldest == {}

    def test_a_disk_that_fails_has_none(self) -> None:
        self.thread.error = disk_error()
        assert self.successResultOf(Deferred.fromCoroutine(self.site.spool.store.figures())) is None
        assert "Cannot read the spool" in self.log(LogLevel.error)[0]

    def test_commits_are_counted_with_their_durations(self) -> None:
        commits = self.site.spool.store.commits
        before = sum(commits.counts)
        self.site.take(3)
        self.clock.advance(FLUSH)
        assert (sum(commits.counts), commits.failed) == (before + 1, 0)
        assert self.stats.last_stored == self.clock.seconds()
        self.thread.error = disk_error()
        self.site.take(3)
        self.clock.advance(FLUSH)
        assert (sum(commits.counts), commits.failed) == (before + 1, 1)


class FailingDisk(Case):
    def test_a_commit_that_fails_is_tried_every_second_and_nothing_is_acknowledged_meanwhile(self) -> None:
        self.thread.error = disk_error()
        self.site.take(2, qos=1)
        self.site.settle()
        for _ in range(5):
            self.clock.advance(RETRY)
            self.site.take(qos=1)
            self.site.settle()
            assert (self.site.events, self.stats.ended) == ([], {})
        self.thread.error = None
        self.clock.advance(RETRY - 0.01)
        assert self.site.events == []
        self.clock.advance(0.01)
        assert self.site.events == [0, 1, "wake", 2, 3, 4, 5, 6, "wake"]
        assert (self.site.on_disk(), self.stats.ended) == (lines(7), {(STORED, ""): 7})

    def test_it_is_logged_once_a_minute_and_when_it_is_over(self) -> None:
        self.thread.error = disk_error()
        self.site.take()
        self.clock.advance(FLUSH)
        (said,) = self.log(LogLevel.error)
        assert "Cannot store readings: disk failed (the disk is ill;" in said
        for _ in range(int(MINUTE)):
            assert len(self.log(LogLevel.error)) == 1
            self.clock.advance(RETRY)
        assert len(self.log(LogLevel.error)) == 2
        self.thread.error = None
        self.clock.advance(RETRY)
        assert self.log(LogLevel.info) == ["The spool takes readings again"]

    def test_one_that_comes_and_goes_is_logged_once_a_minute_all_the_same(self) -> None:
        for _ in range(int(MINUTE)):
            self.thread.error = disk_error()
            self.site.take(qos=1)
            self.site.settle()
            self.thread.error = None
            self.clock.advance(RETRY)
        assert (len(self.log(LogLevel.error)), len(self.log(LogLevel.info))) == (1, 1)
        self.thread.error = disk_error()
        self.site.take(qos=1)
        self.site.settle()
        assert len(self.log(LogLevel.error)) == 2

    def test_another_cause_is_logged_at_once(self) -> None:
        for error in (disk_error(), OverflowError("too large")):
            self.thread.error = error
            self.site.take(qos=1)
            self.site.settle()
            self.thread.error = None
            self.clock.advance(RETRY)
        [disk] = self.log(LogLevel.error)
        assert "disk failed" in disk
        assert self.log(LogLevel.critical) == ["Cannot store readings; tessflux keeps trying"]
        assert len(self.flushLoggedErrors(OverflowError)) == 1

    def test_to_forget_what_is_delivered_is_tried_while_readings_find_no_room(self) -> None:
        self.site.take(2 * GROUP_READINGS)
        with mock.patch.object(Journal, "_leave_reserve", side_effect=OSError("no room")):
            self.site.take(GROUP_READINGS)
            assert "disk failed (no room" in self.log(LogLevel.error)[0]
            self.retire(self.head(GROUP_READINGS))
            assert self.site.on_disk() == lines(GROUP_READINGS, 2 * GROUP_READINGS)
            assert self.log(LogLevel.info) == []
        self.clock.advance(RETRY)
        assert self.site.on_disk() == lines(GROUP_READINGS, 3 * GROUP_READINGS)
        assert self.log(LogLevel.info) == ["The spool takes readings again"]

    def test_when_memory_is_used_up_qos_0_is_lost_and_qos_1_left_to_the_broker(self) -> None:
        self.thread.error = disk_error()
        self.site.take(GROUP_READINGS)
        assert self.site.take(PENDING_MESSAGES + 5) == PENDING_MESSAGES
        assert self.site.take(7, qos=1) == 0
        assert self.stats.ended == {(LOST, "disk failed"): 5}
        assert self.stats.received == GROUP_READINGS + PENDING_MESSAGES + 5
        self.assert_counted()
        assert self.site.events == []
        self.thread.error = None
        self.clock.advance(RETRY)
        assert self.site.events == ["wake", "backpressure", "wake", "go on", "redeliver"]
        assert self.stats.total(STORED) == GROUP_READINGS + PENDING_MESSAGES
        assert self.site.take(1) == 1

    def test_without_memory_used_up_nothing_is_lost_while_the_disk_fails(self) -> None:
        self.thread.error = disk_error()
        self.site.take(GROUP_READINGS)
        assert self.site.take(PENDING_MESSAGES) == PENDING_MESSAGES
        self.thread.error = None
        self.clock.advance(RETRY)
        assert self.stats.ended == {(STORED, ""): GROUP_READINGS + PENDING_MESSAGES}
        assert "redeliver" not in self.site.events

    def test_the_backpressure_ends_when_commits_begin_to_fail(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS + PENDING_MESSAGES)
        assert self.site.events == ["backpressure"]
        self.thread.error = disk_error()
        self.thread.release()
        assert self.site.events == ["backpressure", "go on"]
        assert self.site.take() == 0
        assert self.stats.ended == {(LOST, "disk failed"): 1}

    def test_the_backpressure_ends_when_a_reload_finds_the_disk_failing(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS + PENDING_MESSAGES)
        self.patch(Journal, "resize", mock.Mock(side_effect=disk_error()))
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory)), FLUSH)
        self.thread.work()
        self.thread.tell()
        assert self.site.events == ["backpressure", "wake", "go on"]
        self.thread.release()
        assert self.stats.ended == {(STORED, ""): GROUP_READINGS + PENDING_MESSAGES}

    def test_a_disk_that_does_not_say_whether_the_file_is_full_has_failed(self) -> None:
        self.thread.error = disk_error(sqlite3.SQLITE_FULL)
        self.site.take(qos=1)
        self.site.settle()
        assert "disk failed" in self.log()[0]

    def test_a_full_disk_is_no_full_spool(self) -> None:
        with mock.patch.object(Journal, "commit", side_effect=disk_error(sqlite3.SQLITE_FULL)):
            self.site.take(qos=1)
            self.site.settle()
        assert "disk failed" in self.log()[0]

    def test_lines_that_cannot_be_read_stay_and_are_logged_once_a_minute(self) -> None:
        self.site.take(3)
        self.clock.advance(FLUSH)
        self.thread.error = disk_error()
        for _ in range(int(MINUTE)):
            assert self.head() == Batch(0, [])
            self.clock.advance(1.0)
        assert self.log() == ["Cannot read the spool: the disk is ill; tessflux keeps trying."]
        self.head()
        assert len(self.log()) == 2
        self.thread.error = None
        assert (self.head().lines, self.site.queue.waiting) == (lines(3), 3)


class FullSpool(Case):
    def fill(self) -> int:
        """Store until the file has its largest size; returns how many lines it holds."""
        self.site.stop()
        self.site.open(max_size=1_000_000)
        while not self.log(LogLevel.error):
            self.site.take(GROUP_READINGS)
        return self.site.queue.waiting

    def test_a_full_spool_is_logged_and_old_lines_stay(self) -> None:
        stored = self.fill()
        assert "spool full (database or disk is full;" in self.log()[0]
        assert "raise [spool] max_size" in self.log()[0]
        assert self.site.on_disk() == lines(stored)
        self.site.take(PENDING_MESSAGES)
        assert self.site.take(3) == 0
        assert self.stats.causes(LOST) == {"spool full": 3}
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory)), FLUSH)
        self.clock.advance(RETRY)
        assert self.site.on_disk() == lines(stored + GROUP_READINGS + PENDING_MESSAGES)

    def test_it_takes_readings_again_when_some_are_delivered(self) -> None:
        stored = self.fill()
        self.retire(self.head(2 * GROUP_READINGS))
        self.clock.advance(RETRY)
        assert self.site.on_disk() == lines(2 * GROUP_READINGS, stored + GROUP_READINGS)
        assert self.site.queue.waiting == stored - GROUP_READINGS


class Outputs(Case):
    """Each output has a place of its own in the one queue."""

    def keep_for(self, **outputs: Keeping) -> None:
        self.site.outputs = outputs
        self.site.spool.keep_for(outputs)

    def take(self, count: int) -> None:
        self.site.take(count)
        self.clock.advance(FLUSH)

    def deliver(self, output: str, limit: int = 10**6) -> Batch:
        queue = self.site.spool.queues[output]
        batch: Batch = self.site.result(queue.head(limit))
        self.site.result(queue.retire(batch))
        return batch

    def waiting(self) -> dict[str, int]:
        return {name: queue.waiting for name, queue in self.site.spool.queues.items()}

    def restart(self) -> None:
        self.site.stop()
        self.site.open()

    def test_a_line_leaves_when_the_last_output_has_it(self) -> None:
        self.keep_for(influxdb=Keeping(), other=Keeping())
        self.take(3)
        assert self.deliver("influxdb").lines == lines(3)
        self.site.result(self.site.store.tidy())
        assert (self.waiting(), self.site.on_disk()) == ({"influxdb": 0, "other": 3}, lines(3))
        assert self.deliver("other").lines == lines(3)
        self.site.result(self.site.store.tidy())
        assert (self.waiting(), self.site.on_disk()) == ({"influxdb": 0, "other": 0}, [])

    def test_a_new_output_begins_with_the_next_line_or_with_the_oldest_one(self) -> None:
        self.take(3)
        self.keep_for(influxdb=Keeping(), later=Keeping(), all=Keeping(begins_at_oldest=True))
        self.take(2)
        assert self.waiting() == {"influxdb": 5, "later": 2, "all": 5}
        self.restart()
        assert self.waiting() == {"influxdb": 5, "later": 2, "all": 5}
        assert self.deliver("later").lines == lines(3, 5)

    def test_an_output_that_is_no_more_keeps_nothing_back(self) -> None:
        self.keep_for(influxdb=Keeping(), gone=Keeping())
        self.take(3)
        self.deliver("influxdb")
        self.keep_for(influxdb=Keeping())
        assert self.log(LogLevel.warn) == ["[gone] is no longer in the config: nothing waits for it any more"]
        self.site.result(self.site.store.tidy())
        assert self.site.on_disk() == []
        self.keep_for(influxdb=Keeping(), gone=Keeping())
        assert self.waiting() == {"influxdb": 0, "gone": 0}

    def test_a_spool_of_version_3_is_taken_over_with_all_that_waits(self) -> None:
        self.take(3)
        self.site.stop()
        self.site.execute("DROP TABLE output")
        self.site.execute("DROP TABLE broker")
        self.site.execute("DROP TABLE registered")
        self.site.execute("ALTER TABLE held DROP COLUMN dup")
        self.site.execute("ALTER TABLE quarantine DROP COLUMN output")
        self.site.execute("PRAGMA user_version = 3")
        self.site.open()
        assert self.waiting() == {"influxdb": 3}
        assert self.deliver("influxdb").lines == lines(3)

    def test_what_was_delivered_just_before_is_sent_again_after_the_output_was_away(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        self.take(3)
        self.deliver("influxdb")
        self.clock.advance(70)
        self.take(2)
        assert self.deliver("influxdb").lines == lines(3, 5)
        self.site.spool.queues["influxdb"].rewind()
        assert self.log(LogLevel.info)[-1] == (
            "[influxdb] was away: the last 2 readings that it acknowledged are sent once more"
        )
        self.take(1)
        batch = self.deliver("influxdb")
        assert (batch.again, batch.lines) == (True, lines(3, 5))
        batch = self.deliver("influxdb")
        assert (batch.again, batch.lines) == (False, lines(5, 6))

    def test_after_a_kill_it_is_sent_again_as_well(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        self.take(3)
        self.deliver("influxdb")
        self.clock.advance(RECORD)
        self.take(1)
        self.site.abandon()
        self.site.open()
        assert self.log(LogLevel.info)[-1] == (
            "1 readings wait for [influxdb]; 3 that it took just before are sent once more"
        )
        assert [batch.lines for batch in (self.deliver("influxdb"), self.deliver("influxdb"))] == [
            lines(3),
            lines(3, 4),
        ]

    def test_a_position_is_written_now_and_then_if_lines_may_be_sent_twice(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        written = []
        for _ in range(20):
            self.site.take(qos=1)
            self.site.settle()
            self.deliver("influxdb")
            self.clock.advance(RECORD / 4)
            written += self.site.query("SELECT answered FROM output")
        assert sorted(set(written)) == [0, 4, 8, 12, 16]
        self.site.stop()
        assert self.site.query("SELECT answered FROM output") == [20]

    def test_a_position_is_written_by_each_commit_if_lines_may_not_be_sent_twice(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60), other=Keeping())
        for _ in range(3):
            self.take(1)
            self.deliver("other")
        assert self.site.query("SELECT answered FROM output WHERE name = 'other'") == [2]

    def test_an_output_that_has_just_come_is_remembered_over_a_kill(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        self.take(1)
        self.keep_for(influxdb=Keeping(resend=60), later=Keeping(resend=60))
        self.take(2)
        self.site.abandon()
        self.site.open()
        assert self.waiting() == {"influxdb": 3, "later": 2}

    def test_lines_that_stay_on_disk_a_little_longer_make_room_for_others(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        for _ in range(2):
            self.take(GROUP_READINGS - 1)
            self.deliver("influxdb")
            self.clock.advance(61)
        self.take(1)
        self.deliver("influxdb")
        on_disk = len(self.site.on_disk())
        self.site.result(self.site.store.resize(SpoolConfig(str(self.site.directory), 100_000, 10)))
        self.take(GROUP_READINGS - 1)
        assert self.site.store.failing == ""
        assert len(self.site.on_disk()) < on_disk + GROUP_READINGS - 1

    def test_while_the_disk_fails_what_is_delivered_makes_room_at_once(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        self.take(3)
        self.deliver("influxdb")
        self.clock.advance(61)
        self.take(1)
        self.thread.error = disk_error(sqlite3.SQLITE_FULL)
        self.site.take()
        self.site.settle()
        assert self.site.store.failing == "disk failed"
        self.thread.error = None
        self.deliver("influxdb")
        assert self.site.on_disk() == lines(3, 4)

    def test_a_line_that_is_refused_again_is_in_quarantine_once(self) -> None:
        self.keep_for(influxdb=Keeping(resend=60))
        self.take(2)
        queue = self.site.spool.queues["influxdb"]
        line = Quarantined(1, "", "stars1", "refused by InfluxDB", "400", b"a line")
        self.site.result(queue.retire(self.site.result(queue.head(10)), [line]))
        for begin_again in (queue.rewind, self.restart):
            begin_again()
            queue = self.site.spool.queues["influxdb"]
            batch = self.site.result(queue.head(10))
            assert batch.lines == lines(2)
            self.site.result(queue.retire(batch, [line]))
            assert self.site.query("SELECT output FROM quarantine") == ["influxdb"]

    def test_a_full_spool_lets_go_of_what_was_delivered_before_anything_is_lost(self) -> None:
        self.site.stop()
        self.site.outputs = {"influxdb": Keeping(resend=3_600)}
        self.site.open(max_size=1_000_000)
        for _ in range(40):
            self.site.take(GROUP_READINGS // 2)
            self.clock.advance(20)
            self.deliver("influxdb")
        assert self.stats.total(LOST) == 0
        assert self.log(LogLevel.error) == []
        assert self.site.store.positions["influxdb"].missed == 0

    def test_it_lets_go_of_the_oldest_only_and_what_was_delivered_last_is_sent_again(self) -> None:
        self.site.stop()
        self.site.outputs = {"influxdb": Keeping(resend=3_600)}
        self.site.open(max_size=1_000_000)
        kept = []
        for _ in range(60):
            self.site.take(GROUP_READINGS // 2)
            self.clock.advance(50)
            self.deliver("influxdb")
            position = self.site.store.positions["influxdb"]
            kept.append(position.retired - position.settled)
        assert max(kept) > 5 * GROUP_READINGS
        assert max(before - after for before, after in pairwise(kept)) in range(1, GROUP_READINGS + 1)

    def test_what_waits_for_one_keeps_what_was_delivered_to_another(self) -> None:
        """To let go of that would make no room."""
        self.site.stop()
        self.site.outputs = {"influxdb": Keeping(resend=3_600), "copy": Keeping()}
        self.site.open(max_size=1_000_000)
        for _ in range(60):
            self.site.take(GROUP_READINGS // 2)
            self.clock.advance(50)
            self.deliver("influxdb")
        assert "spool full" in self.log(LogLevel.error)[0]
        assert self.site.store.positions["influxdb"].settled == 0

    def test_a_full_spool_makes_an_output_that_is_not_required_miss_its_oldest_lines(self) -> None:
        self.site.stop()
        self.site.outputs = {"influxdb": Keeping(), "copy": Keeping(required=False)}
        self.site.open(max_size=1_000_000)
        for _ in range(60):
            # A thousand lines, of which it misses a multiple, end within a commit.
            self.site.take(GROUP_READINGS // 2 - 30)
            self.clock.advance(FLUSH)
            self.deliver("influxdb")
        missed = self.site.spool.queues["copy"].missed
        assert missed > 0
        assert self.stats.total(LOST) == 0
        [first, *_] = self.log(LogLevel.error)
        assert first.startswith("The spool is full: [copy] is not required and misses its oldest ")
        assert self.waiting() == {"influxdb": 0, "copy": self.site.sent - missed}
        assert self.deliver("copy").lines == lines(missed, self.site.sent)

    def test_a_required_output_misses_nothing(self) -> None:
        self.site.stop()
        self.site.outputs = {"influxdb": Keeping(), "copy": Keeping()}
        self.site.open(max_size=1_000_000)
        for _ in range(60):
            self.site.take(GROUP_READINGS // 2)
            self.clock.advance(FLUSH)
            self.deliver("influxdb")
        assert self.site.spool.queues["copy"].missed == 0
        assert "spool full" in self.log(LogLevel.error)[0]
        self.deliver("copy")
        self.clock.advance(RETRY)
