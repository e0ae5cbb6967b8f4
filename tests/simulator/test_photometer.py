"""A simulated photometer publishes what a real one would under the sky of its place."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.simulator.photometer import (
    PLACES,
    Fields,
    Photometer,
    Place,
    Tess4C,
    firmware_json,
    sun_altitude,
    utc_stamp,
    zenith_magnitude,
)

MADRID = Place(40.4, -3.7, 21.0, 14.0)
NOON = datetime(2024, 3, 20, 12, 15, tzinfo=UTC)
MIDNIGHT = datetime(2024, 3, 20, 0, 15, tzinfo=UTC)
DUSK = datetime(2024, 3, 20, 18, 45, tzinfo=UTC)
CHANNELS = ("F1", "F2", "F3", "F4")

instants = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
photometers = st.builds(
    lambda model, seed, place: model("stars1", Random(seed), place),
    st.sampled_from([Photometer, Tess4C]),
    st.integers(0, 999),
    st.sampled_from(PLACES),
)


def tess_w(seed: int = 1, place: Place = MADRID) -> Photometer:
    return Photometer("stars1", Random(seed), place)


def tess4c(seed: int = 1) -> Tess4C:
    return Tess4C("stars2", Random(seed), MADRID)


def sent(photometer: Photometer, at: datetime) -> dict[str, Any]:
    """The next reading as a subscriber decodes it."""
    decoded: dict[str, Any] = json.loads(firmware_json(photometer.reading(at)))
    return decoded


def registered(photometer: Photometer) -> dict[str, Any]:
    """The next register message as a subscriber decodes it."""
    decoded: dict[str, Any] = json.loads(firmware_json(photometer.register()))
    return decoded


# The sky


@pytest.mark.parametrize(
    ("at", "latitude", "longitude", "altitude"),
    [
        (datetime(2024, 6, 20, 20, 51, tzinfo=UTC), 90.0, 0.0, 23.44),
        (datetime(2024, 12, 21, 9, 20, tzinfo=UTC), 90.0, 0.0, -23.44),
        (datetime(2024, 3, 20, 12, 7, tzinfo=UTC), 0.0, 0.0, 89.8),
        (datetime(2024, 3, 20, 0, 7, tzinfo=UTC), 0.0, 0.0, -89.8),
        (datetime(2024, 6, 21, 12, 17, tzinfo=UTC), 40.4, -3.7, 73.0),
        (datetime(2024, 3, 20, 18, 7, tzinfo=UTC), 0.0, 0.0, 0.0),
        (datetime(2024, 3, 20, 18, 7, tzinfo=UTC), 0.0, -90.0, 89.8),
    ],
)
def test_the_sun_stands_where_the_almanac_puts_it(
    at: datetime, latitude: float, longitude: float, altitude: float
) -> None:
    assert sun_altitude(at, latitude, longitude) == pytest.approx(altitude, abs=0.4)


@pytest.mark.parametrize(
    ("altitude", "magnitude"), [(50, 4.0), (0, 6.0), (-6, 12.3), (-12, 18.6), (-18, 21.7)]
)
def test_twilight_fades_into_the_darkness_of_the_place(altitude: float, magnitude: float) -> None:
    assert zenith_magnitude(altitude, 21.75) == pytest.approx(magnitude, abs=0.1)


def test_the_sky_never_gets_brighter_while_the_sun_sinks() -> None:
    evening = [zenith_magnitude(degrees / 10, 21.5) for degrees in range(300, -400, -1)]
    assert all(earlier <= later for earlier, later in pairwise(evening))


def test_it_is_always_dark_at_one_of_the_default_five() -> None:
    for hour in range(24 * 366):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        suns = [sun_altitude(at, place.latitude, place.longitude) for place in PLACES[:5]]
        assert min(suns) < -10


# The messages


def test_a_payload_is_written_character_by_character_as_the_firmware_does() -> None:
    fields: Fields = {
        "seq": 15,
        "name": "pru21",
        "freq": 50000.0,
        "mag": -0.004,
        "F1": {"zp": 20.4},
    }
    assert (
        firmware_json(fields) == '{"seq":15, "name":"pru21", "freq":50000.00, "mag":-0.00, "F1":{"zp":20.40}}'
    )


def test_a_tess_w_sends_its_eight_keys_in_the_order_of_the_firmware() -> None:
    assert " ".join(sent(tess_w(), MIDNIGHT)) == "seq rev name freq mag tamb tsky wdBm"


def test_a_tess4c_sends_four_channels_and_no_magnitude_of_its_own() -> None:
    row = sent(tess4c(), MIDNIGHT)
    assert " ".join(row) == "seq rev name wdBm hash ain F1 F2 F3 F4 tamb tsky"
    assert [list(row[key]) for key in CHANNELS] == [["freq", "mag", "zp"]] * 4
    assert row["rev"] == 3


def test_a_tess_w_registers_with_its_zero_point_and_an_address_without_leading_zeros() -> None:
    row = registered(Photometer("stars77", Random(1), MADRID))
    assert " ".join(row) == "name rev mac chan calib wdBm"
    assert row["mac"] == "5C:CF:7F:C2:54:7"


@pytest.mark.parametrize("model", [tess_w, tess4c])
def test_a_photometer_that_is_simulated_again_is_the_same_one(model: Callable[..., Photometer]) -> None:
    """Another mac would be a photometer that has taken the name of this one, which raises an alarm."""
    identity = [registered(model(seed=seed)) | {"wdBm": 0} for seed in (1, 2)]
    assert identity[0] == identity[1]


def test_the_hash_of_a_tess4c_is_the_end_of_its_registered_address() -> None:
    photometer = tess4c()
    row = registered(photometer)
    assert " ".join(row) == "rev name mac firmware F1 F2 F3 F4"
    assert row["mac"].replace(":", "").endswith(sent(photometer, NOON)["hash"])


def test_daylight_saturates_a_tess_w() -> None:
    row = sent(tess_w(), NOON)
    assert (row["freq"], row["mag"]) == (50000.0, 0.0)


def test_daylight_drives_a_tess4c_to_its_limit_but_not_to_magnitude_zero() -> None:
    photometer = tess4c()
    channels = [sent(photometer, NOON)[key] for key in CHANNELS for _ in range(50)]
    assert all(62_500 <= channel["freq"] <= 125_000 for channel in channels)
    assert all(7.0 < channel["mag"] < 9.0 for channel in channels)
    assert len({channel["freq"] for channel in channels}) > 1


def test_dusk_is_darker_than_day_and_brighter_than_night() -> None:
    photometer = tess_w()
    dusk, night = sent(photometer, DUSK), sent(photometer, MIDNIGHT)
    assert 8.0 < dusk["mag"] < 15.0
    assert 19.5 < night["mag"] < 21.6


def test_clouds_brighten_a_town_darken_the_country_and_warm_the_sky() -> None:
    nights = [MIDNIGHT + timedelta(days=day) for day in range(60)]
    for place, brighter in [(Place(40, -4, 18, 14), True), (Place(40, -4, 21.7, 14), False)]:
        photometer = tess_w(seed=8, place=place)  # with seed 1 it is never quite overcast at midnight
        rows = [sent(photometer, at) for at in nights]
        by_cloud = sorted(rows, key=lambda row: row["tamb"] - row["tsky"])
        cloudy, clear = by_cloud[0], by_cloud[-1]
        assert cloudy["tamb"] - cloudy["tsky"] < 10
        assert clear["tamb"] - clear["tsky"] > 30
        assert (cloudy["mag"] < clear["mag"] - 0.2) is brighter


@given(photometers, instants)
def test_every_reading_lies_within_what_the_instruments_can_give(
    photometer: Photometer, at: datetime
) -> None:
    row = sent(photometer, at)
    lights = [row] if "mag" in row else [row[key] for key in CHANNELS]
    for light in lights:
        assert 0.06 <= light["freq"] <= 125_000
        assert light["mag"] == 0 or 5 < light["mag"] < 23.8
    assert -50 < row["tsky"] < row["tamb"] < 50
    assert -85 <= row["wdBm"] <= -50


@given(photometers, instants)
def test_magnitude_follows_from_frequency_and_zero_point(photometer: Photometer, at: datetime) -> None:
    row = sent(photometer, at)
    lights = [row | {"zp": registered(photometer)["calib"]}] if "mag" in row else []
    for light in lights or [row[key] for key in CHANNELS]:
        if light["mag"] == 0:
            assert light["freq"] == 50000.0
            continue
        # Two decimals of a frequency near zero say little about the magnitude.
        rounding = 0.006 + 2.5 * math.log10(1 + 0.005 / light["freq"])
        expected = light["zp"] - 2.5 * math.log10(light["freq"])
        assert light["mag"] == pytest.approx(expected, abs=rounding * 1.1)


@given(photometers, instants)
def test_a_reading_survives_being_written_as_json(photometer: Photometer, at: datetime) -> None:
    fields = photometer.reading(at)
    assert json.loads(firmware_json(fields)) == fields


def test_seq_counts_readings_and_registers_and_restarts_at_a_boot() -> None:
    photometer = tess_w()
    photometer.register()
    assert [sent(photometer, NOON)["seq"] for _ in range(2)] == [1, 2]
    photometer.boot()
    assert sent(photometer, NOON)["seq"] == 0


@pytest.mark.parametrize(
    ("fraction", "stamp"), [(0.4, "2024-03-20T12:15:00Z"), (0.6, "2024-03-20T12:15:01Z")]
)
def test_a_gateway_stamps_to_the_nearest_second(fraction: float, stamp: str) -> None:
    assert utc_stamp(NOON + timedelta(seconds=fraction)) == stamp
