"""What a network of simulated photometers publishes, and when.

Rule: pure. A `Scenario` always gives the same timeline; whoever publishes it has the clock.
"""

import heapq
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Literal, NamedTuple

from tessflux.simulator.photometer import PLACES, Photometer, Tess4C, firmware_json, utc_stamp

REGISTER_SECONDS = (8.0, 13.0)
"""The firmware connects 3 s after its boot, and registers so many seconds after it."""

BOOT_SECONDS = 15.0
"""Then the first period begins."""

OFF_SECONDS = (2.0, 10.0)
"""How long a power cut lasts, at least and at most."""

FACTORY_PERIOD = 10.0
"""The seconds between two readings of a photometer in its factory settings."""

READINGS_PER_BOOT = 2000
"""The mean number of readings between two power cuts: few enough for a long run to have some."""

Kind = Literal["reading", "register"]


@dataclass(frozen=True)
class Scenario:
    """What to simulate.

    The last `tess4c` of the `photometers` have four channels. Each has a period of its own between the two of
    `period`, in real seconds; every time it is longer by chance, at most by its share `jitter`. The power of
    all fails at the seconds `reboots` (None: by chance). The share `registers` of all readings has a register
    message before it. `count` is the number of readings of each photometer (None: endless). The simulated
    clock begins at the aware time `start` and runs `speed` times as fast as the real one.
    """

    photometers: int
    tess4c: int
    period: tuple[float, float]
    jitter: float
    reboots: tuple[float, ...] | None
    registers: float
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
    """A message that is published `after` so many real seconds; at once, if there are fewer than none.

    `boot` is how often its photometer had booted before.
    """

    after: float
    kind: Kind
    boot: int
    topic: str
    payload: str
    qos: int
    retain: bool


def timeline(scenario: Scenario) -> Iterator[Message]:
    """All messages in the order of their times. The photometers are spread over their periods."""
    photometers = network(scenario)
    lives = (
        _life(photometer, index / len(photometers), scenario) for index, photometer in enumerate(photometers)
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


def _life(photometer: Photometer, phase: float, scenario: Scenario) -> Iterator[Message]:
    """The messages of one photometer. It has booted before the start; its first period begins when `phase`
    of one is over."""
    fates = random.Random(f"{scenario.seed} fates of {photometer.name}")
    period = fates.uniform(*scenario.period)
    # With a short period it boots faster too.
    scale = min(1.0, period / FACTORY_PERIOD)
    boot = phase * period - scale * BOOT_SECONDS
    left = sys.maxsize if scenario.count is None else scenario.count
    for number, cut in enumerate(_power_cuts(period, scenario, fates)):
        photometer.boot()
        registers = ((boot + scale * seconds, True) for seconds in REGISTER_SECONDS)
        sends = _sends(boot + scale * BOOT_SECONDS, period, scenario, fates)
        for after, is_register in chain(registers, sends):
            if after >= cut:
                break
            make = _register if is_register else _reading
            yield make(photometer, after, number, scenario)
            left -= not is_register
            if not left:
                return
        boot = cut + fates.uniform(*OFF_SECONDS)


def _power_cuts(period: float, scenario: Scenario, fates: random.Random) -> Iterator[float]:
    """When the power of a photometer fails, without end."""
    if scenario.reboots is not None:
        yield from (*scenario.reboots, math.inf)
        return
    cut = 0.0
    while True:
        cut += fates.expovariate(1 / (READINGS_PER_BOOT * period))
        yield cut


def _sends(
    begin: float, period: float, scenario: Scenario, fates: random.Random
) -> Iterator[tuple[float, bool]]:
    """When a photometer sends after its boot, and whether that is a register message; without end."""
    after = begin
    while True:
        if fates.random() < scenario.registers:
            yield after + period / 2, True
        after += period * (1 + scenario.jitter * fates.random())
        yield after, False


def _register(photometer: Photometer, after: float, boot: int, scenario: Scenario) -> Message:
    # The firmware always registers at QoS 0, and never retained.
    payload = firmware_json(photometer.register())
    return Message(after, "register", boot, f"{scenario.topic}/register", payload, 0, False)


def _reading(photometer: Photometer, after: float, boot: int, scenario: Scenario) -> Message:
    at = scenario.start + timedelta(seconds=after * scenario.speed)
    fields = photometer.reading(at)
    if scenario.tstamp:
        fields["tstamp"] = utc_stamp(at)
    topic = f"{scenario.topic}/{photometer.name}/reading"
    payload = firmware_json(fields)
    return Message(after, "reading", boot, topic, payload, scenario.qos, scenario.retain)
