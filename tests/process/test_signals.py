"""The control signals, whenever they come: the daemon obeys them, and they never end it."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
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
"""tessflux that gets all three before it imports anything that takes time."""

LATE = """
import os, signal, sys
from tessflux.cli import main

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), hangup=signal.SIGHUP):
        kill(pid, hangup)

signal.late = Late()
sys.exit(main())
"""
"""tessflux that gets one when Python has already removed its own signal handlers."""

IMPATIENT = """
import os, signal, sys
from tessflux import app
from tessflux.cli import main

class App(app.App):
    async def stop(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        await super().stop()

app.App = App
sys.exit(main())
"""
"""tessflux that is asked to stop again and again."""

HASTY = """
import os, signal, sys
from tessflux.cli import main

def again(number, action, set_handler=signal.signal, sent=[]):
    if action is signal.SIG_IGN and not sent:
        sent.append(number)
        os.kill(os.getpid(), signal.SIGTERM)
    return set_handler(number, action)

signal.signal = again
sys.exit(main())
"""
"""tessflux that is asked to stop twice before it has done anything about the first."""

UNWANTED = """
import os, signal, sys
from twisted.internet import reactor
from twisted.internet.task import deferLater
from tessflux import app
from tessflux.cli import main

class App(app.App):
    async def start(self):
        os.kill(os.getpid(), signal.SIGTERM)
        await deferLater(reactor, 0.1)
        await super().start()

app.App = App
sys.exit(main())
"""
"""tessflux that is asked to stop while it starts."""

CHEAP = """
import sys
before = set(sys.modules)
import tessflux.process.signals
print(*sorted(set(sys.modules) - before - set(sys.stdlib_module_names)))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config with which the daemon starts, though there is no broker."""
    path = tmp_path / "config"
    path.write_text(f"[mqtt]\nbroker = tcp:127.0.0.1:{free_port()}\n[spool]\ndirectory = {tmp_path}/spool\n")
    return path


@contextmanager
def daemon(program: str, config: Path, *logged: str) -> Iterator[None]:
    """A daemon that has logged these texts. Ask it to stop, and it must end well."""
    log = config.with_name("log")
    command: Sequence[str | Path] = [sys.executable, "-c", program, "-k", "-c", config]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return all(text in log.read_text() for text in logged)

        try:
            wait_until(ready, f"it logs {logged}")
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0, log.read_text()
        finally:
            process.kill()


def test_signals_that_come_at_once_are_obeyed_when_the_daemon_is_ready(config: Path) -> None:
    with daemon(EARLY, config, "Reloaded", "Delivery is paused", "Delivery is resumed"):
        pass


def test_a_signal_that_comes_too_late_does_not_change_the_exit_code(config: Path) -> None:
    with daemon(LATE, config, "Cannot use the broker"):
        pass


@pytest.mark.parametrize("program", [IMPATIENT, HASTY])
def test_a_second_signal_to_stop_changes_nothing(config: Path, program: str) -> None:
    with daemon(program, config, "Cannot use the broker"):
        pass
    log = config.with_name("log").read_text()
    assert "tessflux has stopped" in log
    assert "Traceback" not in log


def test_who_stops_it_while_it_starts_gets_a_whole_start_and_a_whole_stop(config: Path) -> None:
    command = [sys.executable, "-c", UNWANTED, "-k", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0
    assert "tessflux has stopped" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_other_commands_are_ended_by_them_as_any_program_is(config: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", EARLY, "export", "-c", config],
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    # The kernel chooses which of the three comes first.
    assert -ended.returncode in signals.CONTROL


def test_blocking_them_imports_no_other_module_of_tessflux_and_no_library() -> None:
    """Until they are blocked any of them would end the daemon."""
    done = subprocess.run([sys.executable, "-c", CHEAP], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tessflux", "tessflux.process", "tessflux.process.signals"]
