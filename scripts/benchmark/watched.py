"""Case: what it costs that tessflux is looked at, and how long its pages take.

The rule: who looks does so as browsers and a Prometheus do: each for itself, a connection for each request,
whatever the others do. An acknowledgement comes late if anything keeps the reactor, so its wait, as the
broker sees it, tells what the readings notice.
"""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from flood import Readings
from servers import free_port

from benchmark.bridges import Bridge, Tessflux, running
from benchmark.latency import summary
from benchmark.plan import BenchFailed, Measured, Scale, Turn
from benchmark.process import cpu_seconds, family, peak_memory
from benchmark.site import UNLIMITED, new_site, wait_until_idle
from benchmark.stopwatch import stopwatch
from tessflux.photometers.database import Database
from tessflux.photometers.means import SECONDS, Means
from tessflux.photometers.photometer import Photometer
from tessflux.photometers.register import Kept

RATE = 200
"""Readings a second."""

FEW = 1_000
"""Photometers of a network of today."""

WITH_NIGHT = 1_000
"""Photometers that have a night behind them: more than are shown."""

DAY = 86_400
PLACE = (40.4, -3.7)

METRICS, FRONT, PHOTOMETER, STATUS = "/metrics", "/", "/photometers/", "/v1/status"
FILES = ("/page.css", "/page.js", "/icon.svg")

FRONT_SECONDS, PHOTOMETER_SECONDS = 10.0, 60.0
"""After which the pages ask for themselves again."""

SCRAPE_SECONDS, STATUS_SECONDS = 5.0, 4.0

OPEN = (
    *((f"/{view}", FRONT_SECONDS) for view in ("", "?sort=heard", "?sort=-magnitude", "?q=7", "?page=3")),
    *((f"/photometers/stars{number}", PHOTOMETER_SECONDS) for number in (1, 22, 333, 444, 555)),
)
"""The pages that are open, all different, so that none is spared by another one."""

COLUMNS = {METRICS: "metrics", FRONT: "front", PHOTOMETER: "photometer"}

GAP = 0.35
"""Seconds between two requests of who asks again and again: each is of a new snapshot."""

VIEWS = 8
"""So many pages of a kind take longer than a page is kept for others."""

SECONDS_TO_ANSWER = 20.0

Address = str | tuple[str, int]


@dataclass(frozen=True)
class Look:
    """A request that is made every so many seconds, for the first time after `first`."""

    address: Address
    path: str
    every: float
    first: float


@dataclass
class Audience:
    """Who looks, each in a thread of his own, until the `end`; what each request took (s), by kind."""

    took: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def ask(self, address: Address, path: str) -> None:
        """Once, and note what it took."""
        kind = path.partition("?")[0]
        kind = PHOTOMETER if kind.startswith(PHOTOMETER) else kind
        try:
            self.took.setdefault(kind, []).append(request(address, path))
        except (OSError, BenchFailed) as error:
            self.failures.append(f"{path}: {error}")

    def look(self, look: Look) -> None:
        """Again and again."""
        wait = look.first
        while not self.end.wait(wait):
            began = time.monotonic()
            self.ask(look.address, look.path)
            wait = max(0.0, began + look.every - time.monotonic())

    def in_turn(self, address: Address, paths: Sequence[str]) -> None:
        """One after the other, and from the beginning."""
        while True:
            for path in paths:
                if self.end.wait(GAP):
                    return
                self.ask(address, path)

    def columns(self) -> dict[str, float]:
        """Median and longest of each kind of page, in ms."""
        found = {}
        for kind, name in COLUMNS.items():
            if took := self.took.get(kind):
                of_kind = summary(took)
                found[name] = of_kind["p50"] * 1_000
                found[f"{name}_longest"] = of_kind["longest"] * 1_000
        return found


def request(address: Address, path: str) -> float:
    """Seconds until all of an answer was there; raises OSError, and BenchFailed if it is not 200."""
    began = time.monotonic()
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(SECONDS_TO_ANSWER)
        connection.connect(address)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = bytearray()
        while data := connection.recv(262_144):
            answer += data
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchFailed(f"it was answered {bytes(answer[:60])!r}")
    return time.monotonic() - began


@contextmanager
def nobody(tcp: Address, unix: Address) -> Iterator[Audience]:
    """Who does not look."""
    yield Audience()


@contextmanager
def open_pages(tcp: Address, unix: Address) -> Iterator[Audience]:
    """Ten open pages, a Prometheus, and somebody who asks for the status now and then."""
    opened = _first(tcp, [*(path for path, _ in OPEN), *FILES, METRICS])
    looks = [
        # As they would come that were opened whenever it pleased somebody.
        *(Look(tcp, path, every, every * number / len(OPEN)) for number, (path, every) in enumerate(OPEN)),
        Look(tcp, METRICS, SCRAPE_SECONDS, 0.2),
        Look(unix, STATUS, STATUS_SECONDS, 0.7),
    ]
    audience = Audience(failures=opened.failures)
    with _threads([partial(audience.look, look) for look in looks], audience):
        yield audience


@contextmanager
def again_and_again(tcp: Address, unix: Address) -> Iterator[Audience]:
    """The three kinds of pages in turn, none of which was asked for in the seconds before."""
    paths = [
        path
        for number in range(1, VIEWS + 1)
        for path in (METRICS, f"/?page={number}", f"{PHOTOMETER}stars{number}")
    ]
    audience = Audience(failures=_first(tcp, paths).failures)
    with _threads([partial(audience.in_turn, tcp, paths)], audience):
        yield audience


def _first(tcp: Address, paths: Sequence[str]) -> Audience:
    """Who asks for each once, before it counts: what the first one costs does not come again."""
    audience = Audience()
    for path in paths:
        audience.ask(tcp, path)
    return audience


@contextmanager
def _threads(works: Sequence[partial[None]], audience: Audience) -> Iterator[None]:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        audience.end.set()
        for thread in threads:
            thread.join()


Looking = Callable[[Address, Address], AbstractContextManager[Audience]]
"""Begins to look at these addresses, TCP and Unix."""


def watched(
    scale: Scale, tessfluxes: Sequence[Tessflux], _peers: Sequence[Bridge], directory: Path
) -> Iterator[Turn]:
    """Without and with ten open pages; and every page again and again, with few and with many photometers."""
    turns: list[tuple[int, str, Looking]] = [(FEW, "ten pages", open_pages)]
    if scale.watched:
        turns.insert(0, (FEW, "nobody looks", nobody))
        turns += [(count, "each page", again_and_again) for count in scale.watched]
    for each in tessfluxes:
        for count, name, audience in turns:
            run = partial(looked_at, each, count, audience, scale.idle, directory)
            yield Turn("watched", f"{count:,} photometers", f"{each.name}, {name}", run)


def looked_at(
    tessflux: Tessflux, photometers: int, audience: Looking, seconds: float, directory: Path
) -> Measured:
    """Publish at a steady rate while an audience looks."""
    readings = Readings(math.ceil(RATE * seconds), 1, photometers, photometers + 1)
    earlier = Readings(photometers, 1, photometers)
    with (
        new_site(directory, window=UNLIMITED) as site,
        stopwatch(site.mosquitto.port, site.directory / "waits") as watch,
    ):
        unix, tcp = str(site.directory / "status.sock"), ("127.0.0.1", free_port())
        site.port = watch.port
        settings: dict[str, object] = {"status.socket": unix, "mqtt.new_photometers": "0"}
        if audience is not nobody:
            settings["status.listen"] = f"{tcp[0]}:{tcp[1]}"
        past_night(site.directory / "spool", time.time())
        with running(tessflux.but(settings), site, 1) as program, site.flood(readings, rate=RATE) as flood:
            pids = family(program.pid)
            site.publish(earlier)
            site.wait_for(earlier)
            wait_until_idle([*pids, site.influxd.pid])
            with audience(tcp, unix) as found:
                wait_until_idle(pids)
                watch.waits()
                cpu = cpu_seconds(pids)
                flood.begin()
                flood.wait()
                cpu = cpu_seconds(pids) - cpu
            waits = watch.waits()
            site.wait_for(readings)
            memory = peak_memory(pids)
            lost, doubled = site.losses(readings, pids)
    if found.failures:
        raise BenchFailed("; ".join(found.failures[:3]))
    return Measured(
        {
            "cpu": cpu / readings.count * 1e6,
            **{name: value * 1_000 for name, value in summary(waits).items()},
            **found.columns(),
            "memory": memory,
        },
        lost,
        doubled,
    )


def past_night(directory: Path, now: float) -> None:
    """A register of photometers of which each has published through the last day, before this spool began."""
    directory.mkdir(parents=True, exist_ok=True)
    end = int(now) // SECONDS * SECONDS
    everyone = [
        Photometer(f"stars{number}", number, int((now - DAY) * 1_000), int(now * 1_000), 0.0, place=PLACE)
        for number in range(WITH_NIGHT)
    ]
    database = Database(str(directory))
    database.load()
    for at in range(end - DAY, end, SECONDS):
        means = Means()
        darkness = 15 + 6 * math.sin(at / DAY * math.tau)
        for each in everyone:
            fields = {"freq": 1.0, "mag": darkness + each.number % 10 / 10, "tamb": 10.0, "tsky": -20.0}
            means.add(at * 1_000, each.number, fields)
        is_last = at + SECONDS == end
        database.save(Kept(everyone if is_last else (), (), WITH_NIGHT, sums=means.sums), 0)
    database.close()
