"""Case: how long after it was published a reading can be queried, at a steady rate.

The rule: a reading counts as there when an answer of the database that has it has arrived, so each latency
contains the query and the time since the query before.
"""

import array
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from flood import Readings

from benchmark.bridges import Bridge, Tessflux, running
from benchmark.plan import Measured, Scale, Turn
from benchmark.process import cpu_seconds, family, peak_memory
from benchmark.site import QUIET_SECONDS, Connection, Flood, Site, new_site

PHOTOMETERS = 50
"""Few, so that a query costs the database little: more of them change nothing about a latency."""

MORE_SECONDS = 1.5
"""How long readings go on coming that are not looked at: the last of a stream wait for company in vain."""

PAUSE_SECONDS = 0.004
"""Between two queries."""

OVERLAP = 100_000_000
"""Nanoseconds before the newest reading that are queried again: readings may come out of order."""

FLUSHES = {"": {}, ", flush 0.05": {"influxdb.flush_interval": "0.05"}}
"""By what is added to the name: the default of 1 s, and a short one."""


def latency(
    scale: Scale, tessfluxes: Sequence[Tessflux], peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """At QoS 0, as photometers publish, where a commit waits for the flush; and at QoS 1."""
    for rate in scale.rates:
        for qos in (0, 1):
            count = math.ceil(rate * scale.seconds)
            readings = Readings(count, qos, PHOTOMETERS, PHOTOMETERS + 1)
            bridges = {
                f"{each.name}{suffix}": each.but(settings)
                for each in tessfluxes
                for suffix, settings in FLUSHES.items()
            }
            for name, bridge in {**bridges, **{peer.name: peer for peer in peers}}.items():
                run = partial(to_queryable, bridge, readings, rate, directory)
                yield Turn("latency", f"{rate:,}/s, QoS {qos}", name, run)


def to_queryable(bridge: Bridge, readings: Readings, rate: float, directory: Path) -> Measured:
    """From the time of publishing to the time of the first answer that has the reading."""
    stream = replace(readings, count=readings.count + math.ceil(rate * MORE_SECONDS))
    with new_site(directory) as site, running(bridge, site, readings.qos) as program:
        warm_up(site, readings)
        times = site.directory / "times"
        pids = family(program.pid)
        with site.flood(stream, rate=rate, times=times) as flood:
            cpu = cpu_seconds(pids)
            flood.begin()
            sightings = watch(site, flood, readings)
            flood.wait()
            site.wait_for(stream)
            cpu = cpu_seconds(pids) - cpu
        sent = array.array("d", times.read_bytes())
        memory = peak_memory(pids)
        lost, doubled = site.losses(stream, pids)
    latencies = sightings.latencies(sent)
    return Measured(
        {
            **{name: value * 1000 for name, value in summary(latencies).items()},
            "cpu": cpu / stream.count * 1e6,
            "memory": memory,
        },
        lost,
        doubled,
    )


def warm_up(site: Site, readings: Readings) -> None:
    """One reading of every photometer, so that the database has its series and its shard."""
    first = replace(readings, count=PHOTOMETERS, first=1)
    with site.flood(first) as flood:
        flood.begin()
        flood.wait()
        site.wait_for(first)


class Sightings:
    """Which readings were seen, and when; asked for what may be new, it leaves out what has been seen."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._at: dict[int, float] = {}
        self._times: dict[int, int] = {}
        self._next = readings.first

    def look(self, rows: Iterable[Sequence[float]], at: float) -> bool:
        """Take an answer: rows of time in ns and number, got at a time; whether anything in it is new."""
        before = len(self._at)
        for when, number in rows:
            if self._readings.first <= number <= self._readings.last and number not in self._at:
                self._at[int(number)] = at
                self._times[int(number)] = int(when)
        while self._next in self._at:
            self._next += 1
        return len(self._at) > before

    @property
    def complete(self) -> bool:
        """Whether all were seen."""
        return len(self._at) == self._readings.count

    @property
    def since(self) -> int:
        """Nanoseconds since 1970: nothing unseen is older, unless it came far out of order."""
        return self._times.get(self._next - 1, 0) - OVERLAP

    def latencies(self, sent: Sequence[float]) -> list[float]:
        """Seconds from the sending of each, in order, to its sighting."""
        return [
            self._at[number] - sent[number - self._readings.first]
            for number in range(self._readings.first, self._readings.last + 1)
            if number in self._at
        ]


def watch(site: Site, flood: Flood, readings: Readings) -> Sightings:
    """Ask for new readings again and again, until all are there or none comes any more."""
    sightings = Sightings(readings)
    connection = Connection(site.influxd)
    changed = time.monotonic()
    while not sightings.complete and time.monotonic() < changed + QUIET_SECONDS:
        since = sightings.since if flood.runs else 0
        rows = connection.rows(f"SELECT seq FROM readings WHERE time >= {since}")
        at = time.monotonic()
        if sightings.look(rows, at):
            changed = at
        time.sleep(PAUSE_SECONDS)
    connection.close()
    return sightings


def summary(latencies: Sequence[float]) -> dict[str, float]:
    """The middle one, the one that 99 of 100 do not exceed, the longest; infinite when nothing was seen."""
    ordered = sorted(latencies) or [math.inf]
    ranks = {"p50": 0.5, "p99": 0.99, "longest": 1.0}
    return {name: ordered[max(math.ceil(part * len(ordered)) - 1, 0)] for name, part in ranks.items()}
