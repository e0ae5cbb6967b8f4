"""Runs the operator's program. Blocking: call it in a thread.

No shell is between, so nothing that a photometer wrote is ever a command. The program gets what happened in
its environment, which has nothing of ours, and as JSON on its standard input. It is the leader of a process
group, which ends with it: nothing that it has started stays, and none of it waits for ever.
"""

import os
import pwd
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from tessflux.alarms.notice import Notice
from tessflux.limits import ALARM_OUTPUT

TIME_LIMIT = 60.0
"""Seconds for a run: a mail server that answers slowly takes some ten."""

LOOK_SECONDS = 0.1
"""Between two looks whether it has ended."""

KILLED_SECONDS = 1.0
"""For the end of what was killed. A program whose disk does not answer is left to the kernel."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Ended:
    """What went wrong, "" if nothing did; whether it was only that we `stopped`; and the beginning of what
    the program printed."""

    problem: str
    output: str = ""
    stopped: bool = False


class Command:
    """`stop` may be called from any thread; every run ends soon then."""

    def __init__(self, *, seconds: float = TIME_LIMIT) -> None:
        self._seconds = seconds
        self._stop = threading.Event()

    def stop(self) -> None:
        """End what runs, and run nothing more."""
        self._stop.set()

    def run(self, path: str, notice: Notice) -> Ended:
        """Run the program at `path`, and wait for its end."""
        host = socket.gethostname()
        try:
            # A file, which never keeps us waiting as a pipe does; and in memory, since the disk may be full.
            with os.fdopen(os.memfd_create("alarm"), "w+b") as stdin:
                stdin.write(notice.as_json(host))
                stdin.seek(0)
                process = _start(path, _own_environment() | notice.environment(host), stdin)
        except OSError as error:
            return Ended(f"cannot be run: {error.strerror}")
        assert process.stdout is not None
        with process.stdout as stdout:
            output = _Beginning(stdout.fileno())
            problem = self._wait(process.pid, output)
            # One that has become root's, as by sudo, is not ours to kill.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            output.read_on(0)
        try:
            code = process.wait(KILLED_SECONDS)
        except subprocess.TimeoutExpired:
            code = 0
        stopped = self._stop.is_set()
        return Ended(problem or _meaning(code), str(output), bool(problem) and stopped)

    def _wait(self, pid: int, output: "_Beginning") -> str:
        """Until it ends, which leaves its process for `wait` and its number to nobody else; or why not."""
        deadline = time.monotonic() + self._seconds
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if self._stop.is_set():
                return "was ended, since tessflux stops"
            if time.monotonic() >= deadline:
                return f"did not end within {self._seconds:g} s and was killed"
            output.read_on(LOOK_SECONDS)
        return ""


class _Beginning:
    """What can be read from a pipe, of which the beginning is kept."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe, self._kept = pipe, b""
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def read_on(self, seconds: float) -> None:
        """Read what is there, or comes in that time."""
        if self._poll.poll(seconds * 1_000):
            data = os.read(self._pipe, 65_536)
            self._kept = (self._kept + data)[:ALARM_OUTPUT]
            if not data:
                # It may have closed its output, and go on.
                self._poll.unregister(self._pipe)

    def __str__(self) -> str:
        lines = self._kept.decode(errors="replace").splitlines()
        return " | ".join(filter(None, map(str.strip, lines)))


def _start(path: str, environment: Mapping[str, str], stdin: IO[bytes]) -> subprocess.Popen[bytes]:
    # A thread that was started before ours were handled has some signals blocked, and a child inherits that.
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        return subprocess.Popen(
            [path],
            cwd="/",
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _own_environment() -> dict[str, str]:
    """What programs expect to be there, such as msmtp, which looks for its config at home."""
    environment = {"PATH": PATH, "LANG": "C.UTF-8"}
    with suppress(KeyError):
        user = pwd.getpwuid(os.geteuid())
        environment |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    return environment


def _meaning(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code}"
    return f"failed with exit code {code}" if code else ""
