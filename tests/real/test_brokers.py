"""Every broker that is here, and all that tessflux needs of one: what it brings is stored once, whatever ends
meanwhile, and `--check` tells what it cannot do. docs/brokers.md says the same in a table.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Influxd, ServerFailed

from tests.real.brokers import BROKERS, Broker
from tests.real.site import Publisher, Site, payload

VERSIONS = ("3.1.1", "5")


@pytest.fixture(scope="module", params=BROKERS, ids=lambda kind: kind.program)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for all the tests that this process makes with it."""
    kind: type[Broker] = request.param
    try:
        server = kind(tmp_path_factory.mktemp(kind.program))
    except ServerFailed as missing:
        pytest.skip(f"{kind.program}: {missing}")
    with server:
        yield server


class Case(Site):
    """A daemon with topics and a client id of its own, and somebody who publishes there."""

    def __init__(self, directory: Path, broker: Broker, influxd: Influxd) -> None:
        self.name = directory.name
        self.published: list[float] = []
        self.broker = broker
        super().__init__(directory, broker, influxd)

    def configure(self, **changes: dict[str, object]) -> None:  # type: ignore[override]
        mqtt = {"client_id": self.name, "topics": f"{self.name}/+/reading", **changes.pop("mqtt", {})}
        super().configure(mqtt=mqtt, **changes)

    def publish(self, count: int, *, qos: int = 1, retain: bool = False) -> list[float]:
        """Publish so many new readings, and wait until the broker has them. Returns what tells them apart."""
        first = len(self.published)
        freqs = [number + 0.5 for number in range(first, first + count)]
        self.published += freqs
        publisher = Publisher(self.broker, mqtt5=False)
        messages = [
            (f"{self.name}/stars{freq % 7:.0f}/reading", payload(f"stars{freq % 7:.0f}", int(freq), freq))
            for freq in freqs
        ]
        publisher.publish(messages, qos=qos, retain=retain)
        # RabbitMQ drops what a publisher that leaves has just published at QoS 0.
        publisher.publish([(f"{self.name}/published", "")], qos=1)
        publisher.close()
        return freqs

    def stored(self) -> list[float]:
        return sorted(row["freq"] for row in self.rows())


@pytest.fixture
def site(tmp_path: Path, broker: Broker, influxd: Influxd) -> Iterator[Case]:
    case = Case(tmp_path, broker, influxd)
    yield case
    case.end()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_killed_daemon_loses_and_doubles_nothing_that_any_broker_has(site: Case, version: str) -> None:
    """Killed in mid-stream, three times. A broker without MQTT 5 is spoken to by 3.1.1."""
    site.configure(mqtt={"version": version})
    site.start()
    spoken = version if site.broker.mqtt5 else "3.1.1"
    assert f"by MQTT {spoken}, in a new session" in site.logged()
    site.publish(20, qos=0)
    site.wait_for_rows(20)
    for _ in range(3):
        site.publish(150)
        # Some of this round are in the database, and some on their way.
        site.wait_for_rows(len(site.published) - 149)
        site.publish(100)
        site.kill()
        site.publish(50)
        site.start()
        assert "in our earlier session" in site.logged()
    site.wait_for_rows(len(site.published))
    site.stop()
    assert site.stored() == site.published


def test_what_is_published_while_tessflux_is_away_is_kept_as_the_table_of_brokers_says(site: Case) -> None:
    """Also while the broker is restarted."""
    expected: list[float] = []
    site.start()
    for kept, restarts in ((site.broker.away, False), (site.broker.restarted, True)):
        site.stop()
        for qos in (0, 1):
            waiting = site.publish(20, qos=qos)
            expected += waiting if qos in kept else []
        if restarts:
            site.broker.restart()
        site.start()
        # It comes after all that waited.
        expected += site.publish(1)
        site.wait_for_rows(len(expected))
    site.stop()
    assert site.stored() == expected


def test_a_broker_that_restarts_under_tessflux_brings_what_comes_then(site: Case) -> None:
    site.start()
    site.publish(20)
    site.broker.restart()
    site.wait_for_log("Subscribed to", times=2)
    site.publish(20)
    site.wait_for_rows(40)
    site.stop()
    assert site.stored() == site.published


def test_no_retained_reading_of_any_broker_is_stored_twice_or_as_a_new_one(site: Case) -> None:
    old = site.publish(7, qos=0, retain=True)
    site.start()
    expected = site.publish(7, qos=0, retain=True)
    site.wait_for_rows(7)
    site.stop()
    waiting = site.publish(7, qos=0, retain=True)
    expected += waiting if 0 in site.broker.away else []
    site.start()
    expected += site.publish(1)
    site.wait_for_rows(len(expected))
    site.stop()
    assert site.stored() == expected
    assert not set(old) & set(expected)


def test_check_says_which_mqtt_and_whether_shared_subscriptions_bring_readings(site: Case) -> None:
    """And what it says of them is true for the daemon."""
    share = {"share_group": "g", "share_member": 1}
    site.configure(mqtt={"version": "5", **share})
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(0.3):
            site.publish(1)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        checked = site.run("--check")
    finally:
        ended.set()
        thread.join()
    lines = checked.stdout.splitlines()
    broker = site.broker
    spoken = "5" if broker.mqtt5 else "3.1.1"
    assert f"broker     ok: tcp:{broker.address} lets us in by MQTT {spoken}" in checked.stdout
    warned = [line for line in lines if line.endswith("MQTT 5; set [mqtt] version = 3.1.1")]
    assert len(warned) == (not broker.mqtt5)
    assert f"topics     ok: subscribed to {site.name}/+/reading at QoS 1" in checked.stdout
    assert "keeps no session" not in checked.stdout
    shared = [line for line in lines if line.startswith("share")]
    if broker.shares:
        assert shared == ["share      ok: a shared subscription brings readings"]
        assert checked.returncode == 0
        site.start()
        waiting = site.publish(50)
        site.wait_for_rows(50)
        site.stop()
        assert site.stored() == waiting
    else:
        assert any("leave" in line and "share_group blank" in line for line in shared)
        assert checked.returncode == 69
