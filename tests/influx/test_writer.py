"""The writer is paused, given another config, drained and stopped, at any moment; no line gets lost."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from unittest import mock

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel

from tessflux.config.sections import InfluxConfig, SpoolConfig
from tessflux.influx.delivery import REFUSED_LINE
from tessflux.influx.server import IDLE_SECONDS, PARK_SECONDS
from tessflux.influx.verdict import BadLines, Delivered, Missing, TooLarge
from tessflux.influx.writer import PACE, Writer
from tessflux.readings import Admitted, Stored
from tessflux.spool.journal import second_look
from tessflux.spool.spool import Spool
from tests.influx.site import CONFIG, DOWN, FAILING, Case, line
from tests.spool.site import make_spool


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
        self.database.reply(Delivered())
        assert self.queue.lines == []
        more = self.add(writer, 4, 5, 6)
        self.clock.pump([IDLE_SECONDS] * 3)
        assert self.requests == [lines]
        writer.resume()
        assert self.requests == [lines, more]

    def test_while_it_waits_for_a_server(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                writer = self.start()
                self.queue.lines.clear()
                lines = self.add(writer, 1, 2, 3)
                self.database.reply(verdict)
                writer.pause()
                self.clock.pump([IDLE_SECONDS] * 10)
                assert self.database.requests == [[], lines]
                writer.resume()
                assert self.database.requests == [[], lines, lines]
                self.end(writer)

    def test_while_a_batch_is_halved(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        writer.pause()
        self.database.reply(BadLines("400"))
        self.clock.pump([IDLE_SECONDS] * 3)
        assert self.requests == [lines]
        writer.resume()
        assert self.requests == [lines, lines[:1]]

    def test_before_the_database_is_known(self) -> None:
        writer = self.start(known=False)
        writer.pause()
        self.database.reply(DOWN)
        self.clock.pump([IDLE_SECONDS] * 3)
        assert len(self.database.requests) == 1
        writer.resume()
        assert len(self.database.requests) == 2

    def test_twice_and_resumed_twice(self) -> None:
        writer = self.start()
        for action in (writer.pause, writer.pause, writer.resume, writer.resume):
            action()
        lines = self.add(writer, 1, 2, 3)
        assert self.requests == [lines]


class ReconfigureTest(Case):
    OTHER = replace(CONFIG, url="http://other:8086")

    def test_while_nothing_is_under_way_the_new_database_is_asked_at_once(self) -> None:
        writer = self.start()
        writer.reconfigure(self.OTHER)
        assert self.database.config == self.OTHER
        assert self.database.requests == [[]]

    def test_while_the_former_is_defined(self) -> None:
        """What comes of that is no matter of the new one, which has a file of its own to run."""
        first: Deferred[list[str]] = Deferred()

        async def define(config: InfluxConfig) -> list[str]:
            self.defined.append(config.schema)
            return await first if config.schema == "/old" else []

        self.patch(self, "define", define)
        writer = self.start(replace(CONFIG, schema="/old"))
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(Missing("404"))
        writer.reconfigure(replace(self.OTHER, schema="/new"))
        first.callback(["statement 1: wrong"])
        assert self.database.requests == [lines]
        self.database.reply(Missing("404"))
        assert self.defined == ["/old", "/new"]
        self.database.reply(Delivered())
        assert (self.queue.lines, self.log(LogLevel.error)) == ([], [])

    def test_after_the_former_was_defined_the_new_one_is_too(self) -> None:
        writer = self.start(replace(CONFIG, schema="/old"))
        self.add(writer, 1, 2, 3)
        self.database.reply(Missing("404"))
        self.database.reply(DOWN)
        writer.reconfigure(replace(self.OTHER, schema="/new"))
        self.database.reply(Missing("404"))
        assert self.defined == ["/old", "/new"]
        self.database.reply(Delivered())
        assert self.queue.lines == []

    def test_one_that_cannot_be_used_now_can_be_used_later(self) -> None:
        """Such as when a file that it names is away for a moment."""
        writer = self.start()
        gone = mock.patch.object(writer._server, "_make_client", side_effect=OSError("no such file"))
        with gone, pytest.raises(OSError, match="no such file"):
            writer.reconfigure(self.OTHER)
        writer.reconfigure(self.OTHER)
        assert self.database.config == self.OTHER

    def test_the_same_config_changes_nothing(self) -> None:
        writer = self.start()
        writer.reconfigure(replace(CONFIG))
        assert len(self.databases) == 1

    def test_during_a_wait_the_new_one_is_tried_at_once(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                writer = self.start()
                self.queue.lines.clear()
                lines = self.add(writer, 1, 2, 3)
                self.database.reply(verdict)
                writer.reconfigure(self.OTHER)
                assert self.database.config == self.OTHER
                assert self.database.requests == [lines]
                self.end(writer)

    def test_during_a_request_that_fails_the_new_one_is_tried_at_once(self) -> None:
        for verdict in [*FAILING.values(), BadLines("400"), TooLarge("413")]:
            with self.subTest(verdict):
                writer = self.start()
                self.queue.lines.clear()
                lines = self.add(writer, 1, 2, 3)
                before = self.database
                writer.reconfigure(self.OTHER)
                assert self.database.requests == []
                before.reply(verdict)
                assert self.database.requests == [lines]
                assert self.log(LogLevel.error) == []
                self.database.reply(Delivered())
                assert (self.queue.lines, self.queue.quarantine) == ([], [])
                self.end(writer)
        assert self.stats.requested == self.stats.ok + self.stats.rejected + self.stats.failed

    def test_during_a_request_that_succeeds_the_lines_are_not_sent_again(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        before = self.database
        writer.reconfigure(self.OTHER)
        before.reply(Delivered())
        assert self.queue.lines == []
        # What the new one can do is not known yet.
        assert self.database.requests == [[]]
        assert "http://other:8086 takes" not in " ".join(self.log(LogLevel.info))
        self.database.reply(Delivered())
        assert "http://other:8086 takes" in self.log(LogLevel.info)[-1]

    def test_without_a_server_any_more_the_lines_wait(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(DOWN)
        writer.reconfigure(replace(CONFIG, url=""))
        self.clock.pump([IDLE_SECONDS] * 5)
        assert self.queue.lines == lines
        assert self.database.requests == []
        writer.reconfigure(CONFIG)
        assert self.database.requests == [[]]
        self.database.reply(Delivered())
        assert self.database.requests == [[], lines]

    def test_another_batch_counts_from_now_on(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2)
        writer.reconfigure(replace(CONFIG, batch=2))
        self.database.reply(Delivered())
        assert self.requests == [lines]

    def test_a_size_that_was_too_large_may_suit_the_new_server(self) -> None:
        writer = self.start()
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 1 else Delivered()
        self.add(writer, 1, 2, 3)
        writer.reconfigure(self.OTHER)
        self.database.reply(Delivered())
        self.clock.advance(PACE)
        lines = self.add(writer, 4, 5, 6)
        assert self.database.requests == [[], lines]


class DrainTest(Case):
    def test_what_waits_is_sent_without_regard_to_the_batch(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1)
        drained = Deferred.fromCoroutine(writer.drain(5))
        assert self.requests == [lines]
        self.assertNoResult(drained)
        self.database.reply(Delivered())
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
        self.database.reply(DOWN)
        self.successResultOf(Deferred.fromCoroutine(writer.drain(5)))

    def test_it_gives_up_when_the_server_goes_down_meanwhile(self) -> None:
        writer = self.start()
        self.add(writer, 1)
        drained = Deferred.fromCoroutine(writer.drain(5))
        self.database.reply(DOWN)
        self.clock.advance(0.02)
        self.successResultOf(drained)

    def test_without_lines_without_a_server_and_paused_there_is_nothing_to_wait_for(self) -> None:
        def drains_at_once(writer: Writer) -> None:
            self.successResultOf(Deferred.fromCoroutine(writer.drain(5)))
            self.end(writer)

        drains_at_once(self.start())
        self.queue.add(line(1))
        drains_at_once(self.start(InfluxConfig()))
        drains_at_once(self.start(known=False))
        paused = self.start(known=False)
        paused.pause()
        self.database.reply(Delivered())
        drains_at_once(paused)


class StopTest(Case):
    def stop(self, writer: Writer, lines: list[str]) -> None:
        """It ends at once, quietly, and what was not answered for still waits."""
        said = len(self.log())
        self.successResultOf(writer.stopService())
        assert self.queue.lines == lines
        assert self.clock.getDelayedCalls() == []
        requests = len(self.requests)
        writer.wake()
        writer.resume()
        self.clock.advance(1_000)
        assert (len(self.requests), len(self.log())) == (requests, said)

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

    def test_while_a_batch_is_halved(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400"))
        self.database.reply(BadLines("400"))
        self.stop(writer, lines)
        assert self.queue.quarantine == []

    def test_in_every_wait(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                writer = self.start()
                self.queue.lines.clear()
                lines = self.add(writer, 1, 2, 3)
                self.database.reply(verdict)
                self.stop(writer, lines)

    def test_while_it_is_paused(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(DOWN)
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
        self.database.reply(FAILING["missing"])
        self.stop(writer, lines)

    def test_while_the_secret_is_read(self) -> None:
        self.read_secret = lambda secret: Deferred()  # type: ignore[method-assign,assignment,return-value]
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(FAILING["unauthorised"])
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
            SpoolConfig(self.directory.name), clock=self.clock, flush_interval=1.0, wake=lambda: self.wake()
        )
        self.successResultOf(Deferred.fromCoroutine(spool.open()))
        return spool

    def close(self, spool: Spool) -> None:
        for step in (spool.stop(), spool.close()):
            self.successResultOf(Deferred.fromCoroutine(step))

    def store(self, spool: Spool, *numbers: int) -> list[str]:
        lines = [line(number) for number in numbers]
        for number, each in zip(numbers, lines, strict=True):
            spool.committer.take(Stored(each, Admitted(f"stars{number}", number, number)), None)
        self.clock.advance(1)
        return lines

    def test_what_was_not_answered_for_is_sent_after_the_next_start(self) -> None:
        writer = self.start(queue=self.real.queue)
        self.wake = writer.wake
        first = self.store(self.real, 1, 2, 3)
        self.database.reply(Delivered())
        second = self.store(self.real, 4, 5, 6)
        self.successResultOf(writer.stopService())
        self.close(self.real)
        again = self.open()
        assert again.queue.waiting == 3
        self.start(queue=again.queue)
        assert self.requests == [first, second, second]
        self.database.reply(Delivered())
        assert again.queue.waiting == 0
        self.close(again)

    def test_what_a_database_refuses_is_in_the_quarantine_on_disk(self) -> None:
        writer = self.start(queue=self.real.queue)
        self.wake = writer.wake
        self.database.answer = lambda lines: BadLines("400") if line(2) in lines else Delivered()
        self.store(self.real, 1, 2, 3)
        assert self.real.queue.waiting == 0
        self.successResultOf(writer.stopService())
        with closing(second_look(self.directory.name)) as db:
            rows = db.execute("SELECT photometer, cause, payload FROM quarantine").fetchall()
        assert rows == [("stars2", REFUSED_LINE, line(2).encode())]
        self.close(self.real)


class CancelTest(Case):
    def test_a_request_that_somebody_else_breaks_off_is_made_again(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        [waiting], self.database.waiting = self.database.waiting, []
        waiting.errback(CancelledError())
        self.clock.advance(PARK_SECONDS)
        assert self.requests == [lines, lines]
        assert len(self.flushLoggedErrors(CancelledError)) == 1
