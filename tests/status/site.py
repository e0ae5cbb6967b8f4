"""A site in a test: over memory, with a snapshot that the test makes."""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection

from tessflux.status import (
    Broker,
    Commits,
    Exposition,
    Heard,
    Messages,
    Output,
    Recent,
    Site,
    Snapshot,
    SpoolState,
    actions,
    is_ours,
    pages,
)
from tessflux.status.metrics import Metrics

NOW = 1_800_000_000.0

MESSAGES = Messages(
    received=1_010,
    pending=3,
    held=2,
    stored=1_000,
    filtered={"retained": 3, "duplicate": 1},
    refused={"no name": 1},
    lost={"spool full": 0, "disk failed": 0},
    last_stored=NOW - 5,
)
COMMITS = Commits(count=5, seconds=0.25, failed=1, buckets=[(0.001, 0), (0.1, 4)])
SPOOL = SpoolState(
    directory="/var/lib/tessflux",
    answers=True,
    failing="",
    waiting=7,
    oldest_waiting=NOW - 65,
    used=3 * 2**20,
    limit=2**30,
    quarantined=1,
    commits=COMMITS,
)
BROKER = Broker(address="tcp:localhost:1883", state="up", since=NOW - 3_600, problem="")
OUTPUT = Output(
    name="influxdb",
    url="http://localhost:8086",
    state="up",
    since=NOW - 3_500,
    problem="",
    paused=None,
    waiting=7,
    oldest_waiting=NOW - 65,
    last_delivered=NOW - 70,
    requests={"ok": 90, "rejected": 1, "failed": 2},
    readings={"delivered": 993, "expired": 0, "refused": 0, "missed": 0, "sent again": 4},
)
WELL = Snapshot(
    version="3.0.0",
    pid=123,
    config="/etc/tessflux/config",
    time=NOW,
    started=NOW - 3_661,
    uptime=3_661.0,
    clock_known=True,
    paused="",
    problems=[],
    messages=MESSAGES,
    photometers=Heard(known=1_000, silent=3),
    spool=SPOOL,
    broker=BROKER,
    outputs=[OUTPUT],
)
AWAY = replace(
    OUTPUT, name="influxdb mirror", state="away", since=NOW - 60, problem="refused (is it running?)"
)


class Control:
    """An operator's actions, noted."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.error: Exception | None = None

    def _do(self, what: str) -> str:
        if self.error is not None:
            raise self.error
        self.done.append(what)
        return f"did {what}"

    def pause(self, output: str = "") -> str:
        return self._do(f"pause {output}")

    def resume(self, output: str = "") -> str:
        return self._do(f"resume {output}")

    async def reload_now(self) -> str:
        return self._do("reload")


class World:
    """A daemon's site over TCP and over a Unix socket; `snapshot` is what is seen of it, or raised."""

    def __init__(self, names: frozenset[str] = frozenset()) -> None:
        self.clock, self.control = Clock(), Control()
        self.snapshot: Snapshot | Exception = WELL
        self.taken = self.made = 0
        """How many snapshots, and metrics of them."""
        self.waiting: Deferred[Snapshot] | None = None
        self.recent = Recent(self._take, self.clock)
        shown = pages(self.recent, self._exposition)
        self.tcp = Site(shown, {}, knows_host=lambda host: is_ours(host, names), clock=self.clock)
        self.unix = Site(
            shown, actions(self.recent, self.control), knows_host=lambda _: True, clock=self.clock
        )

    async def _take(self) -> Snapshot:
        self.taken += 1
        if self.waiting is not None:
            return await self.waiting
        if isinstance(self.snapshot, Exception):
            raise self.snapshot
        return self.snapshot

    def _exposition(self) -> Awaitable[Exposition]:
        self.made += 1
        done: Deferred[Exposition] = Deferred()
        done.callback(Metrics().text)
        return done


class Visitor:
    """Somebody who has connected."""

    def __init__(self, site: Site) -> None:
        self._channel: Any = site.buildProtocol(None)
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self._channel
        self._channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """It does not reach anybody who has hung up."""
        if self.transport.connected:
            self._channel.dataReceived(data)

    @property
    def connected(self) -> bool:
        return bool(self.transport.connected)

    @property
    def received(self) -> bytes:
        return bytes(self.transport.value())

    @property
    def code(self) -> int:
        return int(self.received.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        _, *lines = self.received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return dict(line.split(": ", 1) for line in lines)

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]


def ask(site: Site, path: str, method: str = "GET", host: str = "127.0.0.1:9273", more: str = "") -> Visitor:
    """A request, and what came of it."""
    visitor = Visitor(site)
    visitor.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
    return visitor
