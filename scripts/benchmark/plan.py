"""What is measured: turns, in which order they are taken, and how large everything is."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from servers import ServerFailed

BASE = "mosquitto_sub"
"""The bridge by whose rate those of the others are divided."""


class BenchFailed(Exception):
    """A turn cannot be measured; the message says why."""


@dataclass(frozen=True)
class Scale:
    """How much every turn gets; times in seconds."""

    rounds: int = 5
    readings: int = 500_000
    """In one turn of throughput."""
    photometers: int = 1_000
    networks: tuple[int, ...] = (10, 1_000, 100_000)
    """How many photometers there are in the turns of that case."""
    rates: tuple[int, ...] = (20, 200, 2_000)
    """Readings a second in the turns of latency."""
    paces: tuple[float, ...] = (17, 200, 2_000)
    """Readings a second in the turns of pace."""
    seconds: float = 20.0
    """How long one turn of latency, and of pace, publishes."""
    waiting: int = 1_000_000
    """Readings that wait, to be drained, or that come while the database is away."""
    spools: tuple[int, ...] = (0, 1_000_000, 5_000_000)
    """How many readings wait at a start."""
    idle: float = 30.0
    """How long the disk and the idle process are watched, and how long one is looked at."""
    watched: tuple[int, ...] = (1_000, 100_000)
    """How many photometers there are whose pages are timed; none: it is only seen that all works."""


QUICK = Scale(
    rounds=1,
    readings=20_000,
    networks=(10, 20_000),
    rates=(200,),
    paces=(200,),
    seconds=2.0,
    waiting=20_000,
    spools=(0, 20_000),
    idle=3.0,
    watched=(),
)
"""All cases in less than two minutes: to see that nothing is lost."""


@dataclass(frozen=True)
class Measured:
    """What one turn gave: values by the names of METRICS, and what was lost and doubled."""

    values: Mapping[str, float]
    lost: int = 0
    doubled: int = 0


@dataclass(frozen=True)
class Turn:
    """One bridge on one piece of work; `run` does it, once a round."""

    case: str
    setting: str
    bridge: str
    run: Callable[[], Measured]
    base: str = BASE
    """The bridge by whose rate its own is divided."""


@dataclass
class Row:
    """The rounds of one turn, up to the one that failed."""

    turn: Turn
    rounds: list[Measured] = field(default_factory=list)
    failed: bool = False


def take(turns: Sequence[Turn], rounds: int) -> list[Row]:
    """Every turn once, then every turn again, so that what changes meanwhile changes for all.

    A turn that cannot be measured says why, and is left out from then on.
    """
    rows = [Row(turn) for turn in turns]
    for number in range(rounds):
        for row in rows:
            if row.failed:
                continue
            began = time.monotonic()
            try:
                measured = row.turn.run()
            except (BenchFailed, ServerFailed, OSError) as error:
                row.failed = True
                found = f"not measured: {error}"
            else:
                row.rounds.append(measured)
                found = "  ".join(f"{name} {value:,.2f}" for name, value in measured.values.items())
            took = time.monotonic() - began
            where = f"{row.turn.case} {row.turn.setting}, {row.turn.bridge}, round {number + 1}"
            print(f"{where}: {found}  [{took:.1f} s]", file=sys.stderr, flush=True)
    return rows
