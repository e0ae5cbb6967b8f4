"""Numbers, sizes, durations and dates as people read them."""

import pytest

from tessflux.words import ago, causes, date, duration, measure, number, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "0 s"), (0, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s")),
        *((3_600, "1 h"), (3_605, "1 h"), (3_665, "1 h 1 min"), (86_400, "1 d"), (90_000, "1 d 1 h")),
        (400 * 86_400, "400 d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1_023, "1023 bytes"), (1_536, "1.5 kB"), (2**20, "1 MB"), (2**30, "1 GB")],
)
def test_a_size_has_its_largest_unit(count: int, text: str) -> None:
    assert size(count) == text


def test_the_most_frequent_cause_comes_first_and_one_that_never_was_not_at_all() -> None:
    assert causes({"a": 1, "b": 2_000, "c": 0}) == " (b 2,000, a 1)"
    assert causes({"a": 0}) == ""


def test_a_date_is_in_utc_and_has_minutes() -> None:
    assert date(1_772_401_259.9) == "2026-03-01 21:40 UTC"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-61.0, "-61.00"), (211_313.0, "211313.00"), (1e308, "1e+308"), (-2.5e6, "-2e+06")],
)
def test_what_no_photometer_can_measure_is_as_short_as_what_it_can(value: float, text: str) -> None:
    assert measure(value, 2) == text


def test_what_was_and_how_much_it_was() -> None:
    assert ago(1_000.0, 1_065.0) == "1 min 5 s ago"
    assert number(1_234_567) == "1,234,567"
