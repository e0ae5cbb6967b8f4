"""What is sent when, and what becomes of every line, whatever the database says."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config.secret import Secret
from tessflux.config.sections import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.delivery import GROW_AFTER, REFUSED_LINE
from tessflux.influx.server import IDLE_SECONDS, LONGEST_RETRY_AFTER, PARK_SECONDS, PROBLEM_LINES
from tessflux.influx.verdict import (
    BadLines,
    Busy,
    Delivered,
    Expired,
    Missing,
    TooLarge,
    Unauthorised,
    Unreachable,
    Verdict,
    classify,
)
from tessflux.influx.writer import PACE
from tessflux.limits import BATCH_LINES
from tessflux.readings import Quarantined
from tessflux.spool.journal import Batch
from tessflux.stats import InfluxStats
from tests.influx.site import CONFIG, DOWN, FAILING, Case, Memory, line
from tests.log_lines import record


def said(text: str) -> Verdict:
    return classify(400, json.dumps({"error": text}).encode(), None, datetime.now(UTC))


class DueTest(Case):
    def test_first_it_asks_whether_the_database_is_there(self) -> None:
        self.start(known=False)
        assert self.database.requests == [[]]
        self.database.reply(Delivered())
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
        self.database.reply(Delivered())
        assert self.queue.lines == []
        assert (self.stats.requested, self.stats.ok, self.stats.delivered) == (2, 2, 3)

    def test_an_empty_head_is_looked_at_again_a_moment_later(self) -> None:
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


class VerdictTest(Case):
    def test_after_every_failing_verdict_the_same_lines_are_sent_again(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                for _ in range(4):
                    self.database.reply(verdict)
                    self.add(writer, 4)
                    self.clock.advance(LONGEST_RETRY_AFTER)
                assert self.database.requests == [[], *([lines] * 5)]
                assert self.queue.lines[:3] == lines
                self.end(writer)
                self.queue.lines.clear()

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

    def test_a_database_that_comes_and_goes_is_not_said_to_do_so_every_time(self) -> None:
        writer = self.start()
        before = len(self.log(LogLevel.info))
        for _ in range(100):
            self.add(writer, 1, 2, 3)
            self.database.reply(Busy("503 request throttled"))
            self.clock.advance(1)
            self.database.reply(Delivered())
        assert len(self.log(LogLevel.error)) == PROBLEM_LINES
        assert len(self.log(LogLevel.info)) - before == PROBLEM_LINES

    def test_a_database_that_goes_for_good_after_it_came_and_went_is_said_to_do_so(self) -> None:
        writer = self.start()
        for _ in range(PROBLEM_LINES + 1):
            self.add(writer, 1, 2, 3)
            self.database.reply(Delivered())
            self.clock.advance(PACE)
            self.add(writer, 1, 2, 3)
            self.database.reply(DOWN)
            self.clock.advance(1)
        assert len(self.log(LogLevel.error)) == PROBLEM_LINES
        for _ in range(15):
            self.database.reply(DOWN)
            self.clock.advance(60)
        assert len(self.log(LogLevel.error)) == PROBLEM_LINES + 1

    def test_a_server_that_goes_while_the_file_is_run_is_asked_again_soon(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        lines = self.add(writer, 1, 2, 3)
        self.problems = ServerError("http://db:8086: no connection")
        self.database.reply(Missing('404 database not found: "tessdb"'))
        self.problems = []
        self.clock.advance(1)
        assert self.requests == [lines, lines]
        [complaint] = self.log(LogLevel.error)
        assert "no connection (is it running, and is the url right?)" in complaint

    def test_a_busy_server_is_left_alone_as_long_as_it_asks_for(self) -> None:
        for asked, wait in (
            (7.0, 7.0),
            (LONGEST_RETRY_AFTER * 1_000, LONGEST_RETRY_AFTER),
            (0.0, 1.0),
            (None, 1.0),
        ):
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
        lines = self.add(writer, 3, 1, 2)
        self.database.reply(Expired(2, "400 partial write: points beyond retention policy dropped=2"))
        assert self.requests[1:] == [[line(1), line(2)]]
        self.database.reply(Expired(2, "400 partial write: points beyond retention policy dropped=2"))
        assert self.requests[2:] == [lines[:1]]
        self.database.reply(Delivered())
        assert (self.queue.lines, self.queue.quarantine) == ([], [])
        assert (self.stats.delivered, self.stats.expired) == (1, 2)
        assert len(self.log(LogLevel.warn)) == 1

    def test_a_server_that_always_says_that_one_is_too_old_is_believed(self) -> None:
        self.answer = lambda lines: Expired(1, "400") if lines else Delivered()
        self.queue.add(*map(line, range(2_000)))
        self.start()
        assert (self.queue.lines, self.stats.expired) == ([], 2_000)

    def test_a_server_that_spares_one_line_at_a_time_is_believed_too(self) -> None:
        """However often: what it says must not go as deep as Python can."""
        self.answer = lambda lines: Expired(max(1, len(lines) - 1), "400") if lines else Delivered()
        self.queue.add(*map(line, range(2_000)))
        self.start()
        assert (self.queue.lines, self.stats.expired) == ([], 2_000)

    def test_too_large_a_request_is_halved_and_the_size_remembered(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))

        def at_most_two(lines: Sequence[str]) -> Verdict:
            return TooLarge("413") if len(lines) > 2 else Delivered()

        self.database.answer = at_most_two
        self.add(writer, *range(8))
        assert [len(lines) for lines in self.requests] == [8, 4, 2, 2, 2, 2]
        for _ in range(2):
            self.add(writer, *range(5))
            self.clock.advance(PACE)
        assert [len(lines) for lines in self.requests[6:]] == [2, 2, 1] * 2
        assert (self.queue.lines, self.queue.quarantine, self.stats.delivered) == ([], [], 18)
        assert self.log() == []

    def test_a_batch_that_is_larger_than_the_size_that_works_is_halved_at_once(self) -> None:
        writer = self.start()
        chunk = self.queue.head
        self.queue.head = lambda limit: chunk(1_000)  # type: ignore[method-assign]
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        self.add(writer, *range(4))
        lines = self.add(writer, *range(4, 8))
        assert self.requests[3:] == [lines[:2], lines[2:]]

    def test_the_size_of_a_request_recovers_from_a_limit_that_has_passed(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        self.add(writer, *range(8))
        self.database.answer = lambda lines: Delivered()
        for _ in range(2 * GROW_AFTER):
            self.clock.advance(PACE)
            self.add(writer, *range(8))
        assert [len(lines) for lines in self.requests[-2:]] == [8, 8]

    def test_a_limit_that_stays_costs_few_requests_and_one_line_in_the_log(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        for _ in range(GROW_AFTER):
            self.add(writer, *range(8))
        large = [lines for lines in self.requests[2:] if len(lines) > 2]
        assert [len(lines) for lines in large] == [4, 4, 4]
        assert len([text for text in self.log(LogLevel.info) if "too many" in text]) == 2
        assert (self.stats.delivered, self.queue.lines) == (8 * GROW_AFTER, [])

    def test_a_way_that_is_too_slow_for_a_batch_takes_it_in_parts(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))
        slow = Unreachable("no answer within 30 s", slow=True)
        self.database.answer = lambda lines: slow if len(lines) > 2 else Delivered()
        self.add(writer, *range(8))
        self.clock.pump([60] * 5)
        assert [len(lines) for lines in self.requests] == [8, 8, 4, 4, 2, 2, 2, 2]
        assert (self.queue.lines, self.queue.quarantine, self.stats.delivered) == ([], [], 8)
        assert "no answer within 30 s" in self.log(LogLevel.error)[0]

    def test_a_server_that_takes_not_even_a_single_line_is_to_blame_for_that(self) -> None:
        writer = self.start()
        self.database.answer = lambda lines: TooLarge("413") if lines else Delivered()
        lines = self.add(writer, 1, 2, 3)
        self.clock.pump([60] * 5)
        assert (self.queue.lines, self.queue.quarantine) == (lines, [])
        [complaint] = self.log(LogLevel.error)
        assert "413 (it must take larger requests" in complaint
        self.database.answer = lambda lines: Delivered()
        self.clock.advance(60)
        assert (self.queue.lines, self.stats.delivered) == ([], 3)

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

        self.stats, self.queue, self.answer = InfluxStats(), Memory(self.clock), partial
        self.queue.add(*lines)
        writer = self.start(replace(CONFIG, batch=1))
        self.end(writer)
        assert accepted == set(lines) - bad
        assert sorted(row.payload.decode() for row in self.queue.quarantine) == sorted(bad)
        assert self.queue.lines == []
        assert (self.stats.delivered, self.stats.quarantined) == (count - len(bad), len(bad))
        assert self.stats.requested == self.stats.ok + self.stats.rejected

    def test_a_line_that_the_answer_shows_is_found_without_halving(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400 unable to parse", (lines[1], "not one of ours")))
        assert self.requests[1:] == [[lines[0], lines[2]]]
        assert self.queue.lines == lines
        self.database.reply(Delivered())
        assert self.queue.quarantine == [
            Quarantined(1700000000500, "", "stars2", REFUSED_LINE, "400 unable to parse", lines[1].encode())
        ]
        assert self.log() == ["stars2: refused by InfluxDB: 400 unable to parse"]

    def test_a_batch_of_nothing_but_shown_lines_needs_no_further_request(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400", tuple(lines)))
        assert (self.requests, self.queue.lines, len(self.queue.quarantine)) == ([lines], [], 3)

    def test_a_database_that_goes_down_while_a_batch_is_halved_loses_nothing(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400"))
        self.database.reply(DOWN)
        self.clock.advance(1)
        self.database.reply(Delivered())
        self.database.reply(BadLines("400"))
        assert self.queue.lines == lines
        self.database.reply(Delivered())
        self.database.reply(BadLines("400"))
        assert self.requests == [lines, lines[:1], lines[:1], lines[1:], lines[1:2], lines[2:]]
        assert self.database.requests[-1] == []
        self.database.reply(Delivered())
        assert self.requests[-2:] == [lines[2:], lines[2:]]
        self.database.reply(BadLines("400"))
        assert self.queue.lines == []
        assert [row.payload.decode() for row in self.queue.quarantine] == [lines[2]]

    def test_a_line_that_is_refused_once_in_passing_is_not_bad(self) -> None:
        writer = self.start()
        self.add(writer, 1)
        self.clock.advance(60)
        for verdict in (BadLines("400 Bad Request"), Delivered(), Delivered(), Delivered()):
            self.database.reply(verdict)
        assert (self.queue.lines, self.queue.quarantine) == ([], [])

    def test_a_proxy_that_refuses_whatever_comes_is_to_blame_and_no_line(self) -> None:
        writer = self.start()
        self.database.answer = lambda lines: BadLines("400 Bad Request")
        lines = self.add(writer, 1, 2, 3)
        self.clock.pump([60] * 5)
        assert (self.queue.lines, self.queue.quarantine) == (lines, [])
        # It is asked without lines as long as it does not take even that.
        assert self.database.requests == [[], lines, lines[:1], *[[]] * 6]
        assert len(self.log(LogLevel.error)) == 1
        self.database.answer = lambda lines: Delivered()
        self.clock.advance(60)
        assert (self.queue.lines, self.queue.quarantine) == ([], [])
        assert self.requests[2:] == [lines[:1], lines[1:]]
        assert (self.stats.delivered, self.stats.quarantined) == (3, 0)

    def test_lines_that_the_database_counts_as_left_out_need_no_further_request(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400 partial write: field type conflict dropped=3", dropped=3))
        assert (self.requests, self.queue.lines, len(self.queue.quarantine)) == ([lines], [], 3)

    def test_lines_are_told_apart_by_the_field_that_the_database_dislikes(self) -> None:
        writer = self.start()
        lines = [each.replace("mag=", "vbat=7.0,mag=") for each in map(line, (1, 3, 5))]
        good = [line(2), line(4)]
        self.queue.add(lines[0], good[0], lines[1], good[1], lines[2])
        writer.wake()
        error = "400 partial write: field type conflict"
        self.database.reply(BadLines(error, dropped=3, field="vbat"))
        assert self.requests[1:] == [lines]
        self.database.reply(BadLines(error, dropped=3, field="vbat"))
        assert self.requests[2:] == [good]
        self.database.reply(Delivered())
        assert [row.payload.decode() for row in self.queue.quarantine] == lines
        assert (self.stats.delivered, self.stats.quarantined) == (2, 3)

    def test_a_field_that_all_lines_have_or_none_tells_nothing_apart(self) -> None:
        for field in ("mag", "vbat", ""):
            with self.subTest(field):
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                self.database.reply(BadLines("400", dropped=1, field=field))
                assert self.requests[-1] == lines[:1]
                self.end(writer)
                self.queue = Memory(self.clock)

    def test_a_server_that_shows_one_bad_line_at_a_time_is_asked_until_all_are_known(self) -> None:
        self.answer = lambda lines: BadLines("400", tuple(lines[:1])) if lines else Delivered()
        self.queue.add(*map(line, range(2_000)))
        self.start()
        assert (self.queue.lines, self.stats.quarantined) == ([], 2_000)

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(["good", "conflict", "old", "unreadable"]), max_size=40))
    def test_however_errors_are_mixed_every_line_is_in_the_database_or_counted_as_old_or_in_quarantine(
        self, kinds: list[str]
    ) -> None:
        """The database is as InfluxDB 1.6: it tells of one kind of error, and hides the others behind it."""
        # Old lines have the smaller times.
        numbers = [number + (0 if kind == "old" else 100) for number, kind in enumerate(kinds)]
        kind_of = {line(number): kind for number, kind in zip(numbers, kinds, strict=True)}
        accepted: set[str] = set()

        def influxdb(sent: Sequence[str]) -> Verdict:
            by = {kind: [each for each in sent if kind_of[each] == kind] for kind in kind_of.values()}
            unreadable = "\n".join(f"unable to parse '{each}': why" for each in by.get("unreadable", []))
            if sent and len(by.get("unreadable", [])) == len(sent):
                return said(unreadable)
            accepted.update(by.get("good", []))
            if conflict := by.get("conflict"):
                return said(f"partial write: field type conflict: of mag dropped={len(conflict)}")
            if old := by.get("old"):
                return said(f"partial write: points beyond retention policy dropped={len(old)}")
            return said(f"partial write: {unreadable} dropped=0") if unreadable else Delivered()

        self.stats, self.queue, self.answer = InfluxStats(), Memory(self.clock), influxdb
        self.queue.add(*kind_of)
        self.end(self.start(replace(CONFIG, batch=1)))
        bad = {each for each, kind in kind_of.items() if kind in ("conflict", "unreadable")}
        assert accepted == {each for each, kind in kind_of.items() if kind == "good"}
        assert sorted(row.payload.decode() for row in self.queue.quarantine) == sorted(bad)
        assert self.queue.lines == []
        assert self.stats.delivered == len(accepted)
        assert self.stats.expired == kinds.count("old")
        assert self.stats.quarantined == len(bad)

    def test_what_is_sent_again_is_counted_once(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.database.reply(BadLines("400", (lines[0],)))
        writer.reconfigure(replace(CONFIG, url=""))
        self.databases[0].reply(DOWN)
        assert (self.stats.quarantined, self.queue.lines) == (0, lines)
        writer.reconfigure(CONFIG)
        self.database.reply(Delivered())
        self.database.reply(BadLines("400", (lines[0],)))
        self.database.reply(Delivered())
        assert (self.stats.delivered, self.stats.quarantined, self.queue.lines) == (2, 1, [])


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
        assert self.queue.lines == []
        assert len(self.log(LogLevel.error)) == 1

    def test_what_the_file_does_not_create_is_said_once_and_tried_again(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        self.add(writer, 1, 2, 3)
        self.database.reply(self.MISSING)
        for _ in range(5):
            self.database.reply(self.MISSING)
            self.clock.advance(PARK_SECONDS - 0.1)
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
            self.clock.advance(PARK_SECONDS)
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
            self.clock.advance(PARK_SECONDS)
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
        self.clock.advance(PARK_SECONDS)
        self.database.reply(self.MISSING)
        assert self.requests == [lines] * 3
        assert len(self.log(LogLevel.error)) == 1

    def test_a_file_that_cannot_be_run_is_said_and_tried_again(self) -> None:
        writer = self.start(replace(CONFIG, schema="/etc/schema"))
        self.add(writer, 1, 2, 3)
        for problem in (OSError("no such file"), ServerError("gone")):
            self.problems = problem
            self.database.reply(self.MISSING)
            self.clock.advance(PARK_SECONDS)
        assert len(self.log(LogLevel.error)) == 2
        assert "no such file" in self.log(LogLevel.error)[0]
        assert self.flushLoggedErrors() == []

    def test_a_wrong_login_parks_and_the_secret_is_read_anew(self) -> None:
        writer = self.start(replace(CONFIG, username="u", password=Secret("old", "/file")))
        lines = self.add(writer, 1, 2, 3)
        for _ in range(2):
            self.database.reply(Unauthorised("401 authorization failed"))
            self.clock.advance(PARK_SECONDS - 0.1)
            assert self.database.waiting == []
            self.clock.advance(0.1)
        assert len(self.databases) == 1
        self.secret_on_disk = Secret("new", "/file")
        self.database.reply(Unauthorised("401 authorization failed"))
        self.clock.advance(PARK_SECONDS)
        assert self.database.config.password == Secret("new", "/file")
        assert self.database.requests == [lines]
        self.database.reply(Unauthorised("401 authorization failed"))
        assert len(self.log(LogLevel.error)) == 1
        self.clock.advance(PARK_SECONDS)
        self.database.reply(Delivered())
        assert (self.queue.lines, self.stats.rejected) == ([], 4)

    def test_a_secret_that_is_read_too_late_does_not_undo_a_new_config(self) -> None:
        reading: Deferred[Secret] = Deferred()
        self.read_secret = lambda secret: reading  # type: ignore[method-assign,assignment,return-value]
        writer = self.start()
        self.add(writer, 1, 2, 3)
        self.database.reply(FAILING["unauthorised"])
        self.clock.advance(PARK_SECONDS)
        writer.reconfigure(replace(CONFIG, dbname="other"))
        reading.callback(Secret("new"))
        assert self.database.config.dbname == "other"
        assert len(self.database.waiting) == 1
