"""The real daemon as a service: the init script and logrotate file that `--install` puts, and the detaching.

The daemon runs as the tester; that a service runs as its own user is shown with a stand-in, by
test_system_files.py.
"""

import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tessflux.commands.manifest import MANIFEST
from tests.commands.site import FILES
from tests.real.service import Service
from tests.real.site import DEADLINE, Publisher, Site, reading, wait_until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "root")
    yield service
    if service.runs():
        service.kill()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# The init script


def test_what_is_installed_stores_readings_and_obeys_every_action(service: Service, site: Site) -> None:
    service.listen(f"tcp:127.0.0.1:{site.mosquitto.port}", site.influxd.url)
    service.change("#flush_interval = 1\n", "flush_interval = 0.1\n")
    assert service.code("start") == 0
    assert service.code("status") == 0
    service.wait_for_log("Subscribed to")
    publisher = Publisher(site.mosquitto)
    publisher.publish([reading("stars1", 1, 1)])
    wait_until(lambda: site.count() == 1, "the database has it")
    assert service.code("pause") == 0
    service.wait_for_log("Delivery is paused")
    publisher.publish([reading("stars1", 2, 2)])
    export = ("export", "-c", str(service.config))
    wait_until(lambda: "freq=2.0," in service.run(*export).stdout, "it waits in the spool")
    assert service.unread(*export) == (0, "")
    assert site.count() == 1
    (line,) = re.findall(r"; (delivery is paused since .* UTC)", service.do("status").stdout)
    check = service.run("--check", "-c", str(service.config))
    assert f"daemon     warning: {line}; to resume it: service tessflux resume\n" in check.stdout
    assert check.returncode == 0
    assert service.code("resume") == 0
    wait_until(lambda: site.count() == 2, "the database has it")
    publisher.publish([reading("stars1", 3, 3)])
    publisher.close()
    assert service.code("restart") == 0
    wait_until(lambda: site.count() == 3, "a restart loses nothing")
    assert service.code("stop") == 0
    assert "tessflux has stopped, 0 readings wait" in service.log.read_text()
    assert service.code("status") == 3
    assert not service.pid_file.exists()


def test_a_pause_ends_with_the_daemon_however_that_ends(service: Service) -> None:
    assert service.code("start") == 0
    for end in (lambda: service.code("stop"), service.kill):
        assert service.code("pause") == 0
        wait_until(lambda: "paused since" in service.do("status").stdout, "it says that it is paused")
        end()
        assert service.code("start") == 0
        assert "paused" not in service.do("status").stdout
        assert "paused" not in service.run("--check", "-c", str(service.config)).stdout


def test_starting_twice_is_one_daemon_and_a_restart_another(service: Service) -> None:
    assert service.code("start") == 0
    first = service.pid
    assert service.code("start") == 0
    assert service.pid == first
    assert service.code("restart") == 0
    assert service.pid != first
    assert service.code("stop") == 0
    assert service.code("stop") == 0


def test_a_reload_takes_a_new_config_and_refuses_a_wrong_one(service: Service) -> None:
    assert service.code("reload") == 7
    assert service.code("start") == 0
    service.change("#max_size = 1G", "max_size = 2G")
    assert service.code("reload") == 0
    service.wait_for_log(f"Reloaded {service.config}")
    service.change("max_size = 2G", "max_size = much")
    result = service.do("force-reload")
    assert result.returncode == 78
    assert "[spool] max_size" in result.stderr
    service.wait_for_log("The config stays as it was")
    assert service.code("status") == 0


def test_a_restart_with_a_wrong_config_leaves_the_daemon_alone(service: Service) -> None:
    assert service.code("start") == 0
    before = service.pid
    service.change("#max_size = 1G", "max_size = much")
    result = service.do("restart")
    assert result.returncode == 78
    assert "[spool] max_size" in result.stderr
    assert (service.code("status"), service.pid) == (0, before)


def test_a_start_with_a_wrong_config_fails_and_names_the_line(service: Service) -> None:
    service.change("[mqtt]\n", "[mqtt]\nbrokr = there\n")
    line = service.config.read_text().splitlines().index("brokr = there") + 1
    result = service.do("start")
    assert result.returncode == 78
    assert f"{service.config}:{line}: [mqtt] brokr: unknown key" in result.stderr
    assert "did not start" in result.stdout
    assert service.code("status") == 3


def test_a_killed_daemon_is_seen_as_dead_and_started_again(service: Service) -> None:
    assert service.code("start") == 0
    service.kill()
    assert service.code("status") == 1
    assert service.code("pause") == 7
    assert service.code("start") == 0
    assert service.code("status") == 0


def test_a_start_puts_a_pid_file_of_its_own_for_that_of_whoever_was_before(service: Service) -> None:
    """He may have been another user, whose file the daemon could not write."""
    service.pid_file.write_text(f"{os.getpid()}\n")
    with service.pid_file.open() as stale:
        assert service.code("stop") == 0
        assert service.code("start") == 0
        assert not os.path.samestat(os.fstat(stale.fileno()), service.pid_file.stat())
    assert service.pid != os.getpid()


@pytest.mark.parametrize("name", ["tessflux/tessflux.log", "tessflux.log"])
def test_a_live_log_is_rotated_and_the_daemon_goes_on_in_the_new_one(service: Service, name: str) -> None:
    """The second is where the log of 2017 is."""
    service.change("/var/log/tessflux/tessflux.log", f"/var/log/{name}")
    service.log = service.root / "var/log" / name
    assert service.code("start") == 0
    before = service.log.read_text()
    result = service.rotate()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    service.wait_for_log("Reloaded")
    assert service.code("pause") == 0
    service.wait_for_log("Delivery is paused")
    (old,) = service.log.parent.glob("tessflux.log-*")
    assert re.fullmatch(r"tessflux\.log-\d{8}", old.name)
    assert old.read_text().startswith(before)
    assert "Delivery is paused" not in old.read_text()
    assert "starts with" not in service.log.read_text()
    assert mode(service.log) == mode(old) == 0o640


# Detaching


def test_the_daemon_is_on_its_own_when_the_caller_gets_0(service: Service) -> None:
    """The caller's end also shows that nobody else holds its output."""
    result = service.detach()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert service.runs()
    assert service.code("status") == 0
    assert os.getsid(service.pid) not in (os.getsid(0), service.pid)
    assert Path(f"/proc/{service.pid}/cwd").readlink() == Path("/")
    streams = {Path(f"/proc/{service.pid}/fd/{number}").readlink() for number in (0, 1, 2)}
    assert streams == {Path("/dev/null")}
    assert mode(service.log) == 0o640
    assert mode(service.pid_file) == 0o644
    made = [path for path in service.spool.iterdir() if path.is_file()]
    assert {mode(path) for path in made} == {0o640}
    os.kill(service.pid, signal.SIGTERM)
    wait_until(lambda: not service.pid_file.exists(), "it ends and takes its pid file along")


def test_a_caller_without_standard_streams_gets_a_daemon_too(service: Service) -> None:
    command = f'exec "{service.program}" -c "{service.config}" --pid-file "{service.pid_file}" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False, timeout=DEADLINE).returncode == 0
    assert service.runs()


def test_what_prevents_a_start_is_the_callers_to_know(service: Service) -> None:
    nowhere = str(service.root / "no/directory")
    for code, arguments, message in (
        (64, ["--bogus"], "unrecognized arguments: --bogus; see tessflux --help"),
        (78, ["-c", nowhere], f"{nowhere}: there is no such file"),
        (78, ["-c", nowhere, "--check"], f"{nowhere}: there is no such file"),
        (73, ["--pid-file", nowhere], f"cannot create the pid file {nowhere}: No such file or directory"),
    ):
        result = service.detach(*arguments)
        assert (result.returncode, result.stdout) == (code, "")
        assert message in result.stderr
    assert not service.pid_file.exists()


@pytest.mark.parametrize(
    ("key", "message"), [("log_file", "cannot open the log"), ("directory", "cannot use the spool")]
)
def test_what_fails_after_the_detaching_is_the_callers_to_know_too(
    service: Service, key: str, message: str
) -> None:
    """A file stands where a directory is needed."""
    service.change(f"{key} = {service.root}", f"{key} = {service.program}")
    result = service.detach()
    assert result.returncode == 73
    assert message in result.stderr
    assert "Not a directory" in result.stderr
    assert not service.pid_file.exists()


def test_a_second_daemon_is_refused_for_the_pid_file_or_else_for_the_spool(service: Service) -> None:
    assert service.detach().returncode == 0
    other = service.root / "other.pid"
    for pid_file, taken in ((service.pid_file, service.pid_file), (other, service.spool)):
        result = service.detach("--pid-file", str(pid_file))
        assert result.returncode == 75
        assert f"process {service.pid}" in result.stderr
        assert str(taken) in result.stderr
    assert not other.exists()
    assert service.runs()


def test_a_stale_pid_file_is_no_obstacle(service: Service) -> None:
    service.pid_file.write_text(f"{os.getpid()} and much more\n")
    assert service.detach().returncode == 0
    assert service.pid_file.read_text() == f"{service.pid}\n"


# Output that nobody reads to its end


def test_an_installation_is_complete_also_when_nobody_reads_what_it_says(service: Service) -> None:
    """Unbuffered, so that the first line already fails."""
    other = service.root / "other"
    assert service.unread("--install", "--root", str(other), PYTHONUNBUFFERED="1") == (0, "")
    installed = {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}
    kit = "usr/local/share/tessflux/grafana/"
    assert {each for each in installed if not each.startswith(kit)} == {
        *(each for each in FILES if not each.startswith(kit)),
        MANIFEST,
    }
    assert service.unread("--uninstall", "--root", str(other)) == (0, "")
    assert [path for path in other.rglob("*") if path.is_file()] == []


def test_a_check_gives_its_verdict_also_when_nobody_reads_it(service: Service) -> None:
    assert service.unread("--check", "-c", str(service.config)) == (69, "")
