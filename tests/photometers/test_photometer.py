"""What is kept of one photometer, and how."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.limits import CAUSES
from tessflux.photometers.photometer import HOUR_MS, Day, Photometer, name_in, pack, place_in, with_cause
from tests.readings.samples import FOUR, PLAIN, good, literal, row


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 100))), st.integers(0, 100))
def test_a_day_counts_what_came_in_this_hour_and_the_23_before_it(
    steps: list[tuple[int, int]], more: int
) -> None:
    hour, day, came = 0, Day(), Counter[int]()
    for step, count in steps:
        hour += step
        day = day.add(hour * HOUR_MS, count)
        came[hour] += count
        assert len(day.past) <= 46
    now = hour + more
    assert day.total(now * HOUR_MS + 1) == sum(
        count for each, count in came.items() if now - 24 < each <= now
    )


def test_what_comes_after_the_clock_was_set_back_by_hours_counts_in_the_newest_one() -> None:
    assert Day().add(100 * HOUR_MS, 3).add(90 * HOUR_MS, 4) == Day(100, 7)
    assert Day(100, 7).total(90 * HOUR_MS) == 7


def test_a_clock_that_was_days_ahead_for_a_while_leaves_nothing_in_the_last_24_hours() -> None:
    ahead = Day().add(HOUR_MS * 1_000, 7)
    assert ahead.total(HOUR_MS * 977) == 7
    assert ahead.total(HOUR_MS * 976) == 0
    after = ahead.add(HOUR_MS * 976, 5).add(HOUR_MS * 977, 1)
    assert after.total(HOUR_MS * 977) == 6
    assert after.total(HOUR_MS * 1_000) == 1


def test_an_hour_in_the_past_has_a_largest_count() -> None:
    assert Day().add(HOUR_MS, 100_000).total(HOUR_MS) == 100_000
    assert Day().add(HOUR_MS, 100_000).total(2 * HOUR_MS) == 65_535


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (row(PLAIN), {"seq": 7, "mag": 21.19, "freq": 0.5, "tamb": 7.1, "tsky": -18.4, "wdBm": -61}),
        (literal("tamb", "nan"), {"seq": 7, "mag": 21.19, "freq": 0.5, "tsky": -18.4, "wdBm": -61}),
        (row(PLAIN, mag=99), {"seq": 7, "freq": 0.5, "tamb": 7.1, "tsky": -18.4, "wdBm": -61}),
        (
            row(FOUR),
            {"seq": 20, **{f"mag{n}": 21.5 for n in (1, 2, 3, 4)}, **{f"freq{n}": 0.4 for n in (1, 2, 3, 4)}},
        ),
        (
            row({**FOUR, "F3": None, "F1": None}),
            {"seq": 20, "mag2": 21.5, "freq2": 0.4, "mag4": 21.5, "freq4": 0.4},
        ),
    ],
)
def test_the_last_values_are_those_that_were_measured(payload: bytes, expected: dict[str, float]) -> None:
    packed = pack(good(payload).fields)
    assert Photometer("stars1", 0, 0, 0, 0.0, last=packed).values == expected
    assert Photometer("stars1", 0, 0, 0, 0.0).values == {}


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        (row(PLAIN), None),
        (row(PLAIN, lat=40.45, long=-3.73), (40.45, -3.73)),
        (row(PLAIN, lat="40.45", long="-3.73"), (40.45, -3.73)),
        (row(PLAIN, lat=0, long=0), None),
        (row(PLAIN, lat=0, long=9.5), (0, 9.5)),
        (row(PLAIN, lat=91, long=0), None),
        (row(PLAIN, lat=1, long=-180.5), None),
        (row(PLAIN, lat=1), None),
        (row(PLAIN, lat=[1], long={}), None),
        (literal("lat", "nan"), None),
    ],
)
def test_a_place_is_one_on_earth(payload: bytes, place: tuple[float, float] | None) -> None:
    assert place_in(payload) == place


@given(st.binary())
def test_no_payload_makes_a_look_at_it_fail(payload: bytes) -> None:
    name_in(payload)
    place_in(payload + b'"lat"')


def test_a_name_is_that_of_the_reading() -> None:
    assert name_in(row(PLAIN, name=" StarS1 ")) == "stars1"
    assert name_in(b"[" * 100_000) == ""


def test_the_newest_causes_are_remembered_each_once() -> None:
    causes: tuple[tuple[str, int], ...] = ()
    for at, cause in enumerate("abcabdef"):
        causes = with_cause(causes, cause, at)
    assert causes == (("f", 7), ("e", 6), ("d", 5), ("b", 4))
    assert len(causes) == CAUSES
