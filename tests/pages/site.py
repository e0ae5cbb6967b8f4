"""A snapshot, photometers and means for the pages, in memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from tessflux.pages.html import EMPTY_TAGS
from tessflux.photometers import Day, Mean, Photometer
from tessflux.photometers.photometer import pack
from tessflux.status import Broker, Commits, Heard, Messages, Output, Snapshot, SpoolState

NOW = 1_764_295_200.0
"""2025-11-28 02:00 UTC."""

HOUR = int(NOW // 3_600)

DATABASE = Output(
    name="influxdb",
    url="http://localhost:8086",
    state="up",
    since=NOW - 9_000,
    problem="",
    paused=None,
    waiting=0,
    oldest_waiting=None,
    last_delivered=NOW - 2,
    requests={},
    readings={"delivered": 1_230},
)

WELL = Snapshot(
    version="3.0.0",
    pid=1,
    config="/etc/tessflux/config",
    time=NOW,
    started=NOW - 9_000,
    uptime=9_000,
    clock_known=True,
    paused="",
    problems=[],
    messages=Messages(1_234, 0, 0, 1_230, {"retained": 3}, {"not a number": 1}, {"the disk": 0}, NOW - 3),
    photometers=Heard(known=1, silent=0),
    spool=SpoolState("/var/lib/tessflux", True, "", 0, None, 2**20, 2**30, 1, Commits(9, 0.1, 0, [])),
    broker=Broker("tcp:localhost:1883", "up", NOW - 9_000, ""),
    outputs=[DATABASE],
    alarms=[],
)


def output(name: str, **changes: Any) -> Output:
    """Another database."""
    return replace(DATABASE, name=name, **changes)


def photometer(
    name: str = "stars1",
    *,
    number: int = 0,
    silent: bool = False,
    heard: float = NOW - 5,
    stored: int = 100,
    refused: int = 0,
    listened: float = 1_000.0,
    **fields: float,
) -> Photometer:
    """One with these last values; without any it is one of which all is refused."""
    return Photometer(
        name,
        number,
        int((NOW - 90_000) * 1_000),
        int(heard * 1_000),
        listened,
        silent,
        pack(fields) if fields else b"",
        Day(HOUR, stored),
        Day(),
        Day(HOUR, refused),
        (("not a number", int((NOW - 60) * 1_000)),) if refused else (),
    )


SKY: dict[str, Any] = {"mag": 21.3, "freq": 0.9, "tamb": 9.5, "tsky": -21.0, "wdBm": -61.0}


def mean(at: float, *mags: float | None, tamb: float | None = 10.0, tsky: float | None = -20.0) -> Mean:
    return Mean(int(at * 1_000), 5, mags, tamb, tsky)


class Tree(HTMLParser):
    """Reads a page as strictly as XML: each tag has its end. Gathers texts, and addresses."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.count = Counter[str]()
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def tags(self) -> set[str]:
        return set(self.count)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def values(self, name: str) -> Iterable[str]:
        """Of all attributes of this name."""
        return [value for _, each, value in self.attributes if each == name]


WORDS = """\
a b bdi body button caption dd details div dl dt figcaption figure footer form g h1 h2 head header html label
li main nav noscript ol p script section small span summary svg table tbody td text th thead title tr ul"""
KNOWN_TAGS = EMPTY_TAGS | frozenset(WORDS.split())
"""All that a page has."""
