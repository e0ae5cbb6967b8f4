"""A night from noon to noon, and what is to be seen in it. Pure.

Times are seconds since 1970 UTC. A night has the date of its evening. Noon is that of the place, to the hour;
where nobody knows the place it is noon of this computer's time, since most photometers are not far away.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from tessflux.photometers import SECONDS, Mean
from tessflux.sky import Sky, sky

HOUR, DAY = 3_600, 86_400
STEP = 600
"""Seconds between two looks at Sun and Moon."""

BRIGHTEST = 8.0
"""mag/arcsec². What is brighter is no measurement: for a part of the time the sensor was saturated."""

Position = tuple[float, float]
"""Degrees north and east."""


@dataclass(frozen=True)
class Night:
    """From the noon of `date` until the next one."""

    date: date
    start: float

    @property
    def end(self) -> float:
        """When it is over."""
        return self.start + DAY

    def before(self, nights: int) -> "Night":
        """The night that was so many nights before this one."""
        return Night(self.date - timedelta(days=nights), self.start - nights * DAY)


def noon_offset(place: Position | None, now: float) -> float:
    """Seconds by which noon is earlier than 12:00 UTC."""
    if place is None:
        return float(time.localtime(now).tm_gmtoff)
    return round(place[1] / 15) * float(HOUR)


def night_at(now: float, offset: float) -> Night:
    """The night in which this time is."""
    evening = datetime.fromtimestamp(now + offset - DAY / 2, UTC).date()
    return night_of(evening, offset)


def night_of(evening: date, offset: float) -> Night:
    """The night of this date."""
    noon = datetime(evening.year, evening.month, evening.day, 12, tzinfo=UTC)
    return Night(evening, noon.timestamp() - offset)


@lru_cache(maxsize=32)
def skies(night: Night, place: Position | None) -> Sequence[tuple[float, Sky]]:
    """Sun and Moon through the night; nothing where the place is not known."""
    if place is None:
        return ()
    steps = range(int(night.start), int(night.end) + 1, STEP)
    return tuple((float(step), sky(step, *place)) for step in steps)


def channels(means: Sequence[Mean]) -> int:
    """How many magnitudes there are: 1, or 4 of a TESS4C."""
    return max((len(each.mags) for each in means), default=1)


def runs(means: Sequence[Mean], channel: int) -> list[list[tuple[float, float]]]:
    """The magnitudes of a channel as (time of its middle, mag/arcsec²), in runs without a gap."""
    return _runs(
        means, [each.mags[channel] if channel < len(each.mags) else None for each in means], BRIGHTEST
    )


def cold_runs(means: Sequence[Mean]) -> list[list[tuple[float, float]]]:
    """By how many degrees the sky was warmer than the photometer, in runs without a gap."""
    differences = [
        None
        if each.tsky is None or each.tamb is None or each.tsky == each.tamb == 0
        else each.tsky - each.tamb
        for each in means
    ]
    return _runs(means, differences, -100.0)


def _runs(
    means: Sequence[Mean], values: Sequence[float | None], least: float
) -> list[list[tuple[float, float]]]:
    found: list[list[tuple[float, float]]] = []
    expected = None
    for each, value in zip(means, values, strict=True):
        if value is None or value < least:
            expected = None
            continue
        if each.start != expected:
            found.append([])
        found[-1].append((each.start / 1_000 + SECONDS / 2, value))
        expected = each.start + SECONDS * 1_000
    return found


GAP = 900
"""Seconds without a reading that are shown as a gap."""


def gaps(means: Sequence[Mean], start: float, end: float) -> list[tuple[float, float]]:
    """When nothing was stored between these times, for longer than GAP."""
    times = [each.start / 1_000 for each in means if start <= each.start / 1_000 < end]
    ends = [start, *(each + SECONDS for each in times)]
    return [
        (before, after) for before, after in zip(ends, [*times, end], strict=True) if after - before > GAP
    ]


@dataclass(frozen=True)
class Darkest:
    """The darkest five minutes of a night (mag/arcsec²), and when they began."""

    magnitude: float
    at: float


def darkest(means: Sequence[Mean], channel: int = 0) -> Darkest | None:
    """None if nothing was measured."""
    points = [(mag, at) for run in runs(means, channel) for at, mag in run]
    if not points:
        return None
    magnitude, at = max(points)
    return Darkest(magnitude, at - SECONDS / 2)


def below(night_skies: Sequence[tuple[float, Sky]], altitude: float) -> list[tuple[float, float]]:
    """From when to when the Sun is lower than this."""
    found: list[tuple[float, float]] = []
    began = night_skies[0][0] if night_skies and night_skies[0][1].sun < altitude else None
    for (before, first), (after, second) in pairwise(night_skies):
        if (first.sun < altitude) is (second.sun < altitude):
            continue
        at = before + (after - before) * (altitude - first.sun) / (second.sun - first.sun)
        if began is None:
            began = at
        else:
            found.append((began, at))
            began = None
    if began is not None:
        found.append((began, night_skies[-1][0]))
    return found


def moon_in_words(seen: Sky) -> str:
    """Its phase."""
    if seen.lit < 0.03:
        return "new Moon"
    if seen.lit > 0.97:
        return "full Moon"
    shape = "crescent" if seen.lit < 0.45 else "gibbous" if seen.lit > 0.55 else "half"
    return f"{'waxing' if seen.waxing else 'waning'} {shape} Moon, {seen.lit:.0%} lit"
