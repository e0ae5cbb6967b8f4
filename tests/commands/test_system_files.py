"""The init script and the logrotate file, as sh and the real logrotate run them."""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tessflux.commands.shipped import DEFAULTS, own_files, shipped_files
from tests.commands.machine import INIT_SCRIPT, IS_ROOT, USER, Logs, Machine


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users may enter, unlike those of `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def machine(place: Path) -> Iterator[Machine]:
    machine = Machine(place)
    yield machine
    machine.end()


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with tessflux."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


# Starting and stopping


def test_start_returns_when_the_daemon_is_ready_and_stop_when_it_has_ended(machine: Machine) -> None:
    # It removes its pid file half a second before it ends.
    machine.config.write_text("slow")
    assert machine.codes("status", "start", "status") == [3, 0, 0]
    assert machine.events() == ["START"]
    assert machine.codes("stop") == [0]
    assert machine.events() == ["START", "TERM", "END"]
    assert machine.codes("status") == [3]


def test_starting_a_running_daemon_and_stopping_none_are_no_failures(machine: Machine) -> None:
    assert machine.codes("stop", "start", "start") == [0, 0, 0]
    assert machine.events() == ["START"]


def test_restart_ends_one_daemon_and_starts_the_next(machine: Machine) -> None:
    assert machine.codes("restart", "restart") == [0, 0]
    assert machine.events() == ["START", "TERM", "END", "START"]


def test_a_start_that_fails_returns_the_code_and_the_message_of_the_daemon(machine: Machine) -> None:
    machine.config.write_text("broken")
    result = machine.do("start")
    assert result.returncode == 78
    assert "config:1: what is that?" in result.stderr
    assert "did not start" in result.stdout
    assert machine.codes("status") == [3]


def test_a_daemon_that_does_not_stop_is_killed(machine: Machine) -> None:
    machine.config.write_text("deaf")
    machine.set(STOP_SECONDS=1)
    assert machine.codes("start") == [0]
    result = machine.do("stop")
    assert result.returncode == 0
    assert "did not stop within 1 seconds, killing it" in result.stdout
    assert machine.codes("status", "start") == [1, 0]


# Signals


def test_reload_pause_and_resume_send_signals(machine: Machine) -> None:
    assert machine.codes("start") == [0]
    expected = ["START"]
    for action, event in {"reload": "HUP", "force-reload": "HUP", "pause": "USR1", "resume": "USR2"}.items():
        assert machine.codes(action) == [0]
        expected.append(event)
        machine.wait_for_events(*expected)


def test_without_a_daemon_the_actions_that_send_signals_return_7(machine: Machine) -> None:
    assert machine.codes("reload", "force-reload", "pause", "resume") == [7, 7, 7, 7]


def test_a_wrong_config_is_reported_as_the_daemons_user_sees_it_and_ends_no_daemon(machine: Machine) -> None:
    if IS_ROOT:
        machine.set(RUN_AS=USER.pw_name)
    assert machine.codes("start") == [0]
    machine.config.write_text("broken")
    for action in ("reload", "restart"):
        result = machine.do(action)
        assert result.returncode == 78
        assert f"{USER.pw_uid} {machine.config}:1: what is that?" in result.stderr
    # The reload reopens the log all the same.
    machine.wait_for_events("START", "HUP")
    machine.config.write_text("")
    assert machine.codes("stop") == [0]


def test_the_status_is_also_what_the_daemon_says_of_itself(machine: Machine) -> None:
    assert machine.codes("start") == [0]
    assert machine.do("status").stdout.rstrip(".\n") == "tessflux is running"
    Path(f"{machine.pid_file}.state").write_text("delivery is paused since \033]0;then\n")
    status = machine.do("status")
    assert status.returncode == 0
    assert status.stdout.rstrip(".\n") == "tessflux is running; delivery is paused since ]0;then"
    assert machine.codes("resume", "stop") == [0, 0]


# Whose process it is


def test_a_stale_pid_file_misleads_nobody(machine: Machine, stranger: "subprocess.Popen[bytes]") -> None:
    machine.pid_file.write_text(f"{stranger.pid}\n")
    assert machine.codes("status", "reload", "stop") == [1, 7, 0]
    assert stranger.poll() is None
    assert machine.codes("start") == [0]
    assert machine.pid_file.read_text() == f"{machine.daemons()[0][0]}\n"


def test_a_user_cannot_make_root_signal_another_users_process(
    machine: Machine, stranger: "subprocess.Popen[bytes]"
) -> None:
    another = "nobody" if IS_ROOT else "root"
    machine.set(RUN_AS=another, PIDFILE=machine.pid_file, STOP_SECONDS=1)
    machine.pid_file.write_text(f"{stranger.pid}\n")
    with machine.pid_file.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for action, name in {"reload": "HUP", "stop": "TERM"}.items():
            result = machine.do(action)
            assert result.returncode == 4
            assert f"cannot send {name} to process {stranger.pid} of user {another}" in result.stdout
    assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "not a number\n"])
def test_no_signal_is_sent_if_a_locked_pid_file_holds_no_number(machine: Machine, content: str) -> None:
    machine.pid_file.write_text(content)
    with machine.pid_file.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert machine.codes("reload", "status") == [4, 0]


def test_with_a_pid_file_that_cannot_be_read_the_status_is_unknown(machine: Machine) -> None:
    machine.pid_file.mkdir()
    assert machine.codes("status", "stop") == [4, 4]


# What the script needs


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("DAEMON", "/no/program", 5), ("CONFIG_FILE", "/no/config", 6), ("RUN_AS", "no-such-user", 6)],
)
def test_a_start_names_what_is_missing(machine: Machine, setting: str, value: str, code: int) -> None:
    machine.set(**{setting: value})
    result = machine.do("start")
    assert result.returncode == code
    assert value in result.stdout
    assert machine.daemons() == []


@pytest.mark.parametrize("action", [(), ("",), ("begin",)])
def test_an_unknown_action_prints_the_usage(machine: Machine, action: tuple[str, ...]) -> None:
    result = machine.do(*action)
    assert result.returncode == 2
    # systemd learns from these words that there is a reload.
    assert re.search(r"^Usage: .*\|reload\|", result.stderr)


def test_with_run_as_the_daemon_runs_as_that_user_or_does_not_start(machine: Machine) -> None:
    machine.set(RUN_AS=USER.pw_name)
    result = machine.do("start")
    if not IS_ROOT:
        assert result.returncode == 4
        assert f"only root can start it as {USER.pw_name}" in result.stdout
        return
    assert result.returncode == 0
    assert machine.daemons()[0][1:] == [USER.pw_uid, USER.pw_gid]
    directory = (machine.run_directory / "tessflux").stat()
    assert (directory.st_uid, directory.st_gid) == (USER.pw_uid, USER.pw_gid)
    assert stat.S_IMODE(directory.st_mode) == 0o755
    assert machine.codes("status", "stop") == [0, 0]
    assert machine.events()[-1] == "END"


def test_an_existing_directory_for_the_pid_file_keeps_its_owner(machine: Machine) -> None:
    machine.set(RUN_AS=USER.pw_name, PIDFILE=machine.pid_file)
    assert machine.codes("start") != [0]
    assert machine.run_directory.stat().st_uid == os.geteuid()


def test_the_script_works_without_the_functions_of_the_lsb(machine: Machine) -> None:
    text = INIT_SCRIPT.read_text()
    machine.write_script(text.replace("/lib/lsb/init-functions", str(machine.place / "none")))
    assert machine.do("start").stdout == "tessflux started\n"
    assert machine.do("stop").stdout == "tessflux stopped\n"
    result = machine.do("reload")
    assert (result.returncode, result.stdout) == (7, "tessflux: it is not running failed!\n")


def test_the_header_tells_init_when_to_start_and_stop() -> None:
    text = INIT_SCRIPT.read_text()
    header = text[text.index("### BEGIN INIT INFO") : text.index("### END INIT INFO")]
    fields = dict(re.findall(r"^# ([\w-]+): +(.*)$", header, re.MULTILINE))
    assert fields["Provides"] == "tessflux"
    assert fields["Required-Start"] == "$remote_fs $syslog $network"
    assert fields["Should-Start"] == "mosquitto influxdb $time"
    assert fields["Default-Start"] == "2 3 4 5"
    assert fields["Default-Stop"] == "0 1 6"


def test_the_settings_that_are_installed_as_comments_are_the_defaults_of_the_script() -> None:
    files = shipped_files(own_files(), Path("/opt/tessflux/bin/tessflux"), unit=False)
    [settings] = [file.content.decode() for file in files if file.target == DEFAULTS]
    shown = dict(re.findall(r"^#(\w+)=(.*)$", settings, re.MULTILINE))
    assert shown.keys() == {"CONFIG_FILE", "PIDFILE", "STOP_SECONDS"}
    script = INIT_SCRIPT.read_text()
    for name in ("CONFIG_FILE", "STOP_SECONDS"):
        assert f"\n{name}={shown[name]}\n" in script


def test_shellcheck_finds_nothing_in_the_init_script() -> None:
    check = subprocess.run(["shellcheck", INIT_SCRIPT], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout) == (0, "")
    assert INIT_SCRIPT.stat().st_mode & stat.S_IXUSR


# Log rotation


@pytest.fixture
def logs(place: Path) -> Logs:
    return Logs(place)


@pytest.mark.parametrize("whose", ["of_root", "of_the_user"])
def test_a_log_is_renamed_to_its_date_and_the_new_one_has_its_owner_and_mode(logs: Logs, whose: str) -> None:
    path: Path = getattr(logs, whose)
    logs.write(path)
    before = path.stat()
    result = logs.rotate()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    (old,) = path.parent.glob("tessflux.log-*")
    assert re.fullmatch(r"tessflux\.log-\d{8}", old.name)
    assert old.read_text() == "old\n"
    after = path.stat()
    assert after.st_size == 0
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    # By the user who runs logrotate: `su` is only for the files.
    assert logs.reloads() == [f"reload {os.geteuid()}"]


def test_seven_old_logs_are_kept_and_all_but_the_newest_are_compressed(logs: Logs) -> None:
    logs.write(logs.of_the_user)
    for day in range(1, 10):
        compressed = ".gz" if day < 9 else ""
        logs.write(logs.of_the_user.with_name(f"tessflux.log-2020010{day}{compressed}"))
    assert logs.rotate().returncode == 0
    *older, newest = sorted(path.name for path in logs.of_the_user.parent.glob("*.log-*"))
    assert older == [f"tessflux.log-2020010{day}.gz" for day in range(4, 10)]
    assert not newest.endswith(".gz")


def test_empty_and_missing_logs_are_left_alone(logs: Logs) -> None:
    logs.of_root.touch()
    result = logs.rotate()
    assert (result.returncode, result.stderr) == (0, "")
    assert logs.reloads() == []
    assert [path.name for path in logs.of_root.parent.glob("*.log*")] == ["tessflux.log"]


@pytest.mark.parametrize(("code", "accepted"), [(7, True), (78, True), (1, False), (4, False)])
def test_a_failed_reload_is_reported_unless_the_log_needs_no_reopening(
    logs: Logs, code: int, accepted: bool
) -> None:
    """7: tessflux is not running; 78: its config is wrong, but the log was reopened."""
    logs.write(logs.of_root)
    logs.reload_ends_with(code)
    result = logs.rotate()
    assert (result.returncode == 0) is accepted
    assert (result.stderr == "") is accepted


def test_logrotate_ignores_a_new_version_beside_an_edited_file(logs: Logs) -> None:
    logs.write(logs.of_root)
    shutil.copy(logs.config, f"{logs.config}.dpkg-dist")
    including = logs.place / "logrotate.conf"
    including.write_text(f"include {logs.config.parent}\n")
    including.chmod(0o644)
    logs.config = including
    result = logs.rotate()
    assert (result.returncode, result.stderr) == (0, "")
    assert len(logs.reloads()) == 1
