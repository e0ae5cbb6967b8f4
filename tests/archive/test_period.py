"""From when to when readings are wanted."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.archive import Period, iso, night, period, zone_of
from tessflux.archive.source import BEGINNING, DAY, END, days
from tessflux.config import Place

HOUR = 3_600_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026-10-31", "2026-10-31T00:00Z", "2026-11-01T00:00Z"),
        ("2026-02-28", "2026-02-28T00:00Z", "2026-03-01T00:00Z"),
        ("2026-10-31T20:00", "2026-10-31T20:00Z", "2026-10-31T20:00Z"),
        ("2026-10-31 20:00:01.234", "2026-10-31T20:00:01.234Z", "2026-10-31T20:00:01.234Z"),
        ("2026-10-31T20:00+02:00", "2026-10-31T18:00Z", "2026-10-31T18:00Z"),
        ("2026-10-31T20:00:00Z", "2026-10-31T20:00Z", "2026-10-31T20:00Z"),
    ],
)
def test_a_date_is_a_whole_day_and_a_time_without_a_zone_is_in_utc(text: str, begin: str, end: str) -> None:
    assert (period.begin(text), period.end(text)) == (ms(begin), ms(end))


def test_what_no_database_has_is_left_out() -> None:
    assert period.begin("0001-01-01T00:00:00+14:00") == BEGINNING
    assert period.end("9999-12-30") == END


@pytest.mark.parametrize("text", ["", "today", "2026-13-01", "2026-10-31T25:00", "31.10.2026", "9999-12-31"])
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date"):
        period.end(text)


@given(st.integers(BEGINNING, END))
def test_a_time_that_is_written_is_read_as_the_same(moment: int) -> None:
    assert period.begin(iso(moment)) == moment


def test_a_month_is_one_of_utc() -> None:
    assert period.month("2026-12") == Period(ms("2026-12-01T00:00Z"), ms("2027-01-01T00:00Z"))
    assert period.month("2028-02") == Period(ms("2028-02-01T00:00Z"), ms("2028-03-01T00:00Z"))


@pytest.mark.parametrize("text", ["2026", "2026-13", "october", "2026-10-01", "9999-12"])
def test_what_is_no_month_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="must be a month"):
        period.month(text)


@pytest.mark.parametrize("text", ["2026-10", "tonight", "2026-10-31T20:00", "9999-12-31"])
def test_what_is_no_evening_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="must be the day"):
        period.evening(text)


@pytest.mark.parametrize(
    ("place", "evening", "begin", "hours"),
    [
        (None, date(2026, 10, 24), "2026-10-24T12:00Z", 24),
        (Place(28.3, -16.5), date(2026, 10, 24), "2026-10-24T13:00Z", 24),
        (Place(-24.6, 151.0), date(2026, 10, 24), "2026-10-24T02:00Z", 24),
        # The clocks are put back in that night, and forward in the other.
        (Place(40.4, -3.7, zone="Europe/Madrid"), date(2026, 10, 24), "2026-10-24T10:00Z", 25),
        (Place(40.4, -3.7, zone="Europe/Madrid"), date(2026, 3, 28), "2026-03-28T11:00Z", 23),
    ],
)
def test_a_night_is_from_noon_to_noon_where_the_photometer_stands(
    place: Place | None, evening: date, begin: str, hours: int
) -> None:
    assert night(evening, zone_of(place)) == Period(ms(begin), ms(begin) + hours * HOUR)


@given(st.integers(0, 100 * DAY), st.integers(0, 5 * DAY))
def test_the_days_of_a_period_are_all_of_it(start: int, length: int) -> None:
    parts = list(days(start, start + length))
    edges = [start, *(end for _, end in parts)]
    assert [begin for begin, _ in parts] == edges[:-1]
    assert edges[-1] == start + length
    assert all(end % DAY == 0 for _, end in parts[:-1])
    assert all(0 < end - begin <= DAY for begin, end in parts)
