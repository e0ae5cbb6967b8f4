"""What is in the CSV is what is in the database."""

import csv
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.archive import SKY, Row, csv_lines, iso, with_sky
from tessflux.readings import UNITS
from tessflux.sky import sky

NOON = 1_800_000_000_000
FIELDS = st.sampled_from(sorted({*UNITS, "unknown", 'odd, "field"'}))
VALUES = st.dictionaries(FIELDS, st.floats(allow_nan=False, allow_infinity=False))


def test_the_first_line_names_the_columns_and_their_units() -> None:
    rows = [
        Row(NOON, {"mag": 20.06, "seq": 7.0, "zz": 1e22, "tamb": -0.5}),
        Row(NOON + 59_999, {"seq": 8.0, "freq": 0.1 + 0.2, "mag": 21.0}),
    ]
    assert list(csv_lines(rows, {"zz", "mag", "freq", "seq", "tamb", "aa"})) == [
        "time (ISO 8601 UTC),seq,mag (mag/arcsec²),freq (Hz),tamb (°C),aa,zz\r\n",
        "2027-01-15T08:00:00.000Z,7,20.06,,-0.5,,1e+22\r\n",
        "2027-01-15T08:00:59.999Z,8,21,0.30000000000000004,,,\r\n",
    ]


def test_the_channels_of_a_tess4c_stand_together() -> None:
    [head] = csv_lines([], {f"{field}{digit}" for field in ("freq", "mag") for digit in (1, 2, 3, 4)})
    assert head.split(",")[1:] == [
        *(f"mag{digit} (mag/arcsec²)" for digit in (1, 2, 3, 4)),
        *(f"freq{digit} (Hz)" for digit in (1, 2, 3)),
        "freq4 (Hz)\r\n",
    ]


@given(st.lists(st.tuples(st.integers(0, 9_000_000_000_000), VALUES), max_size=5))
def test_every_value_is_read_back_exactly(found: list[tuple[int, Mapping[str, float]]]) -> None:
    rows = [Row(*each) for each in found]
    fields = {field for row in rows for field in row.values}
    head, *lines = csv.reader(csv_lines(rows, fields), strict=True)
    names = [name.partition(" (")[0] for name in head[1:]]
    assert set(names) == fields
    read = [
        (line[0], {name: float(cell) for name, cell in zip(names, line[1:], strict=True) if cell})
        for line in lines
    ]
    assert read == [(iso(row.time), row.values) for row in rows]


@pytest.mark.parametrize("values", [{}, {"lat": 1.0, "long": 2.0}])
def test_sun_and_moon_are_those_over_the_place(values: Mapping[str, float]) -> None:
    [row] = with_sky([Row(NOON, {"mag": 20.0, **values})], (40.4, -3.7))
    there = sky(NOON / 1000, 40.4, -3.7)
    assert row.values == {
        "mag": 20.0,
        **values,
        "sun_altitude": pytest.approx(there.sun, abs=0.005),
        "moon_altitude": pytest.approx(there.moon, abs=0.05),
        "moon_lit": pytest.approx(there.lit, abs=0.005),
    }


def test_without_a_place_they_are_those_over_where_the_reading_says_that_it_is() -> None:
    rows = [Row(NOON, {"lat": 40.4, "long": -3.7}), Row(NOON + 1, {"lat": 40.4})]
    told, silent = with_sky(rows, None)
    [same] = with_sky([rows[0]], (40.4, -3.7))
    assert told == same
    assert silent == rows[1]


def test_they_have_units_too() -> None:
    [head] = csv_lines([], SKY.keys())
    assert head.strip() == (
        "time (ISO 8601 UTC),sun_altitude (degrees),moon_altitude (degrees),moon_lit (0 to 1)"
    )
