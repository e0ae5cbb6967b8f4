"""The broker and the database of one turn, the publisher, and which of its readings are in the database.

Every turn gets new servers and an empty database, so that none pays for what another left behind.
"""

import http.client
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flood import Readings
from servers import Influxd, Mosquitto, Program

from benchmark.between import between
from benchmark.plan import BenchFailed
from benchmark.process import Stat, cpu_seconds

FLOOD = Path(__file__).parents[1] / "flood.py"
TOPIC = "STARS4ALL/+/reading"
DATABASE = "bench"
UNLIMITED = 0

START_SECONDS = 60.0
QUIET_SECONDS = 20.0
"""When nothing new comes for so long, what is missing is lost."""

POLL_SECONDS = 0.02
LOOK_SECONDS = 0.05
"""Between two looks at what is stored, each of which costs the database half a millisecond."""

IDLE_SHARE = 0.05
"""Of a core."""

REST_SECONDS = 0.5
"""How long a bridge does nothing, after the last reading, before doubles are counted."""

COUNT_SECONDS = 5.0
"""Counting is expensive for the database, so it is done only when nothing else shows how far a bridge is."""


def wait_until_idle(pids: Sequence[int], seconds: float = 1.0) -> None:
    """Return when processes do next to nothing for so long: what they were given is done."""
    used, before = cpu_seconds(pids), -1.0
    while used - before > IDLE_SHARE * seconds:
        time.sleep(seconds)
        used, before = cpu_seconds(pids), used


class Flood:
    """A publisher that is connected, has its packets, and waits until it may begin."""

    def __init__(
        self,
        site: "Site",
        readings: Readings,
        *,
        rate: float | None = None,
        times: Path | None = None,
    ) -> None:
        self.readings = readings
        values: dict[str, object] = {**asdict(readings), "rate": rate, "times": times}
        command = [sys.executable, FLOOD, site.mosquitto.port, site.packets]
        command += [part for key, value in values.items() if value for part in (f"--{key}", value)]
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise BenchFailed("the publisher did not start")

    def begin(self) -> None:
        """Let it publish."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    @property
    def runs(self) -> bool:
        """Whether it is still publishing."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Return when the broker has everything."""
        if self._process.wait():
            raise BenchFailed("the publisher failed")

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


class Site:
    """The two servers, and the questions that the cases ask them."""

    def __init__(
        self, directory: Path, packets: Path, mosquitto: Mosquitto, influxd: Influxd, port: int
    ) -> None:
        self.directory, self.packets = directory, packets
        self.mosquitto, self.influxd = mosquitto, influxd
        self.port = port
        """Where a bridge finds the broker."""

    @contextmanager
    def flood(self, readings: Readings, **options: Any) -> Iterator[Flood]:
        """A publisher that does not outlive the block."""
        flood = Flood(self, readings, **options)
        try:
            yield flood
        finally:
            flood.end()

    def publish(self, readings: Readings) -> None:
        """Publish as fast as the broker takes it."""
        with self.flood(readings) as flood:
            flood.begin()
            flood.wait()

    def wait_for_subscriptions(self, bridge: Program, count: int) -> None:
        """Return when the log of the broker has so many subscriptions."""

        def subscriptions() -> int:
            return self.mosquitto.log.read_text().count(f"{TOPIC}\n")

        wait_until(lambda: subscriptions() >= count or not lives(bridge), START_SECONDS)
        if subscriptions() < count:
            raise bridge.failure("did not subscribe")

    def broker_cpu(self) -> float:
        """Seconds of CPU that the broker has used."""
        return cpu_seconds([self.mosquitto.pid])

    def database_cpu(self) -> float:
        """Seconds of CPU that the database has used."""
        return cpu_seconds([self.influxd.pid])

    def last_number(self, readings: Readings) -> int:
        """The number of the last stored reading of the photometer that publishes last; 0 without one."""
        name = readings.name(readings.last)
        return self._number("last(seq)", f"\"name\" = '{name}'")

    def wait_for(self, readings: Readings, patience: float = QUIET_SECONDS) -> float:
        """Return when all are stored, or when nothing comes for so long; the time of the last that came."""
        newest, stored = 0, 0
        changed = counted = time.monotonic()
        while stored < readings.count and time.monotonic() < changed + patience:
            number = self.last_number(readings)
            now = time.monotonic()
            if number != newest:
                newest, changed = number, now
            if number >= readings.last or now > max(counted, changed) + COUNT_SECONDS:
                counted, count = now, self.rows(readings)
                if count != stored:
                    stored, changed = count, now
            time.sleep(LOOK_SECONDS)
        return changed

    def rows(self, readings: Readings) -> int:
        """How many rows there are of these, doubles among them."""
        return self._number("count(seq)", _where(readings))

    def losses(self, readings: Readings, bridge: Sequence[int] = ()) -> tuple[int, int]:
        """How many are lost and how many doubled, once the processes of the bridge do nothing any more.

        What it writes again comes after all else.
        """
        wait_until_idle(bridge, REST_SECONDS)
        wait_until(lambda: self.rows(readings) >= readings.count, COUNT_SECONDS, pause=1)
        different = self._number("count(distinct(seq))", _where(readings))
        return readings.count - different, self.rows(readings) - different

    def _number(self, what: str, where: str) -> int:
        rows = self.influxd.select(f"SELECT {what} AS number FROM readings WHERE {where}", DATABASE)
        return int(rows[0]["number"]) if rows else 0


def _where(readings: Readings) -> str:
    return f"seq >= {readings.first} AND seq <= {readings.last}"


class Connection:
    """A connection to the database that stays open, for who asks often."""

    def __init__(self, influxd: Influxd) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", influxd.port, timeout=START_SECONDS)

    def rows(self, query: str) -> list[list[Any]]:
        """The rows that a SELECT gives, each with its time in nanoseconds."""
        parameters = urllib.parse.urlencode({"db": DATABASE, "epoch": "ns", "q": query})
        self._http.request("GET", f"/query?{parameters}")
        (result,) = json.loads(self._http.getresponse().read())["results"]
        if "error" in result:
            raise BenchFailed(f"influxd: {result['error']}")
        return [row for series in result.get("series", []) for row in series["values"]]

    def write(self, lines: bytes) -> None:
        """Post line protocol with times in ms."""
        self._http.request("POST", f"/write?db={DATABASE}&precision=ms", lines)
        response = self._http.getresponse()
        answer = response.read()
        if response.status != http.HTTPStatus.NO_CONTENT:
            raise BenchFailed(f"influxd: {answer.decode(errors='replace')}")

    def close(self) -> None:
        """End it."""
        self._http.close()


@contextmanager
def new_site(directory: Path, *, window: int | None = None) -> Iterator[Site]:
    """Servers for one turn.

    `window` is how many messages may be unacknowledged: the broker's default, UNLIMITED, or a number that a
    relay enforces.
    """
    own = directory / str(time.monotonic_ns())
    packets = directory / "packets"
    packets.mkdir(exist_ok=True)
    settings = [
        "max_queued_messages 0",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information", "subscribe")),
        *([] if window is None else [f"max_inflight_messages {UNLIMITED}"]),
    ]
    with (
        Mosquitto(own / "mosquitto", settings=settings) as mosquitto,
        Influxd(own / "influxd") as influxd,
    ):
        influxd.query(f'CREATE DATABASE "{DATABASE}"')
        try:
            with between("relay", mosquitto.port, window) if window else nullcontext(mosquitto.port) as port:
                yield Site(own, packets, mosquitto, influxd, port)
        finally:
            # What they would save at a stop nobody reads.
            mosquitto.kill()
            influxd.kill()
    shutil.rmtree(own)


def lives(program: Program) -> bool:
    """Whether it has not ended. Its last figures can still be read afterwards."""
    return not Stat.of(program.pid).ended


def wait_until(condition: Callable[[], object], seconds: float, pause: float = POLL_SECONDS) -> bool:
    """Whether it came true within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
