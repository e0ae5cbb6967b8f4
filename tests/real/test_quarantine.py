"""Quarantine while the daemon runs: what comes out of it again, and what invented names may cost."""

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from servers import Mosquitto

from tessflux.spool.journal import FILE_NAME
from tests.real.site import Publisher, Site, payload, reading, wait_until

TOO_DARK = 27.5


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that does not wait for acknowledgements of twenty at a time: each is a sync of the disk."""
    settings = ["max_queued_messages 0", "max_inflight_messages 1000"]
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as server:
        yield server


def quarantined(site: Site) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.run("refused", "--json").stdout.splitlines()]


def test_requeued_payloads_are_stored_once_with_the_time_of_their_arrival(
    site: Site, publisher: Publisher
) -> None:
    site.start()
    dark = [(f"stars{n}", payload(f"stars{n}", n, n).replace("12.34", str(TOO_DARK))) for n in range(30)]
    publisher.publish([*((f"STARS4ALL/{name}/reading", text) for name, text in dark), reading("last", 1, 1)])
    site.wait_for_rows(1)
    arrived = {entry["photometer"]: entry["time"] for entry in quarantined(site)}
    assert arrived.keys() == {name for name, _ in dark}
    site.configure(mqtt={"validation": "no"})
    site.signal(signal.SIGHUP)
    site.wait_for_log("Reloaded")
    one = site.run("refused", "--requeue", "--photometer", "STARS7")
    assert (one.returncode, one.stdout[:22]) == (0, "1 to be tried again: w")
    site.wait_for_rows(2)
    assert site.run("refused", "--cause", "dark").stderr.endswith("; the causes there are: implausible\n")
    assert site.run("refused", "--requeue", "--cause", "implausible").stdout.startswith("29 to be tried")
    site.wait_for_rows(31)
    assert quarantined(site) == []
    stored = {
        row["name"]: datetime.fromtimestamp(row["time"] / 1000, UTC).isoformat(timespec="milliseconds")
        for row in site.rows()
        if row["mag"] == TOO_DARK
    }
    assert stored == arrived
    site.stop()
    assert "61 received" in site.logged()


def test_lines_that_the_database_refused_are_sent_again(site: Site, publisher: Publisher) -> None:
    """Its mag holds a text, until an administrator takes that away."""
    site.influxd.query('CREATE DATABASE "tessdb"')
    site.write("tessdb", 'readings,name=old mag="a text"')
    site.start()
    publisher.publish([reading("stars1", n, n) for n in range(20)])
    wait_until(lambda: len(quarantined(site)) == 20, "all are refused")
    site.influxd.query("DROP MEASUREMENT readings", db="tessdb")
    assert site.run("refused", "--requeue").stdout.startswith("20 to be tried again")
    site.wait_for_rows(20)
    assert sorted(row["freq"] for row in site.rows()) == list(range(20))
    assert quarantined(site) == []


def test_requeued_while_no_daemon_runs_they_are_stored_when_it_starts(
    site: Site, publisher: Publisher
) -> None:
    site.start()
    publisher.publish([("STARS4ALL/stars1/reading", payload("stars1", 1, 1).replace("12.34", str(TOO_DARK)))])
    wait_until(lambda: quarantined(site), "it is refused")
    site.kill()
    assert site.run("refused", "--requeue").returncode == 0
    site.configure(mqtt={"validation": "no"})
    site.start()
    site.wait_for_rows(1)


def test_20_000_invented_photometers_cost_little(site: Site, publisher: Publisher) -> None:
    """The real ones go on; of the others so many are stored as the config allows, the rest is kept."""
    site.configure(mqtt={"new_photometers": 50}, spool={"quarantine": 10_000})
    site.start()
    publisher.publish([reading("stars1", 1, 1)], qos=1)
    site.wait_for_rows(1)
    before = site.memory()
    for first in range(0, 20_000, 10_000):
        publisher.publish((reading(f"evil{n}", n, n) for n in range(first, first + 10_000)), qos=1)
        publisher.publish([reading("stars1", first + 2, first + 2)], qos=1)
    site.wait_for_rows(52)
    assert site.count() == 3 + 49
    # It grows by 3 to 4 MiB, however many come: each of them left not even 250 bytes.
    assert site.memory() - before < 7
    site.stop()
    assert len(site.logged().splitlines()) < 300
    assert "refused {'new name': 19951}" in site.logged()
    assert len(site.run("refused", "--export").stdout.splitlines()) == 10_000


def test_what_a_stop_finds_on_its_way_to_the_disk_is_acknowledged_and_not_sent_again(
    site: Site, publisher: Publisher
) -> None:
    log = site.spool / f"{FILE_NAME}-wal"
    delay = "inject=fdatasync:delay_enter=500000"
    site.around = ("strace", "-D", "-f", "-o", os.devnull, "-P", str(log), "-e", delay)
    site.start()
    publisher.publish([("STARS4ALL/stars1/reading", "nonsense")], qos=1)
    wait_until(lambda: b"nonsense" in log.read_bytes(), "it is written, but not yet synced")
    site.stop()
    site.around = ()
    site.start()
    publisher.publish([reading("stars1", 1, 1)])
    site.wait_for_rows(1)
    assert len(quarantined(site)) == 1
