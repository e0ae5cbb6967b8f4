"""Real servers for the tests, the demo and the benchmark: mosquitto, influxd, VictoriaMetrics, and a tessflux
between them.

The rule: a server listens on one address only, 127.0.0.1 unless told otherwise, writes nothing outside its
own directory, and ends with the process that started it, however that one ends. Standard library only.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

START_SECONDS = 30.0
"""influxd opens in a second; a small machine that is busy with other tests needs longer."""

STOP_SECONDS = 20.0
"""influxd writes what it has in memory when it is told to stop."""

QUERY_SECONDS = 30.0

POLL_SECONDS = 0.02

DAEMONS = "/usr/sbin:/sbin"
"""Where Debian puts mosquitto, and where the PATH of an ordinary user does not look."""

LOOPBACK = "127.0.0.1"

PORTS = 10_000, 32_768
"""Linux connects from the ports above these, unless it was told otherwise."""

_given: set[int] = set()
"""Ports that were given out: a server that is restarted wants its own again."""

Sample = tuple[str, int, str, Any]
"""A field of a stored reading: photometer, time in ms since 1970 UTC, field, value."""

EVERYTHING = '{db!=""}'
"""All series that a VictoriaMetrics has from tessflux."""

_LISTEN = "0A"
"""How /proc/net/tcp writes it."""


class ServerFailed(Exception):
    """A program is missing, did not come up, or refused a query; the message says what to do."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now, and that was not given out before.

    It is below those that the kernel gives to whoever connects: one of them may be taken by the time that a
    server listens on it.
    """
    while True:
        port = random.randrange(*PORTS)
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            _given.add(port)
            return port


def find_program(name: str, package: str) -> str:
    """The path of a program; raises ServerFailed, which names the Debian package that has it."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{DAEMONS}")
    if path is None:
        raise ServerFailed(f"the program {name} is missing; as root: apt-get install {package}")
    return path


def ask(url: str, data: bytes | None = None) -> bytes:
    """What a server on this machine answers; raises ServerFailed with what it says."""
    # A proxy of the environment has no way to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data, timeout=QUERY_SECONDS) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        raise ServerFailed(f"{url}: {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise ServerFailed(f"{url} does not answer: {error}") from error


def listening(pid: int) -> set[tuple[str, int]]:
    """Where a process takes TCP connections; hosts of IPv6 as the kernel writes them."""
    sockets = set()
    # A process that has ended, and a descriptor that it has closed meanwhile.
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for row in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *rest = row.split()
            if state == _LISTEN and f"socket:[{rest[5]}]" in sockets:
                host, _, port = local.partition(":")
                found.add((_dotted(host) if table.name == "tcp" else host, int(port, 16)))
    return found


def _dotted(host: str) -> str:
    """The kernel writes an IPv4 address as a number in the byte order of the machine."""
    return socket.inet_ntoa(int(host, 16).to_bytes(4, sys.byteorder))


class Program:
    """A command that runs beside this process; all that it prints is appended to a log file.

    The kernel kills it when the *thread* that called `start` ends: call that from one that stays.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name, self.log = name, log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin; nothing happens when it runs already."""
        if self.running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # setpriv becomes the program; a preexec_fn could do that too, but may hang beside threads.
        # A session of its own keeps the terminal's Ctrl-C away: we decide when it ends.
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the last run ended; negative for a signal, None if it did not end."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        """For signals."""
        if self._process is None:
            raise ServerFailed(f"{self.name} was not started")
        return self._process.pid

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Let it end in order, and after `seconds` end it; nothing happens when it does not run."""
        self._signal(signal.SIGTERM)
        try:
            self._wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        self._wait(None)

    def restart(self) -> None:
        """Stop and start it, with the same data."""
        self.stop()
        self.start()

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        text = self.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def failure(self, what: str) -> ServerFailed:
        """The exception that says what it did, and shows the end of its log."""
        return ServerFailed(f"{self.name} {what}; the end of {self.log}:\n{self.tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self, seconds: float | None) -> None:
        if self._process is not None:
            self._process.wait(seconds)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def tessflux(config: Path, log: Path, *, around: Sequence[str] = ()) -> Program:
    """A tessflux in the foreground; `around` is a command in which it runs, such as strace."""
    return Program("tessflux", [*around, sys.executable, "-m", "tessflux", "-k", "-c", str(config)], log)


def ini(sections: Mapping[str, Mapping[str, object]]) -> str:
    """A config file of tessflux: keys and values by section."""
    return "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for section, keys in sections.items()
    )


class Server(Program):
    """A program that listens on `host` and `port`; when `start` returns, it does."""

    start_seconds = START_SECONDS

    def __init__(self, name: str, package: str, directory: Path, host: str, port: int | None) -> None:
        self.directory = directory.absolute()
        self.host = host
        self.port = free_port() if port is None else port
        self.config = self.directory / f"{name}.conf"
        super().__init__(name, self.arguments(self.find(name, package)), self.directory / f"{name}.log")

    def find(self, name: str, package: str) -> str:
        """The path of the program; raises ServerFailed."""
        return find_program(name, package)

    @abstractmethod
    def arguments(self, program: str) -> list[str]:
        """The command line."""

    @abstractmethod
    def settings(self) -> str:
        """What stands in its config file."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Return when it listens; raise ServerFailed, with the end of its log, when it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self.settings())
        super().start()
        deadline = time.monotonic() + self.start_seconds
        while not self._listens():
            if not self.running:
                raise self.failure(f"ended with {self.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise self.failure(f"did not listen within {self.start_seconds:g} s")
            time.sleep(POLL_SECONDS)

    def _listens(self) -> bool:
        # Not by connecting: somebody else may have taken the port.
        return (self.host, self.port) in listening(self.pid)


class Mosquitto(Server):
    """A broker for all on this machine; it keeps sessions and retained messages over `restart`.

    `settings` are further lines of mosquitto.conf. What stands twice counts as it stands last.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str = LOOPBACK,
        port: int | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        super().__init__("mosquitto", "mosquitto", directory, host, port)

    def arguments(self, program: str) -> list[str]:
        return [program, "-c", str(self.config)]

    def settings(self) -> str:
        lines = [
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.directory}/",
            # The default of 1,000 would drop messages for a subscriber that is away for a test.
            "max_queued_messages 1000000",
            "log_dest stderr",
            *self._settings,
        ]
        if os.geteuid() == 0:
            # Otherwise it becomes the user mosquitto, who may not write in our directory.
            lines.append("user root")
        return "\n".join([*lines, ""])


class Influxd(Server):
    """An InfluxDB 1.x without databases, which keeps its data over `restart` and `kill`.

    `http` are further keys of the [http] table, such as {"auth-enabled": True}.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str = LOOPBACK,
        port: int | None = None,
        http: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        self._http = dict(http or {})
        super().__init__("influxd", "influxdb", directory, host, port)

    def arguments(self, program: str) -> list[str]:
        return [program, "-config", str(self.config)]

    def settings(self) -> str:
        tables: dict[str, dict[str, str | int | bool]] = {
            "meta": {"dir": f"{self.directory}/meta"},
            "data": {
                "dir": f"{self.directory}/data",
                "wal-dir": f"{self.directory}/wal",
                "query-log-enabled": False,
            },
            # No database _internal, to which influxd would write about itself.
            "monitor": {"store-enabled": False},
            "http": {"bind-address": self.address, "log-enabled": False, **self._http},
            "logging": {"level": "warn"},
        }
        lines = [
            # For backups, which nobody makes: any port.
            'bind-address = "127.0.0.1:0"',
            # Nothing goes to the makers: in the words of Debian's influxd, and of others.
            "reporting-enabled = false",
            "reporting-disabled = true",
        ]
        for table, keys in tables.items():
            lines.append(f"[{table}]")
            # A JSON string, number or boolean is one of TOML too.
            lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        return "\n".join([*lines, ""])

    @property
    def url(self) -> str:
        """What [influxdb] url wants."""
        return f"http://{self.address}"

    def query(self, text: str, db: str = "", **parameters: str) -> list[dict[str, Any]]:
        """The series that InfluxQL gives, with times in milliseconds since 1970 UTC.

        `parameters` are those of /query: epoch, u, p. Raises ServerFailed with what InfluxDB says.
        """
        # In the address, where InfluxDB looks for credentials too; the text may be longer than one.
        address = urllib.parse.urlencode({"db": db, "epoch": "ms", **parameters})
        form = urllib.parse.urlencode({"q": text}).encode()
        answer = json.loads(ask(f"{self.url}/query?{address}", form))
        for result in answer["results"]:
            if "error" in result:
                raise ServerFailed(f"influxd: {result['error']}")
        return [series for result in answer["results"] for series in result.get("series", [])]

    def select(self, text: str, db: str, **parameters: str) -> list[dict[str, Any]]:
        """The rows that a SELECT gives, tags among the columns; none while there is no such database."""
        try:
            found = self.query(text, db, **parameters)
        except ServerFailed as error:
            if "database not found" in str(error):
                return []
            raise
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
            for series in found
            for values in series["values"]
        ]

    def samples(self, db: str = "tessdb") -> list[Sample]:
        """Every field of every reading."""
        return [
            (row["name"], row["time"], field, value)
            for row in self.select('SELECT * FROM readings GROUP BY "name"', db)
            for field, value in row.items()
            if field not in ("name", "time") and value is not None
        ]


class VictoriaMetrics(Server):
    """A single VictoriaMetrics, which keeps what it has written over `restart`. It takes line protocol as
    InfluxDB does, and a field becomes a series: MEASUREMENT_FIELD."""

    def __init__(
        self, directory: Path, *, host: str = LOOPBACK, port: int | None = None, flags: Sequence[str] = ()
    ) -> None:
        self._flags = flags
        super().__init__("victoria-metrics", "victoria-metrics", directory, host, port)

    def arguments(self, program: str) -> list[str]:
        # Without a limit of its own it drops what is older than a month.
        return [
            program,
            f"-storageDataPath={self.directory}/data",
            f"-httpListenAddr={self.address}",
            "-retentionPeriod=100y",
            "-loggerLevel=WARN",
            *self._flags,
        ]

    def settings(self) -> str:
        return ""

    @property
    def url(self) -> str:
        """What [influxdb] url wants."""
        return f"http://{self.address}"

    def export(self, series: str = EVERYTHING) -> list[tuple[str, str, str, int, float]]:
        """All that is stored in some series; see `exported`."""
        ask(f"{self.url}/internal/force_flush")
        return exported(self.url, series)

    def samples(self) -> list[Sample]:
        """Every field of every reading."""
        return [
            (name, time, field.removeprefix("readings_"), value)
            for _, name, field, time, value in self.export()
        ]


def exported(url: str, series: str = EVERYTHING) -> list[tuple[str, str, str, int, float]]:
    """What a VictoriaMetrics gives out, in order: database, name, field with its measurement, time in ms,
    value."""
    match = urllib.parse.urlencode({"match[]": series, "start": 0})
    found = map(json.loads, ask(f"{url}/api/v1/export?{match}").splitlines())
    return sorted(
        (one["metric"]["db"], one["metric"]["name"], one["metric"]["__name__"], time, value)
        for one in found
        for time, value in zip(one["timestamps"], one["values"], strict=True)
    )
