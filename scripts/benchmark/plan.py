"""What is measured: turns, their results, and how large everything is. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

BASE = "mosquitto_sub"
"""The bridge by which the rates of others are divided."""


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
    seconds: float = 20.0
    """How long one turn of latency publishes."""
    waiting: int = 1_000_000
    """Readings that wait, to be drained, or that come while the database is away."""
    spools: tuple[int, ...] = (0, 1_000_000, 5_000_000)
    """How many readings wait at a start."""
    idle: float = 30.0
    """How long the disk and the idle process are watched."""


QUICK = Scale(
    rounds=1,
    readings=20_000,
    networks=(10, 20_000),
    rates=(200,),
    seconds=2.0,
    waiting=20_000,
    spools=(0, 20_000),
    idle=3.0,
)
"""All cases in less than two minutes, for who wants to know that nothing is lost."""


@dataclass(frozen=True)
class Measured:
    """What one turn gave: values by the names of METRICS, and what was lost and doubled."""

    values: Mapping[str, float]
    lost: int = 0
    doubled: int = 0


@dataclass(frozen=True)
class Turn:
    """One bridge on one piece of work; `run` does it, as often as there are rounds."""

    case: str
    setting: str
    bridge: str
    run: Callable[[], Measured]
    base: str = BASE
    """The bridge by whose rate its own is divided."""


@dataclass
class Row:
    """The rounds of one turn, up to that which failed."""

    case: str
    setting: str
    bridge: str
    base: str = BASE
    rounds: list[Measured] = field(default_factory=list)
    failed: bool = False


@dataclass(frozen=True)
class Run:
    """What one command measured, and about what: only figures of one run can be compared."""

    about: Mapping[str, str]
    rows: list[Row]
