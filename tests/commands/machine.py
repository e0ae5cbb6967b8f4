"""The init script and the logrotate file in a test: copies whose paths lead into a directory of their own."""

import grp
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FILES = Path(__file__).resolve().parents[2]
INIT_SCRIPT = FILES / "init.d/tessflux"
LOGROTATE = FILES / "logrotate.d/tessflux"
STAND_IN = Path(__file__).with_name("stand_in.py")

IS_ROOT = os.geteuid() == 0
# Who may own what this tester makes: another user for root, only himself for anyone else.
USER = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())

# The Python of the tests may be in the tester's home, which the user may not enter.
SYSTEM_PYTHON = Path("/usr/bin/python3")
PYTHON = SYSTEM_PYTHON if SYSTEM_PYTHON.exists() else Path(sys.executable).resolve()


class Machine:
    """The init script with a /etc/default, a /run and a program of its own; the program is the stand-in."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run_directory = place / "run"
        self.run_directory.mkdir()
        self.pid_file = self.run_directory / "tessflux.pid"
        self.program = place / "tessflux"
        self.program.write_text(f"#!{PYTHON}\n{STAND_IN.read_text()}")
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
        """Call the script as `service` does, without an environment."""
        return subprocess.run(
            [self.script, *action],
            env={},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def codes(self, *actions: str) -> list[int]:
        """The exit codes of these actions, one after the other."""
        return [self.do(action).returncode for action in actions]

    def events(self) -> list[str]:
        """What the daemons have logged: START, each signal, END."""
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def wait_for_events(self, *expected: str) -> None:
        deadline = time.monotonic() + 30
        while self.events() != list(expected):
            assert time.monotonic() < deadline, self.events()
            time.sleep(0.01)

    def daemons(self) -> list[list[int]]:
        """Process, user and group id of each daemon that was started."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [[int(word) for word in words[1:]] for words in lines if words[0] == "START"]

    def end(self) -> None:
        for pid, *_ in self.daemons():
            try:
                command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if str(self.program).encode() in command_line:
                os.kill(pid, signal.SIGKILL)


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
        text = LOGROTATE.read_text()
        text = text.replace("/var/log/", f"{place}/log/")
        text = text.replace("/etc/init.d/tessflux", str(self.script))
        text = text.replace("su tessflux tessflux", f"su {USER.pw_name} {grp.getgrgid(USER.pw_gid).gr_name}")
        self.config = place / "logrotate.d/tessflux"
        self.config.write_text(text)
        self.config.chmod(0o644)

    def reload_ends_with(self, code: int) -> None:
        self.script.write_text(
            f'#!/bin/sh\necho output\necho "$1 $(id -u)" >>{self.place}/reloads\nexit {code}\n'
        )
        self.script.chmod(0o755)

    def write(self, path: Path, mode: int = 0o640) -> None:
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
        """The action and the user id of each call of the init script."""
        path = self.place / "reloads"
        return path.read_text().splitlines() if path.exists() else []
