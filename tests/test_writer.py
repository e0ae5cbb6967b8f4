"""What is sent when, and what becomes of every line, whatever the database says."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.client import (
    BadLines,
    Busy,
    Delivered,
    Expired,
    Missing,
    TooLarge,
    Unauthorised,
    Verdict,
)
from tessflux.influx.placing import REFUSED_LINE
from tessflux.influx.writer import IDLE, LONGEST_WAIT, PARKED
from tessflux.journal import Batch, Quarantined
from tessflux.limits import BATCH_LINES
from tessflux.secret import Secret
from tessflux.stats import InfluxStats
from tests.log_lines import record
from tests.writer_site import CONFIG, DOWN, FAILING, Case, Memory, line


class DueTest(Case):
    def test_first_it_asks_whether_the_database_is_there(self) -> None:
        self.start(known=False)
        assert self.database.requests == [[]]
        self.database.reply(Delivered())
        assert self.log(LogLevel.info) == ["InfluxDB at http://db:8086 takes readings into tessdb"]
        self.clock.advance(IDLE)
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
        self.spool.add(line(1))
        self.spool.oldest = None
        self.start()
        assert self.requests == [[line(1)]]

    def test_what_comes_during_a_request_is_the_next_one(self) -> None:
        writer = self.start()
        first = self.add(writer, 1, 2, 3)
        second = self.add(writer, 4, 5, 6)
        third = self.add(writer, 7, 8)
        self.clock.advance(100)
        assert self.requests == [first]
        self.database.reply(Delivered())
        assert self.requests == [first, second + third]
        self.database.reply(Delivered())
        assert (self.spool.lines, self.stats.delivered) == ([], 8)

    def test_a_request_carries_no_more_than_the_limit_and_the_next_follows_at_once(self) -> None:
        lines = [line(number) for number in range(BATCH_LINES + 2)]
        self.spool.add(*lines)
        self.answer = lambda lines: Delivered()
        self.start()
        assert self.requests == [lines[:BATCH_LINES], lines[BATCH_LINES:]]

    def test_nothing_is_retired_before_the_answer(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        assert self.spool.lines == lines
        self.database.reply(Delivered())
        assert self.spool.lines == []
        assert (self.stats.requested, self.stats.ok, self.stats.delivered) == (2, 2, 3)

    def test_an_empty_head_is_looked_at_again_a_moment_later(self) -> None:
        writer = self.start()
        head = self.spool.head

        async def nothing(limit: int) -> Batch:
            return Batch(0, [])

        self.spool.head = nothing  # type: ignore[method-assign]
        lines = self.add(writer, 1, 2, 3)
        self.spool.head = head  # type: ignore[method-assign]
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
        self.spool.broken = RuntimeError("a bug")
        lines = self.add(writer, 1, 2, 3)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        assert self.requests == []
        self.clock.advance(PARKED)
        assert self.requests == [lines]


class VerdictTest(Case):
    def test_after_every_failing_verdict_the_same_lines_are_sent_again(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                for _ in range(4):
                    self.database.reply(verdict)
                    self.add(writer, 4)
                    self.clock.advance(LONGEST_WAIT)
                assert self.database.requests == [[], *([lines] * 5)]
                assert self.spool.lines[:3] == lines
                self.end(writer)
                self.spool.lines.clear()

    def test_the_back_off_grows_and_begins_anew_after_an_answer(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        for wait in (1, 2, 4, 8, 16, 32, 60, 60):
            self.database.reply(DOWN)
            self.clock.advance(wait - 0.1)
            assert self.database.waiting == []
            self.clock.advance(0.1)
        self.database.reply(Delivered())
        self.add(writer, 1, 2, 3)
        self.database.reply(DOWN)
        self.clock.advance(1)
        assert len(self.database.waiting) == 1
        assert (self.stats.requested, self.stats.ok, self.stats.failed) == (12, 2, 9)

    def test_the_same_complaint_is_made_once_until_the_database_has_recovered(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        for verdict in (DOWN, DOWN, Busy("503 timeout"), Busy("503 timeout"), Delivered()):
            self.database.reply(verdict)
            self.clock.advance(60)
        self.add(writer, 1, 2, 3)
        self.database.reply(DOWN)
        down = (
            "InfluxDB at http://db:8086 takes no readings: connection refused"
            " (is it running, and is the url right?); they wait in the spool"
        )
        busy = (
            "InfluxDB at http://db:8086 takes no readings: 503 timeout (it is busy); they wait in the spool"
        )
        assert self.log(LogLevel.error) == [down, busy, down]
        assert len(self.log(LogLevel.info)) == 2

    def test_a_busy_server_is_left_alone_as_long_as_it_asks_for(self) -> None:
        for asked, wait in ((7.0, 7.0), (LONGEST_WAIT * 1_000, LONGEST_WAIT), (0.0, 1.0), (None, 1.0)):
            with self.subTest(asked):
                writer = self.start()
                self.add(writer, 1, 2, 3)
                self.database.reply(Busy("503", asked))
                self.clock.advance(wait - 0.1)
                assert self.database.waiting == []
                self.clock.advance(0.1)
                assert len(self.database.waiting) == 1
                self.end(writer)

    def test_points_beyond_the_retention_policy_are_counted_and_not_searched_for(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(Expired(2, "400 partial write: points beyond retention policy dropped=2"))
        assert self.requests == [lines]
        assert (self.spool.lines, self.spool.quarantine) == ([], [])
        assert (self.stats.delivered, self.stats.expired) == (1, 2)
        assert len(self.log(LogLevel.warn)) == 1

    def test_too_large_a_request_is_halved_and_the_size_remembered(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))

        def at_most_two(lines: Sequence[str]) -> Verdict:
            return TooLarge("413") if len(lines) > 2 else Delivered()

        self.database.answer = at_most_two
        self.add(writer, *range(8))
        assert [len(lines) for lines in self.requests] == [8, 4, 2, 2, 2, 2]
        self.add(writer, *range(5))
        self.add(writer, *range(5))
        assert [len(lines) for lines in self.requests[6:]] == [2] * 5
        assert (self.spool.lines, self.spool.quarantine, self.stats.delivered) == ([], [], 18)
        assert self.log() == []

    def test_a_batch_that_is_larger_than_the_size_that_works_is_halved_at_once(self) -> None:
        writer = self.start()
        chunk = self.spool.head
        self.spool.head = lambda limit: chunk(1_000)  # type: ignore[method-assign]
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        self.add(writer, *range(4))
        lines = self.add(writer, *range(4, 8))
        assert self.requests[3:] == [lines[:2], lines[2:]]

    def test_a_single_line_that_is_too_large_goes_into_quarantine(self) -> None:
        writer = self.start()
        self.database.answer = lambda lines: TooLarge("413") if line(2) in lines else Delivered()
        self.add(writer, 1, 2, 3)
        assert [row.payload.decode() for row in self.spool.quarantine] == [line(2)]
        assert self.spool.lines == []

    def test_a_probe_that_the_server_does_not_like_is_repeated_after_a_while(self) -> None:
        for verdict in (BadLines("400 Bad Request"), TooLarge("413")):
            with self.subTest(verdict):
                writer = self.start(known=False)
                for wait in (1, 2, 4):
                    self.database.reply(verdict)
                    self.clock.advance(wait - 0.1)
                    assert self.database.waiting == []
                    self.clock.advance(0.1)
                assert len(self.log(LogLevel.error)) == 1
                assert verdict.reason in self.log(LogLevel.error)[0]
                self.database.reply(Delivered())
                self.end(writer)
                self.log = record(self, "influxdb")


class BadLineTest(Case):
    @settings(deadline=None)
    @given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.integers(0, 3))
    def test_every_good_line_is_delivered_and_every_bad_one_is_in_quarantine_once(
        self, count: int, numbers: set[int], quoted: int
    ) -> None:
        lines = [line(number) for number in range(count)]
        bad = set(lines).intersection(map(line, numbers))
        accepted: set[str] = set()

        def partial(sent: Sequence[str]) -> Verdict:
            """Show some of the bad lines; of a batch with bad ones nothing is written, which is the worst."""
            wrong = [each for each in sent if each in bad]
            if wrong:
                return BadLines("400 partial write: bad", tuple(wrong[:quoted]))
            accepted.update(sent)
            return Delivered()

        self.stats, self.spool, self.answer = InfluxStats(), Memory(self.clock), partial
        self.spool.add(*lines)
        writer = self.start(replace(CONFIG, batch=1))
        self.end(writer)
        assert accepted == set(lines) - bad
        assert sorted(row.payload.decode() for row in self.spool.quarantine) == sorted(bad)
        assert self.spool.lines == []
        assert (self.stats.delivered, self.stats.quarantined) == (count - len(bad), len(bad))
        assert self.stats.requested == self.stats.ok + self.stats.rejected

    def test_a_line_that_the_answer_shows_is_found_without_halving(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400 unable to parse", (lines[1], "not one of ours")))
        assert self.requests[1:] == [[lines[0], lines[2]]]
        assert self.spool.lines == lines
        self.database.reply(Delivered())
        assert self.spool.quarantine == [
            Quarantined(1700000000500, "", "stars2", REFUSED_LINE, "400 unable to parse", lines[1].encode())
        ]
        assert self.log() == ["stars2: refused by InfluxDB: 400 unable to parse"]

    def test_a_batch_of_nothing_but_shown_lines_needs_no_further_request(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400", tuple(lines)))
        assert (self.requests, self.spool.lines, len(self.spool.quarantine)) == ([lines], [], 3)

    def test_a_database_that_goes_down_while_a_batch_is_halved_loses_nothing(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400"))
        self.database.reply(DOWN)
        self.clock.advance(1)
        self.database.reply(Delivered())
        self.database.reply(BadLines("400"))
        assert self.spool.lines == lines
        self.database.reply(Delivered())
        self.database.reply(BadLines("400"))
        assert self.requests == [lines, lines[:1], lines[:1], lines[1:], lines[1:2], lines[2:]]
        assert self.spool.lines == []
        assert [row.payload.decode() for row in self.spool.quarantine] == [lines[2]]


class ParkTest(Case):
    MISSING = Missing('404 database not found: "tessdb"')

    def test_what_is_missing_is_created_and_then_delivered_to(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        lines = self.add(writer, 1, 2, 3)
        for _ in range(3):
            self.database.reply(DOWN)
            self.clock.advance(60)
        self.database.reply(self.MISSING)
        assert self.defined == ["/etc/schema"]
        assert self.requests == [lines] * 5
        self.database.reply(Delivered())
        assert self.spool.lines == []
        assert len(self.log(LogLevel.error)) == 1

    def test_what_the_file_does_not_create_is_said_once_and_tried_again(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        self.add(writer, 1, 2, 3)
        self.database.reply(self.MISSING)
        for _ in range(5):
            self.database.reply(self.MISSING)
            self.clock.advance(PARKED - 0.1)
            assert self.database.waiting == []
            self.clock.advance(0.1)
        [complaint] = self.log(LogLevel.error)
        assert '"tessdb" (/etc/schema does not create it)' in complaint
        ran = [text for text in self.log(LogLevel.info) if "Ran the data definition file" in text]
        assert len(ran) == 1

    def test_without_a_file_it_parks(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        for _ in range(3):
            self.database.reply(self.MISSING)
            self.clock.advance(PARKED)
        assert self.defined == []
        [complaint] = self.log(LogLevel.error)
        assert "create it, or name a data definition file in [influxdb] schema" in complaint

    def test_a_file_with_errors_is_said_once_with_all_of_them(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        self.add(writer, 1, 2, 3)
        self.problems = ["statement 1: wrong", "statement 2: wrong too"]
        for _ in range(3):
            self.database.reply(self.MISSING)
            assert self.database.waiting == []
            self.clock.advance(PARKED)
        [complaint] = self.log(LogLevel.error)
        assert "statement 1: wrong" in complaint
        assert "statement 2: wrong too" in complaint
        assert len(self.defined) == 3

    def test_a_file_that_was_mended_is_run_and_the_lines_go_at_once(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        lines = self.add(writer, 1, 2, 3)
        self.problems = ["statement 1: wrong"]
        self.database.reply(self.MISSING)
        self.problems = []
        self.clock.advance(PARKED)
        self.database.reply(self.MISSING)
        assert self.requests == [lines] * 3
        assert len(self.log(LogLevel.error)) == 1

    def test_a_file_that_cannot_be_run_is_said_and_tried_again(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        self.add(writer, 1, 2, 3)
        for problem in (OSError("no such file"), ServerError("gone")):
            self.problems = problem
            self.database.reply(self.MISSING)
            self.clock.advance(PARKED)
        assert len(self.log(LogLevel.error)) == 2
        assert "no such file" in self.log(LogLevel.error)[0]
        assert self.flushLoggedErrors() == []

    def test_a_wrong_login_parks_and_the_secret_is_read_anew(self) -> None:
        writer = self.start(replace(CONFIG, username="u", password=Secret("old", "/file")))
        lines = self.add(writer, 1, 2, 3)
        for _ in range(2):
            self.database.reply(Unauthorised("401 authorization failed"))
            self.clock.advance(PARKED - 0.1)
            assert self.database.waiting == []
            self.clock.advance(0.1)
        assert len(self.databases) == 1
        self.refreshed = lambda config: replace(config, password=Secret("new", "/file"))
        self.database.reply(Unauthorised("401 authorization failed"))
        self.clock.advance(PARKED)
        assert self.database.config.password == Secret("new", "/file")
        assert self.database.requests == [lines]
        self.database.reply(Unauthorised("401 authorization failed"))
        assert len(self.log(LogLevel.error)) == 1
        self.clock.advance(PARKED)
        self.database.reply(Delivered())
        assert (self.spool.lines, self.stats.rejected) == ([], 4)

    def test_a_secret_that_is_read_too_late_does_not_undo_a_new_config(self) -> None:
        reading: Deferred[InfluxConfig] = Deferred()
        self.refresh = lambda config: reading  # type: ignore[method-assign,assignment,return-value]
        writer = self.start()
        self.add(writer, 1, 2, 3)
        self.database.reply(FAILING["unauthorised"])
        self.clock.advance(PARKED)
        writer.reconfigure(replace(CONFIG, dbname="other"))
        reading.callback(replace(CONFIG, password=Secret("new")))
        assert self.database.config.dbname == "other"
        assert len(self.database.waiting) == 1
