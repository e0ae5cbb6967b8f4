"""What photometers say of themselves, from a real broker into real databases: once for each change."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Influxd, Mosquitto, VictoriaMetrics

from tests.real.site import Publisher, Site, reading, wait_until

PLACES = "name,latitude,longitude\nstars1,40.45,-3.73\n"


def says(
    name: str = "stars1", calib: float = 20.5, mac: str = "5C:CF:7F:8:A:1", **more: str
) -> tuple[str, str]:
    """Topic and payload, as the firmware v3.2 has them."""
    others = "".join(f', "{key}":{value}' for key, value in more.items())
    head = f'{{"name":"{name}", "rev":2, "mac":"{mac}", "chan":"pruebas", '
    return "STARS4ALL/register", f'{head}"calib":{calib:.2f}, "wdBm":-51{others}}}'


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    """An empty VictoriaMetrics."""
    with VictoriaMetrics(tmp_path_factory.mktemp("victoria")) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto, influxd: Influxd, victoria: VictoriaMetrics) -> Iterator[Site]:
    """A daemon that writes to both."""
    site = Site(tmp_path, mosquitto, influxd)
    (tmp_path / "places").write_text(PLACES)
    site.configure(
        mqtt={"client_id": "registers"},
        site={"places": tmp_path / "places"},
        **{"influxdb victoria": {"url": victoria.url}},
    )
    yield site
    site.end()


def start(site: Site) -> None:
    site.start()
    site.wait_for_log("STARS4ALL/+/register")


def said(site: Site) -> list[dict[str, Any]]:
    """The points in InfluxDB, by time."""
    rows = site.influxd.select("SELECT * FROM photometers", "tessdb")
    return [
        {key: value for key, value in row.items() if value is not None and key != "time"}
        for row in sorted(rows, key=lambda row: row["time"])
    ]


def numbers(victoria: VictoriaMetrics, name: str, field: str) -> list[float]:
    """The values in VictoriaMetrics, by time."""
    rows = victoria.export(f'{{__name__="photometers_{field}", name="{name}"}}')
    return [value for *_, value in sorted(rows, key=lambda row: row[3])]


FIRST = {"name": "stars1", "mac": "5C:CF:7F:08:0A:01", "zp": 20.5, "latitude": 40.45, "longitude": -3.73}


def test_a_boot_is_one_point_a_change_another_and_a_kill_between_neither_loses_nor_doubles(
    site: Site, publisher: Publisher, victoria: VictoriaMetrics
) -> None:
    start(site)
    publisher.publish([says()] * 3, qos=1)
    wait_until(lambda: said(site) == [FIRST], "the point of the boot")
    site.kill()
    publisher.publish([says()] * 2 + [says(calib=20.4)] * 3 + [reading("stars1", 1, 5.0)], qos=1)
    start(site)
    publisher.publish([says(calib=20.4), reading("stars1", 2, 6.0)], qos=1)
    site.wait_for_rows(2)
    assert said(site) == [FIRST, FIRST | {"zp": 20.4}]
    wait_until(lambda: numbers(victoria, "stars1", "zp") == [20.5, 20.4], "both in VictoriaMetrics")
    assert numbers(victoria, "stars1", "latitude") == [40.45, 40.45]
    assert numbers(victoria, "stars1", "mac") == [0, 0], "it has no texts"
    assert "stars1: register message: its zero point zp is 20.4, it was 20.5" in site.logged()
    site.stop()


def test_texts_are_in_the_database_as_they_were_said(
    site: Site, publisher: Publisher, victoria: VictoriaMetrics
) -> None:
    """VictoriaMetrics takes each for a 0, and the line all the same."""
    start(site)
    odd = r'"a \"b\" \\ c, d=e \u00e9 \\"'
    publisher.publish([says("stars2", 2.0, model=odd, firmware='"Mar  4 2024"')], qos=1)
    expected = {
        "name": "stars2",
        "mac": "5C:CF:7F:08:0A:01",
        "firmware": "Mar  4 2024",
        "model": 'a "b" \\ c, d=e é \\',
    }
    wait_until(lambda: expected in said(site), lambda: f"it is there: {said(site)}")
    assert "stars2: register message: its zero point zp is 2, not from 10 to 30" in site.logged()
    publisher.publish([says("stars2", 20.5)], qos=1)
    wait_until(lambda: expected | {"zp": 20.5} in said(site), lambda: f"and so is a number: {said(site)}")
    wait_until(lambda: numbers(victoria, "stars2", "zp") == [20.5], "that VictoriaMetrics takes too")
    site.stop()
    assert "quarantined 0" in site.logged()


def test_a_name_that_moves_is_said_once_also_over_a_restart(site: Site, publisher: Publisher) -> None:
    start(site)
    publisher.publish([says("stars3", mac="1:1:1:1:1:1"), says("stars3", mac="2:2:2:2:2:2")], qos=1)
    moved = "stars3: moved: its mac is 02:02:02:02:02:02, it was 01:01:01:01:01:01"
    site.wait_for_log(moved)
    site.stop()
    start(site)
    publisher.publish([says("stars3", mac="2:2:2:2:2:2"), reading("stars3", 1, 7.0)], qos=1)
    wait_until(
        lambda: [row["freq"] for row in site.rows() if row["name"] == "stars3"] == [7.0], "the reading"
    )
    assert moved not in site.logged()
    wait_until(
        lambda: '"mac":"02:02:02:02:02:02"' in site.run("photometers", "--json").stdout, "the list has it"
    )


def test_register_topics_can_be_dropped_by_a_reload(site: Site, publisher: Publisher) -> None:
    start(site)
    checked = site.run("--check")
    assert "registers  ok: subscribed to STARS4ALL/register, STARS4ALL/+/register" in checked.stdout
    site.configure(mqtt={"client_id": "registers", "register_topics": ""})
    site.signal(signal.SIGHUP)
    site.wait_for_log("Unsubscribed from")
    publisher.publish([says("stars4"), reading("stars4", 1, 8.0)], qos=1)
    wait_until(
        lambda: [row["freq"] for row in site.rows() if row["name"] == "stars4"] == [8.0], "the reading"
    )
    assert [row for row in said(site) if row["name"] == "stars4"] == []
