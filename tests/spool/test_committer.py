"""Messages are acknowledged after their commit and not before, whatever the disk does meanwhile."""

from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config.sections import SpoolConfig
from tessflux.limits import GROUP_READINGS, PENDING_BYTES, PENDING_MESSAGES
from tessflux.readings import Filtered
from tessflux.spool import group as group_module
from tessflux.spool.committer import HOLD, IN_VAIN, MANY
from tessflux.spool.group import Group
from tessflux.spool.journal import Journal
from tessflux.spool.store import ATTEMPTS, RETRY
from tessflux.stats import FILTERED, LOST, REFUSED, STORED
from tests.spool.site import FLUSH, Case, Site, disk_error, line, lines


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

    def test_a_flush_commits_with_what_waits_for_its_acknowledgement_what_does_not(self) -> None:
        self.site.take()
        self.site.take(MANY, qos=1)
        assert self.site.on_disk() == []
        self.site.committer.flush()
        assert (self.site.on_disk(), self.site.events) == (lines(1 + MANY), [*range(1, 1 + MANY), "wake"])

    def come(self, count: int, pause: float) -> None:
        """So many messages come one by one, and wait for their acknowledgement."""
        for _ in range(count):
            self.clock.advance(pause)
            self.site.take(qos=1)
            self.site.committer.flush()

    def commits(self) -> int:
        return self.site.events.count("wake")

    def test_few_that_wait_for_their_acknowledgement_wait_for_others(self) -> None:
        self.come(2, HOLD / 4)
        self.clock.advance(HOLD * 0.7)
        assert (self.commits(), self.site.on_disk()) == (0, [])
        self.clock.advance(HOLD * 0.1)
        assert (self.site.on_disk(), self.site.events) == (lines(2), [0, 1, "wake"])
        assert self.clock.getDelayedCalls() == []

    def test_as_many_as_a_broker_may_have_in_flight_wait_for_no_more(self) -> None:
        self.come(MANY - 1, 0)
        assert self.commits() == 0
        self.come(1, 0)
        assert self.site.on_disk() == lines(MANY)

    def test_however_fast_they_come_they_share_their_commits(self) -> None:
        self.come(100, HOLD / 100)
        assert self.commits() == 100 / MANY

    def test_few_that_came_during_a_commit_wait_no_longer_than_others(self) -> None:
        self.thread.held = True
        self.come(MANY, 0)
        self.come(1, HOLD / 2)
        self.thread.release()
        assert self.site.on_disk() == lines(MANY)
        self.clock.advance(HOLD)
        assert self.site.on_disk() == lines(MANY + 1)

    # Each commits to a disk a hundred times.
    @settings(max_examples=25)
    @given(st.integers(1, MANY - 1), st.floats(0, HOLD / 4))
    def test_a_broker_that_waits_for_each_acknowledgement_is_not_kept_waiting(
        self, window: int, needs: float
    ) -> None:
        self.setUp()
        self.come_and_wait(2 * IN_VAIN, window, needs)
        began = self.clock.seconds()
        self.come_and_wait(15, window, needs)
        assert self.clock.seconds() - began < 15 * needs + HOLD / 10

    def test_it_is_kept_waiting_again_when_it_has_nothing_more(self) -> None:
        self.come_and_wait(2 * IN_VAIN, 1, 0)
        before = self.commits()
        self.come(MANY, HOLD / 20)
        assert self.commits() == before + MANY
        self.come(1, HOLD * 0.6)
        assert self.commits() == before + MANY
        self.come(MANY - 1, HOLD / 20)
        assert self.commits() == before + MANY + 1

    def come_and_wait(self, times: int, count: int, needs: float) -> None:
        """The broker sends so many each time that it has all acknowledgements, and `needs` so long for it."""
        for _ in range(times):
            before = self.commits()
            self.clock.advance(needs)
            self.come(count, 0)
            while self.commits() == before:
                self.clock.advance(HOLD / 20)

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
        self.site.settle()
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

    def test_to_settle_commits_what_gathers_without_waiting_for_the_flush_interval(self) -> None:
        self.thread.held = True
        self.site.take()
        self.clock.advance(FLUSH)
        self.site.take()
        settled = Deferred.fromCoroutine(self.site.committer.settle())
        self.assertNoResult(settled)
        self.thread.release()
        self.successResultOf(settled)
        assert self.site.on_disk() == lines(2)

    def test_to_settle_waits_no_longer_when_commits_fail(self) -> None:
        self.thread.error = disk_error()
        self.site.take()
        self.site.result(self.site.committer.settle())
        assert self.site.on_disk() == []

    def test_acknowledgements_follow_the_commit_in_the_order_of_the_messages(self) -> None:
        self.thread.held = True
        self.site.take(qos=1)
        self.site.filter(qos=1)
        self.site.refuse(qos=1)
        self.site.take()
        self.site.filter(qos=1)
        self.site.take(qos=1)
        self.site.settle()
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
        self.site.settle()
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

    def test_a_disk_that_fails_at_a_reload_is_logged(self) -> None:
        self.thread.error = disk_error()
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory)), FLUSH)
        assert "disk failed" in self.log()[0]


class Memory(Case):
    def test_a_slow_commit_puts_backpressure_on_the_broker_and_loses_nothing(self) -> None:
        self.thread.held = True
        self.site.take(GROUP_READINGS + PENDING_MESSAGES - 1)
        assert self.site.events == []
        assert self.site.take(20) == 20
        assert self.site.events == ["backpressure"]
        self.thread.release()
        assert self.site.events == ["backpressure", "wake", "wake", "go on"]
        assert self.stats.total(STORED) == GROUP_READINGS + PENDING_MESSAGES + 19

    def test_large_payloads_put_backpressure_on_the_broker_long_before_their_number_does(self) -> None:
        self.thread.held = True
        self.site.take(qos=1)
        self.site.settle()
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

        def fail_for_the_filled(journal: Journal, group: Group, *others: Any) -> int:
            if len(group.lines) == PENDING_MESSAGES:
                raise disk_error()
            return commit(journal, group, *others)

        with mock.patch.object(Journal, "commit", fail_for_the_filled):
            self.clock.advance(RETRY)
            assert self.site.events == ["wake", "backpressure", "go on"]
            requeued = Group(lines=[line(0)])
            assert self.site.result(self.site.committer.commit(requeued))
            assert self.site.events[3:] == ["wake", "backpressure"]
        self.clock.advance(RETRY)
        assert self.site.events[5:] == ["wake", "go on", "redeliver"]


class OurOwnFault(Case):
    """An error that no disk makes."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.flushLoggedErrors, OverflowError)

    def test_it_is_tried_again_like_any_other_and_nothing_is_acknowledged_or_lost(self) -> None:
        self.thread.error = OverflowError("too large")
        self.site.take(qos=1)
        self.site.take()
        self.site.settle()
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

        def fail_for_the_first(journal: Journal, group: Group, *others: Any) -> int:
            if line(0) in group.lines:
                raise OverflowError("too large")
            return commit(journal, group, *others)

        self.patch(Journal, "commit", fail_for_the_first)
        self.site.settle()
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
        self.site.committer.take([Filtered("duplicate")], [1], self.site.acknowledge)
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
        self.patch(self.site, "acknowledge", lambda mids: int("no"))
        self.site.take(GROUP_READINGS + PENDING_MESSAGES, qos=1)
        self.thread.release()
        assert self.site.events == ["backpressure", "go on"]
        assert self.stats.total(STORED) == GROUP_READINGS + PENDING_MESSAGES
        assert self.site.queue.waiting == GROUP_READINGS + PENDING_MESSAGES
        assert len(self.flushLoggedErrors(ValueError)) == 2


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

    def test_on_a_disk_that_takes_nothing_what_no_broker_keeps_is_lost_and_logged(self) -> None:
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
        self.site.settle()
        self.site.take(2)
        settled = Deferred.fromCoroutine(self.site.spool.stop())
        self.assertNoResult(settled)
        self.clock.advance(RETRY)
        self.successResultOf(settled)
        assert (self.stats.ended, self.stats.received) == ({(LOST, "disk failed"): 2}, 2)

    def test_what_the_broker_keeps_of_a_second_group_is_not_lost_either(self) -> None:
        self.thread.error = disk_error()
        self.site.take(GROUP_READINGS, qos=1)
        self.site.take(1)
        self.site.take(4, qos=1)
        stopped = Deferred.fromCoroutine(self.site.spool.stop())
        self.clock.advance(RETRY)
        self.successResultOf(stopped)
        assert (self.stats.received, self.stats.total(LOST)) == (1, 1)

    def test_a_disk_that_does_not_answer_does_not_keep_a_stop_and_what_is_lost_is_logged(
        self,
    ) -> None:
        self.thread.held = True
        self.site.take(3)
        self.site.take(qos=1)
        self.site.settle()
        self.site.take(2)
        self.site.take(qos=1)
        stopped = Deferred.fromCoroutine(self.site.spool.stop())
        self.assertNoResult(stopped)
        stopped.addTimeout(8.0, self.clock)
        self.clock.advance(8.0)
        self.successResultOf(stopped)
        [cannot, *lost] = self.log(LogLevel.error)
        assert cannot.startswith("Cannot store readings: disk failed (")
        kept = "messages are lost (disk failed); 1 were not acknowledged, the broker keeps them"
        assert lost == [f"3 {kept}", f"2 {kept}"]
        assert (self.stats.received, self.stats.total(LOST), self.site.committer.pending) == (5, 5, 0)

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
        site.thread.release()
        site.clock.pump([RETRY, FLUSH])
        assert site.committer.pending == 0
        site.stop()
        assert ("redeliver" in site.events) == left
        assert site.events.count("backpressure") == site.events.count("go on")
        assert site.stats.total(STORED) == len(committed | set(site.on_disk()))
        assert site.queue.waiting == len(site.on_disk())
        assert delivered & set(site.on_disk()) == set()
