"""VictoriaMetrics in the place of InfluxDB: the same config, the same rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Influxd, Mosquitto, VictoriaMetrics

from tests.real.site import Publisher, Site, reading, wait_until

FIELDS = ("freq", "mag", "seq", "tamb", "tsky", "wdBm")


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """An empty VictoriaMetrics."""
    with VictoriaMetrics(tmp_path / "victoria") as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto, victoria: VictoriaMetrics) -> Iterator[Site]:
    """The daemon's files, with a data definition file as for InfluxDB."""
    site = Site(tmp_path, mosquitto, Influxd(tmp_path / "never started"))
    site.configure(influxdb={"url": victoria.url})
    policy = '"days" ON "tessdb" DURATION 3d'
    site.schema.write_text(
        f'CREATE DATABASE "tessdb"; CREATE RETENTION POLICY {policy} REPLICATION 1;'
        f" ALTER RETENTION POLICY {policy}; SHOW USERS;\n"
    )
    yield site
    site.end()


def test_every_field_of_every_reading_is_there_once_with_its_time(
    site: Site, publisher: Publisher, victoria: VictoriaMetrics
) -> None:
    """Also of those that came while it was away."""
    sent = [(f"stars{number % 3}", number, 10.0 + number) for number in range(30)]
    site.start()
    publisher.publish([reading(*each) for each in sent[:15]])
    wait_until(lambda: len(victoria.export()) == 15 * len(FIELDS), "the first 15")
    victoria.stop()
    publisher.publish([reading(*each) for each in sent[15:]], qos=1)
    victoria.start()
    wait_until(lambda: len(victoria.export()) >= 30 * len(FIELDS), "all 30")
    site.stop()
    rows = victoria.export()
    assert sorted((name, value) for _, name, field, _, value in rows if field == "readings_freq") == sorted(
        (name, freq) for name, _, freq in sent
    )
    assert {(db, field) for db, _, field, _, _ in rows} == {("tessdb", f"readings_{f}") for f in FIELDS}
    times = [{(name, time) for _, name, field, time, _ in rows if field == f"readings_{f}"} for f in FIELDS]
    assert all(each == times[0] for each in times)
    assert len(times[0]) == 30
    assert "takes readings into tessdb" in site.logged()


def test_a_check_finds_all_well_and_leaves_nothing_behind(site: Site, victoria: VictoriaMetrics) -> None:
    checked = site.run("--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    steps = [line.split(maxsplit=1) for line in checked.stdout.splitlines()]
    assert ["database", f"ok: a server without a name answers at {victoria.url}"] in steps
    assert ["write", "ok: into database tessdb"] in steps
    assert victoria.export() == []


def test_a_check_of_one_that_is_gone_says_so(site: Site, victoria: VictoriaMetrics) -> None:
    victoria.stop()
    checked = site.run("--check")
    assert checked.returncode == 69
    assert f"database   {victoria.url}: Connection refused" in checked.stdout
