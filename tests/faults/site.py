"""An installation of tessflux whose broker and database are behind proxies."""

import time
from collections.abc import Mapping
from pathlib import Path

from servers import Influxd, Mosquitto

from tests.faults.accounting import Account, check_account
from tests.faults.ledger import Comparison, Differences, Ledger
from tests.faults.proxy import Proxy
from tests.real.site import Publisher, Site


class FaultSite(Site):
    """`broker` and `database` are the proxies; the tests query the servers directly."""

    def __init__(
        self, directory: Path, mosquitto: Mosquitto, influxd: Influxd, broker: Proxy, database: Proxy
    ) -> None:
        self.broker, self.database = broker, database
        self.ledger = Ledger()
        super().__init__(directory, mosquitto, influxd)

    def configure(self, **changes: Mapping[str, object]) -> None:
        """Point the daemon at the proxies."""
        mqtt = {"broker": f"tcp:127.0.0.1:{self.broker.port}", **changes.pop("mqtt", {})}
        influxdb = {"url": f"http://127.0.0.1:{self.database.port}", **changes.pop("influxdb", {})}
        super().configure(mqtt=mqtt, influxdb=influxdb, **changes)

    def publish(self, publisher: Publisher, count: int, qos: int = 1) -> None:
        """Publish new readings, enter them into the ledger, and wait until the broker has them."""
        samples = [self.ledger.publish(now_ms(), qos) for _ in range(count)]
        publisher.publish([(sample.topic, sample.payload) for sample in samples], qos=qos)

    def wait_for_all(self) -> None:
        """Wait until the database has as many rows as readings were published."""
        self.wait_for_rows(len(self.ledger))

    def differences(self) -> Differences:
        """Compare the database with the ledger."""
        comparison = Comparison(self.ledger)
        comparison.check(self.rows(), now_ms())
        return comparison.differences()

    def end_well(self) -> Account:
        """Stop the daemon: every message has ended in exactly one way, and every row is right."""
        self.stop()
        differences = self.differences()
        assert not differences, differences
        return check_account(self.logged())


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return int(time.time() * 1000)
