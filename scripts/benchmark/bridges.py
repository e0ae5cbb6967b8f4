"""What takes readings from the broker: tessflux, and what it is compared with.

A bridge runs as a process of its own, and has started when the broker says that it has subscribed.
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from servers import Program, free_port, ini

from benchmark.plan import BASE
from benchmark.process import family
from benchmark.site import DATABASE, TOPIC, Site

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
"""Config files of peers, with placeholders; each is the best that the documents of its bridge show."""

RECIPES = {
    "telegraf": "telegraf --config {peers}/telegraf.conf",
    "node-red": "node-red --userDir {peers} --settings {peers}/node-red-settings.js",
}
"""Peers by the program that must be on the PATH. Node-RED needs node-red-contrib-influxdb beside it."""

Settings = Mapping[str, object]
"""Values by section.key."""


class Bridge(Protocol):
    """A bridge between the broker and the database, or a program that only counts."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    @property
    def stores(self) -> bool:
        """Whether its readings are in the database; if not, it ends when it has received all."""

    @property
    def members(self) -> int:
        """How many subscriptions there are when it is ready."""

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """The process, not started."""


@dataclass(frozen=True)
class Tessflux:
    """A tessflux: the source in `directory`, with further settings, run by the command `wrapper`.

    It always subscribes at QoS 1; what was published at 0 comes at 0.
    """

    name: str = "tessflux"
    directory: Path = ROOT
    settings: Settings = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    stores = True
    members = 1

    @classmethod
    def parse(cls, text: str) -> "Tessflux":
        """NAME=PART,PART...: each a directory or SECTION.KEY=VALUE; raises ValueError."""
        name, equals, rest = text.partition("=")
        if not name or not equals:
            raise ValueError(f"{text!r} is not NAME=DIRECTORY,SECTION.KEY=VALUE")
        directory, settings = ROOT, {}
        for part in filter(None, rest.split(",")):
            key, equals, value = part.partition("=")
            if equals and "." in key:
                settings[key] = value
            elif Path(part).is_dir():
                directory = Path(part).absolute()
            else:
                raise ValueError(f"{part!r} is neither a directory nor SECTION.KEY=VALUE")
        return cls(name, directory, settings)

    def but(self, settings: Settings) -> "Tessflux":
        """The same with further settings, which its own override."""
        return replace(self, settings={**settings, **self.settings})

    def configure(self, site: Site, settings: Settings) -> Path:
        """Write its config; `settings` override all others."""
        values = {
            "influxdb.url": site.influxd.url,
            "influxdb.dbname": DATABASE,
            "mqtt.broker": f"tcp:127.0.0.1:{site.port}",
            "mqtt.client_id": "tessflux",
            "spool.directory": site.directory / "spool",
            **self.settings,
            **settings,
        }
        if (self.directory / "tessflux" / "clock.py").exists():
            # The kernel of this machine may not know what time it is. Older checkouts refuse the key.
            values.setdefault("global.clock_wait", "0")
        sections: dict[str, dict[str, object]] = {}
        for name, value in values.items():
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = value
        config = site.directory / f"{values['mqtt.client_id']}.config"
        config.write_text(ini(sections))
        config.chmod(0o600)
        return config

    def command(self, site: Site) -> list[str]:
        """The command that runs it, with its config written."""
        config = self.configure(site, {})
        tessflux = [sys.executable, "-m", "tessflux", "-k", "-c", str(config)]
        return [*self.wrapper, "env", "-C", str(self.directory), *tessflux]

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """See Bridge."""
        return Program(self.name, self.command(site), site.directory / "tessflux.log")


@dataclass(frozen=True)
class Command:
    """Any other bridge: a command with placeholders, which no shell sees.

    It stores readings in the measurement `readings`, with the tag `name` and the field `seq`, or only counts.
    """

    name: str
    command: str
    stores: bool = True
    members = 1

    @classmethod
    def parse(cls, text: str) -> "Command":
        """NAME=COMMAND; raises ValueError."""
        name, equals, command = text.partition("=")
        if not name or not equals or not command:
            raise ValueError(f"{text!r} is not NAME=COMMAND")
        return cls(name, command)

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """Its command, with its config files beside it."""
        peers = site.directory / "peers"
        values = {
            "mqtt_port": site.port,
            "influx_port": site.influxd.port,
            "database": DATABASE,
            "topic": TOPIC,
            "qos": qos,
            "readings": readings,
            "client_id": "bench",
            "directory": site.directory,
            "peers": peers,
            "python": sys.executable,
            "counter": Path(__file__).parent / "counter.py",
            "free_port": free_port(),
        }
        peers.mkdir()
        for template in PEERS.iterdir():
            (peers / template.name).write_text(fill(template.read_text(), values))
        command = [fill(part, values) for part in shlex.split(self.command)]
        return Program(self.name, command, site.directory / "bridge.log")


def fill(text: str, values: Mapping[str, object]) -> str:
    """Put the values in the place of {their names}; all other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


CEILING = Command(
    BASE,
    "sh -c 'exec mosquitto_sub -p {mqtt_port} -q {qos} -t {topic} -C {readings} >/dev/null'",
    stores=False,
)
FLOOR = Command(
    "paho, counting",
    "{python} {counter} {mqtt_port} {qos} {readings} {topic}",
    stores=False,
)


def peers() -> list[Bridge]:
    """Those whose program is on the PATH."""
    return [Command(name, command) for name, command in RECIPES.items() if shutil.which(name)]


@contextmanager
def running(bridge: Bridge, site: Site, qos: int, readings: int = 0) -> Iterator[Program]:
    """The bridge, subscribed; it and its children do not outlive the block."""
    program = bridge.program(site, qos, readings)
    program.start()
    try:
        site.wait_for_subscriptions(program, bridge.members)
        yield program
    finally:
        for pid in family(program.pid)[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        program.kill()
