"""A night from noon to noon: what is in it, and what is missing."""

import time
from datetime import UTC, date, datetime

import pytest

from tessflux.pages import night
from tessflux.pages.night import Night
from tessflux.sky import Sky
from tests.pages.site import mean

MADRID = (40.4, -3.7)
COONABARABRAN = (-31.3, 149.1)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("place", "now", "expected", "start"),
    [
        (MADRID, "2025-11-28T02:00", "2025-11-27", "2025-11-27T12:00"),
        (MADRID, "2025-11-28T11:59", "2025-11-27", "2025-11-27T12:00"),
        (MADRID, "2025-11-28T12:00", "2025-11-28", "2025-11-28T12:00"),
        (COONABARABRAN, "2025-11-28T12:00", "2025-11-28", "2025-11-28T02:00"),
        (COONABARABRAN, "2025-11-28T01:59", "2025-11-27", "2025-11-27T02:00"),
        ((19.7, -155.1), "2025-11-28T08:00", "2025-11-27", "2025-11-27T22:00"),
    ],
)
def test_a_night_begins_at_the_noon_of_its_place_and_has_the_date_of_its_evening(
    place: night.Position, now: str, expected: str, start: str
) -> None:
    found = night.night_at(at(now), night.noon_offset(place, at(now)))
    assert found == Night(date.fromisoformat(expected), at(start))
    assert found.start <= at(now) < found.end
    assert found.before(1).end == found.start


def test_without_a_place_noon_is_that_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        assert night.noon_offset(None, at("2025-07-28T02:00")) == 7_200
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_gap_ends_a_run_and_so_does_what_is_too_bright() -> None:
    start = at("2025-11-27T20:00")
    values = [21.0, 21.1, None, 21.2, 5.0, 21.3]
    means = [mean(start + 300 * place, value) for place, value in enumerate(values)]
    del means[1]
    found = night.runs(means, 0)
    assert [[mag for _, mag in run] for run in found] == [[21.0], [21.2], [21.3]]
    assert found[0][0][0] == start + 150


def test_neighbours_are_one_run() -> None:
    start = at("2025-11-27T20:00")
    [run] = night.runs([mean(start + 300 * place, 21.0) for place in range(5)], 0)
    assert len(run) == 5


def test_a_photometer_without_a_thermometer_says_nothing_of_clouds() -> None:
    start = at("2025-11-27T20:00")
    means = [
        mean(start, 21.0, tamb=0.0, tsky=0.0),
        mean(start + 300, 21.0, tamb=None),
        mean(start + 600, 21.0, tamb=10.0, tsky=-25.0),
    ]
    assert night.cold_runs(means) == [[(start + 750, -35.0)]]


def test_gaps_are_when_nothing_was_stored_for_long() -> None:
    start = at("2025-11-27T20:00")
    means = [mean(start + 300 * place, None) for place in (0, 1, 3, 9)]
    assert night.gaps(means, start, start + 6_000) == [
        (start + 1_200, start + 2_700),
        (start + 3_000, start + 6_000),
    ]


def test_the_sun_is_below_between_its_two_crossings() -> None:
    def samples(*altitudes: float) -> list[tuple[float, Sky]]:
        return [(600.0 * place, Sky(each, 0, 0, True)) for place, each in enumerate(altitudes)]

    assert night.below(samples(6, -6, -6, 6), 0) == [(300, 1_500)]
    assert night.below(samples(-6, 6, -6), 0) == [(0, 300), (900, 1_200)]
    assert night.below(samples(6, 6), 0) == []
    assert night.below(samples(-6, -6), 0) == [(0, 600)]
    assert night.below([], 0) == []


def test_twilight_at_madrid_is_that_of_an_almanac() -> None:
    """2025-11-27: sunset 16:51, civil until 17:21, astronomical until 18:27 UTC."""
    offset = night.noon_offset(MADRID, at("2025-11-27T20:00"))
    skies = night.skies(night.night_of(date(2025, 11, 27), offset), MADRID)
    for altitude, expected in ((-0.83, "16:51"), (-6.0, "17:20"), (-18.0, "18:25")):
        [(began, _)] = night.below(skies, altitude)
        assert abs(began - at(f"2025-11-27T{expected}")) < 180


@pytest.mark.parametrize(
    ("lit", "waxing", "words"),
    [
        (0.01, True, "new Moon"),
        (0.2, True, "waxing crescent Moon, 20% lit"),
        (0.5, False, "waning half Moon, 50% lit"),
        (0.8, False, "waning gibbous Moon, 80% lit"),
        (0.99, True, "full Moon"),
    ],
)
def test_the_moon_in_words(lit: float, waxing: bool, words: str) -> None:
    assert night.moon_in_words(Sky(0, 0, lit, waxing)) == words


def test_where_sun_and_moon_stand_is_reckoned_once_for_all_pages_of_a_night() -> None:
    first, again = (night.skies(night.night_of(date(2025, 11, 27), 0.0), MADRID) for _ in range(2))
    assert again is first
    assert night.skies(night.night_of(date(2025, 11, 27), 0.0), None) == ()
