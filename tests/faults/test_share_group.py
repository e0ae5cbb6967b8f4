"""Four daemons that divide the readings of a broker: one is killed under load, nothing is lost or doubled.

Each has a network of its own, as on a machine of its own; where this user may make none, all are on loopback.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import LOOPBACK, Influxd, Mosquitto

from tessflux.limits import SHARE_MEMBERS
from tests.faults.accounting import check_account
from tests.faults.ledger import Comparison, Differences, Ledger
from tests.faults.network import Network
from tests.faults.site import now_ms
from tests.real.site import Publisher, Site


@pytest.fixture
def network() -> Iterator[Network]:
    """What broker and database listen on, and the members reach them through."""
    with Network() as network:
        yield network


@pytest.fixture
def mosquitto(tmp_path: Path, network: Network) -> Iterator[Mosquitto]:
    """A broker in that network."""
    with Mosquitto(tmp_path / "mosquitto", host=network.host, settings=["max_queued_messages 0"]) as server:
        yield server


@pytest.fixture
def influxd(tmp_path: Path, network: Network) -> Iterator[Influxd]:
    """An empty InfluxDB in that network."""
    with Influxd(tmp_path / "influxd", host=network.host) as server:
        yield server


@pytest.fixture
def members(tmp_path: Path, network: Network, mosquitto: Mosquitto, influxd: Influxd) -> Iterator[list[Site]]:
    """The daemons of a group, each with a network, a spool and a client id of its own."""
    sites = []
    for number in range(4):
        directory = tmp_path / f"member{number}"
        directory.mkdir()
        site = Site(directory, mosquitto, influxd)
        site.around = network.member(number)
        configure(site, number)
        sites.append(site)
    yield sites
    for site in sites:
        site.end()


def configure(site: Site, number: int, topics: str = "STARS4ALL/+/reading") -> None:
    names = {"share_group": "tess", "share_member": number, "client_id": f"member{number}"}
    site.configure(mqtt={**names, "topics": topics})


def publish(publisher: Publisher, ledger: Ledger, count: int) -> None:
    samples = [ledger.publish(now_ms(), 1) for _ in range(count)]
    publisher.publish([(sample.topic, sample.payload) for sample in samples], qos=1)


def test_a_member_of_a_share_group_that_is_killed_loses_and_doubles_nothing(
    members: list[Site], publisher: Publisher, network: Network
) -> None:
    # So few photometers that many of their readings arrive at both members in the same millisecond.
    ledger = Ledger(photometers=2)
    for member in members:
        member.launch()
    for member in members:
        member.wait_for_log("Subscribed to ['$share/tess/STARS4ALL/+/reading']")
    networks = {Path(f"/proc/{member.process.pid}/ns/net").readlink() for member in members}
    assert len(networks) == (1 if network.host == LOOPBACK else 4)
    first = members[0]
    for _ in range(3):
        publish(publisher, ledger, 400)
        first.kill()
        # Its share of these waits for it, and that alone.
        publish(publisher, ledger, 200)
        first.start()
        assert "in our earlier session" in first.logged()
    leaving = members[3]
    configure(leaving, 3, "nobody/publishes/here")
    leaving.signal(signal.SIGHUP)
    publish(publisher, ledger, 200)
    leaving.wait_for_log("Unsubscribed from ['$share/tess/STARS4ALL/+/reading']")
    publish(publisher, ledger, 200)
    first.wait_for_rows(len(ledger))
    for member in members:
        member.stop()
        check_account(member.logged())
    rows = first.rows()
    comparison = Comparison(ledger)
    comparison.check(rows, now_ms())
    differences = comparison.differences()
    # Their times are later than they came: no photometer publishes hundreds of readings at once.
    assert differences == Differences(rows=2200, misplaced=differences.misplaced)
    assert {row["time"] % SHARE_MEMBERS for row in rows} == {0, 1, 2, 3}
