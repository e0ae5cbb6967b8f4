"""When lines are posted, and that neither a pause nor a stop loses any, at whatever moment it comes."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel

from tessflux.config.sections import InfluxConfig, SpoolConfig
from tessflux.influx.delivery import REFUSED_LINE
from tessflux.influx.server import IDLE_SECONDS, PARK_SECONDS
from tessflux.influx.verdict import BadLines, Delivered
from tessflux.influx.writer import PACE, Writer
from tessflux.limits import BATCH_LINES
from tessflux.readings import Admitted, Reading, Stored
from tessflux.spool.journal import Batch, second_look
from tessflux.spool.positions import Keeping
from tessflux.spool.spool import Spool
from tests.influx.site import CONFIG, DOWN, FAILING, Case, line
from tests.spool.site import OUTPUT, make_spool


class DueTest(Case):
    def test_first_it_asks_whether_the_database_is_there(self) -> None:
        self.start(known=False)
        assert self.database.requests == [[]]
        self.reply(Delivered())
        assert self.log(LogLevel.info) == ["InfluxDB at http://db:8086 takes readings into tessdb"]
        self.clock.advance(IDLE_SECONDS)
        assert self.database.requests == [[]]

    def test_a_full_batch_goes_at_once(self) -> None:
        writer = self.start()
        self.add(writer, 1)
        self.add(writer, 2)
        assert self.requests == []
        lines = self.add(writer, 3)
        assert self.requests == [[line(1), line(2), *lines]]

    def test_a_line_goes_when_it_is_old_enough(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1)
        self.clock.advance(4.9)
        self.add(writer, 2)
        assert self.requests == []
        self.clock.advance(0.1)
        assert self.requests == [[*lines, line(2)]]

    def test_lines_that_waited_from_the_start_go_at_once(self) -> None:
        self.queue.add(line(1))
        self.queue.oldest = None
        self.start()
        assert self.requests == [[line(1)]]

    def test_what_comes_during_a_request_goes_into_the_next(self) -> None:
        writer = self.start()
        first = self.add(writer, 1, 2, 3)
        second = self.add(writer, 4, 5, 6)
        third = self.add(writer, 7, 8)
        self.clock.advance(100)
        assert self.requests == [first]
        self.reply(Delivered())
        assert self.requests == [first, second + third]
        self.reply(Delivered())
        assert (self.queue.lines, self.stats.delivered) == ([], 8)

    def test_a_request_that_is_not_full_comes_no_sooner_than_the_pace(self) -> None:
        self.answer = lambda lines: Delivered()
        writer = self.start()
        first = self.add(writer, 1, 2, 3)
        self.clock.advance(PACE / 2)
        following = self.add(writer, 4, 5, 6)
        assert self.requests == [first]
        self.clock.advance(PACE / 2)
        assert self.requests == [first, following]
        full = self.add(writer, *range(BATCH_LINES))
        assert self.requests == [first, following, full]

    def test_the_pace_makes_no_line_older_than_the_flush_interval(self) -> None:
        self.answer = lambda lines: Delivered()
        writer = self.start(replace(CONFIG, flush_interval=PACE / 4))
        first = self.add(writer, 1, 2, 3)
        following = self.add(writer, 4, 5, 6)
        self.clock.advance(PACE / 4)
        assert self.requests == [first, following]

    def test_a_request_carries_no_more_than_the_limit_and_the_next_follows_at_once(self) -> None:
        lines = [line(number) for number in range(BATCH_LINES + 2)]
        self.queue.add(*lines)
        self.answer = lambda lines: Delivered()
        self.start()
        assert self.requests == [lines[:BATCH_LINES], lines[BATCH_LINES:]]

    def test_nothing_is_retired_before_the_answer(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        assert self.queue.lines == lines
        self.reply(Delivered())
        assert self.queue.lines == []
        assert (self.stats.requested, self.stats.ok, self.stats.delivered) == (2, 2, 3)

    def test_a_queue_that_gives_out_none_of_its_lines_is_asked_again_a_moment_later(self) -> None:
        writer = self.start()
        head = self.queue.head

        async def nothing(limit: int) -> Batch:
            return Batch(0, [])

        self.queue.head = nothing  # type: ignore[method-assign]
        lines = self.add(writer, 1, 2, 3)
        self.queue.head = head  # type: ignore[method-assign]
        assert self.requests == []
        self.clock.advance(1)
        assert self.requests == [lines]

    def test_without_a_server_nothing_is_sent(self) -> None:
        writer = self.start(InfluxConfig())
        self.add(writer, *range(10))
        self.clock.advance(1_000)
        assert self.database.requests == []
        assert self.log() == []

    def test_an_exception_is_logged_and_delivery_goes_on(self) -> None:
        writer = self.start()
        self.queue.broken = RuntimeError("a bug")
        lines = self.add(writer, 1, 2, 3)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        assert self.requests == []
        self.clock.advance(PARK_SECONDS)
        assert self.requests == [lines]


class PauseTest(Case):
    def test_while_nothing_is_under_way(self) -> None:
        writer = self.start()
        writer.pause()
        lines = self.add(writer, 1, 2, 3)
        self.clock.pump([IDLE_SECONDS] * 3)
        assert self.requests == []
        writer.resume()
        assert self.requests == [lines]

    def test_during_a_request_its_answer_counts_and_no_other_follows(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        writer.pause()
        self.reply(Delivered())
        assert self.queue.lines == []
        more = self.add(writer, 4, 5, 6)
        self.clock.pump([IDLE_SECONDS] * 3)
        assert self.requests == [lines]
        writer.resume()
        assert self.requests == [lines, more]

    def test_while_it_waits_for_the_server(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                self.fresh()
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                self.reply(verdict)
                writer.pause()
                self.clock.pump([IDLE_SECONDS] * 10)
                assert self.database.requests == [[], lines]
                writer.resume()
                assert self.database.requests == [[], lines, lines]

    def test_whoever_mends_the_server_during_an_attempt_and_resumes_means_the_next_attempt(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        writer.pause()
        writer.resume()
        self.reply(DOWN)
        assert self.requests == [lines, lines]
        self.reply(DOWN)
        # What was asked during the first attempt does not hasten the third.
        assert self.requests == [lines, lines]

    def test_while_a_batch_is_bisected(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        writer.pause()
        self.reply(BadLines("400"))
        self.clock.pump([IDLE_SECONDS] * 3)
        assert self.requests == [lines]
        writer.resume()
        assert self.requests == [lines, lines[:1]]

    def test_before_the_database_is_known(self) -> None:
        writer = self.start(known=False)
        writer.pause()
        self.reply(DOWN)
        self.clock.pump([IDLE_SECONDS] * 3)
        assert len(self.database.requests) == 1
        writer.resume()
        assert len(self.database.requests) == 2


class DrainTest(Case):
    def test_what_waits_is_delivered_whatever_batch_says(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1)
        drained = Deferred.fromCoroutine(writer.drain(5))
        assert self.requests == [lines]
        self.assertNoResult(drained)
        self.reply(Delivered())
        self.clock.advance(0.02)
        self.successResultOf(drained)
        assert self.queue.lines == []

    def test_it_takes_no_longer_than_it_may(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1)
        drained = Deferred.fromCoroutine(writer.drain(5))
        self.clock.pump([0.02] * 240)
        self.assertNoResult(drained)
        self.clock.pump([0.02] * 12)
        self.successResultOf(drained)
        self.successResultOf(writer.stopService())
        assert self.queue.lines == lines

    def test_it_does_not_wait_for_a_server_that_takes_nothing(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        self.reply(DOWN)
        self.successResultOf(Deferred.fromCoroutine(writer.drain(5)))

    def test_it_gives_up_when_the_server_goes_down_meanwhile(self) -> None:
        writer = self.start()
        self.add(writer, 1)
        drained = Deferred.fromCoroutine(writer.drain(5))
        self.reply(DOWN)
        self.clock.advance(0.02)
        self.successResultOf(drained)

    def test_there_is_nothing_to_wait_for_without_lines_without_a_server_and_while_it_is_paused(self) -> None:
        def drains_at_once(writer: Writer) -> None:
            self.successResultOf(Deferred.fromCoroutine(writer.drain(5)))
            self.successResultOf(writer.stopService())

        drains_at_once(self.start())
        self.queue.add(line(1))
        drains_at_once(self.start(InfluxConfig()))
        drains_at_once(self.start(known=False))
        paused = self.start(known=False)
        paused.pause()
        self.reply(Delivered())
        drains_at_once(paused)


class StopTest(Case):
    def stop(self, writer: Writer, lines: list[str]) -> None:
        """It ends at once and logs nothing, and the lines without an answer still wait."""
        logged = len(self.log())
        self.successResultOf(writer.stopService())
        assert self.queue.lines == lines
        assert self.clock.getDelayedCalls() == []
        requests = len(self.requests)
        writer.wake()
        writer.resume()
        self.clock.advance(1_000)
        assert (len(self.requests), len(self.log())) == (requests, logged)

    def test_while_nothing_is_under_way(self) -> None:
        writer = self.start()
        self.stop(writer, self.add(writer, 1))

    def test_before_the_database_is_known(self) -> None:
        self.stop(self.start(known=False), [])
        assert self.database.cancelled == 1

    def test_during_a_request(self) -> None:
        writer = self.start()
        self.stop(writer, self.add(writer, 1, 2, 3))
        assert self.database.cancelled == 1

    def test_while_a_batch_is_bisected(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(BadLines("400"))
        self.reply(BadLines("400"))
        self.stop(writer, lines)
        assert self.queue.quarantine == []

    def test_in_every_wait(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                self.fresh()
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                self.reply(verdict)
                self.stop(writer, lines)

    def test_while_it_is_paused(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(DOWN)
        writer.pause()
        self.clock.advance(IDLE_SECONDS)
        self.stop(writer, lines)

    def test_after_an_exception(self) -> None:
        writer = self.start()
        self.queue.broken = RuntimeError("a bug")
        lines = self.add(writer, 1, 2, 3)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        self.stop(writer, lines)

    def test_while_the_data_definition_file_runs(self) -> None:
        self.define = lambda config: Deferred()  # type: ignore[method-assign,assignment,return-value]
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        lines = self.add(writer, 1, 2, 3)
        self.reply(FAILING["missing"])
        self.stop(writer, lines)

    def test_while_the_secret_is_read(self) -> None:
        self.secret_on_disk = Deferred()
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(FAILING["unauthorised"])
        self.clock.advance(PARK_SECONDS)
        self.stop(writer, lines)

    def test_twice(self) -> None:
        writer = self.start()
        self.successResultOf(writer.stopService())
        self.successResultOf(writer.stopService())


class SpoolTest(Case):
    """With the real spool, whose disk is fast."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.wake: Callable[[], None] = lambda: None
        self.real = self.open()

    def open(self) -> Spool:
        spool = make_spool(
            SpoolConfig(self.directory.name), clock=self.clock, flush_interval=1.0, wake=lambda _: self.wake()
        )
        self.successResultOf(Deferred.fromCoroutine(spool.open({OUTPUT: Keeping()})))
        return spool

    def close(self, spool: Spool) -> None:
        for step in (spool.stop(), spool.close()):
            self.successResultOf(Deferred.fromCoroutine(step))

    def store(self, spool: Spool, *numbers: int) -> list[str]:
        lines = [line(number) for number in numbers]
        for number, each in zip(numbers, lines, strict=True):
            name = f"stars{number}"
            stored = Stored(each, Admitted(name, number, number), Reading(name, 0.0, "", None))
            spool.committer.take([stored], [], lambda mids: None)
        self.clock.advance(1)
        return lines

    def test_lines_without_an_answer_are_posted_after_the_next_start(self) -> None:
        writer = self.start(queue=self.real.queues[OUTPUT])
        self.wake = writer.wake
        first = self.store(self.real, 1, 2, 3)
        self.reply(Delivered())
        second = self.store(self.real, 4, 5, 6)
        self.successResultOf(writer.stopService())
        self.close(self.real)
        again = self.open()
        assert again.queues[OUTPUT].waiting == 3
        self.start(queue=again.queues[OUTPUT])
        assert self.requests == [first, second, second]
        self.reply(Delivered())
        assert again.queues[OUTPUT].waiting == 0
        self.close(again)

    def test_what_a_database_refuses_is_in_the_quarantine_on_disk(self) -> None:
        writer = self.start(queue=self.real.queues[OUTPUT])
        self.wake = writer.wake
        self.database.answer = lambda lines: BadLines("400") if line(2) in lines else Delivered()
        self.store(self.real, 1, 2, 3)
        assert self.real.queues[OUTPUT].waiting == 0
        self.successResultOf(writer.stopService())
        with closing(second_look(self.directory.name)) as db:
            rows = db.execute("SELECT photometer, cause, payload FROM quarantine").fetchall()
        assert rows == [("stars2", REFUSED_LINE, line(2).encode())]
        self.close(self.real)


class CancelTest(Case):
    def test_a_request_that_something_else_cancels_is_made_again(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        [waiting], self.database.waiting = self.database.waiting, []
        waiting.errback(CancelledError())
        self.clock.advance(PARK_SECONDS)
        assert self.requests == [lines, lines]
        assert len(self.flushLoggedErrors(CancelledError)) == 1
