"""Alarms are raised and cleared for real, and a command of the operator's hears of each once.

That of a silent photometer is in test_photometers.py.
"""

import json
import os

from servers import Influxd, Mosquitto

from tests.real.listener import Listener
from tests.real.site import Publisher, Site, reading, wait_until

SHORT = {"output": "5s", "broker": "5s", "spool": "2%", "not_stored": 0, "per_hour": 3_600}


def test_each_of_the_servers_and_the_spool_is_raised_and_cleared(
    site: Site, publisher: Publisher, listener: Listener, mosquitto: Mosquitto, influxd: Influxd
) -> None:
    sections: dict[str, dict[str, object]] = {
        "influxdb": {"resend": 0},
        "spool": {"directory": site.spool, "max_size": "64M"},
        "alarm": {"command": listener.command, **SHORT},
    }
    site.configure(**sections)
    site.start()
    publisher.publish([reading("stars1", 1, 1.0)])
    site.wait_for_rows(1)

    # The database dies, and the spool fills; a restart of tessflux says neither again.
    influxd.kill()
    publisher.publish([reading("stars1", number, 2.0 + number) for number in range(2, 15_001)], qos=1)
    listener.wait_for("output raised: ", "spool raised: ")
    # What is killed before it knows that the command has ended runs it again.
    kept = site.spool / "alarms.json"
    wait_until(lambda: json.loads(kept.read_text())["untold"] == [], "all is told")
    site.kill()
    site.start()
    publisher.publish([reading("stars1", 15_001, 1.0)], qos=1)
    status = json.loads(site.run("status", "--json").stdout)
    assert {"output", "spool"} <= {alarm["kind"] for alarm in status["alarms"]}
    assert "! alarm for " in site.run("status").stdout
    influxd.start()
    listener.wait_for("output cleared: ")

    # The broker dies.
    sections["alarm"]["not_stored"] = "5s"
    site.configure(**sections)
    assert site.run("reload").returncode == 0
    mosquitto.kill()
    listener.wait_for("spool cleared: ", "broker raised: ", "not_stored raised: ")
    mosquitto.start()
    listener.wait_for("broker cleared: ")
    again = Publisher(mosquitto)
    again.publish([reading("stars1", 15_002, 1.0)])
    listener.wait_for("not_stored cleared: ")
    again.close()
    site.stop()

    # Nothing more is published: a moment later no reading is stored once more.
    said = [line for line in listener.lines() if not line.startswith("not_stored")]
    output = f"the database of [influxdb] at {influxd.url}"
    directory = f"the spool in {site.spool}"
    begins = [
        f"output raised: {output} is away since ",
        f"output cleared: {output} is back",
        f"spool raised: {directory} is ",
        f"spool cleared: {directory} is only ",
        f"broker raised: the broker at tcp:{mosquitto.address} is away since ",
        f"broker cleared: the broker at tcp:{mosquitto.address} is back",
    ]
    assert len(said) == len(begins), said
    for begin in begins:
        assert [line for line in said if line.startswith(begin)], begin
    [full] = [line for line in said if line.startswith("spool raised")]
    assert ", because [influxdb] lacks " in full
    assert f"Alarm: {full.partition(': ')[2]}" in site.log.read_text()


def test_an_operator_tries_the_command(site: Site, listener: Listener) -> None:
    unset = site.run("test-alarm")
    assert (unset.returncode, unset.stderr) == (
        64,
        "tessflux: [alarm] command is not set: nobody is told of alarms\n",
    )
    site.configure(alarm={"command": listener.command})
    tried = site.run("test-alarm")
    assert (tried.returncode, tried.stdout) == (0, f"{listener.command} was run, and ended well\n")
    assert listener.lines() == ["test raised: this is a test: alarms of tessflux come this way"]
    listener.command.write_text("#!/bin/sh\necho no route; exit 7\n")
    failed = site.run("test-alarm")
    assert failed.returncode == 69
    assert failed.stdout == f"it printed: no route\n{listener.command} failed with exit code 7\n"
    os.chmod(listener.command, 0o644)
    wrong = site.run("test-alarm")
    assert wrong.returncode == 78
    assert "[alarm] command = " in wrong.stderr
    assert "chmod 755 it" in wrong.stderr


def test_a_command_that_hangs_ends_with_the_daemon_and_is_told_again(
    site: Site, listener: Listener, mosquitto: Mosquitto
) -> None:
    script = listener.command.read_text()
    listener.command.write_text(f"{script}sleep 600\n")
    site.configure(alarm={"command": listener.command, **SHORT})
    site.start()
    mosquitto.kill()
    listener.wait_for("broker raised: ")
    site.stop()
    assert "internal" not in site.logged()
    assert "failed" not in site.logged()
    mosquitto.start()
    listener.command.write_text(script)
    site.start()
    listener.wait_for("broker cleared: ")
    site.stop()
    raised, again, cleared = listener.lines()
    assert raised == again
    assert cleared.startswith("broker cleared: ")
