"""Other bridges: each is a command with placeholders, and takes part when its program is there.

The config files in peers/ give each the best way that its documents show: batches, a persistent session.
"""

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from servers import Program, free_port

from benchmark.site import DATABASE, TOPIC, Site

TEMPLATES = Path(__file__).parent / "peers"

RECIPES = {
    "telegraf": "telegraf --config {peers}/telegraf.conf",
    "node-red": "node-red --userDir {peers} --settings {peers}/node-red-settings.js",
}
"""By the program that must be on the PATH. Node-RED needs node-red-contrib-influxdb beside it."""


@dataclass(frozen=True)
class Peer:
    """A bridge that stores readings in the measurement `readings`, with the tag `name` and a field `seq`."""

    name: str
    command: str
    stores = True
    members = 1

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """NAME=COMMAND; raises ValueError."""
        name, equals, command = text.partition("=")
        if not name or not equals or not command:
            raise ValueError(f"{text!r} is not NAME=COMMAND")
        return cls(name, command)

    def program(self, site: Site, qos: int, readings: int) -> Program:
        """Its command, with its config files beside it; no shell takes part."""
        peers = site.directory / "peers"
        values = {
            "mqtt_port": site.port,
            "influx_port": site.influxd.port,
            "database": DATABASE,
            "topic": TOPIC,
            "qos": qos,
            "client_id": "bench",
            "directory": site.directory,
            "peers": peers,
            "free_port": free_port(),
        }
        peers.mkdir()
        for template in TEMPLATES.iterdir():
            (peers / template.name).write_text(fill(template.read_text(), values))
        command = [fill(part, values) for part in shlex.split(self.command)]
        return Program(self.name, command, site.directory / "peer.log")


def fill(text: str, values: dict[str, object]) -> str:
    """Put the values in the place of {their names}; all other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def found() -> list[Peer]:
    """Those whose program is on the PATH."""
    return [Peer(name, command) for name, command in RECIPES.items() if shutil.which(name)]
