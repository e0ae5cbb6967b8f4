"""The sections of the config file: each key with its type, its converter and its default. They are frozen.

A key stands here once. Only `password_file`, `token` and `token_file` are no fields: they are other ways to
give `password`. What keys must agree on is in `checks`. No repr shows a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_type_hints

from tessflux.config import addresses, converters
from tessflux.config.addresses import BrokerAddress, ListenAddress
from tessflux.config.converters import Converter
from tessflux.config.places import Place, read_places
from tessflux.config.secret import NO_SECRET, Secret
from tessflux.errors import UsageError
from tessflux.limits import SHARE_MEMBERS

Version = Literal["3.1.1", "5"]
"""Of MQTT."""

ODBL = "ODbL 1.0 http://opendatacommons.org/licenses/odbl/summary/"
"""Under which the networks of photometers publish."""

FIRST_OUTPUT, OUTPUT = "influxdb", "influxdb NAME"
"""The section of the first output, and the form of those of the others."""

LIVE = "live"
"""Marks a key of a server that a reload changes without a new connection to it."""

Flag = Annotated[bool, converters.flag, LIVE]
Level = Annotated[str, converters.choice(*converters.LEVELS), LIVE]
Pem = Annotated[str, converters.readable_file]


@dataclass(frozen=True)
class GlobalConfig:
    """What concerns the whole daemon."""

    log_file: Annotated[str, converters.path] = ""  # "" = none
    log_level: Level = "info"
    clock_wait: Annotated[float, converters.duration(0)] = 300.0  # seconds since the boot, 0 = no wait


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What both servers need: how they know us, and whose certificates we trust."""

    username: Annotated[str, converters.username] = ""
    password: Annotated[Secret, converters.password] = NO_SECRET
    tls_ca: Pem = ""

    def hide(self, said: str) -> str:
        """What a server says, without our login: some repeat what they were sent."""
        return self.password.hide(self.username, said)

    @property
    def connection(self) -> tuple[object, ...]:
        """What a connection is made of: a reload that changes none of it needs no new one."""
        return tuple(getattr(self, key) for key, marks in _marks(type(self)).items() if LIVE not in marks)


@dataclass(frozen=True)
class InfluxConfig(ServerConfig):
    """The database and how readings are sent to it. It is an InfluxDB 2 if it has a `bucket`, an InfluxDB 3
    if it has a `database`, or else an InfluxDB 1."""

    section: str = FIRST_OUTPUT  # no key, but the name of the section
    # One or several with commas between them; "" = none: the readings wait in the spool.
    url: Annotated[str, addresses.http_urls] = ""
    schema: Annotated[str, converters.readable_file] = ""  # path of the data definition file, "" = none
    dbname: Annotated[str, converters.name] = "tessdb"
    retpol: Annotated[str, converters.text] = ""  # "" = the default one of the database
    org: Annotated[str, converters.text] = ""
    bucket: Annotated[str, converters.text] = ""
    create: Annotated[bool, converters.flag] = False  # whether to make the bucket if it is missing
    retention: Annotated[int, converters.whole(0, 36_500)] = 0  # days that a new bucket keeps, 0 = for ever
    database: Annotated[str, converters.text] = ""
    measurement: Annotated[str, converters.measurement, LIVE] = "readings"
    batch: Annotated[int, converters.whole(1), LIVE] = 10  # readings
    flush_interval: Annotated[float, converters.duration(0.01, 60), LIVE] = 1.0  # from arrival to request
    timeout: Annotated[float, converters.duration(1, 600)] = 30.0  # seconds, one HTTP request
    extra_fields: Annotated[tuple[str, ...], converters.fields, LIVE] = ()
    resend: Annotated[float, converters.duration(0, 3600), LIVE] = 60.0  # for which what was delivered stays
    deduplicates: Annotated[bool, converters.flag] = False  # yes: a line twice is one, though that is hidden
    required: Flag = True  # no: a full spool lets it miss readings
    begin: Annotated[str, converters.choice("now", "oldest"), LIVE] = "now"  # with which line
    stats: Flag = True
    log_level: Level = "info"

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the database can be reached."""
        return tuple(filter(None, self.url.split(",")))


@dataclass(frozen=True)
class MqttConfig(ServerConfig):
    """The broker and which readings are taken from it."""

    broker: Annotated[BrokerAddress, addresses.broker]
    client_id: Annotated[str, converters.client_id] = ""  # `load` fills it in
    version: Annotated[Version, converters.choice("3.1.1", "5")] = "3.1.1"
    keepalive: Annotated[int, converters.whole(1, 65_535)] = 60  # seconds
    qos: Annotated[int, converters.whole(0, 2)] = 1  # 0 or 1
    topics: Annotated[tuple[str, ...], converters.topics, LIVE] = ("STARS4ALL/+/reading",)
    register_topics: Annotated[tuple[str, ...], converters.topics_or_none, LIVE] = (
        "STARS4ALL/register",
        "STARS4ALL/+/register",
    )
    share_group: Annotated[str, converters.share_group, LIVE] = ""  # "" = every message comes to this daemon
    share_member: Annotated[int, converters.whole(0, SHARE_MEMBERS - 1), LIVE] = 0  # its number in the group
    validation: Flag = True
    whitelist: Annotated[frozenset[str], converters.names, LIVE] = frozenset()  # lower case; empty = everyone
    blacklist: Annotated[frozenset[str], converters.names, LIVE] = frozenset()  # lower case
    new_photometers: Annotated[int, converters.whole(0), LIVE] = 5_000  # in an hour, 0 = any number
    silence: Annotated[float, converters.duration(10, zero=True), LIVE] = 600.0  # seconds, 0 = never
    # Seconds, 0 = hold none; None = twice the pace of the photometer, at most 300.
    backlog_wait: Annotated[float | None, converters.or_blank(converters.duration(0, 3600)), LIVE] = None
    tls_cert: Pem = ""
    tls_key: Pem = ""
    stats: Flag = True
    log_level: Level = "info"


@dataclass(frozen=True)
class SpoolConfig:
    """The journal on disk."""

    directory: Annotated[str, converters.directory] = "/var/lib/tessflux"
    max_size: Annotated[int, converters.size] = 2**30  # bytes
    quarantine: Annotated[int, converters.whole(0)] = 100_000  # rows


@dataclass(frozen=True)
class StatusConfig:
    """Where others can look at tessflux, and what they see of the photometers. Without a `socket`, it is in
    /run/tessflux or with the spool."""

    socket: Annotated[str, converters.path] = ""
    listen: Annotated[ListenAddress | None, converters.or_blank(addresses.listen)] = None
    silent: Annotated[float, converters.duration(10, zero=True)] = 7_200.0  # seconds, 0 = never
    history: Annotated[int, converters.whole(0, 366)] = 7  # nights, 0 = none


@dataclass(frozen=True)
class SiteConfig:
    """Who publishes what the photometers measure, and where these stand."""

    observer: Annotated[str, converters.text] = ""
    organization: Annotated[str, converters.text] = ""
    licence: Annotated[str, converters.text] = ODBL
    doi: Annotated[str, converters.text] = ""
    places: Annotated[Mapping[str, Place], read_places] = field(default_factory=dict)  # by photometer


@dataclass(frozen=True)
class AlarmConfig:
    """What the operator is told of, by which command (an absolute path, "" = none), and how often. What is 0
    or no raises no alarm."""

    command: Annotated[str, converters.executable] = ""
    per_hour: Annotated[int, converters.whole(1, 3_600)] = 20  # runs of the command
    not_stored: Annotated[float, converters.duration(5, zero=True)] = 1_200.0  # seconds without a reading
    silent: Annotated[bool, converters.flag] = True  # photometers, by [status] silent
    moved: Annotated[bool, converters.flag] = True  # names of photometers, to another mac
    spool: Annotated[float, converters.percent] = 0.5  # the part of max_size that is used
    output: Annotated[float, converters.duration(5, zero=True)] = 600.0  # seconds that a database is away
    broker: Annotated[float, converters.duration(5, zero=True)] = 600.0  # the same for the broker
    clock: Annotated[float, converters.duration(5, zero=True)] = 600.0  # seconds that the time is not known
    lost: Annotated[float, converters.duration(5, zero=True)] = 3_600.0  # over when so long none was lost


@dataclass(frozen=True)
class Config:
    """A config that can be used; `path` is absolute, `warnings` are lines for the log."""

    path: str
    global_: GlobalConfig
    mqtt: MqttConfig
    outputs: Mapping[str, InfluxConfig]
    """By their sections. That of the first one, [influxdb], is always there, and says how readings are
    encoded for all."""
    spool: SpoolConfig
    warnings: tuple[str, ...]
    status: StatusConfig = StatusConfig()
    alarm: AlarmConfig = AlarmConfig()
    site: SiteConfig = field(default_factory=SiteConfig)

    @property
    def influxdb(self) -> InfluxConfig:
        """The first output."""
        return self.outputs[FIRST_OUTPUT]

    def section_of(self, output: str) -> str:
        """The section of an output that goes by this name, with `influxdb ` before it or without. Raises
        UsageError if there is none."""
        for section in self.outputs:
            if output in (section, section.partition(" ")[2]):
                return section
        names = ", ".join(section.partition(" ")[2] or section for section in self.outputs)
        raise UsageError(f"{self.path} has no output {output}; there are: {names}")


def _marks(section: type) -> dict[str, tuple[Any, ...]]:
    """What stands behind the type of each key."""
    hints = get_type_hints(section, include_extras=True).items()
    return {key: hint.__metadata__ for key, hint in hints if hasattr(hint, "__metadata__")}


def _keys(section: type) -> dict[str, Converter]:
    keys = {key: marks[0] for key, marks in _marks(section).items()}
    if issubclass(section, ServerConfig):
        keys["password_file"] = converters.password_file
    if issubclass(section, InfluxConfig):
        keys |= {"token": converters.token, "token_file": converters.token_file}
    return keys


FOR_ALL = {"measurement", "extra_fields", "log_level"}
"""Keys that hold for all outputs, and stand in [influxdb]."""

KEYS = {
    "global": _keys(GlobalConfig),
    FIRST_OUTPUT: _keys(InfluxConfig),
    OUTPUT: {key: convert for key, convert in _keys(InfluxConfig).items() if key not in FOR_ALL},
    "mqtt": _keys(MqttConfig),
    "spool": _keys(SpoolConfig),
    "status": _keys(StatusConfig),
    "alarm": _keys(AlarmConfig),
    "site": _keys(SiteConfig),
}
"""What converts a key: section -> key -> converter."""
