"""What becomes of every line: it is in the database, counted as too old, or in quarantine; and of how many at
once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel

from tessflux.config import Secret
from tessflux.influx.delivery import (
    ALONE_ATTEMPTS,
    ALONE_SECONDS,
    GIVEN_UP_SECONDS,
    GROW_AFTER,
    REFUSED_LINE,
)
from tessflux.influx.server import FAILURES
from tessflux.influx.verdict import (
    BadLines,
    Delivered,
    Expired,
    TooLarge,
    Unauthorised,
    Unreachable,
    Verdict,
    classify,
)
from tessflux.influx.writer import PACE, Writer
from tessflux.readings import Quarantined
from tests.influx.answers import BEYOND, error, unparsable
from tests.influx.site import CONFIG, DOWN, Case, line


def answered(text: str) -> Verdict:
    """The verdict on an error of InfluxDB 1."""
    return classify(400, error(text), None, datetime.now(UTC))


class BadLineTest(Case):
    @settings(deadline=None)
    @given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.integers(0, 3), st.booleans())
    def test_every_good_line_is_delivered_and_every_bad_one_is_in_quarantine_once(
        self, count: int, numbers: set[int], named: int, counts: bool
    ) -> None:
        lines = [line(number) for number in range(count)]
        bad = set(lines).intersection(map(line, numbers))
        accepted: set[str] = set()

        def partial(sent: Sequence[str]) -> Verdict:
            """Show some of the bad lines, or count to them; of a batch with bad ones nothing is written,
            which is the worst."""
            wrong = [each for each in sent if each in bad][:named]
            if counts and bad.intersection(sent):
                numbered = tuple((sent.index(each) + 1, "400 bad") for each in wrong)
                return BadLines("400 partial write: bad", numbered=numbered)
            if bad.intersection(sent):
                return BadLines("400 partial write: bad", tuple((each, "400 bad") for each in wrong))
            accepted.update(sent)
            return Delivered()

        self.fresh()
        self.answer = partial
        self.queue.add(*lines)
        self.start(replace(CONFIG, batch=1))
        assert accepted == set(lines) - bad
        assert sorted(self.quarantined) == sorted(bad)
        assert self.queue.lines == []
        assert (self.stats.delivered, self.stats.quarantined) == (count - len(bad), len(bad))
        assert self.stats.requested == self.stats.ok + self.stats.rejected

    def test_a_line_that_the_answer_quotes_is_found_without_bisecting(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(BadLines("400 unable to parse", ((lines[1], "400 no fields"), ("not one of ours", ""))))
        assert self.requests[1:] == [[lines[0], lines[2]]]
        assert self.queue.lines == lines
        self.reply(Delivered())
        assert self.queue.quarantine == [
            Quarantined(1700000000500, "", "stars2", REFUSED_LINE, "400 no fields", lines[1].encode())
        ]
        assert self.log() == ["stars2: refused by InfluxDB: 400 no fields"]

    def test_ten_bad_lines_that_the_answer_names_cost_two_requests(self) -> None:
        for numbered in (False, True):
            with self.subTest(numbered=numbered):
                self.fresh()
                lines = self.add(self.start(), *range(1_000))
                bad = lines[::100]
                if numbered:
                    named = BadLines("400", numbered=tuple((100 * n + 1, "400 no") for n in range(10)))
                else:
                    named = BadLines("400", tuple((each, "400 no") for each in bad))
                self.reply(named)
                self.reply(Delivered())
                assert len(self.requests) == 2
                assert self.quarantined == bad
                assert {each.detail for each in self.queue.quarantine} == {"400 no"}

    def test_a_number_that_is_none_of_a_line_names_none(self) -> None:
        lines = self.add(self.start(), 1, 2, 3)
        self.reply(BadLines("400", numbered=((0, "400 no"), (4, "400 no"))))
        assert self.requests[1:] == [lines[:1]]
        assert self.quarantined == []

    def test_a_batch_of_nothing_but_bad_lines_needs_no_further_request(self) -> None:
        """If the answer quotes them all, or counts them all as dropped."""
        for quoted, dropped in (([line(1), line(2), line(3)], 0), ([], 3)):
            with self.subTest(dropped=dropped):
                self.fresh()
                lines = self.add(self.start(), 1, 2, 3)
                self.reply(BadLines("400", tuple((each, "400") for each in quoted), (), dropped))
                assert (self.requests, self.queue.lines, self.quarantined) == ([lines], [], lines)

    def test_a_database_that_goes_down_while_a_batch_is_bisected_loses_nothing(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(BadLines("400"))
        self.reply(DOWN)
        self.clock.advance(1)
        self.reply(Delivered())
        self.reply(BadLines("400"))
        assert self.queue.lines == lines
        self.reply(Delivered())
        self.reply(BadLines("400"))
        assert self.requests == [lines, lines[:1], lines[:1], lines[1:], lines[1:2], lines[2:]]
        assert self.database.requests[-1] == []
        self.reply(Delivered())
        assert self.requests[-2:] == [lines[2:], lines[2:]]
        self.reply(BadLines("400"))
        assert self.queue.lines == []
        assert self.quarantined == [lines[2]]

    def test_a_line_that_is_refused_once_and_then_accepted_is_not_bad(self) -> None:
        writer = self.start()
        self.add(writer, 1)
        self.clock.advance(60)
        for verdict in (BadLines("400 Bad Request"), Delivered(), Delivered(), Delivered()):
            self.reply(verdict)
        assert (self.queue.lines, self.queue.quarantine) == ([], [])

    def test_if_even_a_request_without_lines_is_refused_no_line_is_bad(self) -> None:
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

    def test_the_lines_with_the_field_that_an_error_names_are_posted_apart_from_the_others(self) -> None:
        writer = self.start()
        lines = [each.replace("mag=", "vbat=7.0,mag=") for each in map(line, (1, 3, 5))]
        good = [line(2), line(4)]
        self.queue.add(lines[0], good[0], lines[1], good[1], lines[2])
        writer.wake()
        error = "400 partial write: field type conflict"
        self.reply(BadLines(error, dropped=3, field="vbat"))
        assert self.requests[1:] == [lines]
        self.reply(BadLines(error, dropped=3, field="vbat"))
        assert self.requests[2:] == [good]
        self.reply(Delivered())
        assert self.quarantined == lines
        assert (self.stats.delivered, self.stats.quarantined) == (2, 3)

    def test_a_field_that_all_lines_have_or_none_tells_nothing_apart(self) -> None:
        for field in ("mag", "vbat", ""):
            with self.subTest(field):
                self.fresh()
                lines = self.add(self.start(), 1, 2, 3)
                self.reply(BadLines("400", dropped=1, field=field))
                assert self.requests[-1] == lines[:1]

    def test_a_server_that_tells_of_one_line_at_a_time_is_asked_until_all_are_known(self) -> None:
        """Whatever it tells of, and however often: no depth of recursion is the limit."""
        for answer, expired, quarantined in (
            (lambda lines: BadLines("400", ((lines[0], "400"),)), 0, 2_000),
            (lambda lines: Expired(1, "400"), 2_000, 0),
            (lambda lines: Expired(max(1, len(lines) - 1), "400"), 2_000, 0),
        ):
            with self.subTest(expired=expired):
                self.fresh()
                self.answer = lambda lines, answer=answer: answer(lines) if lines else Delivered()
                self.queue.add(*map(line, range(2_000)))
                self.start()
                assert self.queue.lines == []
                assert (self.stats.expired, self.stats.quarantined) == (expired, quarantined)

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(["good", "conflict", "old", "unreadable"]), max_size=40))
    def test_however_errors_are_mixed_every_line_is_delivered_or_expired_or_in_quarantine(
        self, kinds: list[str]
    ) -> None:
        """The database is as InfluxDB 1.6: it tells of one kind of error, and hides the others behind it."""
        # Old lines have the smaller times.
        numbers = [number + (0 if kind == "old" else 100) for number, kind in enumerate(kinds)]
        kind_of = {line(number): kind for number, kind in zip(numbers, kinds, strict=True)}
        accepted: set[str] = set()

        def influxdb(sent: Sequence[str]) -> Verdict:
            by = {kind: [each for each in sent if kind_of[each] == kind] for kind in kind_of.values()}
            unreadable = unparsable(*by.get("unreadable", []))
            if sent and len(by.get("unreadable", [])) == len(sent):
                return answered(unreadable)
            accepted.update(by.get("good", []))
            if conflict := by.get("conflict"):
                return answered(f"partial write: field type conflict: of mag dropped={len(conflict)}")
            if old := by.get("old"):
                return answered(f"{BEYOND} dropped={len(old)}")
            return answered(f"partial write: {unreadable} dropped=0") if unreadable else Delivered()

        self.fresh()
        self.answer = influxdb
        self.queue.add(*kind_of)
        self.start(replace(CONFIG, batch=1))
        bad = {each for each, kind in kind_of.items() if kind in ("conflict", "unreadable")}
        assert accepted == {each for each, kind in kind_of.items() if kind == "good"}
        assert sorted(self.quarantined) == sorted(bad)
        assert self.queue.lines == []
        assert self.stats.delivered == len(accepted)
        assert self.stats.expired == kinds.count("old")
        assert self.stats.quarantined == len(bad)

    def test_a_line_that_is_posted_again_is_counted_once(self) -> None:
        writer = self.start()
        lines = self.add(writer, 1, 2, 3)
        self.reply(BadLines("400", ((lines[0], "400"),)))
        writer.reconfigure(replace(CONFIG, url=""))
        self.databases[0].reply(DOWN)
        assert (self.stats.quarantined, self.queue.lines) == (0, lines)
        writer.reconfigure(CONFIG)
        self.reply(Delivered())
        self.reply(BadLines("400", ((lines[0], "400"),)))
        self.reply(Delivered())
        assert (self.stats.delivered, self.stats.quarantined, self.queue.lines) == (2, 1, [])

    def test_of_lines_beyond_the_retention_policy_the_oldest_are_counted_without_bisecting(self) -> None:
        writer = self.start()
        lines = self.add(writer, 3, 1, 2)
        self.reply(Expired(2, "400 partial write: points beyond retention policy dropped=2"))
        assert self.requests[1:] == [[line(1), line(2)]]
        self.reply(Expired(2, "400 partial write: points beyond retention policy dropped=2"))
        assert self.requests[2:] == [lines[:1]]
        self.reply(Delivered())
        assert (self.queue.lines, self.queue.quarantine) == ([], [])
        assert (self.stats.delivered, self.stats.expired) == (1, 2)
        assert len(self.log(LogLevel.warn)) == 1


class SizeTest(Case):
    def test_a_request_that_is_too_large_is_halved_and_the_size_remembered(self) -> None:
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

    def test_a_batch_larger_than_the_remembered_size_is_halved_before_it_is_posted(self) -> None:
        writer = self.start()
        chunk = self.queue.head
        self.queue.head = lambda limit: chunk(1_000)  # type: ignore[method-assign]
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        self.add(writer, *range(4))
        lines = self.add(writer, *range(4, 8))
        assert self.requests[3:] == [lines[:2], lines[2:]]

    def test_requests_grow_again_when_a_limit_has_gone(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        self.add(writer, *range(8))
        self.database.answer = lambda lines: Delivered()
        for _ in range(2 * GROW_AFTER):
            self.clock.advance(PACE)
            self.add(writer, *range(8))
        assert [len(lines) for lines in self.requests[-2:]] == [8, 8]

    def test_small_requests_say_nothing_about_larger_ones(self) -> None:
        writer = self.start(replace(CONFIG, batch=1))
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        self.add(writer, 1, 2, 3)
        for _ in range(2 * GROW_AFTER):
            self.clock.advance(PACE)
            self.add(writer, 1)
        self.clock.advance(PACE)
        self.add(writer, *range(8))
        assert [len(lines) for lines in self.requests[-5:]] == [1, 2, 2, 2, 2]

    def test_a_limit_that_stays_costs_few_requests_and_one_line_in_the_log(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))
        self.database.answer = lambda lines: TooLarge("413") if len(lines) > 2 else Delivered()
        for _ in range(GROW_AFTER):
            self.add(writer, *range(8))
        large = [lines for lines in self.requests[2:] if len(lines) > 2]
        assert [len(lines) for lines in large] == [4, 4, 4]
        assert len([text for text in self.log(LogLevel.info) if "too many" in text]) == 2
        assert (self.stats.delivered, self.queue.lines) == (8 * GROW_AFTER, [])

    def test_a_connection_too_slow_for_a_batch_takes_it_in_parts(self) -> None:
        writer = self.start(replace(CONFIG, batch=8))
        slow = Unreachable("no answer within 30 s", slow=True)
        self.database.answer = lambda lines: slow if len(lines) > 2 else Delivered()
        self.add(writer, *range(8))
        self.clock.pump([60] * 5)
        assert [len(lines) for lines in self.requests] == [8, 8, 4, 4, 2, 2, 2, 2]
        assert (self.queue.lines, self.queue.quarantine, self.stats.delivered) == ([], [], 8)
        assert "no answer within 30 s" in self.log(LogLevel.error)[0]

    def test_timeouts_that_do_not_follow_one_another_make_no_request_smaller(self) -> None:
        slow = Unreachable("no answer within 30 s", slow=True)
        lines = self.add(self.start(), 1, 2, 3)
        self.reply(slow, DOWN, after=60)
        # To these lines, and to another.
        self.reply(slow, DOWN)
        self.clock.advance(60)
        assert self.requests == [lines, lines, lines, lines[1:2], lines]

    def test_a_single_line_that_is_too_large_waits_for_the_server_to_change(self) -> None:
        writer = self.start()
        self.database.answer = lambda lines: TooLarge("413") if lines else Delivered()
        lines = self.add(writer, 1, 2, 3)
        self.clock.pump([60] * 5)
        assert (self.queue.lines, self.queue.quarantine) == (lines, [])
        [logged] = self.log(LogLevel.error)
        assert "413 (it must take larger requests" in logged
        self.database.answer = lambda lines: Delivered()
        self.clock.advance(60)
        assert (self.queue.lines, self.stats.delivered) == ([], 3)


BROKEN = Unreachable("500 internal error")


class FailingTest(Case):
    """A server that fails on some lines, or on some requests, although it is well."""

    def fail_on(self, *bad: str, verdict: Verdict = BROKEN, most: int = 100_000) -> None:
        """Fail on these lines, and on more than `most` lines at once."""
        self.bad, self.most = set(bad), most

        def answer(lines: Sequence[str]) -> Verdict:
            if self.bad.intersection(lines) or len(lines) > self.most:
                return verdict
            self.taken.update(lines)
            return Delivered()

        self.taken: set[str] = set()
        self.answer = answer
        for database in self.databases:
            database.answer = answer

    def wait(self, seconds: float) -> None:
        self.clock.pump([1.0] * int(seconds))

    def test_a_line_on_which_the_server_fails_goes_into_quarantine_after_ten_minutes(self) -> None:
        for verdict in (BROKEN, Unauthorised("403 Forbidden"), TooLarge("413")):
            for number in (0, 500, 999):
                with self.subTest(verdict, number=number):
                    self.fresh()
                    lines = [line(number) for number in range(1_000)]
                    self.fail_on(lines[number], verdict=verdict)
                    self.queue.add(*lines)
                    writer = self.start()
                    self.wait(120)
                    # The others of its batch are there at once, and those behind wait no longer than that.
                    assert self.taken == set(lines) - {lines[number]}
                    behind = self.add(writer, 2_000, 2_001, 2_002)
                    self.wait(ALONE_SECONDS - 130)
                    assert self.quarantined == []
                    self.wait(120)
                    assert self.quarantined == [lines[number]]
                    assert self.queue.lines == []
                    assert self.taken.issuperset(behind)
                    assert (self.stats.delivered, self.stats.quarantined) == (1_002, 1)
                    [kept] = self.queue.quarantine
                    assert (kept.cause, kept.detail) == (REFUSED_LINE, verdict.reason)
                    alone = [each for each in self.requests if each == [lines[number]]]
                    assert len(alone) >= ALONE_ATTEMPTS
                    assert len(self.requests) < 100

    def test_many_lines_on_which_it_fails_cost_ten_minutes_together(self) -> None:
        lines = [line(number) for number in range(1_000)]
        self.fail_on(*lines[::10])
        self.queue.add(*lines)
        self.start()
        self.wait(ALONE_SECONDS + 300)
        assert sorted(self.quarantined) == sorted(lines[::10])
        assert (self.queue.lines, self.stats.delivered) == ([], 900)

    def test_a_line_on_which_it_fails_for_a_while_is_delivered(self) -> None:
        lines = [line(number) for number in range(9)]
        self.fail_on(lines[4])
        self.queue.add(*lines)
        self.start()
        self.wait(400)
        assert self.queue.lines == lines
        self.bad.clear()
        self.wait(200)
        assert (self.queue.lines, self.queue.quarantine, self.stats.delivered) == ([], [], 9)

    def test_signals_make_the_ten_minutes_no_shorter(self) -> None:
        lines = [line(number) for number in range(9)]
        self.fail_on(lines[4])
        self.queue.add(*lines)
        writer = self.start()
        self.wait(60)
        for _ in range(100):
            writer.pause()
            writer.resume()
        assert self.queue.quarantine == []
        self.wait(ALONE_SECONDS + 60)
        assert self.quarantined == [lines[4]]

    def test_a_server_that_fails_on_every_line_gets_none_into_quarantine(self) -> None:
        """Such as one whose disk is full: it takes a request without lines all the same; or one that can make
        no new shard: it takes lines that it has already."""
        for before in (0, 9):
            with self.subTest(before=before):
                self.fresh()
                self.fail_on()
                writer = self.start()
                self.add(writer, *range(before))
                lines = [line(number) for number in range(100, 200)]
                self.fail_on(*lines)
                self.queue.add(*lines)
                writer.wake()
                self.wait(4 * 3_600)
                assert (self.queue.lines, self.queue.quarantine) == (lines, [])
                # It is asked about as rarely as one that is away.
                assert len(self.requests) < 2 * 4 * 3_600 / 15
                assert len([text for text in self.log() if "too many" in text]) == 0
                self.fail_on()
                self.wait(120)
                assert (self.queue.lines, self.stats.delivered) == ([], 100 + before)

    def test_a_server_that_begins_to_fail_on_every_line_gets_no_more_into_quarantine(self) -> None:
        lines = [line(number) for number in range(9)]
        self.fail_on(lines[4])
        self.queue.add(*lines)
        self.start()
        self.wait(ALONE_SECONDS / 2)
        self.fail_on(*lines)
        self.wait(4 * ALONE_SECONDS)
        assert (self.queue.lines, self.queue.quarantine) == (lines, [])
        self.fail_on(lines[4])
        self.wait(ALONE_SECONDS)
        assert self.quarantined == [lines[4]]

    def test_the_only_line_that_waits_is_not_to_blame_before_others_have_come(self) -> None:
        self.fail_on(line(1))
        writer = self.start(replace(CONFIG, batch=1))
        self.add(writer, 1)
        self.wait(2 * ALONE_SECONDS)
        assert (self.queue.lines, self.queue.quarantine) == ([line(1)], [])
        self.add(writer, 2)
        self.wait(2 * ALONE_SECONDS)
        assert (self.queue.lines, self.quarantined, self.taken) == ([], [line(1)], {line(2)})
        # A request without lines would say that the server is well, again and again.
        assert self.database.requests.count([]) == 1

    def test_others_are_looked_for_behind_lines_that_are_all_too_large(self) -> None:
        self.fail_on(line(1), line(2), line(3), verdict=TooLarge("413"))
        writer = self.start(replace(CONFIG, batch=3))
        self.add(writer, 1, 2, 3)
        self.wait(60)
        self.add(writer, 4)
        self.wait(2 * ALONE_SECONDS)
        assert (self.queue.lines, self.taken) == ([], {line(4)})
        assert self.quarantined == [line(1), line(2), line(3)]
        # It was the lines, not the size.
        lines = self.add(writer, *range(100, 164))
        self.wait(1)
        assert self.requests[-1] == lines

    def test_others_are_looked_for_everywhere_in_a_batch(self) -> None:
        """However many bad lines lie together, at its head or at its end."""
        lines = [line(number) for number in range(64)]
        for bad in (lines[:48], lines[16:]):
            with self.subTest(first=bad[0]):
                self.fresh()
                self.fail_on(*bad)
                self.queue.add(*lines)
                self.start()
                self.wait(3 * ALONE_SECONDS)
                assert self.taken == set(lines) - set(bad)
                assert sorted(self.quarantined) == sorted(bad)

    def test_a_photometer_on_whose_lines_it_fails_holds_up_others_once(self) -> None:
        bad = [line(number, name="stars9") for number in range(1, 7)]
        self.fail_on(*bad)
        writer = self.start(replace(CONFIG, batch=2))
        for number, each in enumerate(bad):
            self.queue.add(each, line(100 + number))
            writer.wake()
            self.wait(ALONE_SECONDS + 60 if number == 0 else 60)
            assert (self.queue.lines, self.quarantined) == ([], bad[: number + 1])
        self.wait(GIVEN_UP_SECONDS)
        self.queue.add(line(7, name="stars9"), line(200))
        self.fail_on(line(7, name="stars9"))
        writer.wake()
        self.wait(60)
        assert self.quarantined == bad
        self.wait(ALONE_SECONDS)
        assert self.quarantined[-1] == line(7, name="stars9")

    def test_a_good_line_of_a_photometer_that_was_given_up_is_tried_as_often_as_any(self) -> None:
        """A proxy that fails now and then must not send its readings into quarantine for an hour."""
        bad, good = line(1, name="stars9"), line(2, name="stars9")
        for times in (1, 3, FAILURES + ALONE_ATTEMPTS - 1):
            with self.subTest(times):
                self.fresh()
                self.fail_on(bad)
                self.queue.add(bad, line(100))
                writer = self.start(replace(CONFIG, batch=2))
                self.wait(ALONE_SECONDS + 60)
                assert self.quarantined == [bad]
                failures: list[Verdict] = [BROKEN] * times

                def answer(lines: Sequence[str], failures: list[Verdict] = failures) -> Verdict:
                    return failures.pop() if good in lines and failures else Delivered()

                self.database.answer = answer
                self.queue.add(good, line(3))
                writer.wake()
                self.wait(60)
                assert (self.queue.lines, failures) == ([], [])
                assert self.quarantined == [bad]

    def test_many_lines_of_a_photometer_that_was_given_up_cost_no_more_time_than_one(self) -> None:
        bad = [line(number, name="stars9") for number in range(1, 100)]
        self.fail_on(*bad)
        self.queue.add(bad[0], line(1_000))
        writer = self.start(replace(CONFIG, batch=1_000))
        self.wait(ALONE_SECONDS + 60)
        self.queue.add(*bad[1:], *map(line, range(2_000, 2_100)))
        writer.wake()
        self.wait(60)
        assert (self.queue.lines, sorted(self.quarantined)) == ([], sorted(bad))

    def test_the_ten_minutes_go_on_when_the_password_changes_and_the_batch_begins_again(self) -> None:
        lines = [line(number) for number in range(9)]
        self.fail_on(lines[4])
        self.queue.add(*lines)
        self.start(replace(CONFIG, username="tess", password=Secret("old", "/file")))
        self.wait(ALONE_SECONDS - 60)
        self.secret_on_disk = Secret("new", "/file")
        self.fail_on(*lines, verdict=Unauthorised("401"))
        self.wait(ALONE_SECONDS)
        assert len(self.databases) == 2
        self.fail_on(lines[4])
        self.wait(ALONE_SECONDS / 4 + 120)
        assert (self.queue.lines, self.quarantined) == ([], [lines[4]])

    def test_a_request_that_is_too_large_makes_no_failure_of_its_parts_certain(self) -> None:
        lines = self.add(self.start(), 1, 2, 3, 4)
        self.reply(TooLarge("413"), BROKEN)
        assert self.requests[-1] == lines[:2]
        self.clock.advance(60)
        # Posted again, not tried with another line.
        assert self.requests[-1] == lines[:2]

    def test_a_server_that_was_away_for_the_ten_minutes_has_not_failed_five_times(self) -> None:
        lines = [line(number) for number in range(9)]
        self.fail_on(lines[4])
        self.queue.add(*lines)
        self.start()
        self.wait(60)
        self.database.answer = lambda sent: DOWN
        self.wait(2 * ALONE_SECONDS)
        self.fail_on(lines[4])
        self.wait(ALONE_SECONDS / 3)
        assert self.queue.quarantine == []
        self.wait(ALONE_SECONDS)
        assert self.quarantined == [lines[4]]

    def test_a_request_too_large_for_an_answer_is_sent_in_parts_and_the_size_remembered(self) -> None:
        """The server resets the connection before its 413 can be read."""
        lines = [line(number) for number in range(1_000)]
        self.fail_on(most=300, verdict=Unreachable("Connection to the other side was lost"))
        self.queue.add(*lines)
        writer = self.start(replace(CONFIG, batch=1_000))
        self.wait(10)
        assert (self.queue.lines, self.stats.delivered) == ([], 1_000)
        count = len(self.requests)
        self.add(writer, *range(1_000))
        self.wait(1)
        assert [len(lines) for lines in self.requests[count:]] == [250] * 4
        assert (self.queue.lines, self.queue.quarantine) == ([], [])

    def test_the_size_of_requests_is_as_before_when_it_was_a_line(self) -> None:
        lines = [line(number) for number in range(64)]
        self.fail_on(lines[40])
        self.queue.add(*lines)
        writer = self.start(replace(CONFIG, batch=64))
        self.wait(ALONE_SECONDS + 120)
        assert self.quarantined == [lines[40]]
        self.add(writer, *range(100, 164))
        self.wait(1)
        assert len(self.requests[-1]) == 64

    def test_a_server_that_fails_now_and_then_gets_whole_requests(self) -> None:
        writer = self.start()
        for _ in range(20):
            lines = self.add(writer, 1, 2, 3)
            self.reply(*[BROKEN] * (FAILURES - 1), Delivered(), after=60)
            assert self.requests[-FAILURES:] == [lines] * FAILURES

    def test_one_that_is_paused_or_replaced_is_not_asked_for_another_line(self) -> None:
        for change in (Writer.pause, lambda writer: writer.reconfigure(replace(CONFIG, dbname="other"))):
            with self.subTest(change):
                self.fresh()
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                self.reply(*[BROKEN] * (FAILURES - 1), after=60)
                change(writer)
                self.reply(BROKEN) if len(self.databases) == 1 else self.databases[0].reply(BROKEN)
                assert self.databases[0].requests == [[], *[lines] * FAILURES]
                writer.reconfigure(replace(CONFIG, url=""))
                self.clock.advance(60)
                for database in self.databases:
                    if database.waiting:
                        database.reply(DOWN)

    def test_a_line_that_is_refused_and_then_fails_is_set_aside(self) -> None:
        """Before a line that was refused is to blame, it is posted once more."""
        answers: list[Verdict] = [BadLines("400"), BadLines("400"), *[BROKEN] * 100]
        self.answer = lambda lines: answers.pop(0) if line(4) in lines else Delivered()
        self.add(self.start(), 4, 5, 6)
        self.wait(ALONE_SECONDS + 60)
        assert (self.queue.lines, self.quarantined) == ([], [line(4)])
