"""The first page: whether all is well, the way of a reading, and a table of the photometers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from tessflux.pages.chart import sparkline
from tessflux.pages.frame import MARKS, href, mark, page, with_sign
from tessflux.pages.html import Html, around, join, tag
from tessflux.pages.selection import (
    REFUSED,
    SILENT,
    STATES,
    Selection,
    View,
    state,
)
from tessflux.pages.slices import Work
from tessflux.pages.way import way
from tessflux.photometers import Photometer
from tessflux.status import Alarm, Messages, Snapshot
from tessflux.words import ago, brightness, causes, duration, number

REFRESH = 10
"""Seconds."""

NOT_STORED = 1_200.0
"""Seconds without a reading on disk that are too many: every photometer publishes more often."""

WELL, WARN, BAD = "well", "warn", "bad"
SIGNS = {WELL: "●", WARN: "▲", BAD: "✕"}

Sparks = Mapping[str, Html]
"""The sparklines of photometers, as far as there are any."""

NO_SPARK = sparkline((), "")


@dataclass(frozen=True)
class Column:
    """Of the table. `order` is how to sort by it, if that can be done. A phone shows `slim` ones."""

    head: str
    order: str = ""
    slim: bool = False
    is_number: bool = False

    @property
    def class_(self) -> str | None:
        """For the style."""
        names = ("num" * self.is_number, "" if self.slim else "roomy")
        return " ".join(filter(None, names)) or None


COLUMNS = (
    Column("Photometer", "name", slim=True),
    Column("State", slim=True),
    Column("Last heard", "heard", is_number=True),
    Column("mag/arcsec²", "magnitude", slim=True, is_number=True),
    Column("Sky − ambient", is_number=True),
    Column("Signal", "signal", is_number=True),
    Column("Stored, 24 h", "stored", is_number=True),
    Column("Refused, 24 h", "refused", is_number=True),
    Column("Last 24 h", slim=True),
)

ROW = around("tr")
CELLS = [
    around("td", class_=column.class_) if place else around("th", class_=column.class_, scope="row")
    for place, column in enumerate(COLUMNS)
]
"""The elements of a row."""

WORRY = around("span", class_="worry")
NAME = around("bdi")


def front(snapshot: Snapshot, view: View, chosen: Selection, sparks: Sparks) -> Work[bytes]:
    """The page."""
    rows = []
    for each in chosen.photometers:
        rows.append(_row(each, sparks.get(each.name, NO_SPARK), snapshot.time))
        yield
    table = join(rows)
    yield
    return page(
        "tessflux",
        _verdict(snapshot, chosen),
        way(snapshot),
        _aside(snapshot.messages),
        tag(
            "section",
            _heading(chosen),
            _tools(view, chosen),
            _table(view, table, chosen),
            _pages(view, chosen),
        ),
        now=snapshot.time,
        version=snapshot.version,
        refresh=REFRESH,
    )


def _verdict(snapshot: Snapshot, chosen: Selection) -> Html:
    level, sentence = verdict(snapshot, chosen)
    reasons = [*snapshot.problems, *(alarm.text for alarm in _more_alarms(snapshot))]
    return tag(
        "div",
        tag("h1", tag("span", SIGNS[level], class_="mark", aria_hidden="true"), f" {sentence}"),
        tag("ul", [tag("li", reason) for reason in reasons]) if reasons else None,
        class_=f"verdict {level}",
    )


def verdict(snapshot: Snapshot, chosen: Selection) -> tuple[str, str]:
    """How it is, and a sentence about it."""
    last = snapshot.messages.last_stored
    quiet = snapshot.time - max(last or 0.0, snapshot.started)
    silent, refused = chosen.states[SILENT], chosen.states[REFUSED]
    if snapshot.problems and snapshot.paused and len(snapshot.problems) == 1:
        return WARN, "Readings are stored on disk, but not all of them are delivered."
    if snapshot.problems:
        return BAD, "Readings do not go all the way."
    if quiet > NOT_STORED:
        return BAD, f"Nothing was stored for {duration(quiet)}."
    if not chosen.total:
        return WARN, "All is ready, but no photometer was heard yet."
    if lost := sum(snapshot.messages.lost.values()):
        return WARN, f"Readings go all the way, but {number(lost)} were lost since the start."
    if silent:
        of = _photometers(chosen.total)
        return WARN, f"Readings go all the way; {number(silent)} of {of} {_are(silent)} silent."
    if _more_alarms(snapshot):
        return WARN, "Readings go all the way, but there is something to look at."
    return (
        WELL,
        f"All is well: {_photometers(chosen.total - refused)}, {_none(chosen.total - refused)} silent.",
    )


def _more_alarms(snapshot: Snapshot) -> list[Alarm]:
    """Alarms that say what no problem says."""
    return [each for each in snapshot.alarms if each.kind in ("not_stored", "spool", "silent", "lost")]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _none(count: int) -> str:
    return "not" if count == 1 else "none of them"


def _photometers(count: int) -> str:
    return f"{number(count)} photometer{'s' * (count != 1)}"


def _aside(messages: Messages) -> Html:
    kinds = (
        ("filtered", "with which nothing is wrong", messages.filtered),
        ("refused", "for you to look at: tessflux refused", messages.refused),
        ("lost", "", messages.lost),
    )
    items = [
        tag(
            "li",
            tag("b", number(total)),
            f" {name}{causes(counts)}{f', {hint}' if hint and total else ''}",
            class_="worry" if name == "lost" and total else None,
        )
        for name, hint, counts in kinds
        for total in (sum(counts.values()),)
    ]
    if messages.held:
        items.append(tag("li", tag("b", number(messages.held)), " held until their time is known"))
    return tag("ul", items, class_="aside", aria_label="Messages that were not stored, since the start")


def _heading(chosen: Selection) -> Html:
    return tag("h2", "Photometers ", tag("small", number(chosen.total)))


def _tools(view: View, chosen: Selection) -> Html:
    """What to look for, and links that keep a state only."""
    kept = {"state": view.state, "sort": "" if view.sort == "name" else view.sort}
    hidden = [tag("input", type="hidden", name=name, value=value) for name, value in kept.items() if value]
    search = tag(
        "form",
        tag(
            "label",
            "Name ",
            tag("input", type="search", name="q", value=view.word, id="q", autocomplete="off"),
        ),
        hidden,
        tag("button", "Find"),
        action="/",
        role="search",
    )
    counts = [("", "all", chosen.total), *((name, name, chosen.states[name]) for name in STATES)]
    links = [
        tag(
            "a",
            tag("span", MARKS.get(name, ""), class_="mark", aria_hidden="true"),
            f" {word} ",
            tag("small", number(count)),
            href=view.href(state=name, page=1),
            id=f"only-{word}",
            aria_current="true" if name == view.state else None,
        )
        for name, word, count in counts
        if count or not name or name == view.state
    ]
    return tag("div", search, tag("nav", links, aria_label="Only those in a state"), class_="tools")


def _table(view: View, rows: Html, chosen: Selection) -> Html:
    heads = [_head(column, view) for column in COLUMNS]
    if not chosen.photometers:
        words = "None matches what you look for." if chosen.total else "No photometer was heard yet."
        rows = tag("tr", tag("td", words, colspan=float(len(COLUMNS)), class_="nothing"))
    return tag(
        "table",
        tag("caption", "Photometers, with their last values", class_="unseen"),
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
    )


def _head(column: Column, view: View) -> Html:
    if not column.order:
        return tag("th", column.head, scope="col", class_=column.class_)
    is_sorted = column.order == view.order
    backwards = is_sorted and not view.backwards
    # By name the first is the least, by all else the greatest.
    ascending = (column.order == "name") is not view.backwards
    sorting = ("ascending" if ascending else "descending") if is_sorted else None
    arrow = (" ▲" if ascending else " ▼") if is_sorted else ""
    link = tag(
        "a",
        column.head,
        tag("span", arrow, aria_hidden="true"),
        href=view.href(order=column.order, backwards=backwards, page=1),
        id=f"by-{column.order}",
    )
    return tag("th", link, scope="col", class_=column.class_, aria_sort=sorting)


def _row(each: Photometer, spark: Html, now: float) -> Html:
    values = each.values
    sky, box, signal = values.get("tsky"), values.get("tamb"), values.get("wdBm")
    at = int(now * 1_000)
    refused = each.refused.total(at)
    cells: tuple[Html | str, ...] = (
        tag("a", NAME(each.name), href=href(each.name)),
        mark(state(each)),
        ago(each.heard / 1_000, now),
        brightness(values) or "–",
        "–" if sky is None or box is None else f"{with_sign(sky - box)} °C",
        "–" if not signal else f"{with_sign(signal, 0)} dBm",
        number(each.stored.total(at)),
        WORRY(number(refused)) if refused else "0",
        spark,
    )
    return ROW([cell(value) for cell, value in zip(CELLS, cells, strict=True)])


def _pages(view: View, chosen: Selection) -> Html | None:
    if chosen.matching <= view.per_page:
        return None
    first = (chosen.page - 1) * view.per_page + 1
    words = f"{number(first)} to {number(first + len(chosen.photometers) - 1)} of {number(chosen.matching)}"
    steps = [("← before", chosen.page - 1, "before"), ("next →", chosen.page + 1, "next")]
    links = [
        tag("a", word, href=view.href(page=page), id=f"page-{name}")
        if 1 <= page <= chosen.pages
        else tag("span", word, class_="off")
        for word, page, name in steps
    ]
    return tag("nav", links[0], tag("span", words), links[1], class_="pages", aria_label="Pages of the table")
