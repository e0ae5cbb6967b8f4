"""Case: how much more several tessflux in a share group take than one.

The rule: each of them gets the same small part of the time, as if it ran on a small machine of its own.
Otherwise they would take the CPU of this one from the broker, the database and each other.
"""

import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flood import Readings
from servers import Program

from benchmark.bridges import CEILING, Bridge, Tessflux
from benchmark.plan import Measured, Scale, Turn
from benchmark.process import family
from benchmark.site import UNLIMITED, Site
from benchmark.throughput import SETTINGS, through

MEMBERS = (1, 2)
SLOTS = 5
"""One of them, in turn, is a member's time to run."""

SLOT_SECONDS = 0.02


@dataclass(frozen=True)
class Group:
    """Several tessflux that divide the readings among them."""

    tessflux: Tessflux
    members: int
    stores = True

    @property
    def name(self) -> str:
        """With the number of its members."""
        return f"{self.tessflux.name} x {self.members}"

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """A shell whose children they are."""
        commands = [
            self.tessflux.but(
                {
                    "mqtt.client_id": f"tessflux{member}",
                    "mqtt.share_group": "bench",
                    "mqtt.share_member": str(member),
                    "spool.directory": str(site.directory / f"spool{member}"),
                }
            ).command(site)
            for member in range(self.members)
        ]
        script = " & ".join(shlex.join(command) for command in commands)
        return Program(self.name, ["sh", "-c", f"{script} & wait"], site.directory / "tessflux.log")


def share(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """One member, and two."""
    readings = Readings(scale.readings // SLOTS, 1, scale.photometers)
    setting = f"1/{SLOTS} of the time each"
    run = partial(through, CEILING, readings, directory, UNLIMITED)
    yield Turn("share", setting, CEILING.name, run)
    for each in tessfluxes:
        groups = [Group(each.but(SETTINGS), members) for members in MEMBERS]
        for group in groups:
            yield Turn(
                "share", setting, group.name, partial(slowed, group, readings, directory), groups[0].name
            )


def slowed(group: Group, readings: Readings, directory: Path) -> Measured:
    """As in throughput, with members that run only now and then."""
    return through(group, readings, directory, UNLIMITED, during=slow)


@contextmanager
def slow(program: Program) -> Iterator[None]:
    """Let each child of a program run in its slot alone, and all again afterwards."""
    members = family(program.pid)[1:]
    ended = threading.Event()

    def run() -> None:
        _signal(members, signal.SIGSTOP)
        while not ended.is_set():
            for slot in range(SLOTS):
                _signal(members[slot : slot + 1], signal.SIGCONT)
                ended.wait(SLOT_SECONDS)
                _signal(members[slot : slot + 1], signal.SIGSTOP)
        _signal(members, signal.SIGCONT)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)
