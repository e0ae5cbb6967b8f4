"""A config file -> the value of every key in it, or a ConfigError with every problem at once.

What two keys must agree on stands in the `_check` functions. No error or warning shows the value of a secret.
"""

import os
import ssl
from collections.abc import Mapping
from typing import Any

from tessflux.config import addresses, converters, inifile
from tessflux.config.secret import NO_SECRET, Secret
from tessflux.errors import ConfigError, Problem
from tessflux.limits import SHARE_MEMBERS

Keys = Mapping[str, Mapping[str, converters.Converter]]
"""What converts a key: section -> key -> converter."""

# Their texts are never shown: a password, or an address into which someone wrote one.
_PRIVATE = frozenset({"password", "broker", "url"})
# They are if they are a path, and not the secret itself that should be in the file.
_SECRET_FILES = frozenset({"password_file", "tls_key"})
_LONGEST_QUOTE = 80


class Loading:
    """One file on its way: its entries, their values as far as they are right, the complaints."""

    def __init__(self, file: str, entries: inifile.Entries, problems: list[Problem], keys: Keys) -> None:
        self.entries = entries
        self.problems = problems
        self.warnings: list[str] = []
        self.values: dict[str, dict[str, Any]] = {section: {} for section in keys}
        self.file, self._keys = file, keys

    def convert(self, environ: Mapping[str, str]) -> None:
        """Turn every entry into its value, or into a problem."""
        for entry in self.entries.values():
            convert = self._keys[entry.section][entry.key]
            try:
                value = converters.expand(entry.value, environ)
                if "\n" in value and convert not in converters.LISTS:
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

    def commented(self, section: str, key: str) -> bool:
        """Whether a comment follows the value in the file."""
        entry = self.entries.get((section, key))
        return entry is not None and entry.commented

    def problem(self, section: str, key: str, text: str) -> None:
        self.problems.append(self._remark(section, key, text))

    def warn(self, section: str, key: str, text: str) -> None:
        self.warnings.append(str(self._remark(section, key, text)))

    def _remark(self, section: str, key: str, text: str) -> Problem:
        entry = self.entries.get((section, key))
        return Problem(self.file, entry.line if entry else 0, f"[{section}] {key}{text}")


def load(path: str, keys: Keys, environ: Mapping[str, str]) -> Loading:
    """What the file at `path` says, with nothing wrong in it. Raises ConfigError with all problems."""
    loading = Loading(path, *inifile.read(path, _contents(path), keys), keys)
    loading.convert(environ)
    for section in ("influxdb", "mqtt"):
        _check_credentials(loading, section)
    _check_mqtt(loading)
    _check_tls(loading)
    if loading.problems:
        raise ConfigError(sorted(loading.problems, key=lambda problem: problem.line))
    _warn_of_secrets(loading)
    return loading


def _contents(path: str) -> str:
    """The text of the config file."""
    line = 0
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8-sig")
    except FileNotFoundError:
        reason = "there is no such file: make it from config.example, or name another with -c"
    except OSError as error:
        reason = converters.unreadable(error)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        reason = "the file is not UTF-8 text; this converts it: iconv -f latin1 -t utf-8"
    except ValueError:
        reason = "no file can have this name"
    raise ConfigError([Problem(path, line, reason)])


def _quoted(entry: inifile.Entry) -> str:
    if entry.key in _PRIVATE or (entry.key in _SECRET_FILES and not os.path.isabs(entry.value)):
        return ""
    value = entry.value
    shown = value if len(value) <= _LONGEST_QUOTE else value[:_LONGEST_QUOTE] + "..."
    return f" = {shown!r}"


def _check_credentials(loading: Loading, section: str) -> None:
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


def _check_mqtt(loading: Loading) -> None:
    found = loading.values["mqtt"]
    if ("mqtt", "broker") not in loading.entries:
        missing = f" is missing; say where the broker listens: {addresses.BROKER_FORMS}"
        loading.problem("mqtt", "broker", missing)
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if loading.stated("mqtt", key) and not loading.stated("mqtt", other):
            loading.problem("mqtt", key, f": needs {other} beside it")
    _check_share(loading)
    if found.get("qos") == 2:
        found["qos"] = 1
        loading.warn(
            "mqtt", "qos", " = 2 means 1: what is delivered twice is recognised, so QoS 2 would bring nothing"
        )


def _check_share(loading: Loading) -> None:
    """Two daemons of a group with one number would give two readings one time."""
    group, member = (loading.stated("mqtt", key) for key in ("share_group", "share_member"))
    if group and not member:
        missing = f": needs share_member beside it, for each daemon another from 0 to {SHARE_MEMBERS - 1}"
        loading.problem("mqtt", "share_group", missing)
    if group and not loading.stated("mqtt", "client_id"):
        # With one name, one daemon gets what the other has not acknowledged yet, and stores it too.
        missing = (
            ": needs client_id beside it, for each daemon another; one that has a session keeps its name"
        )
        loading.problem("mqtt", "share_group", missing)
    if member and not group:
        loading.problem("mqtt", "share_member", ": needs share_group beside it")
    if any(topic.startswith("$share/") for topic in loading.values["mqtt"].get("topics", ())):
        loading.problem("mqtt", "topics", ": name the group of a shared subscription in share_group")


def _check_tls(loading: Loading) -> None:
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


def _try_tls_files(loading: Loading, section: str) -> None:
    """Certificates that are none must be known before a connection needs them."""
    found = loading.values[section]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca := found.get("tls_ca"):
        # Not before: it takes a while, and most configs name no file.
        from tessflux.tls import trust

        try:
            context.load_verify_locations(ca)
            trust(ca)
        except (ssl.SSLError, OSError):
            loading.problem(section, "tls_ca", ": holds no certificate in PEM form")
    if (certificate := found.get("tls_cert")) and (key := found.get("tls_key")):
        try:
            # An empty password makes OpenSSL ask nobody for one.
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError):
            text = ": with tls_cert it makes no pair of a certificate and its key in PEM form, unencrypted"
            loading.problem(section, "tls_key", text)


def _warn_of_secrets(loading: Loading) -> None:
    """What everyone can read is no secret, and half a password is none; a `${NAME}` is left alone."""
    for section in ("influxdb", "mqtt"):
        found = loading.values[section]
        if converters.VARIABLE.sub("", loading.stated(section, "password")) and converters.exposed(
            loading.file
        ):
            advice = "chmod 640 the file, or use password_file"
            loading.warn(section, "password", f": every user of this machine can read it; {advice}")
        if loading.commented(section, "password"):
            loading.warn(
                section,
                "password",
                ": a blank and ; begin a comment, which is no part of it;"
                " a password that holds them goes in password_file",
            )
        secret: Secret = found.get("password", NO_SECRET)
        for key, path in (("password_file", secret.path), ("tls_key", found.get("tls_key", ""))):
            if path and converters.exposed(path):
                loading.warn(section, key, ": every user of this machine can read the file; chmod 640 it")
