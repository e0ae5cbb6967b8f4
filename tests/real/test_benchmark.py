"""The benchmark with real servers: that it measures what it says, and sees what is lost or doubled."""

import array
from pathlib import Path

import pytest
from benchmark.bridges import CEILING, FLOOR, Bridge, Tessflux
from benchmark.latency import to_queryable
from benchmark.site import Connection, Site, new_site
from benchmark.throughput import broker_alone, through
from flood import Readings
from servers import find_program


@pytest.mark.parametrize("qos", [0, 1])
def test_a_tessflux_stores_all_that_is_published(qos: int, tmp_path: Path) -> None:
    measured = through(Tessflux(), Readings(500, qos, 10), tmp_path)
    assert (measured.lost, measured.doubled) == (0, 0)
    assert measured.values["rate"] > 0
    assert measured.values["memory"] > 1


def test_readings_before_the_first_are_stored_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[int] = []
    wait_for = Site.wait_for

    def waiting(site: Site, readings: Readings) -> float:
        ended = wait_for(site, readings)
        stored.append(site.rows(Readings(1_000, 1, 50)))
        return ended

    monkeypatch.setattr(Site, "wait_for", waiting)
    measured = through(Tessflux(), Readings(100, 1, 50, first=51), tmp_path)
    assert stored == [50, 150]
    assert (measured.lost, measured.doubled) == (0, 0)


@pytest.mark.parametrize("bridge", [Tessflux(), CEILING], ids=lambda bridge: bridge.name)
def test_a_small_window_lets_all_through(bridge: Bridge, tmp_path: Path) -> None:
    find_program("mosquitto_sub", "mosquitto-clients")
    measured = through(bridge, Readings(500, 1, 10), tmp_path, 20)
    assert (measured.lost, measured.doubled) == (0, 0)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("counter", [CEILING, FLOOR], ids=lambda counter: counter.name)
def test_a_counter_ends_when_it_has_got_all(counter: Bridge, qos: int, tmp_path: Path) -> None:
    find_program("mosquitto_sub", "mosquitto-clients")
    measured = through(counter, Readings(500, qos, 10), tmp_path)
    assert measured.values["rate"] > 0
    assert measured.values["memory"] > 1


def test_the_broker_alone_takes_what_nobody_wants(tmp_path: Path) -> None:
    assert broker_alone(Readings(1_000, 1, 10), tmp_path).values["rate"] > 0


def test_lost_and_doubled_readings_are_found_in_the_database(tmp_path: Path) -> None:
    readings = Readings(4, 0, 2)
    with new_site(tmp_path) as site:
        connection = Connection(site.influxd)
        lines = [
            readings.line(1, 1000),
            readings.line(2, 1000),
            readings.line(2, 2000),
            readings.line(5, 9000),
        ]
        connection.write("\n".join(lines).encode())
        connection.close()
        assert site.losses(readings) == (2, 1)


def test_readings_are_published_at_a_rate_and_their_times_noted(tmp_path: Path) -> None:
    readings = Readings(20, 1, 2)
    times = tmp_path / "times"
    with new_site(tmp_path) as site, site.flood(readings, rate=200, times=times) as flood:
        flood.begin()
        flood.wait()
    sent = array.array("d", times.read_bytes())
    assert len(sent) == 20
    assert list(sent) == sorted(sent)
    assert sent[-1] - sent[0] >= 19 / 200 - 0.01


def test_a_latency_is_measured_of_every_reading(tmp_path: Path) -> None:
    bridge = Tessflux(settings={"influxdb.flush_interval": "0.05"})
    measured = to_queryable(bridge, Readings(40, 0, 50, first=51), 200, tmp_path)
    assert (measured.lost, measured.doubled) == (0, 0)
    assert 0 < measured.values["p50"] <= measured.values["p99"] <= measured.values["longest"]
