"""Lines wait until the database has answered for them, and no longer."""

from twisted.internet.defer import CancelledError, Deferred

from tessflux.limits import GROUP_READINGS
from tessflux.readings import Quarantined
from tessflux.spool.committer import HOLD
from tessflux.spool.journal import Batch
from tessflux.spool.positions import Keeping
from tessflux.spool.queue import OVERDUE
from tessflux.spool.store import ATTEMPTS, RETRY
from tests.spool.site import FLUSH, Case, disk_error, line, lines, refused


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

    def test_a_stop_while_refused_lines_are_quarantined_does_not_quarantine_them_twice(self) -> None:
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

    def test_what_cannot_be_quarantined_before_the_stop_goes_on_waiting(self) -> None:
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

    def test_what_cannot_be_quarantined_because_of_a_bug_goes_on_waiting(self) -> None:
        self.site.take(3)
        self.clock.advance(FLUSH)
        batch = self.head()
        line = Quarantined(1, "", "stars0", "refused by InfluxDB", "why", batch.lines[0].encode())
        self.thread.error = OverflowError("too large")
        retired = Deferred.fromCoroutine(self.site.queue.retire(batch, [line]))
        self.clock.pump([RETRY] * ATTEMPTS)
        assert self.successResultOf(retired) is False
        assert self.site.queue.waiting == 3
        assert len(self.flushLoggedErrors(OverflowError)) == 1

    def test_retired_lines_leave_the_disk_with_the_next_commit(self) -> None:
        self.site.take(GROUP_READINGS)
        self.retire(self.head())
        assert self.site.on_disk() == lines(GROUP_READINGS)
        self.site.take(qos=1)
        self.site.settle()
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
        self.site.settle()
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
        self.clock.advance(HOLD)
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
        self.site.settle()
        assert self.site.queue.oldest == 100.0
        self.clock.advance(1.0)
        self.site.take(qos=1)
        self.site.settle()
        assert self.site.queue.oldest == 100.0
        self.head()
        assert self.site.queue.oldest is None

    def test_what_a_head_leaves_behind_is_due_at_once(self) -> None:
        self.site.take(2 * GROUP_READINGS)
        self.clock.advance(100.0)
        self.head(GROUP_READINGS)
        assert self.site.queue.oldest == OVERDUE


class ReadAhead(Case):
    """While a full batch is delivered the next one is read; what changes meanwhile makes it be read again."""

    def setUp(self) -> None:
        super().setUp()
        for _ in range(4):
            self.site.take(GROUP_READINGS)

    def taken(self, first: int) -> list[str]:
        return lines(first * GROUP_READINGS, (first + 1) * GROUP_READINGS)

    def test_a_full_batch_is_there_before_it_is_asked_for(self) -> None:
        batch = self.head(GROUP_READINGS)
        self.thread.held = True
        self.retire(batch)
        batch = self.head(GROUP_READINGS)
        assert batch.lines == self.taken(1)
        # The third is being read, and comes when the thread has it.
        assert self.thread.waiting == 1
        self.retire(batch)
        third = Deferred.fromCoroutine(self.site.queue.head(GROUP_READINGS))
        self.assertNoResult(third)
        self.thread.release()
        batch = self.successResultOf(third)
        assert batch.lines == self.taken(2)

    def test_less_than_a_full_batch_is_not_read_early_for_more_may_come(self) -> None:
        batch = self.head(3 * GROUP_READINGS)
        self.retire(batch)
        self.site.take(GROUP_READINGS)
        assert self.head(3 * GROUP_READINGS).lines == self.taken(3) + self.taken(4)

    def test_a_batch_that_is_not_retired_comes_again(self) -> None:
        assert self.head(GROUP_READINGS).lines == self.taken(0)
        assert self.head(GROUP_READINGS).lines == self.taken(0)

    def test_another_limit_counts_at_once(self) -> None:
        self.retire(self.head(GROUP_READINGS))
        assert self.head(2 * GROUP_READINGS).lines == self.taken(1) + self.taken(2)

    def test_what_is_to_be_sent_again_comes_first(self) -> None:
        self.site.queue.keep(Keeping(resend=60.0))
        self.retire(self.head(GROUP_READINGS))
        batch = self.head(GROUP_READINGS)
        assert batch.lines == self.taken(1)
        self.site.queue.rewind()
        self.retire(batch)
        assert self.head(GROUP_READINGS).lines == self.taken(0)

    def test_a_disk_that_failed_meanwhile_is_asked_again(self) -> None:
        batch = self.head(GROUP_READINGS)
        self.thread.error = disk_error()
        self.retire(batch)
        batch = self.head(GROUP_READINGS)
        assert batch.lines == self.taken(1)
        self.retire(batch)
        self.thread.error = None
        assert self.head(GROUP_READINGS).lines == self.taken(2)

    def following(self, batch: Batch, limit: int = GROUP_READINGS) -> Batch | None:
        found: Batch | None = self.site.result(self.site.queue.following(batch, limit))
        return found

    def test_the_following_batch_is_given_before_its_turn_and_in_its_turn(self) -> None:
        first = self.head(GROUP_READINGS)
        second = self.following(first)
        assert second is not None
        assert second.lines == self.taken(1)
        assert self.head(GROUP_READINGS) is first or self.head(GROUP_READINGS) == first
        self.retire(first)
        assert self.head(GROUP_READINGS) is second
        third = self.following(second)
        assert third is not None
        assert third.lines == self.taken(2)

    def test_only_a_full_batch_follows(self) -> None:
        batch = self.head(3 * GROUP_READINGS)
        assert self.following(batch, 3 * GROUP_READINGS) is None

    def test_nothing_follows_where_what_is_sent_twice_is_stored_twice(self) -> None:
        batch = self.head(GROUP_READINGS)
        self.site.queue.send_once(True)
        assert self.following(batch) is None

    def test_what_followed_is_another_batch_once_lines_are_sent_again(self) -> None:
        self.site.queue.keep(Keeping(resend=60.0))
        self.retire(self.head(GROUP_READINGS))
        second = self.head(GROUP_READINGS)
        third = self.following(second)
        self.site.queue.rewind()
        for number in range(3):
            batch = self.head(GROUP_READINGS)
            assert batch is not third
            assert batch.lines == self.taken(number)
            self.retire(batch)
