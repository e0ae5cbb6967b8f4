"""The config file -> a frozen Config, or a ConfigError with every problem at once.

`KEYS` lists every key and what converts it; the dataclasses hold the defaults; what two keys must
agree on stands in `file`. No value of a secret gets into a repr.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tessflux.config import addresses, converters, file
from tessflux.config.addresses import BrokerAddress
from tessflux.config.secret import NO_SECRET, Secret
from tessflux.limits import SHARE_MEMBERS

__all__ = [
    "KEYS",
    "BrokerAddress",
    "Config",
    "GlobalConfig",
    "InfluxConfig",
    "MqttConfig",
    "Secret",
    "SpoolConfig",
    "Version",
    "load",
]


@dataclass(frozen=True)
class GlobalConfig:
    """What concerns the whole daemon."""

    log_file: str = ""  # "" = none
    log_level: str = "info"


Version = Literal["3.1.1", "5"]
"""Of MQTT."""


@dataclass(frozen=True)
class MqttConfig:
    """The broker and which readings are taken from it."""

    broker: BrokerAddress
    username: str = ""
    password: Secret = NO_SECRET
    client_id: str = ""  # `load` fills it in
    version: Version = "3.1.1"
    keepalive: int = 60  # seconds
    qos: int = 1  # 0 or 1
    topics: tuple[str, ...] = ("STARS4ALL/+/reading",)
    share_group: str = ""  # "" = every message comes to this daemon
    share_member: int = 0  # its number in the group
    validation: bool = True
    whitelist: frozenset[str] = frozenset()  # lower case; empty = everyone
    blacklist: frozenset[str] = frozenset()  # lower case
    new_photometers: int = 5_000  # in an hour, 0 = any number
    silence: float = 600.0  # seconds, 0 = never
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    stats: bool = True
    log_level: str = "info"


@dataclass(frozen=True)
class InfluxConfig:
    """The database and how readings are sent to it."""

    url: str = ""  # "" = none: the readings wait in the spool
    schema: str = ""  # path of the data definition file, "" = none
    dbname: str = "tessdb"
    username: str = ""
    password: Secret = NO_SECRET
    retpol: str = ""  # "" = the default one of the database
    measurement: str = "readings"
    batch: int = 10  # readings
    flush_interval: float = 1.0  # seconds, from its arrival to the request that carries it
    timeout: float = 30.0  # seconds, one HTTP request
    tls_ca: str = ""
    extra_fields: tuple[str, ...] = ()
    stats: bool = True
    log_level: str = "info"


@dataclass(frozen=True)
class SpoolConfig:
    """The journal on disk."""

    directory: str = "/var/lib/tessflux"
    max_size: int = 2**30  # bytes
    quarantine: int = 100_000  # rows


@dataclass(frozen=True)
class Config:
    """A config that can be used; `path` is absolute, `warnings` are lines for the log."""

    path: str
    global_: GlobalConfig
    mqtt: MqttConfig
    influxdb: InfluxConfig
    spool: SpoolConfig
    warnings: tuple[str, ...]


_level = converters.choice(*converters.LEVELS)

KEYS: file.Keys = {
    "global": {"log_file": converters.path, "log_level": _level},
    "influxdb": {
        "url": addresses.http_url,
        "schema": converters.readable_file,
        "dbname": converters.name,
        "username": converters.text,
        "password": converters.password,
        "password_file": converters.password_file,
        "retpol": converters.text,
        "measurement": converters.measurement,
        "batch": converters.whole(1),
        "flush_interval": converters.seconds(0.01, 60),
        "timeout": converters.seconds(1, 600),
        "tls_ca": converters.readable_file,
        "extra_fields": converters.fields,
        "stats": converters.flag,
        "log_level": _level,
    },
    "mqtt": {
        "broker": addresses.broker,
        "username": converters.text,
        "password": converters.password,
        "password_file": converters.password_file,
        "client_id": converters.client_id,
        "version": converters.choice("3.1.1", "5"),
        "keepalive": converters.whole(1, 65_535),
        "qos": converters.whole(0, 2),
        "topics": converters.topics,
        "share_group": converters.share_group,
        "share_member": converters.whole(0, SHARE_MEMBERS - 1),
        "validation": converters.flag,
        "whitelist": converters.names,
        "blacklist": converters.names,
        "new_photometers": converters.whole(0),
        "silence": converters.seconds(10, zero=True),
        "tls_ca": converters.readable_file,
        "tls_cert": converters.readable_file,
        "tls_key": converters.readable_file,
        "stats": converters.flag,
        "log_level": _level,
    },
    "spool": {
        "directory": converters.directory,
        "max_size": converters.size,
        "quarantine": converters.whole(0),
    },
}


def load(path: str, environ: Mapping[str, str]) -> Config:
    """The config in the file at `path`; `environ` has the variables for `${NAME}`.

    Reads files, and nothing else blocks. Raises ConfigError with all problems.
    """
    found = file.load(path, KEYS, environ)
    mqtt = found.values["mqtt"]
    mqtt["client_id"] = mqtt.get("client_id") or f"tessflux-{socket.gethostname()}"
    return Config(
        path=os.path.abspath(path),
        global_=GlobalConfig(**found.values["global"]),
        mqtt=MqttConfig(**mqtt),
        influxdb=InfluxConfig(**found.values["influxdb"]),
        spool=SpoolConfig(**found.values["spool"]),
        warnings=tuple(found.warnings),
    )
