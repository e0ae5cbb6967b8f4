"""The config file -> a frozen Config, or a ConfigError with every problem at once.

`KEYS` lists every key and what converts it; the dataclasses hold the defaults; what two keys must
agree on stands in the `_check` functions. No value of a secret gets into an error, warning or repr.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tessflux import addresses, inifile, values
from tessflux.addresses import BrokerAddress
from tessflux.errors import ConfigError, Problem
from tessflux.reading import EXTRA_FIELDS
from tessflux.secret import NO_SECRET, Secret

__all__ = [
    "EXTRA_FIELDS",
    "KEYS",
    "BrokerAddress",
    "Config",
    "GlobalConfig",
    "InfluxConfig",
    "MqttConfig",
    "Secret",
    "SpoolConfig",
    "load",
]


@dataclass(frozen=True)
class GlobalConfig:
    """What concerns the whole daemon."""

    log_file: str = ""  # "" = none
    log_level: str = "info"


@dataclass(frozen=True)
class MqttConfig:
    """The broker and which readings are taken from it."""

    broker: BrokerAddress
    username: str = ""
    password: Secret = NO_SECRET
    client_id: str = ""  # `load` fills it in
    version: Literal["3.1.1", "5"] = "3.1.1"
    keepalive: int = 60  # seconds
    qos: int = 1  # 0 or 1
    topics: tuple[str, ...] = ("STARS4ALL/+/reading",)
    validation: bool = True
    whitelist: frozenset[str] = frozenset()  # lower case; empty = everyone
    blacklist: frozenset[str] = frozenset()  # lower case
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


_level = values.choice(*values.LEVELS)

KEYS: Mapping[str, Mapping[str, values.Converter]] = {
    "global": {"log_file": values.path, "log_level": _level},
    "influxdb": {
        "url": addresses.http_url,
        "schema": values.readable_file,
        "dbname": values.name,
        "username": values.text,
        "password": values.password,
        "password_file": values.password_file,
        "retpol": values.text,
        "measurement": values.measurement,
        "batch": values.whole(1),
        "flush_interval": values.seconds(0.01, 60),
        "timeout": values.seconds(1, 600),
        "tls_ca": values.readable_file,
        "extra_fields": values.fields,
        "stats": values.flag,
        "log_level": _level,
    },
    "mqtt": {
        "broker": addresses.broker,
        "username": values.text,
        "password": values.password,
        "password_file": values.password_file,
        "client_id": values.text,
        "version": values.choice("3.1.1", "5"),
        "keepalive": values.whole(1, 65_535),
        "qos": values.whole(0, 2),
        "topics": values.topics,
        "validation": values.flag,
        "whitelist": values.names,
        "blacklist": values.names,
        "silence": values.seconds(10, zero=True),
        "tls_ca": values.readable_file,
        "tls_cert": values.readable_file,
        "tls_key": values.readable_file,
        "stats": values.flag,
        "log_level": _level,
    },
    "spool": {
        "directory": values.directory,
        "max_size": values.size,
        "quarantine": values.whole(0),
    },
}
# Their texts are never shown: a password, or an address into which someone wrote one.
_PRIVATE = frozenset({"password", "broker", "url"})
_LONGEST_QUOTE = 80


def load(path: str, environ: Mapping[str, str]) -> Config:
    """The config in the file at `path`; `environ` has the variables for `${NAME}`.

    Reads files, and nothing else blocks. Raises ConfigError with all problems.
    """
    text, mode = _contents(path)
    loading = _Loading(path, *inifile.read(path, text, KEYS))
    loading.convert(environ)
    for section in ("influxdb", "mqtt"):
        _check_credentials(loading, section)
    _check_mqtt(loading)
    _check_tls(loading)
    if loading.problems:
        raise ConfigError(sorted(loading.problems, key=lambda problem: problem.line))
    _warn_of_open_password(loading, mode)
    mqtt = loading.values["mqtt"]
    mqtt["client_id"] = mqtt.get("client_id") or f"tessflux-{socket.gethostname()}"
    return Config(
        path=os.path.abspath(path),
        global_=GlobalConfig(**loading.values["global"]),
        mqtt=MqttConfig(**mqtt),
        influxdb=InfluxConfig(**loading.values["influxdb"]),
        spool=SpoolConfig(**loading.values["spool"]),
        warnings=tuple(loading.warnings),
    )


def _contents(path: str) -> tuple[str, int]:
    """The text of the config file, and its mode."""
    line = 0
    try:
        with open(path, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read()
        return data.decode("utf-8-sig"), mode
    except FileNotFoundError:
        reason = "there is no such file: make it from config.example, or name another with -c"
    except OSError as error:
        reason = values.unreadable(error)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        reason = "the file is not UTF-8 text; this converts it: iconv -f latin1 -t utf-8"
    except ValueError:
        reason = "no file can have this name"
    raise ConfigError([Problem(path, line, reason)])


class _Loading:
    """One file on its way: its entries, their values as far as they are right, the complaints."""

    def __init__(self, file: str, entries: inifile.Entries, problems: list[Problem]) -> None:
        self.entries = entries
        self.problems = problems
        self.warnings: list[str] = []
        self.values: dict[str, dict[str, Any]] = {section: {} for section in KEYS}
        self._file = file

    def convert(self, environ: Mapping[str, str]) -> None:
        """Turn every entry into its value, or into a problem."""
        for entry in self.entries.values():
            convert = KEYS[entry.section][entry.key]
            try:
                value = values.expand(entry.value, environ)
                if "\n" in value and convert not in values.LISTS:
                    raise ValueError(
                        "must stand on one line; "
                        "a line that begins with a blank goes on with the value above it"
                    )
                self.values[entry.section][entry.key] = convert(value)
            except ValueError as error:
                self.problem(entry.section, entry.key, f"{_quoted(entry)}: {error}")

    def stated(self, section: str, key: str) -> str:
        """What the file says, "" when the key is absent or blank."""
        entry = self.entries.get((section, key))
        return entry.value if entry else ""

    def problem(self, section: str, key: str, text: str) -> None:
        self.problems.append(self._remark(section, key, text))

    def warn(self, section: str, key: str, text: str) -> None:
        self.warnings.append(str(self._remark(section, key, text)))

    def _remark(self, section: str, key: str, text: str) -> Problem:
        entry = self.entries.get((section, key))
        return Problem(self._file, entry.line if entry else 0, f"[{section}] {key}{text}")


def _quoted(entry: inifile.Entry) -> str:
    if entry.key in _PRIVATE:
        return ""
    value = entry.value
    shown = value if len(value) <= _LONGEST_QUOTE else value[:_LONGEST_QUOTE] + "..."
    return f" = {shown!r}"


def _check_credentials(loading: _Loading, section: str) -> None:
    """Bring password and password_file together; one excludes the other, and both need a username."""
    found = loading.values[section]
    from_file = found.pop("password_file", NO_SECRET)
    if loading.stated(section, "password_file"):
        if loading.stated(section, "password"):
            loading.problem(section, "password_file", ": password is given too; keep one of them")
        found["password"] = from_file
    if not loading.stated(section, "username"):
        for key in ("password", "password_file"):
            if loading.stated(section, key):
                loading.warn(section, key, ": without a username it is not used; give both or none")


def _check_mqtt(loading: _Loading) -> None:
    found = loading.values["mqtt"]
    if ("mqtt", "broker") not in loading.entries:
        missing = f" is missing; say where the broker listens: {addresses.BROKER_FORMS}"
        loading.problem("mqtt", "broker", missing)
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if loading.stated("mqtt", key) and not loading.stated("mqtt", other):
            loading.problem("mqtt", key, f": needs {other} beside it")
    if found.get("qos") == 2:
        found["qos"] = 1
        loading.warn(
            "mqtt", "qos", " = 2 means 1: what is delivered twice is recognised, so QoS 2 would bring nothing"
        )


def _check_tls(loading: _Loading) -> None:
    """The tls_ keys need an address with TLS; while an address is wrong nobody can tell."""
    broker = loading.values["mqtt"].get("broker")
    url = loading.values["influxdb"].get("url")
    for section, plain, advice in (
        ("mqtt", broker and broker.transport != "tls", "broker = tls:HOST:PORT"),
        ("influxdb", url and not url.startswith("https:"), "url = https://HOST:PORT"),
    ):
        for key in ("tls_ca", "tls_cert", "tls_key"):
            if plain and loading.stated(section, key):
                loading.problem(section, key, f": the server has no TLS; write {advice}, or drop it")
    for section in ("mqtt", "influxdb"):
        _try_tls_files(loading, section)


def _try_tls_files(loading: _Loading, section: str) -> None:
    """Certificates that are none must be known before a connection needs them."""
    found = loading.values[section]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca := found.get("tls_ca"):
        try:
            context.load_verify_locations(ca)
            with open(ca, "rb") as stream:
                # OpenSSL reads these, pyOpenSSL does not.
                if b"-----BEGIN TRUSTED CERTIFICATE-----" in stream.read():
                    raise ssl.SSLError
        except (ssl.SSLError, OSError):
            loading.problem(section, "tls_ca", ": holds no certificate in PEM form")
    if (certificate := found.get("tls_cert")) and (key := found.get("tls_key")):
        try:
            # An empty password makes OpenSSL ask nobody for one.
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError):
            text = ": with tls_cert it makes no pair of a certificate and its key in PEM form, unencrypted"
            loading.problem(section, "tls_key", text)


def _warn_of_open_password(loading: _Loading, mode: int) -> None:
    """A password in a file that everyone can read is worth a warning; a `${NAME}` is not."""
    if not mode & 0o004:
        return
    for section in ("influxdb", "mqtt"):
        if values.VARIABLE.sub("", loading.stated(section, "password")):
            loading.warn(
                section,
                "password",
                ": every user of this machine can read it; chmod 640 the file, or use password_file",
            )
