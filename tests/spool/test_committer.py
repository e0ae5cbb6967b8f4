"""The spool: acknowledged after the commit and not before, whatever the disk does meanwhile."""

import sqlite3
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config.sections import SpoolConfig
from tessflux.limits import GROUP_READINGS, PENDING_BYTES, PENDING_MESSAGES
from tessflux.readings import Admitted, Filtered, Quarantined
from tessflux.spool import file as spoolfile
from tessflux.spool import group as group_module
from tessflux.spool.group import Group
from tessflux.spool.journal import FILE_NAME, Batch, Journal
from tessflux.spool.queue import OVERDUE
from tessflux.spool.store import ATTEMPTS, MINUTE, RETRY
from tessflux.stats import FILTERED, LOST, REFUSED, STORED
from tests.log_lines import record
from tests.spool.site import FLUSH, Site, disk_error, line, lines, make_spool, overwrite, refused


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = record(self, "spool")
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = Site(self, directory.name)
        self.clock, self.thread, self.stats = self.site.clock, self.site.thread, self.site.stats
        self.opened = self.site.open()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.thread.error = None
        self.site.stop()
        self.assert_counted()

    def assert_counted(self) -> None:
        assert self.stats.received == sum(self.stats.ended.values()) + self.site.committer.pending

    def head(self, limit: int = 10**6) -> Batch:
        batch: Batch = self.site.result(self.site.queue.head(limit))
        return batch

    def retire(self, batch: Batch) -> None:
        self.site.result(self.site.queue.retire(batch))


class Commits(Case):
    def test_without_anybody_waiting_a_commit_follows_after_the_flush_interval(self) -> None:
        self.site.take()
        self.clock.advance(1.0)
        self.site.take()
        self.site.committer.flush()
        self.clock.advance(FLUSH - 1.1)
        assert (self.site.on_disk(), self.site.events, self.site.committer.pending) == ([], [], 2)
        self.clock.advance(0.1)
        assert (self.site.on_disk(), self.site.events) == (lines(2), ["wake"])
        assert (self.stats.ended, self.site.committer.pending) == ({(STORED, ""): 2}, 0)

    def test_a_flush_commits_at_once_what_waits_for_an_acknowledgement(self) -> None:
        self.site.take()
        self.site.take(qos=1)
        assert self.site.on_disk() == []
        self.site.committer.flush()
        assert (self.site.on_disk(), self.site.events) == (lines(2), [1, "wake"])

    def test_a_thousand_messages_are_committed_at_once(self) -> None:
        self.site.take(GROUP_READINGS - 1)
        assert self.site.on_disk() == []
        self.site.take()
        assert self.site.on_disk() == lines(GROUP_READINGS)

    def test_no_commit_overlaps_another(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS)
        self.site.take(2 * GROUP_READINGS)
        self.site.take(qos=1)
        self.site.committer.flush()
        self.clock.advance(FLUSH)
        assert self.thread.waiting == 1
        self.thread.work()
        assert len(self.site.on_disk()) == GROUP_READINGS
        self.thread.tell()
        assert (self.thread.waiting, self.site.committer.pending) == (1, 2 * GROUP_READINGS + 1)
        self.thread.release()
        assert self.site.on_disk() == lines(3 * GROUP_READINGS + 1)
        assert self.site.events == ["wake", 3 * GROUP_READINGS, "wake"]

    def test_what_comes_during_a_commit_is_committed_a_flush_interval_after_it_came(self) -> None:
        self.thread.held = True
        self.site.take()
        self.clock.advance(FLUSH)
        self.site.take()
        self.clock.advance(1.0)
        self.thread.release()
        assert self.site.on_disk() == lines(1)
        self.clock.advance(FLUSH - 1.1)
        assert self.site.on_disk() == lines(1)
        self.clock.advance(0.1)
        assert self.site.on_disk() == lines(2)

    def test_acknowledgements_follow_the_commit_in_the_order_of_the_messages(self) -> None:
        self.thread.held = True
        self.site.take(qos=1)
        self.site.filter(qos=1)
        self.site.refuse(qos=1)
        self.site.take()
        self.site.filter(qos=1)
        self.site.take(qos=1)
        self.site.committer.flush()
        self.thread.work()
        assert (self.site.events, self.stats.ended) == ([], {})
        self.thread.tell()
        assert self.site.events == [0, 1, 2, 4, 5, "wake"]
        ended = {(STORED, ""): 3, (FILTERED, "duplicate"): 2, (REFUSED, "not JSON"): 1}
        assert self.stats.ended == ended
        assert self.site.query("SELECT payload FROM quarantine") == [b"{"]

    def test_what_is_filtered_and_unacknowledged_needs_no_commit(self) -> None:
        self.site.filter()
        assert self.stats.ended == {(FILTERED, "duplicate"): 1}
        assert (self.site.committer.pending, self.clock.getDelayedCalls()) == (0, [])

    def test_the_writer_is_not_woken_for_a_commit_without_lines(self) -> None:
        self.site.refuse(qos=1)
        self.site.committer.flush()
        assert (self.site.events, self.stats.total(REFUSED)) == ([0], 1)

    def test_quarantined_payloads_that_had_to_go_are_counted(self) -> None:
        for _ in range(1_003):
            self.site.refuse()
        self.clock.advance(FLUSH)
        assert self.site.store.forgotten == 3

    def test_new_bounds_and_intervals_hold_from_the_reload_on(self) -> None:
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory), 2**30, 2), FLUSH / 5)
        for _ in range(3):
            self.site.refuse()
        self.clock.advance(FLUSH / 5)
        assert (self.site.committer.pending, self.site.store.forgotten) == (0, 1)

    def test_a_disk_that_fails_at_a_reload_is_said(self) -> None:
        self.thread.error = disk_error()
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory)), FLUSH)
        assert "disk failed" in self.log()[0]


class FailingDisk(Case):
    def test_a_commit_that_fails_is_tried_every_second_and_nothing_is_acknowledged_meanwhile(self) -> None:
        self.thread.error = disk_error()
        self.site.take(2, qos=1)
        self.site.committer.flush()
        for _ in range(5):
            self.clock.advance(RETRY)
            self.site.take(qos=1)
            self.site.committer.flush()
            assert (self.site.events, self.stats.ended) == ([], {})
        self.thread.error = None
        self.clock.advance(RETRY - 0.01)
        assert self.site.events == []
        self.clock.advance(0.01)
        assert self.site.events == [0, 1, "wake", 2, 3, 4, 5, 6, "wake"]
        assert (self.site.on_disk(), self.stats.ended) == (lines(7), {(STORED, ""): 7})

    def test_it_is_said_once_a_minute_and_when_it_is_over(self) -> None:
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

    def test_one_that_comes_and_goes_is_said_once_a_minute_all_the_same(self) -> None:
        for _ in range(int(MINUTE)):
            self.thread.error = disk_error()
            self.site.take(qos=1)
            self.site.committer.flush()
            self.thread.error = None
            self.clock.advance(RETRY)
        assert (len(self.log(LogLevel.error)), len(self.log(LogLevel.info))) == (1, 1)
        self.thread.error = disk_error()
        self.site.take(qos=1)
        self.site.committer.flush()
        assert len(self.log(LogLevel.error)) == 2

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

    def test_a_broker_that_was_held_is_let_go_on_when_commits_begin_to_fail(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS + PENDING_MESSAGES)
        assert self.site.events == ["backpressure"]
        self.thread.error = disk_error()
        self.thread.release()
        assert self.site.events == ["backpressure", "go on"]
        assert self.site.take() == 0
        assert self.stats.ended == {(LOST, "disk failed"): 1}

    def test_a_broker_that_was_held_is_let_go_on_when_a_reload_finds_the_disk_failing(self) -> None:
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
        self.site.committer.flush()
        assert "disk failed" in self.log()[0]

    def test_a_full_disk_is_no_full_spool(self) -> None:
        with mock.patch.object(Journal, "commit", side_effect=disk_error(sqlite3.SQLITE_FULL)):
            self.site.take(qos=1)
            self.site.committer.flush()
        assert "disk failed" in self.log()[0]

    def test_lines_that_cannot_be_read_stay_and_are_said_once_a_minute(self) -> None:
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


class OurOwnFault(Case):
    """An error that no disk makes."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.flushLoggedErrors, OverflowError)

    def test_it_is_tried_again_like_any_other_and_nothing_is_acknowledged_or_lost(self) -> None:
        self.thread.error = OverflowError("too large")
        self.site.take(qos=1)
        self.site.take()
        self.site.committer.flush()
        for _ in range(ATTEMPTS - 2):
            self.clock.advance(RETRY)
        assert (self.site.events, self.stats.ended, self.site.committer.pending) == ([], {}, 2)
        assert self.log(LogLevel.critical) == ["Cannot store readings; tessflux keeps trying"]
        self.thread.error = None
        self.clock.advance(RETRY)
        assert (self.site.events, self.site.on_disk()) == ([0, "wake"], lines(2))
        assert self.log(LogLevel.info) == ["The spool takes readings again"]

    def test_a_group_that_never_succeeds_is_given_up_and_counted_and_others_get_through(self) -> None:
        self.site.take(3)
        self.site.take(2, qos=1)
        commit = Journal.commit

        def fail_for_the_first(journal: Journal, group: Group, retired: int) -> int:
            if line(0) in group.lines:
                raise OverflowError("too large")
            return commit(journal, group, retired)

        self.patch(Journal, "commit", fail_for_the_first)
        self.site.committer.flush()
        self.site.take(4)
        for _ in range(ATTEMPTS):
            self.assert_counted()
            self.clock.advance(RETRY)
        assert self.stats.ended[LOST, "internal error"] == 3
        said = "3 messages are lost (internal error); 2 were not acknowledged, the broker keeps them"
        assert self.log(LogLevel.error) == [said]
        assert (self.site.on_disk(), self.site.events) == (lines(5, 9), ["redeliver", "wake"])
        self.assert_counted()

    def test_what_may_be_a_copy_of_what_is_given_up_is_left_to_the_broker(self) -> None:
        self.thread.error = OverflowError("too large")
        self.site.take(1)
        self.clock.advance(FLUSH)
        self.site.committer.take(Filtered("duplicate"), lambda: self.site.events.append("acknowledged"))
        self.stats.received += 1
        for _ in range(ATTEMPTS - 2):
            self.clock.advance(RETRY)
        self.thread.held = True
        self.clock.advance(RETRY)
        self.thread.work()
        self.thread.error = None
        self.thread.release()
        self.clock.advance(FLUSH)
        assert self.site.events == ["redeliver"]
        assert self.stats.ended == {(LOST, "internal error"): 1, (FILTERED, "duplicate"): 1, (STORED, ""): 0}
        self.assert_counted()

    def test_memory_that_is_used_up_meanwhile_is_free_again(self) -> None:
        self.thread.error = OverflowError("too large")
        self.site.take(GROUP_READINGS)
        assert self.site.take(PENDING_MESSAGES + 5) == PENDING_MESSAGES
        assert self.stats.ended == {(LOST, "internal error"): 5}
        for _ in range(2 * ATTEMPTS):
            self.clock.advance(RETRY)
        assert self.site.committer.pending == 0
        self.thread.error = None
        assert self.site.take(GROUP_READINGS) == GROUP_READINGS
        assert len(self.site.on_disk()) == GROUP_READINGS

    def test_an_acknowledgement_that_goes_wrong_leaves_the_spool_at_work(self) -> None:
        self.thread.held = True
        self.patch(self.site, "acknowledge", lambda number: lambda: int("no"))
        self.site.take(GROUP_READINGS + PENDING_MESSAGES, qos=1)
        self.thread.release()
        assert self.site.events == ["backpressure", "go on"]
        assert self.stats.total(STORED) == GROUP_READINGS + PENDING_MESSAGES
        assert self.site.queue.waiting == GROUP_READINGS + PENDING_MESSAGES
        assert len(self.flushLoggedErrors(ValueError)) == 2


class Memory(Case):
    def test_a_commit_that_is_only_slow_holds_the_broker_and_loses_nothing(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS + PENDING_MESSAGES - 1)
        assert self.site.events == []
        assert self.site.take(20) == 20
        assert self.site.events == ["backpressure"]
        self.thread.release()
        assert self.site.events == ["backpressure", "wake", "wake", "go on"]
        assert self.stats.total(STORED) == GROUP_READINGS + PENDING_MESSAGES + 19

    def test_large_payloads_hold_the_broker_long_before_their_number_does(self) -> None:
        self.thread.held = True
        self.site.take(qos=1)
        self.site.committer.flush()
        for _ in range(PENDING_BYTES // 65_536):
            assert self.site.events == []
            self.site.refuse(payload=b"x" * 65_536)
        assert self.site.events == ["backpressure"]
        self.thread.work()
        self.thread.tell()
        # The memory is free when those are on disk, and not before.
        assert self.site.events == ["backpressure", 0, "wake"]
        self.thread.release()
        assert self.site.events == ["backpressure", 0, "wake", "go on"]

    def test_payloads_that_use_up_the_memory_are_committed_at_once(self) -> None:
        self.site.refuse(payload=b"x" * PENDING_BYTES)
        assert (self.site.events, self.stats.total(REFUSED)) == (["backpressure", "go on"], 1)

    def test_a_requeue_that_is_stored_frees_nothing_that_a_filled_group_still_takes(self) -> None:
        self.thread.error = disk_error()
        self.site.take(GROUP_READINGS)
        self.site.take(PENDING_MESSAGES)
        assert self.site.take(qos=1) == 0
        self.thread.error = None
        commit = Journal.commit

        def fail_for_the_filled(journal: Journal, group: Group, retired: int) -> int:
            if len(group.lines) == PENDING_MESSAGES:
                raise disk_error()
            return commit(journal, group, retired)

        with mock.patch.object(Journal, "commit", fail_for_the_filled):
            self.clock.advance(RETRY)
            assert self.site.events == ["wake", "backpressure", "go on"]
            requeued = Group(lines=[line(0)])
            assert self.site.result(self.site.committer.commit(requeued))
            assert self.site.events[3:] == ["wake", "backpressure"]
        self.clock.advance(RETRY)
        assert self.site.events[5:] == ["wake", "go on", "redeliver"]


class FullSpool(Case):
    def fill(self) -> int:
        """Store until the file has its largest size; returns how many lines it holds."""
        self.site.stop()
        self.site.open(max_size=1_000_000)
        while not self.log(LogLevel.error):
            self.site.take(GROUP_READINGS)
        return self.site.queue.waiting

    def test_a_full_spool_is_said_and_old_lines_stay(self) -> None:
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


class Delivery(Case):
    def test_the_same_lines_come_until_they_are_retired(self) -> None:
        self.site.take(GROUP_READINGS)
        self.site.take(GROUP_READINGS)
        first = self.head(GROUP_READINGS)
        assert first.lines == lines(GROUP_READINGS)
        assert self.head(GROUP_READINGS) == first
        self.retire(first)
        assert self.site.queue.waiting == GROUP_READINGS
        second = self.head(GROUP_READINGS)
        assert second.lines == lines(GROUP_READINGS, 2 * GROUP_READINGS)
        self.retire(second)
        assert (self.head(GROUP_READINGS).lines, self.site.queue.waiting) == ([], 0)

    def test_retiring_twice_is_retiring_once(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.site.take(GROUP_READINGS)
        self.retire(batch)
        self.retire(batch)
        assert self.site.queue.waiting == GROUP_READINGS

    def test_a_stop_while_refused_lines_are_set_apart_does_not_set_them_apart_twice(self) -> None:
        self.site.take(3)
        self.clock.advance(FLUSH)
        batch = self.head()
        line = Quarantined(1, "", "stars0", "refused by InfluxDB", "why", batch.lines[0].encode())
        self.thread.held = True
        retired = Deferred.fromCoroutine(self.site.queue.retire(batch, [line]))
        self.thread.work()
        retired.cancel()
        self.failureResultOf(retired, CancelledError)
        self.thread.release()
        self.clock.advance(RETRY)
        assert self.site.query("SELECT count(*) FROM quarantine") == [1]
        assert (self.site.on_disk(), self.site.queue.waiting) == ([], 0)
        assert self.log() == []

    def test_what_cannot_be_set_apart_before_the_stop_goes_on_waiting(self) -> None:
        self.site.take(3)
        self.clock.advance(FLUSH)
        batch = self.head()
        line = Quarantined(1, "", "stars0", "refused by InfluxDB", "why", batch.lines[0].encode())
        self.thread.error = disk_error()
        retired = Deferred.fromCoroutine(self.site.queue.retire(batch, [line]))
        self.site.result(self.site.spool.stop())
        self.clock.advance(RETRY)
        assert self.successResultOf(retired) is False
        assert self.site.queue.waiting == 3

    def test_retired_lines_leave_the_disk_with_the_next_commit(self) -> None:
        self.site.take(GROUP_READINGS)
        self.retire(self.head())
        assert self.site.on_disk() == lines(GROUP_READINGS)
        self.site.take(qos=1)
        self.site.committer.flush()
        assert self.site.on_disk() == [line(GROUP_READINGS)]

    def test_retired_lines_leave_the_disk_when_it_is_tidied(self) -> None:
        self.site.take(GROUP_READINGS)
        self.retire(self.head())
        self.site.result(self.site.store.tidy())
        assert self.site.on_disk() == []

    def test_there_is_nothing_to_tidy_twice(self) -> None:
        self.site.take(GROUP_READINGS)
        self.retire(self.head())
        self.site.result(self.site.store.tidy())
        self.thread.held = True
        self.site.result(self.site.store.tidy())
        assert self.thread.waiting == 0

    def test_lines_that_are_retired_during_a_commit_are_tidied_after_it(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.thread.held = True
        self.site.take(qos=1)
        self.site.committer.flush()
        self.retire(batch)
        self.thread.release()
        assert self.site.on_disk() == lines(GROUP_READINGS + 1)
        self.site.result(self.site.store.tidy())
        assert self.site.on_disk() == [line(GROUP_READINGS)]

    def test_lines_that_influxdb_refused_are_in_quarantine_before_retire_returns(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        row = refused(1, b"the line")
        self.site.result(self.site.queue.retire(batch, [row]))
        assert self.site.query("SELECT payload FROM quarantine") == [b"the line"]
        assert (self.site.on_disk(), self.site.queue.waiting) == ([], 0)

    def test_a_refused_line_is_in_the_chunks_or_in_quarantine_at_any_moment(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.thread.error = disk_error()
        retired = Deferred.fromCoroutine(self.site.queue.retire(batch, [refused(1)]))
        self.thread.error = None
        # The disk is well again, and a commit comes before the next attempt.
        self.site.take(qos=1)
        self.site.committer.flush()
        assert self.site.on_disk() == lines(GROUP_READINGS + 1)
        self.assertNoResult(retired)
        assert self.site.queue.waiting == GROUP_READINGS + 1
        self.clock.advance(RETRY)
        self.successResultOf(retired)
        assert self.site.on_disk() == [line(GROUP_READINGS)]
        assert self.site.query("SELECT count(*) FROM quarantine") == [1]
        assert self.site.queue.waiting == 1

    def test_the_oldest_line_is_as_old_as_its_message(self) -> None:
        self.clock.advance(100.0)
        assert self.site.queue.oldest is None
        self.site.take()
        self.clock.advance(1.0)
        self.site.take(qos=1)
        self.site.committer.flush()
        assert self.site.queue.oldest == 100.0
        self.clock.advance(1.0)
        self.site.take(qos=1)
        self.site.committer.flush()
        assert self.site.queue.oldest == 100.0
        self.head()
        assert self.site.queue.oldest is None

    def test_what_a_head_leaves_behind_is_due_at_once(self) -> None:
        self.site.take(2 * GROUP_READINGS)
        self.clock.advance(100.0)
        self.head(GROUP_READINGS)
        assert self.site.queue.oldest == OVERDUE


class Stop(Case):
    def test_what_is_pending_is_committed_at_the_stop(self) -> None:
        self.site.take(3)
        self.site.take(qos=1)
        self.site.result(self.site.spool.stop())
        assert (self.site.on_disk(), self.site.events) == (lines(4), [3, "wake"])

    def test_a_commit_that_is_under_way_is_waited_for(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS)
        self.site.take(3)
        settled = Deferred.fromCoroutine(self.site.spool.stop())
        self.assertNoResult(settled)
        self.thread.release()
        self.successResultOf(settled)
        assert self.site.on_disk() == lines(GROUP_READINGS + 3)

    def test_on_a_disk_that_takes_nothing_what_no_broker_keeps_is_lost_and_said(self) -> None:
        self.thread.error = disk_error()
        self.site.take(3)
        self.site.take(2, qos=1)
        self.site.filter(qos=1)
        self.site.refuse()
        self.site.result(self.site.spool.stop())
        assert (self.stats.ended, self.stats.received) == ({(LOST, "disk failed"): 4}, 4)
        assert (self.site.events, self.site.committer.pending) == ([], 0)
        assert (
            self.log()[-1]
            == "4 messages are lost (disk failed); 3 were not acknowledged, the broker keeps them"
        )

    def test_a_commit_that_fails_already_is_tried_once_more_and_so_is_what_came_since(self) -> None:
        self.thread.error = disk_error()
        self.site.take(qos=1)
        self.site.committer.flush()
        self.site.take(2)
        settled = Deferred.fromCoroutine(self.site.spool.stop())
        self.assertNoResult(settled)
        self.clock.advance(RETRY)
        self.successResultOf(settled)
        assert (self.stats.ended, self.stats.received) == ({(LOST, "disk failed"): 2}, 2)

    def test_a_disk_that_comes_back_in_the_last_moment_loses_nothing(self) -> None:
        self.thread.error = disk_error()
        self.site.take(2)
        self.clock.advance(FLUSH)
        settled = Deferred.fromCoroutine(self.site.spool.stop())
        self.thread.error = None
        self.clock.advance(RETRY)
        self.successResultOf(settled)
        assert (self.site.on_disk(), self.stats.ended) == (lines(2), {(STORED, ""): 2})

    def test_closing_writes_down_what_is_retired(self) -> None:
        self.site.take(GROUP_READINGS)
        self.retire(self.head())
        self.site.restart()
        assert (self.site.queue.waiting, self.site.on_disk()) == (0, [])


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
        assert self.log(LogLevel.info) == ["3 readings wait for InfluxDB"]
        assert self.site.queue.waiting == 3
        assert (self.site.queue.oldest or self.clock.seconds()) < self.clock.seconds()
        batch = self.head()
        assert batch.lines == lines(GROUP_READINGS, GROUP_READINGS + 3)
        self.retire(batch)
        assert (self.head().lines, self.site.queue.waiting) == ([], 0)

    def test_a_disk_that_fails_is_raised_and_no_damage(self) -> None:
        self.site.stop()
        self.thread.error = disk_error()
        failure = self.failureResultOf(Deferred.fromCoroutine(self.site.spool.open()))
        assert isinstance(failure.value, sqlite3.OperationalError)
        assert self.site.asides() == []
        self.thread.error = None
        self.site.open()

    def test_a_directory_that_is_not_there_is_raised(self) -> None:
        self.site.stop()
        directory = self.site.directory
        self.site.directory = directory / "missing"
        spool = make_spool(SpoolConfig(str(directory / "missing")), clock=self.clock)
        failure = self.failureResultOf(Deferred.fromCoroutine(spool.open()))
        assert isinstance(failure.value, sqlite3.OperationalError)


class Damage(Case):
    def open_damaged(self) -> None:
        """The spool is open, and then most of its file turns to zeros."""
        self.site.stop()
        self.site.put_large()
        self.site.open()
        assert self.site.queue.waiting == 6000
        overwrite(self.site.directory / FILE_NAME)
        self.site.forget_pages()
        self.site.sent = 6_000

    def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(self) -> None:
        self.site.stop()
        path = self.site.directory / FILE_NAME
        for content in (b"garbage " * 1_000, b"other garbage " * 1_000):
            path.write_bytes(content)
            assert self.site.open() == []
            assert (self.site.queue.waiting, self.head().lines) == (0, [])
            assert content in [aside.read_bytes() for aside in self.site.asides()]
            self.site.take()
            self.clock.advance(FLUSH)
            assert self.site.on_disk() == [line(self.site.sent - 1)]
            self.site.stop()
        assert len(self.site.asides()) == 2
        said = self.log(LogLevel.error)
        for aside, text in zip(self.site.asides(), sorted(said, key=len), strict=True):
            assert "The spool was damaged (file is not a database). It was moved to" in text
            assert str(aside) in text
        self.site.open()

    def test_a_commit_that_comes_upon_damage_goes_into_a_new_file(self) -> None:
        self.open_damaged()
        self.site.take(3, qos=1)
        self.site.committer.flush()
        assert self.site.events == [6000, 6001, 6002, "wake"]
        assert (self.site.on_disk(), self.site.queue.waiting) == (lines(6000, 6003), 3)
        assert len(self.site.asides()) == 1
        assert self.stats.ended == {(STORED, ""): 3}
        batch = self.head()
        assert batch.lines == lines(6000, 6003)
        self.retire(batch)
        assert (self.head().lines, self.site.queue.waiting) == ([], 0)

    def test_a_head_that_comes_upon_damage_is_empty_and_the_spool_goes_on(self) -> None:
        self.open_damaged()
        assert (self.head().lines, self.site.queue.waiting) == ([], 0)
        assert len(self.site.asides()) == 1
        self.site.take(qos=1)
        self.site.committer.flush()
        assert self.head().lines == [line(6000)]

    def test_a_damage_that_two_calls_come_upon_is_moved_aside_once(self) -> None:
        self.open_damaged()
        self.thread.held = True
        self.site.take(3, qos=1)
        self.site.committer.flush()
        head = Deferred.fromCoroutine(self.site.queue.head(10_000))
        self.thread.release()
        self.clock.advance(RETRY)
        assert self.successResultOf(head).lines == lines(6000, 6003)
        assert self.site.on_disk() == lines(6000, 6003)
        (aside,) = self.site.asides()
        assert aside.stat().st_size > 100000

    def test_a_batch_of_the_former_file_retires_nothing_of_the_new_one(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.damage_next_commit()
        self.site.take(3, qos=1)
        self.site.committer.flush()
        assert self.site.on_disk() == lines(GROUP_READINGS, GROUP_READINGS + 3)
        self.retire(batch)
        self.site.take(qos=1)
        self.site.committer.flush()
        assert self.site.on_disk() == lines(GROUP_READINGS, GROUP_READINGS + 4)
        assert self.site.queue.waiting == 4

    def test_nor_does_one_that_is_retired_before_the_reactor_knows_of_the_new_file(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.damage_next_commit()
        self.thread.held = True
        self.site.take(3, qos=1)
        self.site.committer.flush()
        self.thread.work()
        self.retire(batch)
        tidied = Deferred.fromCoroutine(self.site.queue.retire(batch, [refused(1)]))
        self.thread.release()
        self.successResultOf(tidied)
        assert self.site.on_disk() == lines(GROUP_READINGS, GROUP_READINGS + 3)
        assert self.site.queue.waiting == 3

    def test_the_numbers_hold_over_a_restart_after_the_damage(self) -> None:
        self.site.take(GROUP_READINGS)
        self.damage_next_commit()
        self.site.take(3, qos=1)
        self.site.committer.flush()
        self.site.restart()
        assert (self.site.queue.waiting, len(self.head().lines)) == (3, 3)

    def test_a_new_file_has_the_bounds_of_the_last_reload(self) -> None:
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory), 2**30, 2), FLUSH)
        self.damage_next_commit()
        for _ in range(3):
            self.site.refuse(qos=1)
        self.site.committer.flush()
        assert (len(self.site.asides()), self.site.store.forgotten) == (1, 1)

    def test_a_file_that_cannot_be_moved_is_tried_again(self) -> None:
        self.open_damaged()
        with mock.patch.object(spoolfile, "move_aside", side_effect=PermissionError("read-only file system")):
            self.site.take(qos=1)
            self.site.committer.flush()
            self.clock.advance(RETRY)
            assert (self.site.events, self.site.asides()) == ([], [])
            assert len(self.log()) == 1
            assert "disk failed (read-only file system" in self.log()[0]
        self.clock.advance(RETRY)
        assert (self.site.events, self.site.on_disk()) == ([6000, "wake"], [line(6000)])
        assert (len(self.site.asides()), self.site.queue.waiting) == (1, 1)

    def test_a_new_file_that_cannot_be_begun_is_tried_again(self) -> None:
        self.open_damaged()
        with mock.patch.object(spoolfile, "Journal", side_effect=disk_error(sqlite3.SQLITE_FULL)):
            self.site.take(qos=1)
            self.site.committer.flush()
            self.clock.advance(RETRY)
            assert self.site.events == []
        self.clock.advance(RETRY)
        assert (self.site.events, self.site.on_disk()) == ([6000, "wake"], [line(6000)])
        assert (len(self.site.asides()), self.site.queue.waiting) == (1, 1)

    def test_damage_at_the_stop_loses_nothing(self) -> None:
        self.open_damaged()
        self.site.take(2)
        self.site.result(self.site.spool.stop())
        assert (self.site.on_disk(), self.stats.ended) == (lines(6000, 6002), {(STORED, ""): 2})

    def damage_next_commit(self) -> None:
        """The next commit finds the file damaged."""
        commit = Journal.commit
        errors = [disk_error(sqlite3.SQLITE_CORRUPT)]

        def once(*arguments: Any) -> int:
            if errors:
                raise errors.pop()
            return commit(*arguments)

        self.patch(Journal, "commit", once)


STEPS = st.one_of(
    st.tuples(st.sampled_from(["store", "filter", "refuse"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["store"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["flush", "hold", "release", "work", "fail", "heal", "deliver", "tidy"])),
    st.tuples(st.sampled_from(["advance"]), st.sampled_from([0.5, 1.0, 5.0])),
)


class Always(SynchronousTestCase):
    def test_received_is_what_ended_and_what_is_pending_and_no_line_is_acknowledged_before_it_is_on_disk(
        self,
    ) -> None:
        @given(st.lists(STEPS, max_size=60))
        @settings(max_examples=150)
        def check(steps: list[tuple[Any, ...]]) -> None:
            with TemporaryDirectory() as directory:
                self.play(Site(self, directory), steps)

        with mock.patch.multiple(group_module, GROUP_READINGS=4, PENDING_MESSAGES=8):
            check()

    def play(self, site: Site, steps: list[tuple[Any, ...]]) -> None:
        site.open()
        committed: set[str] = set()
        delivered: set[str] = set()
        stored: set[int] = set()
        left = False
        for step in steps:
            match step:
                case ("store", qos):
                    number = site.sent
                    if site.take(qos=qos):
                        stored.add(number)
                    else:
                        left |= qos > 0
                case ("filter", qos):
                    left |= not site.filter(qos=qos) and qos > 0
                case ("refuse", qos):
                    left |= not site.refuse(qos=qos) and qos > 0
                case ("flush",):
                    site.committer.flush()
                case ("hold",):
                    site.thread.held = True
                case ("release",):
                    site.thread.release()
                case ("work",):
                    site.thread.work()
                case ("fail",):
                    site.thread.error = disk_error()
                case ("heal",):
                    site.thread.error = None
                case ("advance", seconds):
                    site.clock.advance(seconds)
                case ("tidy",):
                    Deferred.fromCoroutine(site.store.tidy())
                case ("deliver",) if not site.thread.held:
                    batch = site.result(site.queue.head(6))
                    delivered.update(batch.lines)
                    site.result(site.queue.retire(batch))
            assert site.stats.received == sum(site.stats.ended.values()) + site.committer.pending
            committed.update(site.on_disk())
            acknowledged = [event for event in site.events if isinstance(event, int)]
            assert acknowledged == sorted(set(acknowledged))
            assert committed.issuperset(line(number) for number in acknowledged if number in stored)
        site.thread.error = None
        site.stop()
        assert site.committer.pending == 0
        assert ("redeliver" in site.events) == left
        assert site.events.count("backpressure") == site.events.count("go on")
        assert site.stats.total(STORED) == len(committed | set(site.on_disk()))
        assert site.queue.waiting == len(site.on_disk())
        assert delivered & set(site.on_disk()) == set()
