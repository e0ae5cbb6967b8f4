"""How often a problem is logged: the rate limit that all use, and the reports on single photometers."""

import re
from collections import Counter
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent

from tessflux.limits import REPORTED_PAIRS
from tessflux.logs import RateLimit, Reports


def test_a_problem_that_lasts_is_logged_once_a_period() -> None:
    clock = Clock()
    limit = RateLimit(clock, period=60, lines=10)
    logged = []
    for _ in range(13):
        logged.append(limit.admits("the disk is full"))
        clock.advance(10)
    assert logged == [True, *[False] * 5, True, *[False] * 5, True]


def test_another_problem_is_logged_at_once() -> None:
    limit = RateLimit(Clock(), period=60, lines=10)
    assert [limit.admits(problem) for problem in "aababc"] == [True, False, True, False, False, True]


def test_what_comes_again_after_it_was_over_is_logged_again() -> None:
    limit = RateLimit(Clock(), period=60, lines=10)
    assert limit.admits("a")
    assert limit.over()
    assert limit.admits("a")


def test_the_end_of_a_problem_is_news_only_if_it_was_logged_and_only_once() -> None:
    limit = RateLimit(Clock(), period=60, lines=1)
    assert not limit.over()
    limit.admits("a")
    assert [limit.over(), limit.over()] == [True, False]
    limit.admits("b")
    assert not limit.over()


def test_what_comes_and_goes_is_logged_so_many_times_in_a_period() -> None:
    clock = Clock()
    limit = RateLimit(clock, period=60, lines=3)
    logged = 0
    for _ in range(20):
        logged += limit.admits("a")
        limit.over()
    assert logged == 3
    clock.advance(60)
    assert limit.admits("a")


@given(st.lists(st.sampled_from("abcde")), st.integers(1, 3))
def test_what_was_not_logged_is_counted(problems: list[str], lines: int) -> None:
    limit = RateLimit(Clock(), period=60, lines=lines)
    logged = Counter(problem for problem in problems if limit.admits(problem))
    assert logged.total() == min(lines, len(set(problems)))
    again = limit.new_period()
    assert logged.total() + again.total() == len(problems)
    assert again.keys() <= logged.keys() | {None}
    assert limit.new_period() == Counter()


class Reported:
    """Reports, and the lines that came of them."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []
        log = Logger(namespace="test", observer=cast(ILogObserver, self._events.append))
        self.reports = Reports(log, Clock())

    def lines(self) -> list[str]:
        """What was logged since the last call."""
        lines = [formatEvent(event) for event in self._events]
        self._events.clear()
        return lines


def test_the_first_of_a_kind_is_logged_at_once_and_the_rest_as_a_number() -> None:
    reported = Reported()
    for _ in range(1_000):
        reported.reports.note("stars1", "bad time", "its clock is before 2000")
    assert reported.lines() == ["stars1: bad time: its clock is before 2000"]
    reported.reports.period()
    assert reported.lines() == ["stars1: bad time: 999 more in this period"]


def test_every_photometer_and_every_cause_has_a_line_of_its_own() -> None:
    reported = Reported()
    for photometer in ("stars1", "stars2"):
        for cause in ("bad time", "not a number"):
            reported.reports.note(photometer, cause, "so it is")
    assert reported.lines() == [
        "stars1: bad time: so it is",
        "stars1: not a number: so it is",
        "stars2: bad time: so it is",
        "stars2: not a number: so it is",
    ]


def test_what_came_once_or_not_at_all_is_not_told_again() -> None:
    reported = Reported()
    reported.reports.period()
    assert reported.lines() == []
    reported.reports.note("stars1", "bad time", "x")
    assert len(reported.lines()) == 1
    reported.reports.period()
    reported.reports.period()
    assert reported.lines() == []


def test_a_new_period_logs_the_first_again() -> None:
    reported = Reported()
    reported.reports.note("stars1", "bad time", "x")
    reported.reports.period()
    reported.reports.note("stars1", "bad time", "y")
    assert reported.lines() == ["stars1: bad time: x", "stars1: bad time: y"]


def test_a_photometer_without_a_name_is_called_so() -> None:
    reported = Reported()
    reported.reports.note("", "bad name", "no name")
    reported.reports.note("", "bad name", "no name")
    reported.reports.period()
    assert reported.lines() == [
        "a photometer without a name: bad name: no name",
        "a photometer without a name: bad name: 1 more in this period",
    ]


def test_braces_in_a_name_are_no_format() -> None:
    reported = Reported()
    reported.reports.note("{cause}", "{0}", "{nothing}")
    assert reported.lines() == ["{cause}: {0}: {nothing}"]


def test_past_the_bound_the_others_share_one_line() -> None:
    reported = Reported()
    for number in range(REPORTED_PAIRS + 50):
        reported.reports.note(f"stars{number}", "bad time", "x")
    assert len(reported.lines()) == REPORTED_PAIRS
    reported.reports.note("stars0", "bad time", "x")
    reported.reports.period()
    assert reported.lines() == [
        "stars0: bad time: 1 more in this period",
        "50 further messages with something wrong",
    ]
    reported.reports.note("stars249", "bad time", "x")
    assert reported.lines() == ["stars249: bad time: x"]
    reported.reports.period()
    assert reported.lines() == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]), st.booleans())))
def test_the_lines_add_up_to_what_was_noted(notes: list[tuple[str, str, bool]]) -> None:
    reported = Reported()
    noted: Counter[tuple[str, str]] = Counter()
    told: Counter[tuple[str, str]] = Counter()
    for photometer, cause, end_of_period in notes:
        reported.reports.note(photometer, cause, "seen")
        noted[photometer, cause] += 1
        if end_of_period:
            reported.reports.period()
    reported.reports.period()
    for line in reported.lines():
        photometer, cause, what = line.split(": ")
        more = re.fullmatch(r"(\d+) more in this period", what)
        told[photometer, cause] += int(more[1]) if more else 1
    assert told == noted
