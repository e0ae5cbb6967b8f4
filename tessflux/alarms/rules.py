"""What is wrong, as a snapshot shows it: a function for each kind of alarm. Pure.

Each finds out about the things that may be wrong. Between wrong and right is a space in which a value may
waver, and what cannot be told yet, such as the state of a server that was not asked since the start: there an
alarm stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tessflux.config import AlarmConfig
from tessflux.status import AlarmKind, Broker, Output, Snapshot
from tessflux.words import causes, date, number

FULL = 0.8
"""The part of the spool at which there is a second alarm: a fifth is left to do something about it."""

RIGHT = 0.9
"""Of a part that is too much, the part that is well again."""


@dataclass(frozen=True)
class Finding:
    """About one thing: whether it `is_wrong`, None if that is not known or wavers; and in words."""

    kind: AlarmKind
    subject: str
    is_wrong: bool | None
    text: str = ""


@dataclass(frozen=True)
class Losses:
    """How many readings this process has lost, and for how long it had run when it noticed the last ones."""

    count: int = 0
    noticed: float = 0.0

    def after(self, snapshot: Snapshot) -> "Losses":
        """The same, as of another snapshot."""
        count = sum(snapshot.messages.lost.values())
        return self if count == self.count else Losses(count, snapshot.uptime)


def findings(snapshot: Snapshot, config: AlarmConfig, before: Losses, losses: Losses) -> Iterator[Finding]:
    """All that can be said now; what the config wants no alarm of is left out. `losses` are those after this
    snapshot, `before` those after the last one."""
    if config.not_stored:
        yield _not_stored(snapshot, config.not_stored)
    if config.broker:
        broker = snapshot.broker
        yield _server("broker", "", f"the broker at {broker.address}", broker, snapshot.time, config.broker)
    if config.output:
        yield from _outputs(snapshot, config.output)
    if config.spool:
        yield from _spool(snapshot, config.spool)
    if config.clock:
        yield _clock(snapshot, config.clock)
    if config.lost:
        yield _lost(snapshot, config.lost, before, losses)


def _not_stored(snapshot: Snapshot, limit: float) -> Finding:
    last = snapshot.messages.last_stored
    since = snapshot.started if last is None else last
    if snapshot.time - since >= limit:
        why = f": {snapshot.problems[0]}" if snapshot.problems else ""
        return Finding("not_stored", "", True, f"no reading was stored since {date(since)}{why}")
    # Without one, it is only tessflux that was started.
    return Finding("not_stored", "", None if last is None else False, "readings are stored again")


def _outputs(snapshot: Snapshot, limit: float) -> Iterator[Finding]:
    for output in snapshot.outputs:
        name = f"the database of [{output.name}] at {output.url}"
        if output.paused:
            yield Finding("output", output.name, None)
        elif output.state != "none":
            yield _server("output", output.name, name, output, snapshot.time, limit)


def _server(
    kind: AlarmKind, subject: str, name: str, server: Broker | Output, now: float, limit: float
) -> Finding:
    if server.state == "away" and now - server.since >= limit:
        return Finding(kind, subject, True, f"{name} is away since {date(server.since)}: {server.problem}")
    return Finding(kind, subject, False if server.state == "up" else None, f"{name} is back")


def _spool(snapshot: Snapshot, part: float) -> Iterator[Finding]:
    used, limit = snapshot.spool.used, snapshot.spool.limit
    for level in sorted({part, max(part, FULL)}):
        subject = f"{level:.0%}"
        if used is None:
            yield Finding("spool", subject, None)
        elif used >= level * limit:
            text = f"the spool in {snapshot.spool.directory} is {used / limit:.0%} full{_who_lacks(snapshot)}"
            yield Finding("spool", subject, True, text)
        else:
            text = f"the spool in {snapshot.spool.directory} is only {used / limit:.0%} full again"
            yield Finding("spool", subject, False if used < RIGHT * level * limit else None, text)


def _who_lacks(snapshot: Snapshot) -> str:
    most = max(snapshot.outputs, key=lambda output: output.waiting, default=None)
    if most is None or not most.waiting:
        return ""
    paused = ", whose delivery is paused" if most.paused else ""
    return f", because [{most.name}] lacks {number(most.waiting)} readings{paused}"


def _clock(snapshot: Snapshot, limit: float) -> Finding:
    if snapshot.clock_known:
        return Finding("clock", "", False, "the clock of this computer is set")
    text = "the clock of this computer is not set, and readings wait until it is: does NTP run?"
    return Finding("clock", "", True if snapshot.uptime >= limit else None, text)


def _lost(snapshot: Snapshot, limit: float, before: Losses, losses: Losses) -> Finding:
    if losses.count > before.count:
        why = causes(snapshot.messages.lost)
        return Finding("lost", "", True, f"{number(losses.count)} readings were lost{why}")
    over = snapshot.uptime - losses.noticed >= limit
    return Finding("lost", "", False if over else None, "no more readings were lost")
