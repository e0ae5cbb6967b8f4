"""The brokers of the matrix: how each one is started, and what it keeps for tessflux.

Their configs have the lines that docs/brokers.md shows an operator, and the ports, the directories and the
open doors of a test. A broker is a server of Debian, or of its makers where that is said.
"""

import os
import shutil
from pathlib import Path

from servers import LOOPBACK, Program, Server, ServerFailed, find_program, free_port

GO_BIN = Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
"""Where `go install` puts a program."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tessflux"
"""Where scripts/get-mochi puts it."""


class Broker(Server):
    """What it keeps over `restart` is in its directory. Raises ServerFailed if the program is missing."""

    program: str
    mqtt5 = True
    shares = True
    """Whether it has shared subscriptions."""
    away: frozenset[int] = frozenset({1})
    """The QoS at which it keeps what is published while a subscriber at QoS 1 is away."""
    restarted: frozenset[int] = frozenset({1})
    """The same, if it is restarted meanwhile."""

    def __init__(self, directory: Path) -> None:
        super().__init__(self.program, self.program, directory, LOOPBACK, None)

    def arguments(self, program: str) -> list[str]:
        return [program, "-c", str(self.config)]


class Mosquitto(Broker):
    program = "mosquitto"
    away = restarted = frozenset({0, 1})

    def settings(self) -> str:
        return f"""\
listener {self.port} {self.host}
allow_anonymous true
log_dest stderr
persistence_location {self.directory}/
{"user root" if os.geteuid() == 0 else ""}
upgrade_outgoing_qos true
max_queued_messages 100000
persistence true
autosave_interval 60
"""


class Nats(Broker):
    program = "nats-server"
    mqtt5 = shares = False

    def settings(self) -> str:
        return f"""\
server_name: tess
listen: "{self.host}:{free_port()}"
jetstream {{ store_dir: "{self.directory}/jetstream" }}
mqtt {{
  listen: "{self.address}"
  ack_wait: "5s"
}}
"""


class Mochi(Broker):
    """Its makers' server for containers, which is no package of Debian: it is called mochi on the PATH, or
    docker among the programs of Go, or is where scripts/get-mochi puts it."""

    program = "mochi"

    def find(self, name: str, package: str) -> str:
        places = (
            (name, f"{os.environ['PATH']}:{GO_BIN}"),
            ("docker", str(GO_BIN)),
            ("mochi-v2.7.9", str(CACHE)),
        )
        for each, path in places:
            if found := shutil.which(each, path=path):
                return found
        raise ServerFailed(
            f"there is no mochi on the PATH, neither mochi nor docker in {GO_BIN}, and none in {CACHE}:"
            " where Go is, scripts/get-mochi builds it"
        )

    def arguments(self, program: str) -> list[str]:
        return [program, "-config", str(self.config)]

    def settings(self) -> str:
        return f"""\
listeners:
  - type: tcp
    id: mqtt
    address: "{self.address}"
hooks:
  auth:
    allow_all: true
  storage:
    badger:
      path: "{self.directory}/badger"
"""


class RabbitMQ(Broker):
    """With its MQTT plugin. Its node finds itself by an epmd, which has a port of its own here."""

    program = "rabbitmq-server"
    start_seconds = 90.0
    shares = False
    away = frozenset({0, 1})

    def __init__(self, directory: Path) -> None:
        self._names = free_port()
        super().__init__(directory)
        epmd = [find_program("epmd", "erlang-base"), "-address", self.host, "-port", str(self._names)]
        self._epmd = Program("epmd", epmd, self.directory / "epmd.log")
        [home] = Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")
        major, minor = home.name.removeprefix("rabbitmq_server-").split(".")[:2]
        self.mqtt5 = (int(major), int(minor)) >= (3, 13)
        if self.mqtt5:
            self._expiry = "mqtt.max_session_expiry_interval_seconds = 1209600"
        else:
            self._expiry = "mqtt.subscription_ttl = 1209600000"

    def arguments(self, program: str) -> list[str]:
        environment = {
            "HOME": self.directory,
            # Then the shell becomes the server, and its process is ours.
            "RABBITMQ_ALLOW_INPUT": 1,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": self.config,
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.directory / "plugins",
            "RABBITMQ_MNESIA_BASE": self.directory,
            "RABBITMQ_LOG_BASE": self.directory,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODENAME": f"tess{self.port}@localhost",
            "RABBITMQ_DIST_PORT": free_port(),
            "ERL_CRASH_DUMP_SECONDS": 0,
            "ERL_EPMD_PORT": self._names,
            "ERL_EPMD_ADDRESS": self.host,
        }
        # What is on the PATH becomes the user rabbitmq, who may not write in our directory.
        script = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        return ["env", *(f"{key}={value}" for key, value in environment.items()), script]

    def settings(self) -> str:
        return f"""\
listeners.tcp = none
log.console.level = warning
mqtt.listeners.tcp.1 = {self.address}
mqtt.prefetch = 1000
{self._expiry}
"""

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "plugins").write_text("[rabbitmq_mqtt].\n")
        self._epmd.start()
        super().start()

    def stop(self, seconds: float = 60.0) -> None:
        super().stop(seconds)
        self._epmd.stop()


BROKERS = (Mosquitto, Nats, Mochi, RabbitMQ)
