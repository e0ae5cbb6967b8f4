"""What torture works on: broker, databases, proxies, the small disk, and the daemon with its supervisor.

Whatever is started here ends with this process, however that one ends. Times are in ms since 1970 UTC.
"""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from servers import Mosquitto, Program, ini, tessflux

from tessflux.spool import second_look
from tests.faults.accounting import check_account
from tests.faults.outputs import outputs
from tests.faults.proxy import Proxy
from tests.faults.site import now_ms

FLUSH_INTERVAL = 0.5
"""Seconds, the largest that torture configures: what a kill may cost at QoS 0."""

STOP_SECONDS = 60.0
"""A stop may take its time while all servers are silent, but it comes to an end."""

DISK_BYTES = 192 * 1024 * 1024
"""Room for what is published between two runs of the daemon that last a minute: a shorter one lets go of
nothing, and begins with sending it again."""

LOG_BYTES = 65_536
RESTART_SECONDS = 0.3

OK, CANNOT_CREATE = 0, 73


@dataclass
class Run:
    """One process of the daemon; `end` says how it ended: stopped or killed by us, or by itself."""

    number: int
    log: Path
    started: int
    ended: int = 0
    end: str = ""

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class SpoolDisk:
    """Where the spool is, and how it is filled.

    It is a disk of its own or, where no mount is allowed, a limit on the size of the daemon's files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tessflux-torture", str(path)]
        self.is_mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
        self.is_full = False

    def fill(self, pid: int, log: Path, size: int) -> None:
        """Leave `size` bytes to the daemon, which has this process id and log."""
        self.is_full = True
        if not self.is_mounted:
            # The log must still grow, to show what happens.
            limit = log.stat().st_size + max(size, LOG_BYTES)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            return
        with (self._path / "ballast").open("wb") as ballast:
            # The daemon may take some of it meanwhile.
            while (free := shutil.disk_usage(self._path).free) > size:
                with suppress(OSError):
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), free - size)

    def free(self, pid: int) -> None:
        self.is_full = False
        if self.is_mounted:
            (self._path / "ballast").unlink(missing_ok=True)
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self._path)], check=False)


class World:
    """`supervise` must be called often; it is what restarts the daemon."""

    def __init__(self, directory: Path, outputs_count: int, seed: int) -> None:
        self.directory = directory
        self.mosquitto = Mosquitto(directory / "mosquitto", settings=["max_queued_messages 0"])
        self.broker = Proxy(directory, "broker-proxy", self.mosquitto.port)
        self.outputs = outputs(directory, outputs_count, seed)
        self._servers: list[Program] = [self.mosquitto, self.broker]
        self._servers += [each for output in self.outputs for each in (output.server, output.proxy)]
        self.disk = SpoolDisk(directory / "disk")
        self.config = directory / "config"
        self.schema = directory / "schema"
        self.runs: list[Run] = []
        self.problems: list[str] = []
        self.restarts = True
        self._settings: dict[str, dict[str, object]] = {}
        self._daemon = Program("tessflux", [], directory / "none")
        self._not_before = 0.0

    def start(self) -> None:
        self.schema.write_text('CREATE DATABASE "tessdb";\n')
        self.configure()
        for program in self._servers:
            program.start()
        self.supervise()

    def left(self) -> int:
        """How many messages wait on disk for their time, or for their line to be delivered to each output."""
        with closing(second_look(str(self.directory / "disk" / "spool"))) as spool:
            [(held, waiting)] = spool.execute(
                "SELECT (SELECT count(*) FROM held),"
                " (SELECT count(*) FROM chunk WHERE id > (SELECT min(answered) FROM output))"
            )
        return int(held) + int(waiting)

    def close(self) -> None:
        """End everything."""
        for program in (self._daemon, *self._servers):
            if program.running:
                program.kill()
        self.disk.close()

    def configure(self, changes: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """Write the config: keys with which the daemon is quick to try again, and `changes` by section."""
        sections: dict[str, dict[str, object]] = {
            "global": {"log_file": "", "log_level": "info", "clock_wait": 0},
            **{
                output.section: {
                    "url": f"http://127.0.0.1:{output.proxy.port}",
                    "schema": self.schema,
                    "timeout": 2,
                    "flush_interval": FLUSH_INTERVAL,
                }
                for output in self.outputs
            },
            "mqtt": {
                "broker": f"tcp:127.0.0.1:{self.broker.port}",
                "client_id": "torture",
                "keepalive": 5,
                "topics": "STARS4ALL/+/reading,STARS4ALL/register",
            },
            "spool": {"directory": self.directory / "disk" / "spool"},
        }
        for section, keys in (changes or {}).items():
            sections[section].update(keys)
        self.config.write_text(ini(sections))

    @property
    def run(self) -> Run:
        """The process of the daemon that runs now, or the last one."""
        return self.runs[-1]

    @property
    def pid(self) -> int:
        return self._daemon.pid

    @property
    def hears_signals(self) -> bool:
        """Whether the daemon runs and has come so far that it handles signals."""
        return self._daemon.running and " starts with " in self.run.text()

    def supervise(self) -> None:
        """Take note if the daemon has ended, and start it again."""
        if self._daemon.running:
            return
        if self.runs and not self.run.end:
            code = self._daemon.returncode
            # It cannot begin while its disk is full, and is started again until it can.
            if code != CANNOT_CREATE or not self.disk.is_full:
                self.problems.append(f"run {self.run.number} ended by itself with {code}")
            self._ended("by itself")
        if self.restarts and time.monotonic() >= self._not_before:
            number = len(self.runs) + 1
            log = self.directory / f"tessflux-{number:04}.log"
            self._daemon = tessflux(self.config, log)
            self.runs.append(Run(number, log, now_ms()))
            self._daemon.start()

    def _ended(self, how: str) -> None:
        self.run.ended, self.run.end = now_ms(), how
        self._not_before = time.monotonic() + RESTART_SECONDS

    def kill(self) -> bool:
        """End the daemon as a power cut of its process would; returns whether it ran."""
        if not self._daemon.running:
            return False
        self._daemon.kill()
        self._ended("killed")
        return True

    def stop(self) -> bool:
        """Let the daemon end in order, and check its account; returns whether it ran."""
        if not self.hears_signals:
            return False
        self.run.ended = now_ms()
        began = self.run.ended
        self._daemon.stop(STOP_SECONDS)
        self._ended("stopped")
        self.run.ended = began
        if self._daemon.returncode != OK:
            self.problems.append(
                f"run {self.run.number} was stopped and ended with {self._daemon.returncode}"
            )
            return True
        try:
            check_account(self.run.text())
        except AssertionError as error:
            self.problems.append(f"run {self.run.number}: {error}")
        return True

    def signal(self, number: signal.Signals) -> bool:
        """Send the daemon a signal; returns whether it could take one."""
        if not self.hears_signals:
            return False
        os.kill(self.pid, number)
        return True

    def look_through_the_logs(self) -> None:
        """What the daemon itself logs as a bug is one."""
        for run in self.runs:
            for line in run.text().splitlines():
                if "#critical]" in line or line.startswith("Traceback"):
                    self.problems.append(f"run {run.number}: {line[:200]}")
