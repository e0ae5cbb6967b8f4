"""What takes readings from the broker: tessflux, and what it is compared with.

The rule: a bridge runs as a process of its own, and counts as started when the broker says that it has
subscribed.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from servers import Program

from benchmark.plan import BASE
from benchmark.process import family
from benchmark.site import DATABASE, TOPIC, Site

ROOT = Path(__file__).parents[2]
COUNTER = Path(__file__).parent / "counter.py"

Settings = Mapping[str, str]
"""Values by section.key."""


class Bridge(Protocol):
    """A bridge between the broker and the database, or a program that only counts."""

    @property
    def name(self) -> str:
        """How it is called in the tables."""

    @property
    def stores(self) -> bool:
        """Whether its readings are in the database; else it ends when it has got all."""

    @property
    def members(self) -> int:
        """How many subscriptions there are when it is ready."""

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """The process, not started."""


@dataclass(frozen=True)
class Tessflux:
    """One tessflux: the source in `directory`, with further settings, run by the command `wrapper`."""

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
        """The same with further settings, over which its own go."""
        return replace(self, settings={**settings, **self.settings})

    def configure(self, site: Site, settings: Settings) -> Path:
        """Write its config; `settings` go over all others."""
        values = {
            "influxdb.url": site.influxd.url,
            "influxdb.dbname": DATABASE,
            "mqtt.broker": f"tcp:127.0.0.1:{site.port}",
            "mqtt.client_id": "tessflux",
            "spool.directory": str(site.directory / "spool"),
            **self.settings,
            **settings,
        }
        sections: dict[str, list[str]] = {}
        for name, value in values.items():
            section, _, key = name.partition(".")
            sections.setdefault(section, []).append(f"{key} = {value}\n")
        config = site.directory / f"{values['mqtt.client_id']}.config"
        config.write_text("".join(f"[{name}]\n{''.join(lines)}" for name, lines in sections.items()))
        config.chmod(0o600)
        return config

    def command(self, site: Site) -> list[str]:
        """The command that runs it, with its config written."""
        config = self.configure(site, {})
        tessflux = [sys.executable, "-m", "tessflux", "-k", "-c", str(config)]
        return [*self.wrapper, "env", "-C", str(self.directory), *tessflux]

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """It always subscribes at QoS 1; what was published at 0 comes at 0."""
        return Program(self.name, self.command(site), site.directory / "tessflux.log")


@dataclass(frozen=True)
class Counter:
    """A program that throws away what it gets: the ceiling, or the floor."""

    name: str
    command: str
    stores = False
    members = 1

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """It ends by itself after so many."""
        command = self.command.format(
            python=sys.executable,
            counter=COUNTER,
            port=site.port,
            qos=qos,
            readings=readings,
            topic=TOPIC,
        )
        return Program(self.name, ["sh", "-c", f"exec {command} >/dev/null"], site.directory / "counter.log")


CEILING = Counter(BASE, "mosquitto_sub -p {port} -q {qos} -t '{topic}' -C {readings}")
FLOOR = Counter("paho, counting", "{python} {counter} {port} {qos} {readings} '{topic}'")


@contextmanager
def running(bridge: Bridge, site: Site, qos: int, readings: int = 0) -> Iterator[Program]:
    """The bridge, subscribed; it and its children do not outlive the block."""
    program = bridge.program(site, qos, readings)
    program.start()
    try:
        site.wait_for_subscriptions(program, bridge.members)
        yield program
    finally:
        end(program)


def end(program: Program) -> None:
    """End a bridge and its children at once."""
    for pid in family(program.pid)[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    program.kill()
