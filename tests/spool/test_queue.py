"""Lines wait until the database has answered for them, and no longer."""

from twisted.internet.defer import CancelledError, Deferred

from tessflux.limits import GROUP_READINGS
from tessflux.readings import Quarantined
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
