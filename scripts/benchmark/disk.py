"""Cases for small machines: what goes to the disk, and what a tessflux without work uses.

The rule: what was written is what strace saw, with the end of the process, which moves the log of the spool
into its file, as happens by itself every thousand pages. By the kernel: whole pages, without that end.
"""

import math
import os
import re
import shlex
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flood import Readings

from benchmark.bridges import Bridge, Tessflux, running
from benchmark.plan import BenchFailed, Measured, Scale, Turn
from benchmark.process import disk_bytes, exact_cpu_seconds, family, memory
from benchmark.site import START_SECONDS, new_site, wait_until

NETWORK_RATE = 17.0
"""Readings a second of a thousand photometers that publish once a minute."""

ALONE_RATE = 1 / 12
"""Seldom enough that each reading is committed, delivered and retired by commits of its own, as that of one
photometer is: less often than the spool is tidied."""

ALONE_HOURLY = 60
"""Readings an hour of one photometer."""

MIB = 1024 * 1024
_WRITE = re.compile(r"(?:write|pwrite64)\(\d+<(?P<path>[^>]*)>, \"\"(?:\.\.\.)?, (?P<bytes>\d+)")
_SYNC = re.compile(r"(?:fsync|fdatasync)\(\d+<(?P<path>[^>]*)>")


@dataclass(frozen=True)
class Writes:
    """What a process did to the files below a directory."""

    calls: int
    bytes: int
    syncs: int

    @classmethod
    def parse(cls, lines: Iterable[str], directory: Path) -> "Writes":
        """From lines of strace; of a call that it splits into two lines, only the first names the file."""
        sizes = [int(match["bytes"]) for match in _matches(_WRITE, lines, directory)]
        return cls(len(sizes), sum(sizes), len(list(_matches(_SYNC, lines, directory))))


def _matches(pattern: re.Pattern[str], lines: Iterable[str], directory: Path) -> Iterator[re.Match[str]]:
    for line in lines:
        match = pattern.search(line)
        if match and Path(match["path"]).is_relative_to(directory):
            yield match


def disk(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """The real network, and one photometer, at the QoS at which they publish."""
    for each in tessfluxes:
        network = partial(written, each, NETWORK_RATE, 1_000, NETWORK_RATE * 3600, scale.idle, directory)
        yield Turn("disk", "1,000 photometers, 17 readings/s", each.name, network)
        alone = partial(written, each, ALONE_RATE, 1, ALONE_HOURLY, 2 * scale.idle, directory)
        yield Turn("disk", "1 photometer, 60 readings/h", each.name, alone)


def idle(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """Connected, and nothing comes."""
    for each in tessfluxes:
        yield Turn("idle", f"{scale.idle:g} s", each.name, partial(at_rest, each, scale.idle, directory))


def written(
    tessflux: Tessflux, rate: float, photometers: int, hourly: float, seconds: float, directory: Path
) -> Measured:
    """Publish at a rate, and look at what goes to the spool; `hourly` readings are an hour's.

    An hour's bytes are by strace or by the kernel, whichever says more.
    """
    readings = Readings(math.ceil(rate * seconds), 0, photometers)
    with new_site(directory) as site:
        calls = site.directory / "calls"
        strace = f"strace -f -y -s 0 -e trace=write,pwrite64,fsync,fdatasync -o {shlex.quote(str(calls))}"
        traced = replace(tessflux, wrapper=tuple(shlex.split(strace)))
        with running(traced, site, 0) as program:
            pid = family(program.pid)[1]
            began, before = calls.stat().st_size, disk_bytes(pid)
            with site.flood(readings, rate=rate) as flood:
                flood.begin()
                flood.wait()
            site.wait_for(readings)
            lost, doubled = site.losses(readings, [pid])
            on_disk = disk_bytes(pid) - before
            os.kill(pid, signal.SIGTERM)
            if not wait_until(lambda: not program.running, START_SECONDS):
                raise BenchFailed("tessflux did not stop")
        with calls.open() as file:
            file.seek(began)
            writes = Writes.parse(file.readlines(), site.directory / "spool")
    hour = max(writes.bytes, on_disk) / readings.count * hourly
    return Measured(
        {
            "calls": writes.calls / readings.count,
            "syncs": writes.syncs / readings.count,
            "bytes": writes.bytes / readings.count,
            "disk_bytes": on_disk / readings.count,
            "hourly": hour / MIB,
        },
        lost,
        doubled,
    )


def at_rest(tessflux: Tessflux, seconds: float, directory: Path) -> Measured:
    """CPU and memory of a tessflux that waits for readings."""
    with new_site(directory) as site, running(tessflux, site, 0) as program:
        time.sleep(1)  # What its start left to do.
        cpu, began = exact_cpu_seconds(program.pid), time.monotonic()
        time.sleep(seconds)
        used = exact_cpu_seconds(program.pid) - cpu
        return Measured({"percent": used / (time.monotonic() - began) * 100, "rest": memory([program.pid])})
