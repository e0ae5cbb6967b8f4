"""The real daemon as systemd starts it: with a socket to tell it how it is, and the journal to log to."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tessflux import __version__
from tests.real.service import REPOSITORY, Service
from tests.real.site import DEADLINE, Site, wait_until

PROGRAM = """
import sys
from tessflux import supervision
from tessflux.cli import main
supervision.LOOK = 0.1
sys.exit(main())
"""
"""tessflux that looks often at how it fares."""


class Systemd:
    """What stands for it: a socket that hears the daemon, and a file for the journal."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.journal = service.root / "journal"
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(service.root / "notify"))
        with self.journal.open("w") as journal:
            status = os.fstat(journal.fileno())
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", PROGRAM, "--console"),
                    *("--config", service.config, "--pid-file", service.pid_file),
                ],
                env={
                    "NOTIFY_SOCKET": str(service.root / "notify"),
                    "WATCHDOG_USEC": "400000",
                    "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
                    "PYTHONPATH": str(REPOSITORY),
                },
                cwd="/",
                stdout=journal,
                stderr=journal,
            )

    def _hears(self, line: str) -> Callable[[], bool]:
        def hears() -> bool:
            while True:
                try:
                    self.heard += self._socket.recv(4096).decode().splitlines()
                except BlockingIOError:
                    break
            assert line in self.heard or self.process.poll() is None, self.journal.read_text()
            return line in self.heard

        return hears

    def hear(self, line: str) -> None:
        """Wait until it has told this since the last time."""
        wait_until(self._hears(line), lambda: f"it tells {line}; it told {self.heard}")
        self.heard = self.heard[self.heard.index(line) + 1 :]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.close()


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "root")


@pytest.fixture
def systemd(service: Service) -> Iterator[Systemd]:
    systemd = Systemd(service)
    yield systemd
    systemd.end()


def test_it_tells_systemd_what_it_does_and_obeys_the_init_script(systemd: Systemd, service: Service) -> None:
    systemd.hear("STATUS=starting: opens the spool")
    systemd.hear("READY=1")
    systemd.hear("WATCHDOG=1")
    [broker] = re.findall(r"^broker = (.*)$", service.config.read_text(), re.MULTILINE)
    refused = "Connection refused"
    systemd.hear(f"STATUS=0 readings waiting; the broker at {broker} is away: {refused}")
    systemd.hear("WATCHDOG=1")
    assert service.pid == systemd.process.pid
    assert service.code("status") == 0
    assert service.code("start") == 0

    assert service.code("pause") == 0
    service.wait_for_log("Delivery is paused")
    wait_until(lambda: "; delivery is paused since" in service.do("status").stdout, "the status tells it")
    assert service.code("resume") == 0

    for right in (True, False):
        if not right:
            service.change("[mqtt]\n", "[mqtt]\nbrokr = there\n")
        assert service.code("reload") == (0 if right else 78)
        systemd.hear("RELOADING=1")
        systemd.hear("READY=1")

    assert service.code("stop") == 0
    systemd.hear("STOPPING=1")
    assert systemd.process.wait(DEADLINE) == 0
    assert not service.pid_file.exists()


def test_it_tells_that_all_is_well(service: Service, site: Site) -> None:
    service.listen(f"tcp:127.0.0.1:{site.mosquitto.port}", site.influxd.url)
    systemd = Systemd(service)
    try:
        systemd.hear("STATUS=0 readings waiting; all is well")
    finally:
        systemd.end()


def test_the_journal_gets_priorities_and_the_file_times(systemd: Systemd, service: Service) -> None:
    systemd.hear("READY=1")
    # The file gets each line first.
    service.wait_for_log("Cannot use the broker")
    wait_until(
        lambda: "\n<3>[mqtt#error] Cannot use the broker" in systemd.journal.read_text(), "the journal too"
    )
    journal = systemd.journal.read_text().splitlines()
    assert any(line.startswith(f"<6>[tessflux#info] tessflux {__version__} ") for line in journal)
    assert all(line.startswith("<") for line in journal)
    assert all(line.startswith("20") for line in service.log.read_text().splitlines())


def test_what_prevents_a_start_is_an_error_in_the_journal(service: Service) -> None:
    service.change("[mqtt]\n", "[mqtt]\nbrokr = there\ntopic = here\n")
    systemd = Systemd(service)
    try:
        assert systemd.process.wait(DEADLINE) == 78
        lines = systemd.journal.read_text().splitlines()
        assert len(lines) == 2
        assert lines[0].startswith(f"<3>tessflux: {service.config}:")
        assert lines[1].startswith(f"<3>{service.config}:")
    finally:
        systemd.end()


def test_a_daemon_that_hangs_leaves_where_it_was(systemd: Systemd) -> None:
    systemd.hear("READY=1")
    systemd.process.send_signal(signal.SIGABRT)
    assert systemd.process.wait(DEADLINE) == -signal.SIGABRT
    text = systemd.journal.read_text()
    assert "Fatal Python error: Aborted" in text
    assert "tessflux/run.py" in text
