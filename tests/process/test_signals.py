"""Signals that come while Python is still loading the daemon: they wait, and none ends it."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from servers import free_port

from tessflux.process import signals
from tests.real.site import DEADLINE, wait_until

EARLY = """
import os, signal, sys

class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "tessflux.cli":
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                os.kill(os.getpid(), number)

sys.meta_path.insert(0, Early())
from tessflux.__main__ import main
sys.exit(main())
"""


def config(directory: Path) -> Path:
    """One with which the daemon starts, though nobody is there."""
    path = directory / "config"
    path.write_text(f"[mqtt]\nbroker = tcp:127.0.0.1:{free_port()}\n[spool]\ndirectory = {directory}/spool\n")
    return path


def early(*arguments: str | Path) -> Sequence[str | Path]:
    """The command tessflux, which sends itself all three before it imports anything that takes time."""
    return [sys.executable, "-c", EARLY, *arguments]


def test_a_signal_that_comes_at_once_waits_until_the_daemon_can_take_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(early("-k", "-c", config(tmp_path)), stdout=output, stderr=output) as daemon,
    ):

        def done() -> bool:
            assert daemon.poll() is None, log.read_text()
            return all(
                text in log.read_text() for text in ("Reloaded", "Delivery is paused", "Delivery is resumed")
            )

        wait_until(done, "it obeys all three")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(DEADLINE) == 0


LATE = """
import os, signal, sys
from tessflux.cli import main

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), hangup=signal.SIGHUP):
        kill(pid, hangup)

signal.late = Late()
sys.exit(main())
"""


def test_a_signal_that_comes_too_late_ends_nothing(tmp_path: Path) -> None:
    """Also when Python has put away its own handlers."""
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", LATE, "-k", "-c", config(tmp_path)], stdout=output, stderr=output
        ) as daemon,
    ):
        wait_until(lambda: "Cannot use the broker" in log.read_text(), "it runs")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(DEADLINE) == 0, log.read_text()


def test_other_commands_end_by_them_as_any_program_does(tmp_path: Path) -> None:
    ended = subprocess.run(
        early("export", "-c", config(tmp_path)), capture_output=True, timeout=DEADLINE, check=False
    )
    # Which of the three comes first is for the kernel to say.
    assert -ended.returncode in signals.OURS
