"""Readings that waited for tessflux get the time at which their photometers published them.

A reading waits at the broker while tessflux is away, or in a network that stalls; then all that waited comes
at once. The photometers are simulated ones, which write down when they really published.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from punctuality import IN_FLIGHT_MS, MOST, Comparison, Published, compare, ledger
from servers import Mosquitto, Program

from tests.faults.proxy import Proxy
from tests.real.site import Site, wait_until

PHOTOMETERS = 10

HELD = {"backlog_wait": ""}
"""As by default, other than in other tests."""

BEFORE, WAITING, AFTER = 5, 6, 3
"""Readings that each photometer publishes while all is well, while nothing gets through, and then."""


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps what photometers publish at QoS 0."""
    settings = ["max_queued_messages 0", "upgrade_outgoing_qos true"]
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as server:
        yield server


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Photometers(Program):
    """Simulated ones, and the ledger of what they published."""

    def __init__(self, directory: Path, mosquitto: Mosquitto, reboots: str = "never") -> None:
        self._ledger = directory / "ledger"
        options = {
            "broker": mosquitto.address,
            "photometers": PHOTOMETERS,
            "period": "0.5-1.2",
            "jitter": 0.05,
            "reboots": reboots,
            "ledger": self._ledger,
            "seed": 1,
        }
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        command = [sys.executable, "-m", "tessflux.simulator", *arguments]
        super().__init__("simulator", command, directory / "simulator.log")

    def published(self) -> list[Published]:
        """What they have published so far."""
        return ledger(self._ledger.read_text()) if self._ledger.exists() else []

    def publish(self, count: int) -> None:
        """Wait until each has published so many more."""
        before = Counter(each.name for each in self.published())

        def enough() -> bool:
            now = Counter(each.name for each in self.published()) - before
            return len(now) == PHOTOMETERS and min(now.values()) >= count

        wait_until(enough, f"{count} more readings of each photometer; the simulator:\n{self.tail()}")


class Backlog:
    """An installation, its photometers, and when nothing got through."""

    def __init__(self, site: Site, photometers: Photometers) -> None:
        self.site, self.photometers = site, photometers
        self._excused: list[range] = []
        site.configure(mqtt=HELD)

    def begin(self) -> None:
        """All is well for a while."""
        self.site.start()
        self.photometers.start()
        self.photometers.publish(BEFORE)
        self._since = now_ms()

    def restart_broker(self) -> None:
        """It keeps what it has, but what is published meanwhile is lost: photometers publish at QoS 0."""
        stopped = now_ms()
        self.site.mosquitto.restart()
        self._excused.append(range(stopped - IN_FLIGHT_MS, now_ms()))

    def check(self) -> None:
        """All is well again: everything is in the database, and what waited has nearly its true time."""
        until = now_ms()
        self._compare([])
        self.photometers.publish(AFTER)
        self.photometers.stop()
        published = self.photometers.published()
        wait_until(
            lambda: not self._compare(published).lost,
            lambda: f"all rows; missing {self._compare(published).lost}; {self.site.logged()}",
        )
        self.site.stop()
        found = self._compare(published)
        assert not found.wrong, str(found)
        waited = found.errors(self._since, until)
        assert waited.count >= PHOTOMETERS * WAITING
        assert waited.close >= MOST, str(waited)

    def _compare(self, published: Sequence[Published]) -> Comparison:
        rows = self.site.rows()
        assert all(row["time"] <= now_ms() for row in rows), "a time is later than now"
        return compare(published, rows, self._excused)


@pytest.fixture
def backlog(site: Site, tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Backlog]:
    photometers = Photometers(tmp_path, mosquitto)
    yield Backlog(site, photometers)
    photometers.kill()


@pytest.fixture
def proxy(tmp_path: Path, site: Site, mosquitto: Mosquitto) -> Iterator[Proxy]:
    """The network between the broker and tessflux."""
    with Proxy(tmp_path, "network", mosquitto.port) as proxy:
        site.configure(mqtt={"broker": f"tcp:127.0.0.1:{proxy.port}", **HELD})
        yield proxy


def test_what_waited_while_tessflux_was_stopped_gets_its_true_time(backlog: Backlog) -> None:
    backlog.begin()
    backlog.site.stop()
    backlog.photometers.publish(WAITING)
    backlog.site.start()
    backlog.check()


def test_what_waited_until_a_stalled_connection_broke_gets_its_true_time(
    backlog: Backlog, proxy: Proxy
) -> None:
    backlog.begin()
    proxy.silence()
    backlog.photometers.publish(WAITING)
    proxy.cut_now()
    proxy.heal()
    backlog.check()


def test_what_waited_in_a_stalled_network_gets_its_true_time(backlog: Backlog, proxy: Proxy) -> None:
    backlog.begin()
    proxy.silence()
    backlog.photometers.publish(WAITING)
    proxy.heal()
    backlog.check()


def test_what_waited_gets_its_true_time_though_tessflux_is_killed_while_it_comes(backlog: Backlog) -> None:
    backlog.begin()
    backlog.site.kill()
    backlog.photometers.publish(WAITING)
    for _ in range(2):
        backlog.site.start()
        backlog.site.kill()
    backlog.site.start()
    backlog.check()


def test_what_waited_gets_its_true_time_though_the_broker_restarts_meanwhile(backlog: Backlog) -> None:
    backlog.begin()
    backlog.site.stop()
    backlog.photometers.publish(WAITING // 2)
    backlog.restart_broker()
    backlog.photometers.publish(WAITING // 2)
    backlog.site.start()
    backlog.check()


def test_what_waited_before_and_after_a_reboot_of_its_photometer_gets_its_true_time(
    site: Site, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    # While nothing gets through: that begins after the fifth reading of the slowest.
    photometers = Photometers(tmp_path, mosquitto, reboots="10")
    # `begin` starts them: what they publish before tessflux has subscribed is lost.
    try:
        backlog = Backlog(site, photometers)
        backlog.begin()
        site.stop()
        photometers.publish(WAITING)
        site.start()
        backlog.check()
    finally:
        photometers.kill()
