"""The init script and the logrotate file, as sh and the real logrotate run them.

Copies are tried whose paths lead into a directory of their own. The daemon is a stand-in that keeps
the contract of the real one: it detaches, its parent passes on its failure, it holds the lock of
its pid file while it lives, and it answers to the same signals. Its config is its behaviour.
"""

import fcntl
import grp
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
INIT_SCRIPT = REPOSITORY / "init.d/tessflux"
LOGROTATE = REPOSITORY / "logrotate.d/tessflux"

IS_ROOT = os.geteuid() == 0
# Who may own what this tester makes: another for root, oneself for anyone else.
USER = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())

# The interpreter of the tests may lie in the home of the tester, where the user cannot go.
SYSTEM_PYTHON = Path("/usr/bin/python3")
PYTHON = str(SYSTEM_PYTHON if SYSTEM_PYTHON.exists() else Path(sys.executable).resolve())

DAEMON = r"""#!PYTHON
import fcntl, os, signal, sys, time
check = "--check-config" in sys.argv
config, pid_file = sys.argv[sys.argv.index("-c") + 1], sys.argv[-1]
behaviour = open(config).read().split()
if "broken" in behaviour:
    sys.exit(print("%d %s:1: what is that?" % (os.getuid(), config), file=sys.stderr) or 78)
if check:
    sys.exit(0)
here = os.path.dirname(os.path.abspath(sys.argv[0]))
log = os.open(here + "/log", os.O_WRONLY | os.O_APPEND)
ready, readiness = os.pipe()
if os.fork():
    os.close(readiness)
    sys.exit(0 if os.read(ready, 1) else 73)
os.setsid()
if os.fork():
    os._exit(0)
with open(pid_file, "a") as stream:
    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    stream.truncate(0)
    stream.write("%d\n" % os.getpid())
    stream.flush()
    received = []
    names = {"HUP", "USR1", "USR2"} if "deaf" in behaviour else {"HUP", "USR1", "USR2", "TERM"}
    if "deaf" in behaviour:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, "SIG" + n) for n in names})
    os.write(log, b"START %d %d %d\n" % (os.getpid(), os.getuid(), os.getgid()))
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    os.write(readiness, b"r")
    os.close(readiness)
    while "TERM" not in received:
        received.append(signal.Signals(signal.sigwait(
            {getattr(signal, "SIG" + n) for n in names})).name[3:])
        os.write(log, received[-1].encode() + b"\n")
    os.unlink(pid_file)
    if "slow" in behaviour:
        time.sleep(0.5)
    os.write(log, b"END\n")
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users may enter, unlike those of `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


class Machine:
    """The init script with a machine of its own: /etc/default, /run and the program."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run_directory = place / "run"
        self.run_directory.mkdir()
        self.pid_file = self.run_directory / "tessflux.pid"
        self.program = place / "tessflux"
        self.program.write_text(DAEMON.replace("PYTHON", PYTHON))
        self.program.chmod(0o755)
        self.config = place / "config"
        self.config.write_text("")
        self.log = place / "log"
        self.log.touch()
        self.log.chmod(0o666)
        self.script = place / "init"
        self.write_script(INIT_SCRIPT.read_text())
        self.set()

    def write_script(self, text: str) -> None:
        text = text.replace("/etc/default/tessflux", str(self.place / "default"))
        text = text.replace("PIDFILE=/run/", f"PIDFILE={self.run_directory}/")
        self.script.write_text(text)
        self.script.chmod(0o755)

    def set(self, **settings: object) -> None:
        """Write /etc/default/tessflux."""
        settings = {"DAEMON": self.program, "CONFIG_FILE": self.config} | settings
        text = "".join(f"{name}='{value}'\n" for name, value in settings.items())
        (self.place / "default").write_text(text)

    def do(self, *action: str) -> subprocess.CompletedProcess[str]:
        """As `service` does it: without an environment."""
        return subprocess.run(
            [self.script, *action],
            env={},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def code(self, *action: str) -> int:
        return self.do(*action).returncode

    def events(self) -> list[str]:
        """What the daemons wrote: START with their numbers, each signal, END."""
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def wait_for_events(self, *expected: str) -> None:
        deadline = time.monotonic() + 30
        while self.events() != list(expected):
            assert time.monotonic() < deadline, self.events()
            time.sleep(0.01)

    def daemons(self) -> list[int]:
        started = (line.split() for line in self.log.read_text().splitlines())
        return [int(words[1]) for words in started if words[0] == "START"]

    def end(self) -> None:
        for pid in self.daemons():
            try:
                command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if str(self.program).encode() in command_line:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def machine(place: Path) -> Iterator[Machine]:
    machine = Machine(place)
    yield machine
    machine.end()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


# The init script: starting and stopping


def test_start_returns_when_the_daemon_is_ready_and_stop_when_it_has_ended(
    machine: Machine,
) -> None:
    machine.config.write_text("slow")
    assert machine.code("status") == 3
    assert machine.code("start") == 0
    assert machine.events() == ["START"]
    assert machine.code("status") == 0
    # the stand-in removes its pid file half a second before it ends
    assert machine.code("stop") == 0
    assert machine.events() == ["START", "TERM", "END"]
    assert machine.code("status") == 3


def test_starting_what_runs_and_stopping_what_does_not_is_no_failure(machine: Machine) -> None:
    assert machine.code("stop") == 0
    assert machine.code("start") == 0
    assert machine.code("start") == 0
    assert len(machine.daemons()) == 1


def test_restart_ends_one_daemon_and_starts_the_next(machine: Machine) -> None:
    assert machine.code("restart") == 0
    assert machine.code("restart") == 0
    assert machine.events() == ["START", "TERM", "END", "START"]


def test_a_start_that_fails_has_the_code_and_the_words_of_the_daemon(machine: Machine) -> None:
    machine.config.write_text("broken")
    result = machine.do("start")
    assert result.returncode == 78
    assert "config:1: what is that?" in result.stderr
    assert "did not start" in result.stdout
    assert machine.code("status") == 3


def test_a_daemon_that_does_not_stop_is_killed_and_that_is_said(machine: Machine) -> None:
    machine.config.write_text("deaf")
    machine.set(STOP_SECONDS=1)
    assert machine.code("start") == 0
    result = machine.do("stop")
    assert result.returncode == 0
    assert "not ended after 1 seconds, killing it" in result.stdout
    assert machine.code("status") == 1
    assert machine.code("start") == 0


# The init script: signals


def test_reload_pause_and_resume_are_signals(machine: Machine) -> None:
    assert machine.code("start") == 0
    expected = ["START"]
    for action, event in (
        ("reload", "HUP"),
        ("force-reload", "HUP"),
        ("pause", "USR1"),
        ("resume", "USR2"),
    ):
        assert machine.code(action) == 0
        expected.append(event)
        machine.wait_for_events(*expected)


@pytest.mark.parametrize("action", ["reload", "force-reload", "pause", "resume"])
def test_a_signal_to_what_does_not_run_is_answered_with_7(machine: Machine, action: str) -> None:
    assert machine.code(action) == 7


# The init script: whose process is it


def test_a_pid_file_that_outlived_its_daemon_misleads_nobody(
    machine: Machine, stranger: "subprocess.Popen[bytes]"
) -> None:
    machine.pid_file.write_text(f"{stranger.pid}\n")
    assert machine.code("status") == 1
    assert machine.code("reload") == 7
    assert machine.code("stop") == 0
    assert stranger.poll() is None
    assert machine.code("start") == 0
    assert machine.pid_file.read_text() == f"{machine.daemons()[0]}\n"


def test_a_user_cannot_make_root_signal_the_process_of_another(
    machine: Machine, stranger: "subprocess.Popen[bytes]"
) -> None:
    another = "nobody" if IS_ROOT else "root"
    machine.set(RUN_AS=another, PIDFILE=machine.pid_file, STOP_SECONDS=1)
    machine.pid_file.write_text(f"{stranger.pid}\n")
    with machine.pid_file.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for action in ("reload", "stop"):
            result = machine.do(action)
            assert result.returncode == 4
            assert f"process {stranger.pid} of user {another} took no signal" in result.stdout
    assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "not a number\n"])
def test_a_locked_pid_file_without_a_number_is_no_reason_to_guess(machine: Machine, content: str) -> None:
    machine.pid_file.write_text(content)
    with machine.pid_file.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert machine.code("reload") == 4
        assert machine.code("status") == 0


def test_a_pid_file_that_cannot_be_read_is_an_unknown_status(machine: Machine) -> None:
    machine.pid_file.mkdir()
    assert machine.code("status") == 4
    assert machine.code("stop") == 4


# The init script: what it needs


def test_what_is_missing_is_named(machine: Machine) -> None:
    for code, name, value in (
        (5, "DAEMON", machine.place / "no-program"),
        (6, "CONFIG_FILE", machine.place / "no-config"),
        (6, "RUN_AS", "no-such-user"),
    ):
        machine.set(**{name: value})
        result = machine.do("start")
        assert result.returncode == code
        assert str(value) in result.stdout
    assert machine.daemons() == []


@pytest.mark.parametrize("action", [(), ("",), ("begin",)])
def test_an_unknown_action_is_answered_with_the_usage(machine: Machine, action: tuple[str, ...]) -> None:
    result = machine.do(*action)
    assert result.returncode == 2
    # the words by which systemd learns that there is a reload
    assert re.search(r"^Usage: .*\|reload\|", result.stderr)


def test_with_a_user_of_its_own_the_daemon_is_that_user_or_does_not_start(
    machine: Machine,
) -> None:
    machine.set(RUN_AS=USER.pw_name)
    result = machine.do("start")
    if not IS_ROOT:
        assert result.returncode == 4
        assert f"only root can start it as {USER.pw_name}" in result.stdout
        return
    assert result.returncode == 0
    started = machine.log.read_text().split()
    assert started[2:] == [str(USER.pw_uid), str(USER.pw_gid)]
    directory = (machine.run_directory / "tessflux").stat()
    assert (directory.st_uid, directory.st_gid) == (USER.pw_uid, USER.pw_gid)
    assert stat.S_IMODE(directory.st_mode) == 0o755
    assert machine.code("status") == 0
    assert machine.code("stop") == 0
    assert machine.events()[-1] == "END"


def test_a_directory_that_exists_keeps_its_owner(machine: Machine) -> None:
    machine.set(RUN_AS=USER.pw_name, PIDFILE=machine.pid_file)
    assert machine.code("start") != 0
    assert machine.run_directory.stat().st_uid == os.geteuid()


def test_a_wrong_config_is_told_by_its_reader_and_ends_no_daemon(machine: Machine) -> None:
    if IS_ROOT:
        machine.set(RUN_AS=USER.pw_name)
    assert machine.code("start") == 0
    before = machine.events()
    machine.config.write_text("broken")
    for action in ("reload", "restart"):
        result = machine.do(action)
        assert result.returncode == 78
        assert f"{USER.pw_uid} {machine.config}:1: what is that?" in result.stderr
    # The log is reopened all the same.
    machine.wait_for_events(*before, "HUP")
    machine.config.write_text("")
    assert machine.code("stop") == 0


def test_it_works_without_the_functions_of_the_lsb(machine: Machine) -> None:
    text = INIT_SCRIPT.read_text()
    machine.write_script(text.replace("/lib/lsb/init-functions", str(machine.place / "none")))
    assert machine.do("start").stdout == "tessflux started\n"
    assert machine.do("stop").stdout == "tessflux stopped\n"
    result = machine.do("reload")
    assert (result.returncode, result.stdout) == (7, "tessflux: it does not run failed!\n")


def test_the_header_tells_init_when_to_start_and_stop() -> None:
    text = INIT_SCRIPT.read_text()
    header = text[text.index("### BEGIN INIT INFO") : text.index("### END INIT INFO")]
    fields = dict(re.findall(r"^# ([\w-]+): +(.*)$", header, re.MULTILINE))
    assert fields["Provides"] == "tessflux"
    assert fields["Required-Start"] == "$remote_fs $syslog $network"
    assert fields["Should-Start"] == "mosquitto influxdb $time"
    assert fields["Default-Start"] == "2 3 4 5"
    assert fields["Default-Stop"] == "0 1 6"


def test_shellcheck_finds_nothing_in_the_init_script() -> None:
    check = subprocess.run(["shellcheck", INIT_SCRIPT], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout) == (0, "")
    assert INIT_SCRIPT.stat().st_mode & stat.S_IXUSR


# logrotate


class Logs:
    """The logrotate file with a /var/log and an init script of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.of_root = place / "log/tessflux.log"
        self.of_the_user = place / "log/tessflux/tessflux.log"
        self.of_the_user.parent.mkdir(parents=True)
        self.of_the_user.parent.chmod(0o750)
        os.chown(self.of_the_user.parent, USER.pw_uid, USER.pw_gid)
        self.script = place / "init"
        self.reload_ends_with(0)
        (place / "logrotate.d").mkdir()
        group = grp.getgrgid(USER.pw_gid).gr_name
        text = LOGROTATE.read_text()
        text = text.replace("/var/log/", f"{place}/log/")
        text = text.replace("/etc/init.d/tessflux", str(self.script))
        text = text.replace("su tessflux tessflux", f"su {USER.pw_name} {group}")
        self.config = place / "logrotate.d/tessflux"
        self.config.write_text(text)
        self.config.chmod(0o644)

    def reload_ends_with(self, code: int) -> None:
        self.script.write_text(
            f'#!/bin/sh\necho said\necho "$1 $(id -u)" >>{self.place}/reloads\nexit {code}\n'
        )
        self.script.chmod(0o755)

    def write(self, path: Path, mode: int) -> None:
        path.write_text("old\n")
        path.chmod(mode)
        if path.parent == self.of_the_user.parent:
            os.chown(path, USER.pw_uid, USER.pw_gid)

    def rotate(self) -> subprocess.CompletedProcess[str]:
        logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
        assert logrotate is not None
        return subprocess.run(
            [logrotate, "--force", "--state", self.place / "state", self.config],
            capture_output=True,
            text=True,
            check=False,
        )

    def reloads(self) -> list[str]:
        path = self.place / "reloads"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def logs(place: Path) -> Logs:
    return Logs(place)


@pytest.mark.parametrize("whose", ["of_root", "of_the_user"])
def test_a_log_is_renamed_with_its_date_and_the_new_one_is_as_the_old_was(logs: Logs, whose: str) -> None:
    path: Path = getattr(logs, whose)
    logs.write(path, 0o640)
    before = path.stat()
    result = logs.rotate()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    (old,) = path.parent.glob("tessflux.log-*")
    assert re.fullmatch(r"tessflux\.log-\d{8}", old.name)
    assert old.read_text() == "old\n"
    after = path.stat()
    assert after.st_size == 0
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid,
        before.st_gid,
        before.st_mode,
    )
    # by him who rotates: su concerns the files alone
    assert logs.reloads() == [f"reload {os.geteuid()}"]


def test_seven_old_logs_are_kept_and_all_but_the_newest_are_compressed(logs: Logs) -> None:
    logs.write(logs.of_the_user, 0o640)
    for day in range(1, 10):
        compressed = ".gz" if day < 9 else ""
        logs.write(logs.of_the_user.with_name(f"tessflux.log-2020010{day}{compressed}"), 0o640)
    assert logs.rotate().returncode == 0
    *older, newest = sorted(path.name for path in logs.of_the_user.parent.glob("*.log-*"))
    assert older == [f"tessflux.log-2020010{day}.gz" for day in range(4, 10)]
    assert not newest.endswith(".gz")


def test_logs_that_are_empty_or_not_there_are_passed_over(logs: Logs) -> None:
    logs.of_root.touch()
    result = logs.rotate()
    assert (result.returncode, result.stderr) == (0, "")
    assert logs.reloads() == []
    assert [path.name for path in logs.of_root.parent.glob("*.log*")] == ["tessflux.log"]


@pytest.mark.parametrize(("ends_with", "is_well"), [(7, True), (78, True), (1, False), (4, False)])
def test_that_tessflux_does_not_run_is_well_but_a_failed_reload_is_told(
    logs: Logs, ends_with: int, is_well: bool
) -> None:
    logs.write(logs.of_root, 0o640)
    logs.reload_ends_with(ends_with)
    result = logs.rotate()
    assert (result.returncode == 0) is is_well
    assert (result.stderr == "") is is_well


def test_the_new_version_beside_an_edited_file_is_no_second_file(logs: Logs) -> None:
    logs.write(logs.of_root, 0o640)
    shutil.copy(logs.config, f"{logs.config}.dpkg-dist")
    including = logs.place / "logrotate.conf"
    including.write_text(f"include {logs.config.parent}\n")
    including.chmod(0o644)
    logs.config = including
    result = logs.rotate()
    assert (result.returncode, result.stderr) == (0, "")
    assert len(logs.reloads()) == 1
