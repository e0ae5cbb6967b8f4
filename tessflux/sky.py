"""Where the Sun and the Moon stand. Pure.

After J. Meeus, Astronomical Algorithms (chapters 12, 13, 22, 25, 47, 48), with the largest terms only: the
altitude of the Sun is right to 0.02 degrees in this century, that of the Moon to 0.2, its phase to 0.01. So
twilight begins some seconds too early or too late, which no photometer notices. Altitudes are those of the
centre of the disk, without refraction; times are seconds since 1970 UTC, places degrees north and east.
"""

from dataclasses import dataclass
from math import asin, atan2, cos, degrees, pi, radians, sin, tau

J2000 = 946_728_000.0
"""Noon of the first of January 2000."""

LEAP = 69.0
"""Seconds by which the time of the planets is ahead of UTC, in these years."""

EARTH = 0.9507
"""Degrees: the horizontal parallax of the Moon at its mean distance."""


@dataclass(frozen=True, slots=True)
class Sky:
    """Altitudes of the Sun and the Moon in degrees, and which part of the Moon's disk is lit, 0 to 1. The
    Moon is `waxing` from new to full."""

    sun: float
    moon: float
    lit: float
    waxing: bool


def sky(time: float, latitude: float, longitude: float) -> Sky:
    """What stands there at that time."""
    days = (time - J2000) / 86_400
    century = (days + LEAP / 86_400) / 36_525
    obliquity = radians(23.4393 - 0.0130 * century)
    sun = _sun(century)
    moon, moon_latitude, parallax = _moon(century)
    sidereal = radians(280.46062 + 360.98564737 * days + longitude)
    here = radians(latitude)
    sun_altitude = _altitude(sun, 0.0, obliquity, sidereal, here)
    moon_altitude = _altitude(moon, moon_latitude, obliquity, sidereal, here)
    # Seen from the ground and not from the centre of the Earth, the Moon stands lower.
    moon_altitude -= parallax * cos(moon_altitude)
    lit = (1 - cos(moon_latitude) * cos(moon - sun)) / 2
    return Sky(degrees(sun_altitude), degrees(moon_altitude), lit, (moon - sun) % tau < pi)


def _sun(century: float) -> float:
    """The longitude of the Sun along the ecliptic."""
    anomaly = radians(357.52911 + 35_999.05029 * century)
    centre = (1.914602 - 0.004817 * century) * sin(anomaly) + 0.019993 * sin(2 * anomaly)
    return radians(280.46646 + 36_000.76983 * century + centre - 0.00569)


def _moon(century: float) -> tuple[float, float, float]:
    """Longitude and latitude of the Moon from the ecliptic, and its horizontal parallax."""
    mean = 218.3164477 + 481_267.88123421 * century
    d = radians(297.8501921 + 445_267.1114034 * century)
    m = radians(357.5291092 + 35_999.0502909 * century)
    n = radians(134.9633964 + 477_198.8675055 * century)
    f = radians(93.2720950 + 483_202.0175233 * century)
    longitude = mean + (
        6.289 * sin(n) + 1.274 * sin(2 * d - n) + 0.658 * sin(2 * d) + 0.214 * sin(2 * n)
        - 0.185 * sin(m) - 0.114 * sin(2 * f) + 0.059 * sin(2 * d - 2 * n) + 0.057 * sin(2 * d - m - n)
        + 0.053 * sin(2 * d + n) + 0.046 * sin(2 * d - m) - 0.041 * sin(m - n) - 0.035 * sin(d)
        - 0.030 * sin(m + n)
    )  # fmt: skip
    latitude = (
        5.128 * sin(f) + 0.281 * sin(n + f) + 0.278 * sin(n - f) + 0.173 * sin(2 * d - f)
        + 0.055 * sin(2 * d - n + f) + 0.046 * sin(2 * d - n - f)
    )  # fmt: skip
    parallax = EARTH + 0.0518 * cos(n) + 0.0095 * cos(2 * d - n) + 0.0078 * cos(2 * d)
    return radians(longitude), radians(latitude), radians(parallax)


def _altitude(longitude: float, latitude: float, obliquity: float, sidereal: float, here: float) -> float:
    """From the ecliptic to the horizon."""
    declination = asin(sin(latitude) * cos(obliquity) + cos(latitude) * sin(obliquity) * sin(longitude))
    ascension = atan2(
        sin(longitude) * cos(obliquity) - sin(latitude) / cos(latitude) * sin(obliquity), cos(longitude)
    )
    hour = sidereal - ascension
    return asin(sin(here) * sin(declination) + cos(here) * cos(declination) * cos(hour))
