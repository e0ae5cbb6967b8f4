"""The way of a reading as a picture: the broker, the spool, and each database, with what they do now. Pure.

It is drawn twice, beside each other for a screen and below each other for a phone; the style shows one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tessflux.pages.html import Html, tag
from tessflux.status import Broker, Output, Snapshot
from tessflux.words import ago, duration, number, size

WIDTH, HEIGHT, GAP = 250, 104, 22
"""Of a box, and between two boxes one below the other (pixels)."""

LETTERS = 30
"""That fit into a box; of a longer text the middle is left out."""

OUTPUTS = 8
"""That are drawn; of more of them the others are counted."""

WELL, AWAY, IDLE = "well", "away", "idle"
MARKS = {WELL: "●", AWAY: "▲", IDLE: "○"}
"""What each state looks like, also to who sees no colours."""


@dataclass(frozen=True)
class Station:
    """A box: its name, how it is, and lines about it. `part` is how full it is, 0 to 1, if it can be."""

    name: str
    state: str
    lines: Sequence[str]
    part: float | None = None


def way(snapshot: Snapshot) -> Html:
    """Both pictures."""
    source, spool = _broker(snapshot), _spool(snapshot)
    outputs = [_output(each, snapshot.time) for each in snapshot.outputs[:OUTPUTS]]
    if (more := len(snapshot.outputs) - OUTPUTS) > 0:
        outputs.append(Station(f"and {more} more", IDLE, ("see tessflux status",)))
    label = "The way of a reading: " + "; ".join(
        f"{each.name}: {', '.join(each.lines)}" for each in (source, spool, *outputs)
    )
    return tag(
        "div", _beside(source, spool, outputs, label), _below([source, spool, *outputs], label), class_="way"
    )


def _beside(source: Station, spool: Station, outputs: Sequence[Station], label: str) -> Html:
    space = 95
    height = len(outputs) * (HEIGHT + GAP) - GAP
    middle = (height - HEIGHT) / 2
    second, third = WIDTH + space, 2 * (WIDTH + space)
    centre = height / 2
    tops = [place * (HEIGHT + GAP) for place in range(len(outputs))]
    arrows = [_arrow(f"M{WIDTH} {centre}H{second - 9}", second - 9, centre, source.state)]
    for top, output in zip(tops, outputs, strict=True):
        begin, end, y = second + WIDTH, third - 9, top + HEIGHT / 2
        turn = (begin + end) / 2
        arrows.append(_arrow(f"M{begin} {centre}C{turn} {centre} {turn} {y} {end} {y}", end, y, output.state))
    boxes = [_box(source, 0, middle), _box(spool, second, middle)]
    boxes += [_box(output, third, top) for top, output in zip(tops, outputs, strict=True)]
    return tag(
        "svg",
        arrows,
        boxes,
        viewBox=f"-1 -1 {third + WIDTH + 2} {height + 2}",
        role="img",
        aria_label=label,
        class_="wide",
    )


def _below(stations: Sequence[Station], label: str) -> Html:
    step = HEIGHT + 34
    arrows = []
    for place, station in enumerate(stations[1:3], 1):
        # What comes to the spool depends on the broker, what goes out of it on the database.
        state = stations[0].state if place == 1 else station.state
        end = place * step - 9
        arrows.append(_arrow(f"M{WIDTH / 2} {end - 25}V{end}", WIDTH / 2, end, state, DOWN))
    for place, station in enumerate(stations[3:], 3):
        # Past the databases above it.
        begin, y, turn = step + HEIGHT / 2, place * step + HEIGHT / 2, WIDTH + 14
        path = f"M{WIDTH} {begin}H{turn}V{y}H{WIDTH + 9}"
        arrows.append(_arrow(path, WIDTH + 9, y, station.state, LEFT))
    boxes = [_box(station, 0, place * step) for place, station in enumerate(stations)]
    return tag(
        "svg",
        arrows,
        boxes,
        viewBox=f"-1 -1 {WIDTH + (16 if len(stations) > 3 else 2)} {len(stations) * step - 34 + 2}",
        role="img",
        aria_label=label,
        class_="narrow",
    )


RIGHT, LEFT, DOWN = "m0 -5v10l8 -5Z", "m0 -5v10l-8 -5Z", "m-5 0h10l-5 8Z"
"""Heads of arrows."""


def _arrow(d: str, x: float, y: float, state: str, head: str = RIGHT) -> Html:
    return tag(
        "g",
        tag("path", d=d, class_="flow"),
        tag("path", d=f"M{x} {y}{head}", class_="head"),
        class_=f"arrow {state}",
    )


def _box(station: Station, x: float, y: float) -> Html:
    lines = [
        tag("text", shortened(line), x=16.0, y=49.0 + 19 * place, class_="figure" if place else "state")
        for place, line in enumerate(station.lines)
    ]
    bar = [] if station.part is None else _bar(station.part)
    return tag(
        "g",
        tag("rect", x=0.0, y=0.0, width=float(WIDTH), height=float(HEIGHT), rx=8.0, class_="box"),
        tag("text", shortened(station.name, LETTERS - 6), x=16.0, y=27.0, class_="name"),
        tag("text", MARKS[station.state], x=WIDTH - 16.0, y=27.0, class_="mark"),
        lines,
        bar,
        transform=f"translate({x:g} {y:g})",
        class_=f"station {station.state}",
    )


def _bar(part: float) -> list[Html]:
    """How full something is."""
    whole, y = WIDTH - 32.0, HEIGHT - 8.0
    parts = (("trough", 1.0), ("fill", min(1.0, part)))
    return [tag("rect", x=16.0, y=y, width=whole * much, height=3.0, class_=name) for name, much in parts]


def shortened(text: str, letters: int = LETTERS) -> str:
    """At most so many letters, without the middle."""
    if len(text) <= letters:
        return text
    end = letters // 2 - 1
    return f"{text[: letters - end - 1]}…{text[-end:]}"


def _broker(snapshot: Snapshot) -> Station:
    broker, now = snapshot.broker, snapshot.time
    state = _state(broker)
    received = f"{number(snapshot.messages.received)} messages received"
    return Station("Broker", state, (broker.address, _since(broker, now), received))


def _spool(snapshot: Snapshot) -> Station:
    spool, messages, now = snapshot.spool, snapshot.messages, snapshot.time
    failing = spool.failing or not spool.answers
    last = (
        "nothing stored yet" if messages.last_stored is None else f"stored {ago(messages.last_stored, now)}"
    )
    used = "" if spool.used is None else f", {size(spool.used)} of {size(spool.limit)}"
    lines = (
        "takes no readings" if failing else last,
        f"{number(messages.stored)} readings stored",
        f"{number(spool.waiting)} waiting{used}",
    )
    part = None if spool.used is None else spool.used / spool.limit
    return Station("Spool on disk", AWAY if failing else WELL, lines, part)


def _output(output: Output, now: float) -> Station:
    name = output.name.partition(" ")[2] or "Database"
    delivered = f"{number(output.readings.get('delivered', 0))} delivered"
    if output.last_delivered is not None:
        delivered += f", {ago(output.last_delivered, now)}"
    if output.state == "none":
        return Station(name, IDLE, ("no url in the config", f"{number(output.waiting)} wait in the spool"))
    if output.waiting > 1:
        delivered = f"{number(output.waiting)} wait"
        if output.oldest_waiting is not None:
            delivered += f", up to {duration(now - output.oldest_waiting)}"
    state = IDLE if output.paused is not None else _state(output)
    since = (
        f"paused for {duration(now - output.paused)}" if output.paused is not None else _since(output, now)
    )
    return Station(name, state, (output.url, since, delivered))


def _state(server: Broker | Output) -> str:
    return WELL if server.state == "up" else IDLE if server.state in ("none", "starting") else AWAY


def _since(server: Broker | Output, now: float) -> str:
    if server.state == "starting":
        return "has not answered yet"
    return f"{server.state} for {duration(now - server.since)}"
