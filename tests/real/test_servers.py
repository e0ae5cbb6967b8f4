"""The servers of the tests: they start, stay on this machine, keep their data, and end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Influxd, Mosquitto, Program, Server, ServerFailed, find_program, free_port, listening

from tests.real.site import wait_until

SERVERS = [Mosquitto, Influxd]


def has_ended(pid: int) -> bool:
    """Also when nobody has yet asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_listens_on_the_loopback_address_only_and_stops(
    kind: type[Mosquitto | Influxd], tmp_path: Path
) -> None:
    with kind(tmp_path) as server:
        assert server.running
        addresses = listening(server.pid)
        assert ("127.0.0.1", server.port) in addresses
        assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert not server.running
    assert has_ended(server.pid)
    with kind(tmp_path, port=server.port) as again:
        assert again.port == server.port


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_was_killed_starts_again_on_the_same_port(
    kind: type[Mosquitto | Influxd], tmp_path: Path
) -> None:
    with kind(tmp_path) as server:
        first = server.pid
        server.kill()
        assert (server.running, server.returncode) == (False, -signal.SIGKILL)
        server.start()
        assert server.running
        assert server.pid != first


def test_influxd_keeps_its_databases_over_a_restart(tmp_path: Path) -> None:
    with Influxd(tmp_path) as influxd:
        influxd.query('CREATE DATABASE "kept"')
        influxd.restart()
        (databases,) = influxd.query("SHOW DATABASES")
    assert databases["values"] == [["kept"]]


def test_what_influxd_refuses_is_raised_in_its_own_words(tmp_path: Path) -> None:
    with Influxd(tmp_path, http={"auth-enabled": True}) as influxd:
        with pytest.raises(ServerFailed, match="create admin user first"):
            influxd.query("SHOW DATABASES")
        influxd.query("CREATE USER boss WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
        assert influxd.query("SHOW USERS", u="boss", p="secret")[0]["values"] == [["boss", True]]
        with pytest.raises(ServerFailed, match="database not found: nowhere"):
            influxd.query("SHOW RETENTION POLICIES", "nowhere", u="boss", p="secret")


def test_what_mosquitto_remembers_is_in_its_directory(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, settings=["max_queued_messages 5"]):
        pass
    assert (tmp_path / "mosquitto.db").is_file()
    assert "mosquitto version" in (tmp_path / "mosquitto.log").read_text()


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    broken = Mosquitto(tmp_path, settings=["no_such_setting 1"])
    with pytest.raises(ServerFailed, match="no_such_setting"):
        broken.start()
    assert not broken.running


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_whose_port_is_taken_does_not_pass_for_the_other(
    kind: type[Mosquitto | Influxd], tmp_path: Path
) -> None:
    with (
        Mosquitto(tmp_path / "first") as first,
        pytest.raises(ServerFailed, match=r"(?i)address (already )?in use"),
    ):
        kind(tmp_path / "second", port=first.port).start()


def test_the_error_about_a_missing_program_names_its_package() -> None:
    with pytest.raises(ServerFailed, match="apt-get install its-package"):
        find_program("no-such-program", "its-package")


def test_a_server_ends_with_its_starter_even_if_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, servers, sys, time\n"
        "server = servers.Mosquitto(pathlib.Path(sys.argv[1]))\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    scripts = Path(sys.modules[Server.__module__].__file__ or "").parent
    starter = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, cwd=scripts)
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert not has_ended(pid)
        starter.kill()
    wait_until(lambda: has_ended(pid), "the server ends")


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    command = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.01; done"]
    with Program("deaf", command, tmp_path / "log") as deaf:
        wait_until(lambda: deaf.tail() == "deaf", "it is deaf")
        deaf.stop(seconds=0.1)
        assert deaf.returncode == -signal.SIGKILL


def test_a_free_port_is_free() -> None:
    ports = [free_port() for _ in range(20)]
    assert all(0 < port < 65536 for port in ports)
