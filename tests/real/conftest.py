"""Fixtures: a broker, a database and a directory for the daemon, all private to one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Influxd, Mosquitto

from tests.real.listener import Listener
from tests.real.site import Publisher, Site


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps QoS 1 messages for an absent subscriber."""
    with Mosquitto(tmp_path / "mosquitto", settings=["max_queued_messages 0"]) as server:
        yield server


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[Influxd]:
    """An empty InfluxDB."""
    with Influxd(tmp_path / "influxd") as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto, influxd: Influxd) -> Iterator[Site]:
    """The daemon's files, and the daemon itself once the test starts it."""
    site = Site(tmp_path, mosquitto, influxd)
    yield site
    site.end()


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[Publisher]:
    """Somebody who publishes, in the place of the photometers."""
    publisher = Publisher(mosquitto)
    yield publisher
    publisher.close()


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    """Somebody who hears of alarms, where the config names the command."""
    return Listener(tmp_path)
