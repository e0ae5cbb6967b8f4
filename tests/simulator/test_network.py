"""When a network of photometers publishes, and under which topics."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest

from tessflux.simulator.network import Message, Scenario, network, timeline
from tessflux.simulator.photometer import Photometer, Tess4C

SCENARIO = Scenario(
    photometers=5,
    tess4c=1,
    period=(10.0, 10.0),
    jitter=0.0,
    reboots=None,
    registers=0.0,
    count=4,
    qos=1,
    retain=True,
    start=datetime(2024, 3, 20, 12, 15, tzinfo=UTC),
    speed=1.0,
    seed=1,
    tstamp=False,
    prefix="stars",
    topic="STARS4ALL",
)


def of_kind(kind: str, scenario: Scenario) -> Iterator[Message]:
    return (message for message in timeline(scenario) if message.kind == kind)


@pytest.mark.parametrize("period", [0.01, 10.0, 60.0])
def test_each_photometer_sends_its_count_once_a_period_with_two_registers(period: float) -> None:
    scenario = replace(SCENARIO, period=(period, period))
    messages = list(timeline(scenario))
    assert Counter(message.kind for message in messages) == {"reading": 20, "register": 10}
    moments = [message.after for message in messages if message.topic.endswith("stars3/reading")]
    assert moments == pytest.approx([period * (0.4 + nth) for nth in (1, 2, 3, 4)])


def test_messages_come_in_the_order_of_time_and_no_two_readings_at_once() -> None:
    messages = list(timeline(SCENARIO))
    assert messages == sorted(messages, key=lambda message: message.after)
    moments = [round(message.after, 6) for message in messages if message.kind == "reading"]
    assert len(set(moments)) == len(moments)


@pytest.mark.parametrize("period", [0.01, 5.0, 10.0, 60.0])
def test_two_registers_precede_the_first_reading_and_use_up_numbers(period: float) -> None:
    first = next(of_kind("reading", replace(SCENARIO, period=(period, period))))
    assert json.loads(first.payload)["seq"] == 2


def life(scenario: Scenario) -> list[tuple[int, int, float]]:
    """Boot, seq and time of each reading of one photometer."""
    readings = of_kind("reading", replace(scenario, photometers=1, tess4c=0))
    return [(each.boot, json.loads(each.payload)["seq"], each.after) for each in readings]


def test_each_photometer_has_a_period_of_its_own_between_the_two() -> None:
    periods = set()
    for number in range(20):
        (*_, first), (*_, second), *_ = life(replace(SCENARIO, period=(2.0, 60.0), prefix=f"pru{number}"))
        periods.add(second - first)
    assert len(periods) == 20
    assert 2.0 <= min(periods) < 20.0
    assert 40.0 < max(periods) <= 60.0


def test_jitter_only_makes_periods_longer_and_adds_up() -> None:
    moments = [after for _, _, after in life(replace(SCENARIO, jitter=0.1, count=200))]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(10.0 <= gap <= 11.0 for gap in gaps)
    assert moments[-1] == pytest.approx(200 * 10.5, rel=0.01)


def test_when_the_power_fails_seq_begins_again_after_a_pause_and_the_boot() -> None:
    cuts = (45.0, 95.0)
    scenario = replace(SCENARIO, photometers=1, tess4c=0, reboots=cuts, count=10)
    rows = life(scenario)
    boots = [[row for row in rows if row[0] == number] for number in (0, 1, 2)]
    assert sum(map(len, boots)) == 10
    assert all([seq for _, seq, _ in boot] == list(range(2, 2 + len(boot))) for boot in boots)
    for cut, before, boot in zip(cuts, boots, boots[1:], strict=False):
        assert before[-1][2] < cut
        assert cut + 2.0 + 15.0 + 10.0 <= boot[0][2] <= cut + 10.0 + 15.0 + 10.0
    registers = of_kind("register", scenario)
    assert Counter(message.boot for message in registers) == {0: 2, 1: 2, 2: 2}


def test_power_cuts_that_never_come_make_no_reboot() -> None:
    assert {boot for boot, _, _ in life(replace(SCENARIO, reboots=(), count=20_000))} == {0}


def test_one_more_register_uses_up_a_number_between_two_readings() -> None:
    scenario = replace(SCENARIO, registers=0.25, count=400)
    seqs = [seq for _, seq, _ in life(scenario)]
    steps = Counter(later - earlier for earlier, later in pairwise(seqs))
    assert steps.keys() == {1, 2}
    assert 60 < steps[2] < 140


def test_the_options_apply_to_readings_while_registers_are_never_retained_nor_above_qos_0() -> None:
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
    assert set(falls) == {2}
    assert kinds == {"reading": 20_000, "register": 2 * (1 + len(falls))}


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
