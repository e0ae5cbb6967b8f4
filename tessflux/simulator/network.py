"""What a network of simulated photometers publishes, and when.

Rule: pure. A `Scenario` always gives the same timeline; whoever publishes it has the clock.
"""

import heapq
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from tessflux.simulator.photometer import PLACES, Photometer, Tess4C, firmware_json, utc_stamp

REGISTER_SECONDS = (3.0, 8.0, 13.0)
"""A photometer registers three times after it boots, so many seconds later."""

FACTORY_PERIOD = 10.0
"""The seconds between two readings of a photometer in its factory settings."""

READINGS_PER_BOOT = 2000
"""The mean number of readings between two power cuts: few enough for a long run to have some."""

Kind = Literal["reading", "register"]


@dataclass(frozen=True)
class Scenario:
    """What to simulate.

    The last `tess4c` of the `photometers` have four channels. `period` is in real seconds; `count` is the
    number of readings of each photometer (None: endless). The simulated clock begins at the aware time
    `start` and runs `speed` times as fast as the real one.
    """

    photometers: int
    tess4c: int
    period: float
    count: int | None
    qos: int
    retain: bool
    start: datetime
    speed: float
    seed: int
    tstamp: bool
    prefix: str
    topic: str


class Message(NamedTuple):
    """A message that is published `after` so many real seconds."""

    after: float
    kind: Kind
    topic: str
    payload: str
    qos: int
    retain: bool


def timeline(scenario: Scenario) -> Iterator[Message]:
    """All messages in the order of their times. The photometers are spread over the period."""
    photometers = network(scenario)
    lives = (
        _life(photometer, index * scenario.period / len(photometers), scenario)
        for index, photometer in enumerate(photometers)
    )
    return heapq.merge(*lives, key=lambda message: message.after)


def network(scenario: Scenario) -> list[Photometer]:
    """The photometers. Each has its own random numbers, so one more does not change the others."""
    photometers = []
    for number in range(1, scenario.photometers + 1):
        name = f"{scenario.prefix}{number}"
        model = Tess4C if number > scenario.photometers - scenario.tess4c else Photometer
        rng = random.Random(f"{scenario.seed} {name}")
        photometers.append(model(name, rng, PLACES[(number - 1) % len(PLACES)]))
    return photometers


def _life(photometer: Photometer, boot: float, scenario: Scenario) -> Iterator[Message]:
    """The messages of one photometer, which boots first at `boot` seconds and then after every power cut."""
    fates = random.Random(f"{scenario.seed} boots of {photometer.name}")
    left = sys.maxsize if scenario.count is None else scenario.count
    # With a short period the registers come sooner too, so that two of them precede any reading.
    scale = min(1.0, scenario.period / FACTORY_PERIOD)
    while left:
        readings = min(left, 1 + int(fates.expovariate(1 / READINGS_PER_BOOT)))
        left -= readings
        photometer.boot()
        registers = [(boot + scale * seconds, True) for seconds in REGISTER_SECONDS]
        sends = ((boot + nth * scenario.period, False) for nth in range(1, readings + 1))
        for after, is_register in heapq.merge(registers, sends):
            make = _register if is_register else _reading
            yield make(photometer, after, scenario)
        boot += readings * scenario.period


def _register(photometer: Photometer, after: float, scenario: Scenario) -> Message:
    # The firmware always registers at QoS 0, and never retained.
    payload = firmware_json(photometer.register())
    return Message(after, "register", f"{scenario.topic}/register", payload, 0, False)


def _reading(photometer: Photometer, after: float, scenario: Scenario) -> Message:
    at = scenario.start + timedelta(seconds=after * scenario.speed)
    fields = photometer.reading(at)
    if scenario.tstamp:
        fields["tstamp"] = utc_stamp(at)
    topic = f"{scenario.topic}/{photometer.name}/reading"
    payload = firmware_json(fields)
    return Message(after, "reading", topic, payload, scenario.qos, scenario.retain)
