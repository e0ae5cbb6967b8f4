"""What can be seen of tessflux at one moment. Frozen values, which `/v1/status` gives as JSON.

Times are seconds since 1970 (UTC), durations seconds, sizes bytes, and counts begin with the process. None
stands for what is not known or never was. Names and meanings stay; later versions may add to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["up", "away", "starting", "none"]
"""Of a server: it takes or sends readings; it does not, for the reason that `problem` gives; it was not asked
yet; the config names none."""

AlarmKind = Literal["not_stored", "silent", "spool", "output", "broker", "clock", "lost"]
"""Each is a key of [alarm] in the config, which says when it is raised."""


@dataclass(frozen=True)
class Messages:
    """What came from the broker, and as what it ended, by cause. What waits for its commit is `pending`, what
    waits on disk until its time is known `held`; the rest of `received` is the sum of the others."""

    received: int
    pending: int
    held: int
    stored: int
    filtered: Mapping[str, int]
    refused: Mapping[str, int]
    lost: Mapping[str, int]
    last_stored: float | None


@dataclass(frozen=True)
class Commits:
    """How many succeeded, in how many seconds in all, and how many failed. `buckets` has pairs of a time and
    the number of commits that took no longer."""

    count: int
    seconds: float
    failed: int
    buckets: Sequence[tuple[float, int]]


@dataclass(frozen=True)
class SpoolState:
    """The queue on disk. `waiting` readings are lacked by at least one output, the oldest of them since
    `oldest_waiting`, which is the time of that reading. `failing` says why nothing can be stored now.
    `answers` is whether its thread did so in time."""

    directory: str
    answers: bool
    failing: str
    waiting: int
    oldest_waiting: float | None
    used: int | None
    limit: int
    quarantined: int | None
    commits: Commits


@dataclass(frozen=True)
class Broker:
    """Where readings come from; in its `state` since `since`."""

    address: str
    state: State
    since: float
    problem: str


@dataclass(frozen=True)
class Output:
    """A database; in its `state` since `since`, and `paused` since then if it is. `waiting` are readings that
    it lacks. What it was sent: `requests` by how they ended, and readings by what became of them."""

    name: str
    url: str
    state: State
    since: float
    problem: str
    paused: float | None
    waiting: int
    oldest_waiting: float | None
    last_delivered: float | None
    requests: Mapping[str, int]
    readings: Mapping[str, int]


@dataclass(frozen=True)
class Heard:
    """Photometers of which a reading was ever stored: how many are `known`, how many of these `silent`."""

    known: int
    silent: int


@dataclass(frozen=True)
class Alarm:
    """Something that has been wrong for so long that the operator was told, at `since`. `subject` says of
    what it is, if there are several: an output by its section, for example."""

    kind: AlarmKind
    subject: str
    since: float
    text: str


@dataclass(frozen=True)
class Snapshot:
    """All of it. `problems` are reasons why readings do not go all the way, one line each; `paused` says
    what an operator has paused, "" if nothing; `alarms` are those that are not over."""

    version: str
    pid: int
    config: str
    time: float
    started: float
    uptime: float
    clock_known: bool
    paused: str
    problems: Sequence[str]
    messages: Messages
    photometers: Heard
    spool: SpoolState
    broker: Broker
    outputs: Sequence[Output]
    alarms: Sequence[Alarm] = field(default_factory=list)


def problems(
    clock_known: bool, paused: str, spool: SpoolState, broker: Broker, outputs: Sequence[Output]
) -> list[str]:
    """Why readings do not go all the way from the broker to each database; empty if they do."""
    found = []
    if not spool.answers:
        found.append(f"the spool in {spool.directory} does not answer: is its disk alive?")
    if spool.failing:
        found.append(f"the spool in {spool.directory} takes no readings: {spool.failing}")
    if not clock_known:
        found.append("the clock of this computer is not set yet; readings wait until it is")
    found += _of_server("the broker", broker.address, broker.state, broker.problem)
    for output in outputs:
        if not output.paused:
            found += _of_server(f"[{output.name}]", output.url, output.state, output.problem)
    if paused:
        found.append(paused)
    return found


def _of_server(name: str, address: str, state: State, problem: str) -> list[str]:
    if state == "starting":
        return [f"{name} at {address} has not answered yet"]
    if problem:
        return [f"{name} at {address}{' is away' if state == 'away' else ''}: {problem}"]
    return []
