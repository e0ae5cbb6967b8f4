"""Fixtures: those of tests/real, and the same servers behind proxies."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Influxd, Mosquitto

from tests.faults.proxy import Proxy
from tests.faults.scripted import ScriptedServer
from tests.faults.site import FaultSite
from tests.real.conftest import influxd, mosquitto, publisher, site

__all__ = ["bench", "influxd", "mosquitto", "publisher", "scripted", "site"]


@pytest.fixture
def bench(tmp_path: Path, mosquitto: Mosquitto, influxd: Influxd) -> Iterator[FaultSite]:
    """The daemon's files and, once the test starts it, the daemon itself, between two proxies."""
    with (
        Proxy(tmp_path, "broker-proxy", mosquitto.port) as broker,
        Proxy(tmp_path, "database-proxy", influxd.port) as database,
    ):
        bench = FaultSite(tmp_path, mosquitto, influxd, broker, database)
        yield bench
        bench.end()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """An HTTP server in the place of InfluxDB."""
    with ScriptedServer() as server:
        yield server
