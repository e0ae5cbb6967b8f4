"""Another config: it makes a new connection only if it must, and loses no line, whatever is under way."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config.sections import InfluxConfig
from tessflux.influx.definition import Ran
from tessflux.influx.server import IDLE_SECONDS
from tessflux.influx.verdict import BadLines, Delivered, Missing, TooLarge
from tessflux.influx.writer import PACE
from tests.config.test_sections import INFLUX, LIVE
from tests.influx.site import CONFIG, DOWN, FAILING, Case


class ReloadTest(Case):
    OTHER = replace(CONFIG, url="http://other:8086")

    def test_while_nothing_is_under_way_the_new_database_is_asked_at_once(self) -> None:
        writer = self.start()
        writer.reconfigure(self.OTHER)
        assert self.database.config == self.OTHER
        assert self.database.requests == [[]]

    def test_while_the_file_runs_at_the_former_server(self) -> None:
        """Its outcome does not matter to the new server, which has a file of its own to run."""
        first: Deferred[Ran] = Deferred()

        async def define(config: InfluxConfig) -> Ran:
            self.defined.append(config.schema)
            return await first if config.schema == "/old" else Ran()

        self.patch(self, "define", define)
        writer = self.start(replace(CONFIG, schema="/old"))
        lines = self.add(writer, 1, 2, 3)
        self.reply(Missing("404"))
        writer.reconfigure(replace(self.OTHER, schema="/new"))
        first.callback(Ran(problem="statement 1: wrong"))
        assert self.database.requests == [lines]
        self.reply(Missing("404"))
        assert self.defined == ["/old", "/new"]
        self.reply(Delivered())
        assert (self.queue.lines, self.log(LogLevel.error)) == ([], [])

    def test_the_new_server_has_its_own_file_run(self) -> None:
        writer = self.start(replace(CONFIG, schema="/old"))
        self.add(writer, 1, 2, 3)
        self.reply(Missing("404"))
        self.reply(DOWN)
        writer.reconfigure(replace(self.OTHER, schema="/new"))
        self.reply(Missing("404"))
        assert self.defined == ["/old", "/new"]
        self.reply(Delivered())
        assert self.queue.lines == []

    def test_one_that_cannot_be_used_now_can_be_used_later(self) -> None:
        """Such as when a file that it names is missing for a moment."""
        writer = self.start()
        self.client_error = OSError("no such file")
        with pytest.raises(OSError, match="no such file"):
            writer.reconfigure(self.OTHER)
        self.client_error = None
        writer.reconfigure(self.OTHER)
        assert self.database.config == self.OTHER

    def test_a_setting_that_is_not_of_the_connection_forgets_nothing_about_the_server(self) -> None:
        for change in (
            CONFIG,
            replace(CONFIG, log_level="debug"),
            replace(CONFIG, stats=False),
            replace(CONFIG, batch=2),
            replace(CONFIG, flush_interval=2.0),
            replace(CONFIG, measurement="other", extra_fields=("zp",)),
        ):
            with self.subTest(change):
                self.fresh()
                writer = self.start()
                self.add(writer, 1, 2, 3)
                self.reply(TooLarge("413"), DOWN)
                writer.reconfigure(change)
                assert self.log(LogLevel.error) != []
                self.assert_waits(1)
                self.reply(Delivered(), Delivered())
                assert "takes readings" in self.log(LogLevel.info)[-1]
                self.add(writer, 4, 5, 6, 7)
                assert [len(lines) for lines in self.database.requests] == [0, 3, 1, 1, 2, 2]
                assert len(self.databases) == 1

    def test_any_other_setting_makes_a_new_connection(self) -> None:
        """Also one that is added to the config later."""

        @dataclass(frozen=True)
        class Later(InfluxConfig):
            unknown: Annotated[int, int] = 0

        before = Later(url="http://db:8086")
        for name in {field.name for field in fields(Later)} - LIVE[INFLUX]:
            with self.subTest(name):
                self.fresh()
                writer = self.start(before)
                change: dict[str, Any] = {name: "something else"}
                after = replace(before, **change)
                writer.reconfigure(after)
                assert [database.config for database in self.databases] == [before, after]

    def test_during_a_wait_the_new_one_is_tried_at_once(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                self.fresh()
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                self.reply(verdict)
                writer.reconfigure(self.OTHER)
                assert self.database.config == self.OTHER
                assert self.database.requests == [lines]

    def test_during_a_request_that_fails_the_new_one_is_tried_at_once(self) -> None:
        for verdict in [*FAILING.values(), BadLines("400"), TooLarge("413")]:
            with self.subTest(verdict):
                self.fresh()
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                before = self.database
                writer.reconfigure(self.OTHER)
                assert self.database.requests == []
                before.reply(verdict)
                assert self.database.requests == [lines]
                assert self.log(LogLevel.error) == []
                self.reply(Delivered())
                assert (self.queue.lines, self.queue.quarantine) == ([], [])
                assert self.stats.requested == self.stats.ok + self.stats.rejected + self.stats.failed

    def test_during_a_request_that_succeeds_the_lines_are_not_sent_again(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        before = self.database
        writer.reconfigure(self.OTHER)
        before.reply(Delivered())
        assert self.queue.lines == []
        # Whether the new one takes lines is not known yet.
        assert self.database.requests == [[]]
        assert "http://other:8086 takes" not in " ".join(self.log(LogLevel.info))
        self.reply(Delivered())
        assert "http://other:8086 takes" in self.log(LogLevel.info)[-1]

    def test_without_a_server_any_more_the_lines_wait(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(DOWN)
        writer.reconfigure(replace(CONFIG, url=""))
        self.clock.pump([IDLE_SECONDS] * 5)
        assert self.queue.lines == lines
        assert self.database.requests == []
        writer.reconfigure(CONFIG)
        assert self.database.requests == [[]]
        self.reply(Delivered())
        assert self.database.requests == [[], lines]

    def test_another_batch_counts_from_now_on(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2)
        writer.reconfigure(replace(CONFIG, batch=2))
        assert self.requests == [lines]

    def test_a_size_that_was_too_large_may_suit_the_new_server(self) -> None:
        writer = self.start()
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 1 else Delivered()
        self.add(writer, 1, 2, 3)
        writer.reconfigure(self.OTHER)
        self.reply(Delivered())
        self.clock.advance(PACE)
        lines = self.add(writer, 4, 5, 6)
        assert self.database.requests == [[], lines]
