"""Cases: what happens while readings wait for the database: draining, an outage, a start.

The rule: a bridge has taken what it was given when it does nothing any more; no file of it is looked into.
"""

import array
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from flood import Readings

from benchmark.bridges import Bridge, Tessflux, running
from benchmark.plan import BenchFailed, Measured, Scale, Turn
from benchmark.process import cpu_seconds, family, forget_peak, memory, peak_memory
from benchmark.site import Connection, new_site, wait_until_idle

LIVE_RATE = 1_000
"""Readings a second that go on arriving during a drain."""

SLOWEST = 25_000
"""Readings a second: live ones go on arriving for as long as a drain takes that is not slower."""

LEAST_SECONDS = 2.0
"""How long they arrive at least."""

DATABASE_ALONE = "influxd alone"
"""The same readings, made before and posted by a program that does nothing else."""

BATCH = 10_000
"""Readings in one of its posts."""

BLOCK = 1_000_000
"""Readings that are published at a time to fill a spool."""

PATIENCE = 90.0
"""Bridges try again after a minute at the latest, as a rule."""

NO_DATABASE = {"influxdb.url": ""}


def drain(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """Readings wait for a database whose address comes with a reload, while others arrive."""
    setting = f"{scale.waiting:,} waiting"
    yield Turn("drain", setting, DATABASE_ALONE, partial(posted, scale.waiting, directory))
    for each in tessfluxes:
        yield Turn("drain", setting, each.name, partial(drained, each, scale.waiting, directory))


def outage(
    scale: Scale, tessfluxes: Sequence[Tessflux], peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """The database is away while readings come."""
    for qos in (0, 1):
        for bridge in (*tessfluxes, *peers):
            run = partial(through_an_outage, bridge, qos, scale.waiting, directory)
            yield Turn("outage", f"{scale.waiting:,} readings, QoS {qos}", bridge.name, run)


def start(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """With an empty spool and with full ones."""
    for each in tessfluxes:
        spools = Spools(each, directory / f"spools-{each.name}")
        for size in scale.spools:
            yield Turn("start", f"{size:,} waiting", each.name, partial(started, spools, size, directory))


def drained(tessflux: Tessflux, waiting: int, directory: Path) -> Measured:
    """From the signal that makes it read the address of the database to the last that had waited."""
    old = Readings(waiting, 1, 1_000)
    arriving = math.ceil(LIVE_RATE * max(waiting / SLOWEST, LEAST_SECONDS))
    live = Readings(arriving, 1, 1_000, old.last + 1, "live")
    with new_site(directory) as site, running(tessflux.but(NO_DATABASE), site, 1) as program:
        site.publish(old)
        wait_until_idle([program.pid])
        forget_peak([program.pid])
        times = site.directory / "times"
        with site.flood(live, rate=LIVE_RATE, times=times) as flood:
            flood.begin()
            tessflux.configure(site, {})
            cpu, database_cpu = cpu_seconds([program.pid]), site.database_cpu()
            began = time.monotonic()
            os.kill(program.pid, signal.SIGHUP)
            ended = site.wait_for(old)
            cpu = cpu_seconds([program.pid]) - cpu
            database_cpu = site.database_cpu() - database_cpu
            flood.wait()
            site.wait_for(live)
        peak = peak_memory([program.pid])
        lost, doubled = site.losses(Readings(live.last, 1, 1_000), [program.pid])
        sent = array.array("d", times.read_bytes())
    seconds = ended - began
    during = sum(began < each <= ended for each in sent)
    return Measured(
        {
            "rate": waiting / seconds,
            "live_rate": during / seconds,
            "cpu": cpu / (waiting + during) * 1e6,
            "database_cpu": database_cpu / (waiting + during) * 1e6,
            "memory": peak,
        },
        lost,
        doubled,
    )


def posted(count: int, directory: Path) -> Measured:
    """How fast the database takes readings in large posts, one after the other."""
    readings = Readings(count, 1, 1_000)
    with new_site(directory) as site:
        now = time.time_ns() // 1_000_000
        lines = [readings.line(number, now + number) for number in range(1, count + 1)]
        bodies = ["\n".join(lines[first : first + BATCH]).encode() for first in range(0, count, BATCH)]
        connection = Connection(site.influxd)
        cpu, began = site.database_cpu(), time.monotonic()
        for body in bodies:
            connection.write(body)
        seconds = time.monotonic() - began
        cpu = site.database_cpu() - cpu
        connection.close()
        lost, doubled = site.losses(readings)
    return Measured({"rate": count / seconds, "database_cpu": cpu / count * 1e6}, lost, doubled)


def through_an_outage(bridge: Bridge, qos: int, count: int, directory: Path) -> Measured:
    """Memory at rest, with the database there, while it is away, and while what waited is stored."""
    before = Readings(count // 10, qos, 1_000)
    during = Readings(count, qos, 1_000, before.last + 1)
    with new_site(directory) as site, running(bridge, site, qos) as program:
        pids = family(program.pid)
        values = {"rest": memory(pids)}
        site.publish(before)
        site.wait_for(before)
        values["before"] = peak_memory(pids)
        site.influxd.stop()
        forget_peak(pids)
        site.publish(during)
        wait_until_idle(pids)
        values["during"] = peak_memory(pids)
        forget_peak(pids)
        site.influxd.start()
        began = time.monotonic()
        values["seconds"] = site.wait_for(during, PATIENCE) - began
        values["after"] = peak_memory(pids)
        values["growth"] = max(values["during"], values["after"]) - values["before"]
        lost, doubled = site.losses(Readings(during.last, qos, 1_000), pids)
    return Measured(values, lost, doubled)


@dataclass
class Spools:
    """Spools in which so many readings wait, each made once."""

    tessflux: Tessflux
    directory: Path
    made: dict[int, Path] = field(default_factory=dict)

    def get(self, size: int) -> Path:
        """Its directory; made from the next smaller one, through the broker."""
        if size not in self.made:
            path = self.directory / str(size)
            path.mkdir(parents=True)
            below = max((each for each in self.made if each < size), default=0)
            if below:
                shutil.copytree(self.made[below], path, dirs_exist_ok=True)
            if size > below:
                self._fill(path, below + 1, size)
            self.made[size] = path
        return self.made[size]

    def _fill(self, path: Path, first: int, last: int) -> None:
        settings = {**NO_DATABASE, "spool.directory": str(path), "spool.max_size": "16G"}
        with new_site(self.directory) as site, running(self.tessflux.but(settings), site, 1) as program:
            for number in range(first, last + 1, BLOCK):
                readings = Readings(min(BLOCK, last + 1 - number), 1, 1_000, number)
                site.publish(readings)
                wait_until_idle([program.pid])
                readings.file(site.packets).unlink()
            program.stop()


def started(spools: Spools, size: int, directory: Path) -> Measured:
    """From the start of the process to its subscription; the file is not in memory before."""
    path = spools.get(size)
    settings = {**NO_DATABASE, "spool.directory": str(path), "spool.max_size": "16G"}
    forget_files(path)
    with new_site(directory) as site:
        began = time.monotonic()
        with running(spools.tessflux.but(settings), site, 1) as program:
            seconds = time.monotonic() - began
            peak = peak_memory([program.pid])
            program.stop()
        if size and f" {size} readings wait " not in program.log.read_text():
            raise BenchFailed(f"{size} readings should have waited")
    return Measured({"seconds": seconds, "memory": peak})


def forget_files(directory: Path) -> None:
    """Take files out of the memory of the kernel, as after a power cut."""
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
