"""An installed tessflux in a test: its daemon, and the init script and logrotate file that `--install` puts.

All is below a root of its own, and the copies of the two files lead there.
"""

import fcntl
import grp
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from servers import free_port

from tessflux.cli import main
from tests.real.site import DEADLINE, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]

PROGRAM = f"""\
#!/bin/sh
cd / && PYTHONPATH={REPOSITORY} exec {sys.executable} -m tessflux "$@"
"""


class Service:
    """An installed tessflux; its config is the shipped one with other places, and nobody listens there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.program = root / "tessflux"
        self.config = root / "etc/tessflux/config"
        self.script = root / "etc/init.d/tessflux"
        self.log = root / "var/log/tessflux/tessflux.log"
        self.spool = root / "var/lib/tessflux"
        self.pid_file = root / "run/tessflux.pid"
        self.pid_file.parent.mkdir(parents=True)
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        assert main(["--install", "--root", str(root)]) == 0
        self._lead(self.script, ("/etc/default", "PIDFILE=/run"))
        (root / "etc/default/tessflux").write_text(f"DAEMON={self.program}\nCONFIG_FILE={self.config}\n")
        self.change("#directory = /var/lib", f"directory = {root}/var/lib")
        self.change("#clock_wait = 300", "clock_wait = 0")
        self.change("schema = ", f"schema = {root}")
        self.change("log_file = ", f"log_file = {root}")
        self.listen(f"tcp:127.0.0.1:{free_port()}", "")

    def listen(self, broker: str, url: str) -> None:
        """Tell it the addresses of the servers."""
        text = re.sub(r"^broker = .*$", f"broker = {broker}", self.config.read_text(), flags=re.MULTILINE)
        self.config.write_text(re.sub(r"^url = .*$", f"url = {url}", text, flags=re.MULTILINE))

    def change(self, old: str, new: str) -> None:
        """Edit the config."""
        text = self.config.read_text()
        assert text.count(old) == 1
        self.config.write_text(text.replace(old, new))

    def _lead(self, file: Path, places: Sequence[str]) -> None:
        text = file.read_text()
        for place in places:
            before, slash, path = place.partition("/")
            assert place in text
            text = text.replace(place, f"{before}{self.root}{slash}{path}")
        file.write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call tessflux itself; the end of its output is that of all who hold it."""
        return self._run([self.program, *arguments])

    def unread(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The exit code and the complaints of a command whose output nobody reads."""
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer) as output:
            result = subprocess.run(
                [self.program, *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=DEADLINE,
            )
        return result.returncode, result.stderr

    def detach(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call it as the init script does."""
        return self.run("-c", str(self.config), "--pid-file", str(self.pid_file), *arguments)

    def do(self, action: str) -> subprocess.CompletedProcess[str]:
        """Call the init script as `service` does, without an environment."""
        return self._run([self.script, action])

    def code(self, action: str) -> int:
        return self.do(action).returncode

    def _run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={}, cwd="/", capture_output=True, text=True, check=False, timeout=DEADLINE
        )

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def runs(self) -> bool:
        """Whether a daemon holds the lock of the pid file."""
        if not self.pid_file.exists():
            return False
        with self.pid_file.open() as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.runs(), "the daemon is gone")

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log.read_text(), f"{text!r} in the log")

    def rotate(self) -> subprocess.CompletedProcess[str]:
        """Run the real logrotate with the installed file."""
        file = self.root / "etc/logrotate.d/tessflux"
        self._lead(file, ("/var/log", "/etc/init.d"))
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        file.write_text(file.read_text().replace("su tessflux tessflux", f"su {user} {group}"))
        logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
        assert logrotate is not None
        return self._run([logrotate, "--force", "--state", self.root / "state", file])
