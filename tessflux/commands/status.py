"""`tessflux status`: what the running daemon does, on one screen, as JSON, or as one line for Nagios."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TextIO

from tessflux.commands.daemon import Daemon
from tessflux.commands.output import Report
from tessflux.errors import NoDaemon, OperatorError
from tessflux.logs import escape
from tessflux.status import Broker, Heard, Output, Snapshot
from tessflux.words import ago, causes, duration, number, size

WATCH_SECONDS = 2.0
"""Between two screens."""

CLEAR = "\x1b[H\x1b[2J"
"""What has a terminal begin at its top."""

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
OK, WARNING, CRITICAL, UNKNOWN = range(4)
"""Nagios's exit codes."""

AWAY_CRITICAL = 600.0
"""Seconds for which a server may be away: an update of it takes no longer."""

NOT_STORED_CRITICAL = 1200.0
"""Seconds without a reading on disk: every photometer publishes more often, by day too."""

USED_WARNING, USED_CRITICAL = 0.5, 0.9
"""Parts of the spool."""


def status(daemon: Daemon, stream: TextIO, *, form: str) -> None:
    """Print what can be seen of the daemon."""
    if form == "json":
        stream.write(daemon.status().decode() + "\n")
    else:
        _print(screen(daemon.snapshot()), stream)


def watch(daemon: Daemon, stream: TextIO, sleep: Callable[[float], None]) -> None:
    """Print the screen again and again, until Ctrl-C, also while no daemon answers."""
    with suppress(KeyboardInterrupt):
        while True:
            try:
                lines = list(screen(daemon.snapshot()))
            except NoDaemon as error:
                lines = [str(error)]
            if stream.isatty():
                stream.write(CLEAR)
            _print(lines, stream)
            sleep(WATCH_SECONDS)


def _print(lines: Iterable[str], stream: TextIO) -> None:
    stream.writelines(f"{escape(line)}\n" for line in lines)
    stream.flush()


def screen(snapshot: Snapshot) -> Iterator[str]:
    """The lines of one screen."""
    now, messages, spool = snapshot.time, snapshot.messages, snapshot.spool
    yield (
        f"tessflux {snapshot.version} has run for {duration(snapshot.uptime)}"
        f" (process {snapshot.pid}, {snapshot.config})"
    )
    yield from (f"! {problem}" for problem in snapshot.problems or ())
    yield from (f"! alarm for {duration(now - alarm.since)}: {alarm.text}" for alarm in snapshot.alarms)
    if not snapshot.problems and not snapshot.alarms:
        yield "all is well"
    yield ""
    ended = {"filtered": messages.filtered, "refused": messages.refused, "lost": messages.lost}
    counts = [f"{number(sum(each.values()))} {kind}{causes(each)}" for kind, each in ended.items()]
    held = f", {number(messages.held)} held until their time is known" if messages.held else ""
    pending = f", {number(messages.pending)} on their way to the disk" if messages.pending else ""
    rows = [
        ("broker", _server(snapshot.broker, snapshot.broker.address, now)),
        ("received", f"{number(messages.received)}: {number(messages.stored)} stored{held}{pending}"),
        ("", ", ".join(counts)),
        ("stored", _last(messages.last_stored, now)),
        ("photometers", _heard(snapshot.photometers)),
        ("spool", f"{number(spool.waiting)} waiting{_since(spool.oldest_waiting, now)}, {_used(snapshot)}"),
    ]
    for output in snapshot.outputs:
        rows += [
            (output.name, _server(output, output.url, now)),
            ("", _delivered(output, now)),
        ]
    width = max(len(name) for name, _ in rows)
    yield from (f"{name:<{width}}  {text}" for name, text in rows)


def _server(server: Broker | Output, address: str, now: float) -> str:
    if server.state == "none":
        return "no url in the config: readings wait in the spool"
    if isinstance(server, Output) and server.paused:
        return f"{address} paused for {duration(now - server.paused)}"
    if server.state == "starting":
        return f"{address} has not answered yet"
    problem = f": {server.problem}" if server.problem else ""
    return f"{address} {server.state} for {duration(now - server.since)}{problem}"


def _heard(photometers: Heard) -> str:
    silent = f", {number(photometers.silent)} of them silent" if photometers.silent else ""
    return f"{number(photometers.known)} known{silent}"


def _last(when: float | None, now: float) -> str:
    return "none yet" if when is None else f"the last one {ago(when, now)}"


def _since(oldest: float | None, now: float) -> str:
    return "" if oldest is None else f" (the oldest from {ago(oldest, now)})"


def _used(snapshot: Snapshot) -> str:
    used, limit = snapshot.spool.used, snapshot.spool.limit
    return "size not known" if used is None else f"{size(used)} of {size(limit)} used"


def _delivered(output: Output, now: float) -> str:
    also = {kind: count for kind, count in output.readings.items() if count and kind != "delivered"}
    others = "".join(f", {number(count)} {kind}" for kind, count in also.items())
    return (
        f"{number(output.readings['delivered'])} delivered, {_last(output.last_delivered, now)};"
        f" {number(output.waiting)} waiting{_since(output.oldest_waiting, now)}{others}"
    )


def nagios(find: Callable[[], Daemon], report: Report) -> int:
    """Print one line as Nagios and its kin want it; returns the exit code that they want."""
    try:
        code, line = judge(find().snapshot())
    except NoDaemon as error:
        code, line = CRITICAL, str(error)
    except OperatorError as error:
        code, line = UNKNOWN, str(error)
    # A | would begin the figures.
    text, bar, figures = line.partition(" | ")
    report(f"TESSFLUX {WORDS[code]} - {' '.join(text.replace('|', '/').split())}{bar}{figures}")
    return code


def judge(snapshot: Snapshot) -> tuple[int, str]:
    """How bad it is, and what to say of it, with the figures."""
    found = sorted(_found(snapshot), reverse=True)
    code = found[0][0] if found else OK
    spool, messages = snapshot.spool, snapshot.messages
    text = "; ".join(reason for _, reason in found) or (
        f"{number(messages.stored)} stored, {_last(messages.last_stored, snapshot.time)}"
    )
    used = "U" if spool.used is None else f"{spool.used}B"
    warning, critical = (int(spool.limit * part) for part in (USED_WARNING, USED_CRITICAL))
    figures = (
        f"received={messages.received}c",
        f"stored={messages.stored}c",
        f"refused={sum(messages.refused.values())}c",
        f"lost={sum(messages.lost.values())}c",
        f"waiting={spool.waiting};;;0",
        f"spool={used};{warning};{critical};0;{spool.limit}",
    )
    return code, f"{text.replace(' | ', ' / ')} | {' '.join(figures)}"


def _found(snapshot: Snapshot) -> Iterator[tuple[int, str]]:
    """What is wrong, and how bad that is."""
    now, spool = snapshot.time, snapshot.spool
    servers: list[tuple[str, Broker | Output]] = [("the broker", snapshot.broker)]
    servers += ((f"[{output.name}]", output) for output in snapshot.outputs if not output.paused)
    for name, server in servers:
        if server.state in ("away", "starting"):
            seconds = now - server.since
            reason = f": {server.problem}" if server.problem else ""
            yield (
                CRITICAL if seconds >= AWAY_CRITICAL else WARNING,
                f"{name} is {server.state} for {duration(seconds)}{reason}",
            )
        elif server.problem:
            yield WARNING, f"{name}: {server.problem}"
    if not spool.answers:
        yield CRITICAL, "the spool does not answer"
    if spool.failing:
        yield CRITICAL, f"the spool takes no readings: {spool.failing}"
    elif spool.used is not None and (part := spool.used / spool.limit) >= USED_WARNING:
        yield CRITICAL if part >= USED_CRITICAL else WARNING, f"the spool is {part:.0%} full"
    if lost := sum(snapshot.messages.lost.values()):
        yield WARNING, f"{number(lost)} lost since the start{causes(snapshot.messages.lost)}"
    if snapshot.paused:
        yield WARNING, snapshot.paused
    if not snapshot.clock_known:
        yield WARNING, "the time of day is not known yet"
    last = max(snapshot.messages.last_stored or 0.0, snapshot.started)
    if now - last >= NOT_STORED_CRITICAL:
        yield CRITICAL, f"nothing was stored for {duration(now - last)}"
