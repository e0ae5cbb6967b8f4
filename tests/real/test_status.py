"""A running daemon is asked over its sockets, as its operator and Prometheus do."""

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from servers import free_port

from tests.real.site import Publisher, Site, reading, wait_until


def test_an_operator_sees_and_controls_a_running_daemon(site: Site, publisher: Publisher) -> None:
    port = free_port()
    site.configure(status={"listen": f"127.0.0.1:{port}"})
    site.start()
    publisher.publish([reading("stars1", 1, 1), ("STARS4ALL/x/reading", "no JSON")])
    site.wait_for_rows(1)
    wait_until(lambda: "all is well" in site.run("status").stdout, "all is well")
    shown = site.run("status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "2: 1 stored" in shown.stdout
    assert "1 refused (not JSON 1)" in shown.stdout
    assert "1 delivered, the last one" in shown.stdout
    wait_until(
        lambda: "stars1" in site.run("photometers").stdout, "the register has looked, as it does every second"
    )
    heard = site.run("photometers")
    assert (heard.returncode, heard.stderr) == (0, "")
    assert heard.stdout.splitlines()[1].split()[:2] == ["stars1", "heard"]
    assert site.run("photometers", "--silent", "1h").stdout.endswith("\nnone\n")
    nagios = site.run("status", "--nagios")
    assert (nagios.returncode, nagios.stdout.count("\n")) == (0, 1)
    assert " | received=2c stored=1c refused=1c lost=0c waiting=0;;;0 spool=" in nagios.stdout

    # A pause holds readings back, and is seen everywhere.
    assert (
        site.run("pause", "influxdb").stdout
        == "Delivery to [influxdb] is paused; readings wait in the spool\n"
    )
    publisher.publish([reading("stars1", 2, 2)])
    wait_until(lambda: json.loads(site.run("status", "--json").stdout)["spool"]["waiting"] == 1, "it waits")
    status = json.loads(site.run("status", "--json").stdout)
    (output,) = status["outputs"]
    assert output["oldest_waiting"] == pytest.approx(status["time"], abs=60)
    assert site.run("status", "--nagios").returncode == 1
    refused = site.run("pause", "nowhere")
    assert (refused.returncode, refused.stdout) == (65, "")
    assert "has no output nowhere; there are: influxdb" in refused.stderr
    assert site.run("resume").returncode == 0
    site.wait_for_rows(2)

    # The same over TCP, where nothing can be changed.
    base = f"http://127.0.0.1:{port}"

    def metrics() -> str:
        with urllib.request.urlopen(f"{base}/metrics") as answer:
            return str(answer.read().decode())

    # The row may be there before the answer that says so.
    delivered = '\ntessflux_output_readings_total{output="influxdb",result="delivered"} 2.0\n'
    wait_until(lambda: delivered in metrics(), "both are delivered")
    assert "\nprocess_resident_memory_bytes " in metrics()
    with urllib.request.urlopen(f"{base}/readyz") as answer:
        assert answer.read() == b"ok\n"
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{base}/v1/pause", b"")
    assert raised.value.code == 404
    raised.value.close()

    # A reload says what is wrong with the config, and closes what is not in it any more.
    site.configure()
    assert site.run("reload").stdout == f"Reloaded {site.config}\n"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{base}/healthz")
    site.config.write_text(site.config.read_text().replace("[spool]\n", "[spool]\nmax_size = much\n"))
    wrong = site.run("reload", "--socket", str(site.spool / "status.sock"))
    assert wrong.returncode == 65
    assert "[spool] max_size" in wrong.stderr
    site.configure()

    # Without a daemon each says so, also where a killed one has left its socket.
    site.kill()
    assert (site.spool / "status.sock").is_socket()
    for command in ("status", "pause", "resume", "reload"):
        result = site.run(command)
        assert (result.returncode, result.stdout) == (69, "")
        assert f"no daemon answers at {site.spool}/status.sock" in result.stderr
        assert "Does tessflux run" in result.stderr
    assert site.run("status", "--nagios").returncode == 2
    site.start()
    assert site.run("status").returncode == 0
    site.stop()
    assert not (site.spool / "status.sock").exists()


def test_the_daemon_is_healthy_and_not_ready_while_its_servers_are_away(site: Site) -> None:
    site.configure(mqtt={"broker": "tcp:127.0.0.1:1"}, influxdb={"url": "http://127.0.0.1:1"})
    site.launch()
    wait_until(lambda: "is away: Connection refused" in site.run("status").stdout, "both are away")
    status = json.loads(site.run("status", "--json").stdout)
    wait_until(lambda: len(json.loads(site.run("status", "--json").stdout)["problems"]) == 2, "two problems")
    assert status["spool"]["answers"]
    # What is stopped does not answer, and that is said too.
    path = Path(site.spool / "status.sock")
    assert path.stat().st_mode & 0o777 == 0o660
    os.kill(site.process.pid, signal.SIGTERM)
    wait_until(lambda: not path.exists(), "the socket is gone")
