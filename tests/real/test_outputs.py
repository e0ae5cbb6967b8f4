"""Two databases at once, one of which crashes and loses what it has acknowledged."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import VictoriaMetrics

from tests.real.site import Publisher, Site, reading, wait_until

DEDUPLICATE = "-dedup.minScrapeInterval=1ms"


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """An empty VictoriaMetrics that stores once what it gets twice."""
    with VictoriaMetrics(tmp_path / "victoria", flags=[DEDUPLICATE]) as server:
        yield server


def sequence_numbers(victoria: VictoriaMetrics) -> list[float]:
    return sorted(value for _, _, field, _, value in victoria.export() if field == "readings_seq")


def copy_to(site: Site, victoria: VictoriaMetrics) -> None:
    site.configure(**{"influxdb copy": {"url": victoria.url, "flush_interval": 0.2}})


def test_a_database_that_crashes_has_everything_all_the_same(
    site: Site, publisher: Publisher, victoria: VictoriaMetrics
) -> None:
    """VictoriaMetrics acknowledges readings seconds before they are on its disk."""
    copy_to(site, victoria)
    site.start()
    numbers = range(1, 201)
    publisher.publish([reading("stars1", number, 10.0 + number) for number in numbers[:150]])
    site.wait_for_rows(150)
    wait_until(lambda: json.loads(site.run("status", "--json").stdout)["spool"]["waiting"] == 0, "delivery")
    victoria.kill()
    publisher.publish([reading("stars1", number, 10.0 + number) for number in numbers[150:]], qos=1)
    site.wait_for_rows(200)
    victoria.start()
    wait_until(lambda: sequence_numbers(victoria) == [float(number) for number in numbers], "all readings")
    assert "[influxdb copy] was away: the last 150 readings" in site.logged()
    site.stop()
    assert site.count() == 200
    assert "InfluxDB Write Stats of [influxdb copy]" in site.logged()


def test_what_it_would_store_twice_is_not_sent_again(
    site: Site, publisher: Publisher, tmp_path: Path
) -> None:
    with VictoriaMetrics(tmp_path / "plain") as victoria:
        copy_to(site, victoria)
        site.start()
        publisher.publish([reading("stars1", 1, 17.0)])
        wait_until(lambda: sequence_numbers(victoria) == [1.0], "the reading")
        site.wait_for_log("to change that: VictoriaMetrics needs -dedup.minScrapeInterval=1ms")
        victoria.restart()
        publisher.publish([reading("stars1", 2, 18.0)])
        wait_until(lambda: sequence_numbers(victoria) == [1.0, 2.0], "both readings, once")
        site.stop()


def test_a_check_looks_at_each(site: Site, victoria: VictoriaMetrics, tmp_path: Path) -> None:
    with VictoriaMetrics(tmp_path / "plain") as plain:
        site.configure(**{"influxdb copy": {"url": victoria.url}, "influxdb plain": {"url": plain.url}})
        checked = site.run("--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    lines = checked.stdout.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("output")] == [
        "[influxdb]",
        "copy]",
        "plain]",
    ]
    warning = "it may store twice what it gets twice, so resend is off: VictoriaMetrics needs "
    assert [line for line in lines if "warning" in line] == [f"write      warning: {warning}{DEDUPLICATE}"]
