"""Case: what a bridge costs at the pace of a real network: its CPU, how often it wakes up, its memory.

The rule: the same readings a second for all; what is counted begins when they come and ends when all are
stored, however long that takes. A core that is woken costs more than what it does then, so both are shown.
"""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from flood import Readings

from benchmark.bridges import Bridge, Tessflux, running
from benchmark.plan import Measured, Scale, Turn
from benchmark.process import exact_cpu_seconds, family, memory, wake_ups
from benchmark.site import new_site

PHOTOMETERS = 1_000


def pace(
    scale: Scale, tessfluxes: Sequence[Tessflux], peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """A thousand photometers that publish once a minute, and networks that are larger."""
    for rate in scale.paces:
        for qos in (0, 1):
            readings = Readings(math.ceil(rate * scale.seconds), qos, PHOTOMETERS)
            for bridge in (*tessfluxes, *peers):
                run = partial(kept_up, bridge, readings, rate, directory)
                yield Turn("pace", f"{rate:,}/s, QoS {qos}", bridge.name, run)


def kept_up(bridge: Bridge, readings: Readings, rate: float, directory: Path) -> Measured:
    """Percent of a core, wake-ups a second, microseconds of CPU a reading, MiB at the end, and how many
    seconds after the last one was published all were stored."""
    with new_site(directory) as site, running(bridge, site, readings.qos) as program:
        pids = family(program.pid)
        with site.flood(readings, rate=rate) as flood:
            cpu, woken = sum(map(exact_cpu_seconds, pids)), sum(map(wake_ups, pids))
            began = time.monotonic()
            flood.begin()
            flood.wait()
            published = time.monotonic()
            seconds = site.wait_for(readings) - began
            cpu = sum(map(exact_cpu_seconds, pids)) - cpu
            woken = sum(map(wake_ups, pids)) - woken
            in_memory = memory(pids)
        lost, doubled = site.losses(readings, pids)
    return Measured(
        {
            "percent": cpu / seconds * 100,
            "wake_ups": woken / seconds,
            "cpu": cpu / readings.count * 1e6,
            "rest": in_memory,
            "behind": began + seconds - published,
        },
        lost,
        doubled,
    )
