"""One installation of tessflux in a test: its config, its process, and what reaches its database."""

import io
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from servers import Influxd, Program, Server, ini, tessflux

from tessflux.commands.export import export
from tessflux.config import SpoolConfig
from tessflux.errors import CannotCreate

DEADLINE = 30.0
"""Seconds after which a condition will not come true any more."""


def wait_until(
    condition: Callable[[], object], what: str | Callable[[], str], seconds: float = DEADLINE
) -> None:
    """Wait for a condition, not for a time; fails with `what` when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it never happened: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)


class Site:
    """Start and stop the daemon as often as wished; the spool stays."""

    def __init__(self, directory: Path, mosquitto: Server, influxd: Influxd) -> None:
        self.mosquitto, self.influxd = mosquitto, influxd
        self.config = directory / "config"
        self.spool = directory / "spool"
        self.log = directory / "tessflux.log"
        self.schema = directory / "schema"
        self.schema.write_text('CREATE DATABASE "tessdb";\n')
        self.around: Sequence[str] = ()
        """A command in which the daemon runs, such as strace -D."""
        self._process: Program | None = None
        self.configure()

    def configure(self, **changes: Mapping[str, object]) -> None:
        """Write the config; `changes` are keys by section."""
        sections: dict[str, dict[str, object]] = {
            # The kernel of a test machine may not know what time it is, and no photometer publishes as
            # irregularly as tests do.
            "global": {"log_file": "", "log_level": "info", "clock_wait": 0},
            "influxdb": {"url": self.influxd.url, "schema": self.schema, "flush_interval": 0.2},
            "mqtt": {"broker": f"tcp:{self.mosquitto.address}", "backlog_wait": 0},
            "spool": {"directory": self.spool},
        }
        for section, keys in changes.items():
            sections.setdefault(section, {}).update(keys)
        self.config.write_text(ini(sections))

    @property
    def process(self) -> Program:
        """The daemon that was started last."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Run the daemon in the foreground, and wait until it listens to the broker."""
        self.launch()
        self.wait_for_log("Subscribed to")

    def launch(self) -> None:
        """Run the daemon in the foreground."""
        assert self._process is None or not self._process.running
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = tessflux(self.config, self.log, around=self.around)
        self._process.start()

    def logged(self) -> str:
        """What the daemon has logged since it was started last."""
        return self.log.read_bytes()[self._log_start :].decode()

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until the log says so."""

        def said() -> bool:
            assert self.process.running, self.logged()
            return self.logged().count(text) >= times

        wait_until(said, lambda: f"{text!r} in the log:\n{self.logged()}")

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        os.kill(self.process.pid, number)

    def memory(self, key: str = "VmRSS") -> float:
        """What it has in memory, or has had at most (VmHWM), in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(key)) / 1024

    def stop(self) -> None:
        """Stop it as an init script would; it must end well."""
        self.process.stop(DEADLINE)
        assert self.process.returncode == 0, self.logged()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()

    def end(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self.kill()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of tessflux with this config."""
        return subprocess.run(
            [sys.executable, "-m", "tessflux", *arguments, "-c", str(self.config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env={**os.environ, "COLUMNS": "100"},
        )

    def waiting(self) -> list[str]:
        """The lines that wait in the spool, none while it cannot be read: what `export` prints, without a
        process for each look."""
        printed = io.StringIO()
        with suppress(CannotCreate):
            export(SpoolConfig(str(self.spool)), printed)
        return printed.getvalue().splitlines()

    def write(self, database: str, lines: str) -> None:
        """Post lines to the database as anybody could, times in ms."""
        url = f"{self.influxd.url}/write?db={database}&precision=ms"
        with urllib.request.urlopen(url, lines.encode(), DEADLINE) as answer:
            assert answer.status == 204

    def rows(self) -> list[dict[str, Any]]:
        """All readings in the database, each with its name and its time in ms."""
        return self.influxd.select("SELECT * FROM readings", "tessdb")

    def count(self) -> int:
        """How many readings are in the database."""
        return sum(row["count"] for row in self.influxd.select("SELECT count(seq) FROM readings", "tessdb"))

    def wait_for_rows(self, count: int) -> None:
        """Wait until that many readings are in the database."""
        wait_until(lambda: self.count() >= count, f"{count} rows; the log:\n{self.logged()}")


class Publisher:
    """A client that publishes and waits until the broker has it all."""

    def __init__(
        self, mosquitto: Server, username: str = "", password: str = "", *, mqtt5: bool = True
    ) -> None:
        protocol = MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.username_pw_set(username or None, password or None)
        self._client.max_inflight_messages_set(1000)
        self._client.connect(mosquitto.host, mosquitto.port)
        self._client.loop_start()

    def publish(
        self,
        messages: Iterable[tuple[str, bytes | str]],
        *,
        qos: int = 0,
        retain: bool = False,
        timestamp: str = "",
    ) -> None:
        """Publish (topic, payload) pairs, with a user property `timestamp` if it is given."""
        properties = Properties(PacketTypes.PUBLISH)
        if timestamp:
            properties.UserProperty = ("timestamp", timestamp)
        sent = [self._client.publish(topic, payload, qos, retain, properties) for topic, payload in messages]
        for info in sent:
            info.wait_for_publish(DEADLINE)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def payload(name: str, seq: int, freq: float, **more: object) -> str:
    """A TESS-W payload; the freq tells readings apart."""
    extra = "".join(f', "{key}":{value}' for key, value in more.items())
    return (
        f'{{"seq":{seq}, "rev":2, "name":"{name}", "freq":{freq:.2f}, "mag":12.34,'
        f' "tamb":7.10, "tsky":-18.40, "wdBm":-61{extra}}}'
    )


def register(name: str) -> tuple[str, str]:
    """Topic and payload of what a photometer publishes when it boots."""
    return "STARS4ALL/register", f'{{"name":"{name}", "rev":2, "mac":"5C:CF:7F:8:A:1", "calib":20.50}}'


def reading(name: str, seq: int, freq: float, **more: object) -> tuple[str, str]:
    """Topic and payload."""
    return f"STARS4ALL/{name}/reading", payload(name, seq, freq, **more)
