"""Payload bytes -> whose reading it is, and when it was made if the publisher says so."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.limits import MAX_NAME
from tessflux.readings.reading import (
    BAD_NAME,
    BAD_TIME,
    Refused,
)
from tests.readings.samples import ABSENT, PLAIN, good, refused, row

# Names


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("STARS12", "stars12"),
        (" stars1 ", "stars1"),
        ("\tstars1\r\n", "stars1"),
        ("stars 12", "stars 12"),
        ("a,b=c", "a,b=c"),
        ('q"uote', 'q"uote'),
        ("a/b+c#", "a/b+c#"),
        ("a\\b", "a\\b"),
        ("Ñuñoa-β", "ñuñoa-β"),
        ("İ", "i̇"),
        ("望遠鏡", "望遠鏡"),
        ("🔭", "🔭"),
        ("x" * MAX_NAME, "x" * MAX_NAME),
        (" " * 100 + "x", "x"),
        ("null", "null"),
    ],
)
def test_a_name_is_stripped_and_in_lower_case(written: str, name: str) -> None:
    assert good(row(PLAIN, name=written)).name == name


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        (ABSENT, "no name"),
        (None, "no name"),
        (12, "the name is not a string"),
        (True, "the name is not a string"),
        (["stars1"], "the name is not a string"),
        ({"a": 1}, "the name is not a string"),
        ("", "the name is blank"),
        ("   ", "the name is blank"),
        ("\n\t\u2028", "the name is blank"),
        ("x" * (MAX_NAME + 1), "the name has 65 characters, at most 64"),
        ("İ" * 33, "the name has 66 characters, at most 64"),
        ("tab\there", "the name has control characters"),
        ("new\nline", "the name has control characters"),
        ("carriage\rreturn", "the name has control characters"),
        ("stars1\0", "the name has control characters"),
        ("\x1b[31mred", "the name has control characters"),
        ("del\x7f", "the name has control characters"),
        ("c1\x9bx", "the name has control characters"),
        ("line\u2028separator", "the name has control characters"),
        ("paragraph\u2029separator", "the name has control characters"),
        ("next\u0085line", "the name has control characters"),
        ("turned\u202eround", "the name has control characters"),
        ("zero\u200bwidth", "the name has control characters"),
        ("half a pair \ud800", "the name has control characters"),
        ("other half \udfff", "the name has control characters"),
        ("private \ue000", "the name has control characters"),
        ("stars1\\", "the name ends in a backslash, which InfluxDB cannot store"),
        ("stars1\\ ", "the name ends in a backslash, which InfluxDB cannot store"),
    ],
)
def test_a_name_that_cannot_be_stored_is_refused(name: object, detail: str) -> None:
    assert refused(row(PLAIN, name=name)) == Refused(BAD_NAME, detail)


# Times


def ms(*when: int) -> int:
    """Milliseconds since 1970 of a time in UTC, down to microseconds."""
    return round(datetime(*when, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("tstamp", "time"),
    [
        (ABSENT, None),
        (None, None),
        ("2026-03-01T00:00:14", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01 00:00:14", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01T00:00:14Z", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01 00:00:14Z", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01T02:00:14+02:00", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01T02:00:14+0200", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-02-28T19:30:14-04:30", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01T00:00:14-00:00", ms(2026, 3, 1, 0, 0, 14)),
        ("2026-03-01T00:00:14.1", ms(2026, 3, 1, 0, 0, 14) + 100),
        ("2026-03-01T00:00:14.123", ms(2026, 3, 1, 0, 0, 14) + 123),
        ("2026-03-01T00:00:14.123999Z", ms(2026, 3, 1, 0, 0, 14) + 123),
        ("2026-03-01 01:00:14.123456789+01:00", ms(2026, 3, 1, 0, 0, 14) + 123),
        ("2024-02-29T23:59:59Z", ms(2024, 2, 29, 23, 59, 59)),
        ("1970-01-01T00:00:05", 5_000),
        ("1969-12-31T23:59:59.999", -1),
        ("1969-12-31T23:59:59.9995", -1),
        ("2106-02-07T06:28:15", 2**32 * 1_000 - 1_000),
        ("9999-12-31T23:59:59-14:00", ms(9999, 12, 31, 23, 59, 59) + 14 * 3_600_000),
        ("0001-01-01T00:00:00+14:00", -62_135_596_800_000 - 14 * 3_600_000),
    ],
)
def test_a_time_is_milliseconds_in_utc(tstamp: object, time: int | None) -> None:
    assert good(row(PLAIN, tstamp=tstamp)).tstamp == time


@pytest.mark.parametrize(
    "tstamp",
    [
        "",
        "now",
        5,
        1_772_323_214.5,
        True,
        [],
        {},
        "2026-03-01",
        "2026-03-01T00:00",
        "00:00:14",
        "20260301T000014Z",
        "2026-W09-7T00:00:14",
        "2026-060T00:00:14",
        "2026-3-1T0:0:14",
        "26-03-01T00:00:14",
        "+2026-03-01T00:00:14",
        "2026-03-01t00:00:14",
        "2026-03-01T00:00:14z",
        "2026-03-01T00:00:14 Z",
        "2026-03-01T00:00:14UTC",
        "2026-03-01T00:00:14+02",
        "2026-03-01T00:00:14+2:00",
        "2026-03-01T00:00:14Z+02:00",
        "2026-03-01T00:00:14.",
        "2026-03-01T00:00:14,5",
        "2026-03-01T00:00:14.1234567890",
        " 2026-03-01T00:00:14",
        "2026-03-01T00:00:14\n",
        "٢٠٢٦-03-01T00:00:14",
        "2026-02-30T00:00:00",
        "2025-02-29T00:00:00",
        "2026-13-01T00:00:00",
        "2026-00-01T00:00:00",
        "2026-01-00T00:00:00",
        "2026-01-01T25:00:00",
        "2026-01-01T00:60:00",
        "2026-12-31T23:59:60Z",
        "0000-01-01T00:00:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+05:60",
        "2026-01-01T00:00:00-0599",
        "2026-01-01T00:00:0\u0661",
        "2026-01-01T00:00:00+0\u0665:00",
    ],
)
def test_what_is_no_time_is_refused(tstamp: object) -> None:
    problem = refused(row(PLAIN, tstamp=tstamp))
    assert (problem.cause, problem.name) == (BAD_TIME, "stars1")


@given(
    st.datetimes(
        min_value=datetime(1, 1, 2),
        max_value=datetime(9999, 12, 30),
        timezones=st.timezones(),
        allow_imaginary=False,
    ),
    st.sampled_from("T "),
)
def test_any_time_with_an_offset_of_whole_minutes_is_understood(when: datetime, separator: str) -> None:
    when = datetime.fromisoformat(when.isoformat(timespec="milliseconds")[:29])
    since_1970 = when - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since_1970.days * 86_400 + since_1970.seconds) * 1_000 + since_1970.microseconds // 1_000
    tstamp = when.isoformat(separator, timespec="milliseconds")
    assert good(row(PLAIN, tstamp=tstamp)).tstamp == expected
