"""Several databases: each gets every reading, whatever becomes of the others."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config import InfluxConfig, Secret
from tessflux.config.sections import SpoolConfig
from tessflux.influx import Delivered, Ran, Server
from tessflux.influx.verdict import BadLines, Unreachable, Verdict, classify
from tessflux.outputs import Outputs, keeping
from tessflux.readings import Admitted, Reading, Stored
from tessflux.spool import Queue, second_look
from tessflux.stats import InfluxStats
from tests.influx.site import Database, line
from tests.log_lines import record
from tests.spool.site import make_spool

DOWN = Unreachable("connection refused", connected=False, cut_off=True)
FIRST = InfluxConfig(url="http://first:8086", batch=1, flush_interval=1.0, resend=0.0)
COPY = replace(FIRST, url="http://copy:8086")


class OutputsCase(SynchronousTestCase):
    """Outputs behind a real spool, whose databases answer Delivered unless told otherwise."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = record(self, "influxdb")
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.databases: dict[str, Database] = {}
        self.answers: dict[str, Callable[[Iterable[str]], Verdict]] = {}
        self.twice = ""
        self.number = 0

    def begin(self, **configs: InfluxConfig) -> None:
        self.spool = make_spool(
            SpoolConfig(self.directory),
            clock=self.clock,
            flush_interval=1.0,
            wake=lambda output: self.outputs.wake(output),
        )
        self.outputs = Outputs(self.spool, server=self.server, clock=self.clock, now=lambda: 1.5)
        self.successResultOf(Deferred.fromCoroutine(self.spool.open(keeping(configs))))
        self.outputs.start(configs)
        self.addCleanup(self.end)

    def end(self) -> None:
        for step in (self.outputs.stop(), self.spool.stop(), self.spool.close()):
            self.successResultOf(Deferred.fromCoroutine(step))
        assert self.clock.getDelayedCalls() == []

    def server(self, config: InfluxConfig, stats: InfluxStats, queue: Queue) -> Server:
        async def define(config: InfluxConfig) -> Ran:
            return Ran()

        async def read_secret(secret: Secret) -> Secret:
            return secret

        return Server(
            config,
            stats,
            client=self.database,
            define=define,
            read_secret=read_secret,
            resending=queue,
            clock=self.clock,
            backoff=lambda attempt: 1.0,
        )

    def database(self, config: InfluxConfig) -> Database:
        name = config.url.removeprefix("http://").removesuffix(":8086")
        database = self.databases[name] = Database(config)
        database.twice = self.twice
        database.answer = lambda lines: self.answers.get(name, lambda lines: Delivered())(lines)
        return database

    def take(self, count: int) -> list[str]:
        """So many readings come."""
        lines = [line(self.number + number) for number in range(count)]
        for each in lines:
            admitted = Admitted("stars1", self.number, self.number)
            stored = Stored(each, admitted, Reading("stars1", 0.0, "", None))
            self.spool.committer.take([stored], [], lambda mids: None)
            self.number += 1
        self.wait(2)
        return lines

    def wait(self, seconds: int) -> None:
        for _ in range(10 * seconds):
            self.clock.advance(0.1)

    def reload(self, **configs: InfluxConfig) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.outputs.reconfigure(configs)))
        self.wait(2)

    def sent(self, name: str) -> list[str]:
        """The lines that a database was sent, in their order."""
        return [each for request in self.databases[name].requests for each in request]


class EachTest(OutputsCase):
    def test_one_that_is_away_takes_nothing_from_the_other_and_gets_all_when_it_is_back(self) -> None:
        self.answers["copy"] = lambda lines: DOWN
        self.begin(influxdb=FIRST, copy=COPY)
        lines = self.take(3) + self.take(2)
        assert self.sent("first") == lines
        assert self.outputs.waiting == 5
        del self.answers["copy"]
        self.wait(3)
        assert self.outputs.waiting == 0
        assert set(self.sent("copy")) == set(lines)

    def test_one_that_refuses_a_line_quarantines_it_for_itself_alone(self) -> None:
        self.answers["copy"] = lambda lines: BadLines("400") if line(1) in lines else Delivered()
        self.begin(influxdb=FIRST, copy=COPY)
        self.take(3)
        assert self.outputs.waiting == 0
        with second_look(self.directory) as db:
            assert db.execute("SELECT output, payload FROM quarantine").fetchall() == [
                ("copy", line(1).encode())
            ]

    def test_a_reload_adds_changes_and_removes_outputs(self) -> None:
        self.begin(influxdb=FIRST)
        before = self.take(2)
        self.reload(influxdb=FIRST, copy=COPY)
        after = self.take(2)
        assert self.sent("copy") == after
        self.reload(influxdb=FIRST, copy=replace(COPY, url="http://other:8086"))
        later = self.take(1)
        assert (self.sent("copy"), self.sent("other")) == (after, later)
        self.reload(influxdb=FIRST)
        last = self.take(1)
        assert self.sent("first") == before + after + later + last
        assert self.sent("other") == later

    def test_a_pause_holds_for_all_and_for_those_that_come_later(self) -> None:
        self.begin(influxdb=FIRST)
        self.outputs.pause()
        self.reload(influxdb=FIRST, copy=COPY)
        lines = self.take(2)
        assert (self.sent("first"), self.sent("copy")) == ([], [])
        self.outputs.resume()
        self.wait(2)
        assert (self.sent("first"), self.sent("copy")) == (lines, lines)

    def test_one_may_be_paused_while_the_others_go_on(self) -> None:
        self.begin(influxdb=FIRST, copy=COPY)
        self.outputs.pause("copy")
        lines = self.take(2)
        assert (self.sent("first"), self.sent("copy")) == (lines, [])
        assert self.outputs.state == "delivery to [copy] is paused since 1970-01-01 00:00:01 UTC"
        self.outputs.resume("copy")
        self.wait(2)
        assert (self.sent("copy"), self.outputs.state) == (lines, "")

    def test_of_all_that_are_paused_one_may_be_resumed(self) -> None:
        self.begin(influxdb=FIRST, copy=COPY)
        self.outputs.pause()
        assert self.outputs.state == "delivery is paused since 1970-01-01 00:00:01 UTC"
        self.outputs.resume("copy")
        lines = self.take(2)
        assert (self.sent("first"), self.sent("copy")) == ([], lines)
        assert self.outputs.state == "delivery to [influxdb] is paused since 1970-01-01 00:00:01 UTC"

    def test_each_has_an_hourly_line_unless_it_wants_none(self) -> None:
        self.begin(influxdb=FIRST, copy=COPY, quiet=replace(COPY, stats=False))
        self.take(2)
        self.outputs.pause()
        self.outputs.report()
        first, copy = [text for text in self.log(LogLevel.info) if "Write Stats" in text]
        assert first.startswith("InfluxDB Write Stats [Requested, Ok, Reject, Fail] = ")
        assert copy.startswith("InfluxDB Write Stats of [copy] [Requested, Ok, Reject, Fail] = ")
        assert copy.endswith("; delivery is paused since 1970-01-01 00:00:01 UTC")

    def test_a_drain_delivers_to_all(self) -> None:
        self.begin(influxdb=replace(FIRST, batch=100, flush_interval=60.0), copy=replace(COPY, batch=100))
        lines = self.take(3)
        done = Deferred.fromCoroutine(self.outputs.drain(5))
        self.wait(6)
        self.successResultOf(done)
        assert self.sent("first") == lines


class AwayTest(OutputsCase):
    """What an output took shortly before it was away is sent once more."""

    def away(self, name: str) -> None:
        self.answers[name] = lambda lines: DOWN
        self.take(1)
        del self.answers[name]
        self.wait(3)

    def test_to_the_one_that_was_away_and_to_no_other(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0), copy=replace(COPY, resend=60.0))
        lines = self.take(3)
        self.away("copy")
        assert self.outputs.waiting == 0
        assert self.sent("first") == [*lines, line(3)]
        # The one that found it away came first, and again in its place.
        assert self.sent("copy")[-4:] == [*lines, line(3)]
        assert [self.sent("copy").count(each) for each in lines] == [2, 2, 2]
        self.outputs.report()
        first, copy = [text for text in self.log(LogLevel.info) if "Write Stats" in text]
        assert "sent again" not in first
        assert copy.endswith("since the start 4 delivered, beyond retention 0, quarantined 0, sent again 4")

    def test_what_it_took_long_before_is_not(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.wait(70)
        self.take(1)
        self.away("first")
        assert [self.sent("first").count(each) for each in lines] == [1, 1, 1]

    def test_so_it_is_after_an_outage_of_any_length(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.answers["first"] = lambda lines: DOWN
        for _ in range(10):
            lines += self.take(1)
            self.wait(20)
        del self.answers["first"]
        self.wait(3)
        assert set(lines[:3]) <= set(self.sent("first")[-len(lines) :])

    def test_a_reload_while_it_is_away_changes_nothing_about_that(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.answers["first"] = lambda lines: DOWN
        self.take(1)
        del self.answers["first"]
        self.reload(influxdb=replace(FIRST, resend=60.0, timeout=2.0))
        assert self.sent("first")[-4:] == [*lines, line(3)]

    def test_without_resend_nothing_is(self) -> None:
        self.begin(influxdb=FIRST)
        lines = self.take(3)
        self.away("first")
        assert [self.sent("first").count(each) for each in lines] == [1, 1, 1]

    def test_one_that_stores_twice_what_it_gets_twice_gets_nothing_again(self) -> None:
        self.twice = "it needs a flag"
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.away("first")
        assert [self.sent("first").count(each) for each in lines] == [1, 1, 1]
        [warning] = self.log(LogLevel.warn)
        assert warning == (
            "http://first:8086 may store twice what it gets twice, so nothing is sent again after it was"
            " away; to change that: it needs a flag"
        )
        # A reload of another key changes nothing about that.
        self.reload(influxdb=replace(FIRST, resend=30.0))
        more = self.take(2)
        self.away("first")
        assert [self.sent("first").count(each) for each in more] == [1, 1]

    def test_a_server_that_answers_with_errors_has_not_crashed(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.answers["first"] = lambda lines: Unreachable("500 internal error")
        self.take(1)
        del self.answers["first"]
        self.wait(3)
        assert [self.sent("first").count(each) for each in lines] == [1, 1, 1]

    def test_a_proxy_that_finds_nobody_says_that_it_is_away(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        gone = classify(502, b"<html>502 Bad Gateway</html>", None, datetime.now(UTC))
        self.answers["first"] = lambda lines: gone
        self.take(1)
        del self.answers["first"]
        self.wait(3)
        assert [self.sent("first").count(each) for each in lines] == [2, 2, 2]

    def test_so_it_may_soon_after_it_was_away(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.away("first")
        self.databases["first"].connections += 1
        self.take(1)
        self.wait(2)
        assert [self.sent("first").count(each) for each in lines] == [3, 3, 3]

    def test_another_connection_between_two_requests_may_mean_a_restart(self) -> None:
        self.begin(influxdb=replace(FIRST, resend=60.0))
        lines = self.take(3)
        self.databases["first"].connections += 1
        self.take(1)
        self.wait(2)
        assert [self.sent("first").count(each) for each in lines] == [2, 2, 2]
        # A proxy may close each connection: that is no restart each time.
        for _ in range(5):
            self.databases["first"].connections += 1
            self.take(1)
        assert [self.sent("first").count(each) for each in lines] == [2, 2, 2]
