"""Sun and Moon stand where PyEphem has them, and the phase of the Moon is that of the almanac."""

import math
from datetime import UTC, datetime

import ephem
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.sky import sky


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def altitude(body: ephem.Body, time: float, latitude: float, longitude: float) -> float:
    """In degrees, of the centre, seen from the ground, without refraction."""
    observer = ephem.Observer()
    observer.lat, observer.lon = math.radians(latitude), math.radians(longitude)
    observer.pressure = 0
    observer.date = ephem.Date(datetime.fromtimestamp(time, UTC).replace(tzinfo=None))
    body.compute(observer)
    return math.degrees(body.alt)


@given(st.floats(at("2016-01-01"), at("2046-01-01")), st.floats(-90, 90), st.floats(-180, 180))
def test_sun_and_moon_stand_where_an_almanac_has_them(time: float, latitude: float, longitude: float) -> None:
    seen = sky(time, latitude, longitude)
    assert seen.sun == pytest.approx(altitude(ephem.Sun(), time, latitude, longitude), abs=0.02)
    moon = ephem.Moon()
    assert seen.moon == pytest.approx(altitude(moon, time, latitude, longitude), abs=0.2)
    assert seen.lit == pytest.approx(moon.phase / 100, abs=0.01)


@pytest.mark.parametrize(
    ("when", "lit", "waxing"),
    [
        ("2024-04-08T12:00", 0.0, False),  # hours before it is new, and eclipses the Sun
        ("2024-04-15T19:13", 0.5, True),  # first quarter
        ("2024-04-23T12:00", 1.0, True),  # half a day before full
        ("2024-04-24T12:00", 1.0, False),
        ("2024-05-01T11:27", 0.5, False),  # last quarter
    ],
)
def test_the_moon_waxes_until_it_is_full(when: str, lit: float, waxing: bool) -> None:
    seen = sky(at(when), 40.4, -3.7)
    assert seen.lit == pytest.approx(lit, abs=0.02)
    assert seen.waxing is waxing
