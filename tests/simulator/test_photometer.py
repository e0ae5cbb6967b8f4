"""The simulated photometers publish what real ones would, and always the same for the same seed."""

import json
import math
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.errors import UsageError
from tessflux.simulator.network import Message, Scenario, network, timeline
from tessflux.simulator.options import parse_options
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
from tessflux.simulator.publisher import EXIT_UNAVAILABLE, Stop, main

MADRID = Place(40.4, -3.7, 21.0, 14.0)
NOON = datetime(2024, 3, 20, 12, 15, tzinfo=UTC)
MIDNIGHT = datetime(2024, 3, 20, 0, 15, tzinfo=UTC)
DUSK = datetime(2024, 3, 20, 18, 45, tzinfo=UTC)

SCENARIO = Scenario(
    photometers=5,
    tess4c=1,
    period=10.0,
    count=4,
    qos=1,
    retain=True,
    start=NOON,
    speed=1.0,
    seed=1,
    tstamp=False,
    prefix="stars",
    topic="STARS4ALL",
)

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


def zero_point(photometer: Photometer) -> float:
    decoded: dict[str, float] = json.loads(firmware_json(photometer.register()))
    return decoded["calib"]


def of_kind(kind: str, scenario: Scenario) -> Iterator[Message]:
    return (message for message in timeline(scenario) if message.kind == kind)


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


def test_a_tess_w_sends_the_eight_keys_in_the_order_of_the_firmware() -> None:
    assert " ".join(sent(tess_w(), MIDNIGHT)) == "seq rev name freq mag tamb tsky wdBm"


def test_a_tess4c_sends_four_channels_and_no_light_of_its_own() -> None:
    row = sent(tess4c(), MIDNIGHT)
    assert " ".join(row) == "seq rev name wdBm hash ain F1 F2 F3 F4 tamb tsky"
    assert [list(row[key]) for key in ("F1", "F2", "F3", "F4")] == [["freq", "mag", "zp"]] * 4
    assert row["rev"] == 3


def test_a_tess_w_registers_with_its_zero_point_and_an_address_without_leading_zeros() -> None:
    row = json.loads(firmware_json(tess_w(seed=8).register()))
    assert " ".join(row) == "name rev mac chan calib wdBm"
    assert row["mac"] == "5C:CF:7F:65:9:3A"


def test_the_hash_of_a_tess4c_is_the_end_of_its_registered_address() -> None:
    photometer = tess4c()
    row = json.loads(firmware_json(photometer.register()))
    assert " ".join(row) == "rev name mac firmware F1 F2 F3 F4"
    assert row["mac"].replace(":", "").endswith(sent(photometer, NOON)["hash"])


def test_daylight_saturates_a_tess_w() -> None:
    row = sent(tess_w(), NOON)
    assert (row["freq"], row["mag"]) == (50000.0, 0.0)


def test_daylight_drives_a_tess4c_to_its_limit_but_not_to_magnitude_zero() -> None:
    photometer = tess4c()
    channels = [sent(photometer, NOON)[key] for key in ("F1", "F2", "F3", "F4") for _ in range(50)]
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
        photometer = tess_w(place=place)
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
    lights = [row] if "mag" in row else [row[key] for key in ("F1", "F2", "F3", "F4")]
    for light in lights:
        assert 0.06 <= light["freq"] <= 125_000
        assert light["mag"] == 0 or 5 < light["mag"] < 23.8
    assert -50 < row["tsky"] < row["tamb"] < 50
    assert -85 <= row["wdBm"] <= -50


@given(photometers, instants)
def test_magnitude_follows_from_frequency_and_zero_point(photometer: Photometer, at: datetime) -> None:
    row = sent(photometer, at)
    lights = [row | {"zp": zero_point(photometer)}] if "mag" in row else []
    for light in lights or [row[key] for key in ("F1", "F2", "F3", "F4")]:
        if light["mag"] == 0:
            assert light["freq"] == 50000.0
            continue
        # Two decimals of a frequency near zero say little about the magnitude.
        rounding = 0.006 + 2.5 * math.log10(1 + 0.005 / light["freq"])
        expected = light["zp"] - 2.5 * math.log10(light["freq"])
        assert light["mag"] == pytest.approx(expected, abs=rounding * 1.1)


@given(photometers, instants)
def test_what_is_returned_is_what_is_sent(photometer: Photometer, at: datetime) -> None:
    fields = photometer.reading(at)
    assert json.loads(firmware_json(fields)) == fields


def test_readings_and_registers_share_one_count_that_a_boot_begins_again() -> None:
    photometer = tess_w()
    photometer.register()
    assert [sent(photometer, NOON)["seq"] for _ in range(2)] == [2, 3]
    photometer.boot()
    assert sent(photometer, NOON)["seq"] == 1


@pytest.mark.parametrize(
    ("fraction", "stamp"), [(0.4, "2024-03-20T12:15:00Z"), (0.6, "2024-03-20T12:15:01Z")]
)
def test_a_gateway_stamps_to_the_nearest_second(fraction: float, stamp: str) -> None:
    assert utc_stamp(NOON + timedelta(seconds=fraction)) == stamp


@pytest.mark.parametrize("period", [0.01, 10.0, 60.0])
def test_each_photometer_sends_its_count_once_a_period_with_three_registers(period: float) -> None:
    scenario = replace(SCENARIO, period=period)
    messages = list(timeline(scenario))
    assert Counter(message.kind for message in messages) == {"reading": 20, "register": 15}
    moments = [message.after for message in messages if message.topic.endswith("stars3/reading")]
    assert moments == pytest.approx([period * (0.4 + nth) for nth in (1, 2, 3, 4)])


def test_messages_come_in_the_order_of_time_and_no_two_readings_at_once() -> None:
    messages = list(timeline(SCENARIO))
    assert messages == sorted(messages, key=lambda message: message.after)
    moments = [round(message.after, 6) for message in messages if message.kind == "reading"]
    assert len(set(moments)) == len(moments)


@pytest.mark.parametrize("period", [0.01, 5.0, 10.0, 60.0])
def test_the_first_reading_comes_after_at_least_two_registers(period: float) -> None:
    first = next(of_kind("reading", replace(SCENARIO, period=period)))
    assert json.loads(first.payload)["seq"] == (4 if period == 60.0 else 3)


def test_readings_go_out_as_asked_and_registers_never_retained_nor_above_qos_0() -> None:
    reading = next(of_kind("reading", SCENARIO))
    register = next(of_kind("register", SCENARIO))
    assert (reading.topic, reading.qos, reading.retain) == ("STARS4ALL/stars1/reading", 1, True)
    assert (register.topic, register.qos, register.retain) == ("STARS4ALL/register", 0, False)
    silent = next(of_kind("reading", replace(SCENARIO, qos=0, retain=False, topic="TEST")))
    assert (silent.topic, silent.qos, silent.retain) == ("TEST/stars1/reading", 0, False)


def test_in_a_long_run_a_photometer_reboots_and_registers_again() -> None:
    scenario = replace(SCENARIO, photometers=1, tess4c=0, count=20_000)
    kinds: Counter[str] = Counter()
    counts = []
    for message in timeline(scenario):
        kinds[message.kind] += 1
        if message.kind == "reading":
            counts.append(json.loads(message.payload)["seq"])
    falls = [later for earlier, later in pairwise(counts) if later < earlier]
    assert falls
    assert set(falls) == {3}
    assert kinds == {"reading": 20_000, "register": 3 * (1 + len(falls))}


def test_the_simulated_clock_runs_at_its_speed_and_stamps_the_readings() -> None:
    scenario = replace(SCENARIO, photometers=1, tess4c=0, count=3, speed=360.0, tstamp=True)
    stamps = [json.loads(message.payload)["tstamp"] for message in of_kind("reading", scenario)]
    assert stamps == ["2024-03-20T13:15:00Z", "2024-03-20T14:15:00Z", "2024-03-20T15:15:00Z"]


def test_without_a_gateway_no_reading_has_a_time() -> None:
    assert not any("tstamp" in message.payload for message in timeline(SCENARIO))


def test_the_last_photometers_have_four_channels() -> None:
    made = network(replace(SCENARIO, photometers=3, tess4c=2, prefix="pru"))
    assert [(photometer.name, type(photometer)) for photometer in made] == [
        ("pru1", Photometer),
        ("pru2", Tess4C),
        ("pru3", Tess4C),
    ]


def test_it_is_always_dark_at_one_of_the_default_five() -> None:
    for hour in range(24 * 366):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        suns = [sun_altitude(at, place.latitude, place.longitude) for place in PLACES[:5]]
        assert min(suns) < -10


def test_the_same_seed_gives_the_same_messages_and_another_seed_others() -> None:
    assert list(timeline(SCENARIO)) == list(timeline(SCENARIO))
    assert list(timeline(SCENARIO)) != list(timeline(replace(SCENARIO, seed=2)))


def test_a_photometer_does_not_depend_on_how_many_others_there_are() -> None:
    alone = replace(SCENARIO, photometers=1, tess4c=0)
    payloads = [message.payload for message in of_kind("reading", SCENARIO)]
    assert [message.payload for message in of_kind("reading", alone)] == payloads[::5]


def test_without_a_count_the_timeline_has_no_end() -> None:
    endless = of_kind("reading", replace(SCENARIO, count=None, photometers=1))
    assert sum(1 for _ in islice(endless, 5000)) == 5000


def test_the_options_default_to_what_the_firmware_does() -> None:
    settings = parse_options([])
    scenario = settings.scenario
    assert (settings.broker, settings.seconds, scenario.count) == ("localhost:1883", None, None)
    assert (scenario.qos, scenario.retain, scenario.period) == (0, True, 10.0)
    assert (scenario.photometers, scenario.tess4c, scenario.topic) == (5, 1, "STARS4ALL")


@pytest.mark.parametrize(("photometers", "four_channels"), [("2", 0), ("3", 1), ("9", 1)])
def test_three_photometers_or_more_include_a_tess4c(photometers: str, four_channels: int) -> None:
    assert parse_options(["--photometers", photometers]).scenario.tess4c == four_channels


@pytest.mark.parametrize(
    ("text", "broker"),
    [
        ("pi.local", "pi.local:1883"),
        ("127.0.0.1:1884", "127.0.0.1:1884"),
        ("mqtt://pi.local:1884", "pi.local:1884"),
        ("[::1]:1884", "[::1]:1884"),
    ],
)
def test_a_broker_is_a_host_with_or_without_a_port(text: str, broker: str) -> None:
    assert parse_options(["--broker", text]).broker == broker


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2024-03-20T12:15", NOON),
        ("2024-03-20 12:15:00Z", NOON),
        ("2024-03-20T13:15+01:00", NOON),
    ],
)
def test_a_start_without_an_offset_is_utc(text: str, start: datetime) -> None:
    assert parse_options(["--start", text]).scenario.start == start


@pytest.mark.parametrize(
    "arguments",
    [
        "--photometers 0",
        "--photometers two",
        "--tess4c 6",
        "--period 0",
        "--period nan",
        "--count 0",
        "--seconds inf",
        "--speed -1",
        "--qos 2",
        "--start yesterday",
        "--broker mqtts://localhost",
        "--broker localhost:99999",
        "--topic STARS4ALL/#",
        "--prefix stars/",
        "--prefix +",
        "--password secret",
        "--colour red",
    ],
)
def test_an_option_that_makes_no_sense_is_refused(arguments: str) -> None:
    with pytest.raises(UsageError):
        parse_options(arguments.split())


def test_a_wrong_option_ends_with_one_line_and_code_64(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--period", "0"], Stop()) == 64
    assert capsys.readouterr().err == ("simulator: argument --period: must be 0.001 or more; see --help\n")


def test_without_a_broker_it_ends_with_one_line_and_code_69(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        broker = f"127.0.0.1:{bound_but_deaf.getsockname()[1]}"
        assert main(["--broker", broker], Stop()) == EXIT_UNAVAILABLE == 69
    captured = capsys.readouterr()
    assert captured.err == f"simulator: no MQTT broker at {broker}: Connection refused\n"
    assert captured.out == ""
