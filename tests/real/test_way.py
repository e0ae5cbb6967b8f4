"""The whole way of a reading: a real broker, the real daemon, a real database."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from servers import Influxd

from tessflux.spool.journal import FILE_NAME
from tests.real.site import Publisher, Site, payload, reading, register, wait_until

TESTS = Path(__file__).parents[1]
CONFIG_2017 = TESTS / "config/config-2017"
CONFIG_3_0_0 = TESTS / "config/config-3.0.0"
SPOOL_3_0_0 = TESTS / "spool/spool-3.0.0.sql"


def test_37_readings_within_a_second_become_37_rows(site: Site, publisher: Publisher) -> None:
    """Five photometers; 37 is no multiple of the batch, and nothing waits for a full one."""
    site.start()
    sent = [(f"stars{n % 5}", n, n + 0.25) for n in range(37)]
    publisher.publish(reading(*each) for each in sent)
    site.wait_for_rows(37)
    rows = site.rows()
    assert sorted((row["name"], row["seq"], row["freq"]) for row in rows) == sorted(sent)
    for row in rows:
        assert (row["mag"], row["tamb"], row["tsky"], row["wdBm"]) == (12.34, 7.1, -18.4, -61)
    assert len({(row["name"], row["time"]) for row in rows}) == 37
    site.stop()
    assert "MQTT Stats [Total, Accepted, Filtered] = [37, 37, 0]" in site.logged()
    assert "InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [" in site.logged()


def test_a_config_of_2017_runs_unchanged(site: Site, publisher: Publisher, tmp_path: Path) -> None:
    """Only the addresses are those of this test, and the places that need root; and a computer that has just
    been started need not wait until it knows the time."""
    old = CONFIG_2017.read_text()
    assert "tcp:test.mosquitto.org:1883" in old
    assert "http://localhost:8086" in old
    new = (
        old.replace("tcp:test.mosquitto.org:1883", f"tcp:127.0.0.1:{site.mosquitto.port}")
        .replace("http://localhost:8086", site.influxd.url)
        .replace("/var/log/tessflux.log", str(tmp_path / "old.log"))
        .replace("[global]", "[global]\nclock_wait = 0")
    )
    site.config.write_text(f"{new}\n[spool]\ndirectory = {site.spool}\n")
    site.influxd.query('CREATE DATABASE "tessdb" WITH DURATION 2d NAME "two_days"')
    site.start()
    publisher.publish([reading("stars1", 1, 0.5)])
    site.wait_for_rows(1)
    site.stop()
    assert "tessflux has stopped, 0 readings wait" in (tmp_path / "old.log").read_text()


def test_a_config_and_a_spool_of_3_0_0_go_on(site: Site, publisher: Publisher) -> None:
    """What waited is delivered, what was stored or refused is known. Only the places are of this test."""
    new = CONFIG_3_0_0.read_text()
    for old, here in (
        ("mqtt://localhost", f"tcp:127.0.0.1:{site.mosquitto.port}"),
        ("http://localhost:8086", site.influxd.url),
        ("/var/log/tessflux/tessflux.log\nlog_level = warn", ""),
        ("/var/lib/tessflux", str(site.spool)),
        ("[global]", "[global]\nclock_wait = 0"),
    ):
        assert old in new
        new = new.replace(old, here)
    site.config.write_text(new)
    site.spool.mkdir()
    with closing(sqlite3.connect(site.spool / FILE_NAME)) as db:
        db.executescript(SPOOL_3_0_0.read_text())
    site.influxd.query('CREATE DATABASE "tessdb" WITH DURATION INF NAME "forever"')
    site.start()
    publisher.publish([reading("stars0", 0, 0.5), reading("stars3", 3, 3.5)])
    site.wait_for_rows(4)
    site.stop()
    assert sorted((row["name"], row["freq"]) for row in site.rows()) == [
        (f"stars{number}", number + 0.5) for number in range(4)
    ]
    assert "filtered {'duplicate': 1}" in site.logged()
    refused = site.run("refused").stdout
    assert ("implausible" in refused, "stars9" in refused, refused.count("\n")) == (True, True, 1)


def test_a_killed_daemon_loses_and_doubles_nothing_at_qos_1(site: Site, publisher: Publisher) -> None:
    """Killed in mid-stream, three times; the broker delivers again what was not acknowledged."""
    site.start()
    total = 0
    for _ in range(3):
        batch = [reading(f"stars{n % 7}", n, n + 0.5) for n in range(total, total + 500)]
        total += 500
        publisher.publish(batch[:250], qos=1)
        # Some of this round are in the database, and some on their way.
        site.wait_for_rows(total - 499)
        publisher.publish(batch[250:400], qos=1)
        site.kill()
        publisher.publish(batch[400:], qos=1)
        site.start()
    site.wait_for_rows(total)
    site.stop()
    assert sorted(row["freq"] for row in site.rows()) == [n + 0.5 for n in range(total)]
    assert {"received", "lost 0"} <= {word for word in ("received", "lost 0") if word in site.logged()}


def test_what_a_photometer_publishes_after_each_boot_is_stored_each_time(
    site: Site, publisher: Publisher
) -> None:
    """It has no thermometer, and boots by day."""
    site.configure(mqtt={"topics": "STARS4ALL/+/reading,STARS4ALL/register"})
    site.start()
    boot = [register("stars1"), *(reading("stars1", seq, 50_000) for seq in (2, 3, 4))]
    publisher.publish(boot * 3)
    site.wait_for_rows(9)
    publisher.publish(boot[1:] * 3)
    publisher.publish([reading("stars1", 5, 1)])
    site.wait_for_rows(10)
    site.stop()
    assert site.count() == 10


def test_what_waited_at_a_broker_that_adds_the_time_has_the_time_of_its_publication(
    site: Site, publisher: Publisher
) -> None:
    """The publisher plays the plugin of the broker, which passes user properties on as they are."""
    site.configure(mqtt={"version": 5})
    site.start()
    site.stop()
    sent = [1_772_323_214_000, 1_772_323_274_000, 1_772_323_274_000]
    for seq, time in enumerate(sent):
        publisher.publish([reading("stars1", seq, seq)], qos=1, timestamp=str(time))
    site.start()
    site.wait_for_rows(3)
    assert [row["time"] for row in site.rows()] == [*sent[:2], sent[2] + 1]


def test_a_database_that_is_away_gets_all_readings_when_it_comes_back(
    site: Site, publisher: Publisher
) -> None:
    """Away while the daemon runs, while it is killed, and while it starts."""
    site.start()
    publisher.publish([reading("stars1", 1, 1)])
    site.wait_for_rows(1)
    site.influxd.kill()
    publisher.publish([reading("stars1", n, n) for n in range(2, 50)])
    site.wait_for_log("takes no readings")
    wait_until(lambda: any("freq=49.0," in line for line in site.waiting()), "they wait in the spool")
    site.kill()
    site.launch()
    site.wait_for_log("Subscribed to")
    site.wait_for_log("takes no readings")
    publisher.publish([reading("stars1", n, n) for n in range(50, 100)])
    site.influxd.start()
    site.wait_for_rows(99)
    assert sorted(row["freq"] for row in site.rows()) == list(range(1, 100))
    assert site.logged().count("takes no readings") == 1


def test_without_a_url_readings_wait_and_a_reload_delivers_them(
    site: Site, publisher: Publisher, influxd: Influxd
) -> None:
    site.configure(influxdb={"url": ""})
    site.start()
    publisher.publish([reading("stars 1", n, n) for n in range(20)])
    wait_until(lambda: len(site.waiting()) == 20, "they are on disk")
    exported = site.run("export").stdout
    influxd.query('CREATE DATABASE "imported"')
    site.write("imported", exported)
    series = influxd.query("SELECT * FROM readings", db="imported")
    assert [len(each["values"]) for each in series] == [20]
    site.configure()
    site.signal(signal.SIGHUP)
    site.wait_for_rows(20)
    imported = [dict(zip(series[0]["columns"], row, strict=True)) for row in series[0]["values"]]
    assert site.rows() == imported
    wait_until(lambda: not site.waiting(), "nothing waits any more")


def test_pause_keeps_readings_in_the_spool_and_resume_delivers_them(site: Site, publisher: Publisher) -> None:
    site.start()
    publisher.publish([reading("stars1", 1, 1)])
    site.wait_for_rows(1)
    site.signal(signal.SIGUSR1)
    site.wait_for_log("Delivery is paused")
    publisher.publish([reading("stars1", n, n) for n in range(2, 30)])
    wait_until(lambda: any("freq=29.0" in line for line in site.waiting()), "they are on disk")
    assert site.count() == 1
    site.signal(signal.SIGUSR2)
    site.wait_for_rows(29)


def test_a_broken_config_changes_nothing_at_a_reload(site: Site, publisher: Publisher) -> None:
    site.start()
    site.configure(mqtt={"broker": "nonsense", "keepalives": "1"})
    site.signal(signal.SIGHUP)
    site.wait_for_log("The config stays as it was")
    publisher.publish([reading("stars1", 1, 1)])
    site.wait_for_rows(1)


def test_a_reload_changes_topics_whitelist_and_measured_fields(site: Site, publisher: Publisher) -> None:
    site.start()
    site.configure(
        mqtt={"topics": "OTHER/+/reading", "whitelist": "STARS2"}, influxdb={"extra_fields": "vbat"}
    )
    site.signal(signal.SIGHUP)
    site.wait_for_log("Unsubscribed from ['STARS4ALL/+/reading']")
    site.wait_for_log("Subscribed to ['OTHER/+/reading']")
    publisher.publish(
        [
            reading("stars2", 1, 1),
            ("OTHER/stars1/reading", payload("stars1", 2, 2)),
            ("OTHER/stars2/reading", payload("stars2", 3, 3, vbat=3.7)),
        ]
    )
    site.wait_for_rows(1)
    site.stop()
    assert [(row["name"], row["vbat"]) for row in site.rows()] == [("stars2", 3.7)]


def test_a_line_that_influxdb_refuses_does_not_stop_the_others(site: Site, publisher: Publisher) -> None:
    """The database holds integers under mag of one photometer's shard; the line goes to quarantine."""
    site.influxd.query('CREATE DATABASE "tessdb"')
    site.write("tessdb", "readings,name=old vbat=7i")
    site.configure(influxdb={"extra_fields": "vbat", "batch": 1000, "flush_interval": 1})
    site.start()
    readings = [reading("stars1", n, n) for n in range(9)]
    publisher.publish([*readings[:4], reading("stars1", 100, 5, vbat=3.5), *readings[4:]])
    wait_until(lambda: site.count() == 9, "the good ones are in")
    wait_until(lambda: "field type conflict" in site.run("refused").stdout, "the bad one is kept")
    assert "seq=100.0" in site.run("refused", "--export").stdout
    site.stop()
    assert site.count() == 9


def test_a_second_daemon_on_the_same_spool_is_refused(site: Site) -> None:
    site.start()
    second = site.run("-k")
    assert second.returncode == 75
    assert f"process {site.process.pid}" in second.stderr
    assert str(site.spool) in second.stderr


def test_a_start_that_fails_ends_its_process(site: Site) -> None:
    """A directory stands where the spool's file belongs."""
    (site.spool / "spool.db").mkdir(parents=True)
    failed = site.run("-k")
    assert failed.returncode == 73
    assert str(site.spool) in failed.stderr


def test_a_very_long_payload_stops_nothing(site: Site, publisher: Publisher) -> None:
    """17 MB at QoS 1, which the broker would deliver again and again."""
    site.start()
    publisher.publish([("STARS4ALL/evil/reading", b"x" * 17_000_000), reading("stars1", 1, 1)], qos=1)
    site.wait_for_rows(1)
    site.stop()
    assert site.logged().count("Connected to the broker") == 1
    assert "'too long': 1" in site.logged()


def test_bad_payloads_are_kept_and_said_once(site: Site, publisher: Publisher) -> None:
    site.start()
    publisher.publish([("STARS4ALL/stars9/reading", b"\x1b[2J not JSON\n")] * 30 + [reading("stars1", 1, 1)])
    site.wait_for_rows(1)
    refused = site.run("refused").stdout.splitlines()
    assert len(refused) == 30
    assert "\\x1b[2J not JSON\\x0a" in refused[0]
    assert site.logged().count("not JSON") == 1
    site.stop()
    assert "not JSON: 29 more in this period" in site.logged()


def test_check_says_what_is_right_and_what_to_do(site: Site) -> None:
    good = site.run("--check")
    assert good.returncode == 0, good.stdout
    assert "ok: what is missing will be created" in good.stdout
    site.influxd.query('CREATE DATABASE "tessdb"')
    site.configure(influxdb={"retpol": "nowhere", "schema": ""})
    bad = site.run("--check")
    assert bad.returncode == 69
    assert "retention policy not found: nowhere; create it" in bad.stdout
    site.configure(influxdb={"dbname": "other"})
    assert "does not create the database other" in site.run("--check").stdout
    site.mosquitto.kill()
    site.influxd.kill()
    dead = site.run("--check")
    assert dead.returncode == 69
    assert f"tcp:127.0.0.1:{site.mosquitto.port}" in dead.stdout
    assert site.influxd.url in dead.stdout
    assert "Traceback" not in dead.stdout + dead.stderr
