"""Cases: how many readings a second come through, and what one costs.

At QoS 0 and 1; with few and many photometers; with small and large windows of the broker.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from flood import Readings
from servers import Program

from benchmark.bridges import CEILING, FLOOR, Bridge, Tessflux, running
from benchmark.plan import BenchFailed, Measured, Scale, Turn
from benchmark.process import cpu_seconds, family, peak_memory
from benchmark.site import POLL_SECONDS, START_SECONDS, lives, new_site, wait_until_idle

BROKER = "mosquitto alone"
"""The publisher, and nobody who listens."""

SETTINGS = {"influxdb.flush_interval": "0.1"}
"""The end of a turn is when the last reading is stored, which must not wait for company."""

WINDOWS = {"20": 20, "200": 200, "65,535": 65_535}
"""Messages that may be unacknowledged; more than the last MQTT does not know."""

SLOWEST = 1_000
"""Readings a second of the slowest counter for which is waited."""


def throughput(
    scale: Scale, tessfluxes: Sequence[Tessflux], peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """Every bridge at QoS 0 and 1."""
    bridges: list[Bridge] = [CEILING, FLOOR, *(each.but(SETTINGS) for each in tessfluxes), *peers]
    for qos in (0, 1):
        readings = Readings(scale.readings, qos, scale.photometers)
        setting = f"QoS {qos}"
        yield Turn("throughput", setting, BROKER, partial(broker_alone, readings, directory))
        for bridge in bridges:
            yield Turn("throughput", setting, bridge.name, partial(through, bridge, readings, directory))


def photometers(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """The same number of readings from few and from many."""
    settings = {**SETTINGS, "mqtt.new_photometers": "0"}
    bridges: list[Bridge] = [CEILING, *(each.but(settings) for each in tessfluxes)]
    for count in scale.networks:
        # Each has been there once: what a database does for a new series comes once in its life.
        readings = Readings(scale.readings, 1, count, first=count + 1)
        for bridge in bridges:
            run = partial(through, bridge, readings, directory)
            yield Turn("photometers", f"{count:,} photometers", bridge.name, run)


def window(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """Small and large windows of unacknowledged messages."""
    readings = Readings(scale.readings, 1, scale.photometers)
    bridges: list[Bridge] = [CEILING, *(each.but(SETTINGS) for each in tessfluxes)]
    for setting, size in WINDOWS.items():
        for bridge in bridges:
            run = partial(through, bridge, readings, directory, size)
            yield Turn("window", f"{setting} unacknowledged", bridge.name, run)


def broker_alone(readings: Readings, directory: Path) -> Measured:
    """How fast the broker takes readings that nobody wants."""
    with new_site(directory) as site, site.flood(readings) as flood:
        cpu, began = site.broker_cpu(), time.monotonic()
        flood.begin()
        flood.wait()
        seconds = time.monotonic() - began
        broker_cpu = site.broker_cpu() - cpu
    return Measured({"rate": readings.count / seconds, "broker_cpu": broker_cpu / readings.count * 1e6})


def through(
    bridge: Bridge,
    readings: Readings,
    directory: Path,
    window: int | None = None,
    during: Callable[[Program], AbstractContextManager[object]] = nullcontext,
) -> Measured:
    """From the first that is published to the last that is stored, or counted; `during` lasts as long.

    Where the numbers of the readings begin later, those before are stored first.
    """
    with (
        new_site(directory, window=window) as site,
        running(bridge, site, readings.qos, readings.count) as program,
        site.flood(readings) as flood,
        during(program),
    ):
        pids = family(program.pid)
        if bridge.stores and readings.first > 1:
            earlier = replace(readings, first=1, count=readings.first - 1)
            site.publish(earlier)
            site.wait_for(earlier)
            wait_until_idle([*pids, site.influxd.pid])
        cpu, broker_cpu, database_cpu = cpu_seconds(pids), site.broker_cpu(), site.database_cpu()
        memory = peak_memory(pids)
        began = time.monotonic()
        flood.begin()
        if bridge.stores:
            ended = site.wait_for(readings)
            memory = peak_memory(pids)
        else:
            ended, memory = _counted(program, readings, memory)
        cpu, broker_cpu = cpu_seconds(pids) - cpu, site.broker_cpu() - broker_cpu
        database_cpu = site.database_cpu() - database_cpu
        lost, doubled = site.losses(readings, pids) if bridge.stores else (0, 0)
    return Measured(
        {
            "rate": (readings.count - lost) / (ended - began),
            "cpu": cpu / readings.count * 1e6,
            "broker_cpu": broker_cpu / readings.count * 1e6,
            **({"database_cpu": database_cpu / readings.count * 1e6} if bridge.stores else {}),
            "memory": memory,
        },
        lost,
        doubled,
    )


def _counted(program: Program, readings: Readings, memory: float) -> tuple[float, float]:
    """When a counter had got all, and its peak memory, which nobody can ask for afterwards; at first it
    was `memory`."""
    deadline = time.monotonic() + START_SECONDS + readings.count / SLOWEST
    while lives(program):
        memory = max(memory, peak_memory([program.pid]))
        if time.monotonic() > deadline:
            raise BenchFailed(f"{program.name} did not get all readings")
        time.sleep(POLL_SECONDS)
    return time.monotonic(), memory
