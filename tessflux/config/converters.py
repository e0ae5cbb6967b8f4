"""The text of a config value -> the value; a wrong text is a ValueError that says what would be right.

The message never quotes the text, which may have come from a variable that holds a secret. A file that a
value names is opened, to see that it can be; nothing else is touched.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from configparser import RawConfigParser
from contextlib import suppress
from typing import Any

from tessflux.config.secret import NO_SECRET, Secret
from tessflux.limits import MAX_NAME
from tessflux.readings import EXTRA_FIELDS

Converter = Callable[[str], Any]

LEVELS = ("debug", "info", "warn", "error", "critical")

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Control characters but tab and newline, and the marks of bytes that were not UTF-8.
_UNUSABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TIME_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
# The readings that are remembered take some MB of the spool, and one commit may add 16 MB.
_SMALLEST_SPOOL = 64 * 2**20
# The largest database that SQLite can keep with its default page size of 4 KiB is 16 TiB.
_LARGEST_SPOOL = 16 * 2**40
# A larger number is a typing error. All up to it fit where they are stored.
_LARGEST_WHOLE = 1_000_000_000
# What MQTT has two bytes for.
_LONGEST_STRING = 65_535
# `--check` adds to it.
_LONGEST_CLIENT_ID = 65_500
_LONGEST_SILENCE = 7 * 86_400.0


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with every `${NAME}` replaced; any other `$` stays as it is."""
    missing = [name for name in VARIABLE.findall(text) if name not in environ]
    if missing:
        raise ValueError(f"set the environment variable {' and '.join(missing)}")
    expanded = VARIABLE.sub(lambda match: environ[match[1]], text)
    if _UNUSABLE.search(expanded):
        raise ValueError("must hold no control characters and only UTF-8 text")
    return expanded


def text(value: str) -> str:
    """Any text, or none."""
    return value


def name(value: str) -> str:
    """Any text, but not none."""
    if not value:
        raise ValueError("must not be empty")
    return value


def measurement(value: str) -> str:
    """A name that a line of line protocol can begin with, and that every database keeps as it is."""
    if not name(value).isprintable() or value.startswith(("#", "=")) or "\\" in value:
        raise ValueError("must not begin with # or =; it must have no backslash and no control characters")
    return value


def flag(value: str) -> bool:
    """One of the words that RawConfigParser takes: old config files use them."""
    try:
        return RawConfigParser.BOOLEAN_STATES[value.lower()]
    except KeyError:
        raise ValueError("must be yes or no") from None


def choice(*options: str) -> Converter:
    """One of the `options`, in any case."""

    def convert(value: str) -> str:
        if value.lower() not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return value.lower()

    return convert


def whole(low: int, high: int = _LARGEST_WHOLE) -> Converter:
    """A whole number from `low` to `high`."""

    def convert(value: str) -> int:
        try:
            number = int(_plain(value))
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return number

    return convert


def duration(low: float, high: float = _LONGEST_SILENCE, zero: bool = False) -> Converter:
    """A time from `low` to `high`, as seconds or as a number with s, m, h or d; with `zero` also 0."""
    range_ = f"{'0, or ' if zero else ''}{low:g} to {high:.0f}"

    def convert(value: str) -> float:
        found = re.fullmatch(r"([0-9.]+) ?([smhd]?)", value, re.IGNORECASE)
        try:
            number = float(found[1]) * _TIME_UNITS[found[2].lower()] if found else float("nan")
        except ValueError:
            number = float("nan")
        if not (low <= number <= high or (zero and number == 0)):
            raise ValueError(f"must be a number of seconds, or one with s, m, h or d: {range_} seconds")
        return number

    return convert


def _plain(number: str) -> str:
    """Raises ValueError for what Python alone takes: 1_000, and the digits of every script."""
    if "_" in number or not number.isascii():
        raise ValueError
    return number


def or_blank(convert: Converter) -> Converter:
    """None for no text, or what `convert` makes of it."""
    return lambda value: convert(value) if value else None


def size(value: str) -> int:
    """Bytes: `1G`, `512M`, `100000K` or a plain number."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]?)B?", value.upper())
    number = int(match[1]) * _SIZE_UNITS[match[2]] if match else 0
    if not _SMALLEST_SPOOL <= number <= _LARGEST_SPOOL:
        raise ValueError("must be a size from 64M to 16T, for instance 512M or 1G")
    return number


def percent(value: str) -> float:
    """A part, as `50%`; 0 for none."""
    match = re.fullmatch(r"([0-9]{1,2})\s*%?", value)
    if not match:
        raise ValueError("must be a part from 1% to 99%, or 0")
    return int(match[1]) / 100


def path(value: str) -> str:
    """An absolute path, or "" for none."""
    if value and not os.path.isabs(value):
        raise ValueError(
            "must be an absolute path, one that begins with /: "
            "the daemon runs in /, where a relative path would mean another file"
        )
    return value


def directory(value: str) -> str:
    """An absolute path; it need not exist yet."""
    return path(name(value))


def readable_file(value: str) -> str:
    """The absolute path of a file that can be opened now, or "" for none."""
    if path(value):
        _refuse_pipe(value)
        try:
            open(value, "rb").close()
        except OSError as error:
            raise ValueError(unreadable(error)) from None
    return value


def executable(value: str) -> str:
    """The absolute path of a program that this user may run, or "" for none."""
    if path(value) and not (os.path.isfile(value) and os.access(value, os.X_OK)):
        raise ValueError(
            "must be a program that the user of the daemon may run, without arguments: check its path, and"
            " chmod 755 it"
        )
    return value


def _refuse_pipe(path: str) -> None:
    """Opening one waits until somebody writes into it, and a reload or a stop would wait with it."""
    with suppress(OSError):
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise ValueError("must be a file, not a pipe")


def client_id(value: str) -> str:
    """A client id, or nothing for one that `load` makes (MQTT 3.1.1, section 1.5.3)."""
    _fit(value, longest=_LONGEST_CLIENT_ID)
    return value


def _fit(value: str, what: str = "", longest: int = _LONGEST_STRING) -> None:
    if len(value.encode()) > longest:
        raise ValueError(f"{what}must not be longer than {longest} bytes")


def username(value: str) -> str:
    """Who we are for a server, or nothing."""
    _fit(value)
    return value


def password(value: str) -> Secret:
    """A password that stands in the config file itself."""
    _fit(value)
    return Secret(value)


def password_file(value: str) -> Secret:
    """The password in the first line of the file at this absolute path; nothing for none."""
    if not path(value):
        return NO_SECRET
    _refuse_pipe(value)
    try:
        return Secret.from_file(value)
    except OSError as error:
        raise ValueError(unreadable(error)) from None


def token(value: str) -> Secret:
    """A token that stands in the config file itself."""
    return _sendable(password(value))


def token_file(value: str) -> Secret:
    """The token in the first line of the file at this absolute path; nothing for none."""
    return _sendable(password_file(value))


def _sendable(token: Secret) -> Secret:
    """Unlike a password, a token is sent as it is."""
    if not re.fullmatch("[!-~]*", token.reveal()):
        raise ValueError("must be a token: it has no blanks and no letters outside ASCII")
    return token


def exposed(path: str) -> bool:
    """Whether every user of this machine may read the file. Its group may: that is how a daemon reads a file
    that belongs to root."""
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False


def unreadable(error: OSError) -> str:
    """Why a file cannot be read, and what to look at."""
    reason = error.strerror or "unknown reason"
    return f"the file cannot be read ({reason}): check its path, owner and mode"


def names(value: str) -> frozenset[str]:
    """Names of photometers, in lower case: no two photometers differ only in that. A reading with any other
    name is refused, so an entry that is no such name could never do anything."""
    items = frozenset(item.lower() for item in _items(value))
    if any(len(item) > MAX_NAME or not item.isprintable() or item.endswith("\\") for item in items):
        rule = f"at most {MAX_NAME} printable characters, the last of them no backslash"
        raise ValueError(f"must hold names of photometers, with commas between them; a name has {rule}")
    return items


def topics(value: str) -> tuple[str, ...]:
    """MQTT topic filters, at least one."""
    filters = _items(value)
    if not filters:
        raise ValueError("must name at least one topic, for instance STARS4ALL/+/reading")
    for each in filters:
        _check_topic(each)
    return filters


def topics_or_none(value: str) -> tuple[str, ...]:
    """MQTT topic filters, or none."""
    return topics(value) if value else ()


def share_group(value: str) -> str:
    """The name of a shared subscription, or nothing (MQTT 5, section 4.8.2)."""
    if any(each in value for each in "/+#\0"):
        raise ValueError("must have none of the characters / + #")
    return value


def fields(value: str) -> tuple[str, ...]:
    """Keys of EXTRA_FIELDS, or aliases of them: fields that are stored besides the usual ones."""
    keys = {name.lower(): key for key, field in EXTRA_FIELDS.items() for name in (key, *field.aliases)}
    wanted = tuple(dict.fromkeys(keys.get(item, item) for item in _items(value.lower())))
    if not EXTRA_FIELDS.keys() >= set(wanted):
        raise ValueError(f"must name only {', '.join(sorted(EXTRA_FIELDS))}")
    return wanted


def _items(value: str) -> tuple[str, ...]:
    stripped = (item.strip() for item in re.split(r"[,\n]", value))
    return tuple(dict.fromkeys(item for item in stripped if item))


def _check_topic(topic: str) -> None:
    """The rules of MQTT for a filter (MQTT 3.1.1, section 4.7)."""
    *above, last = topic.split("/")
    if any("#" in level for level in above) or ("#" in last and last != "#"):
        raise ValueError("# must be the whole last level of a topic, as in STARS4ALL/#")
    if any("+" in level and level != "+" for level in (*above, last)):
        raise ValueError("+ must be a whole level of a topic, as in STARS4ALL/+/reading")
    _fit(topic, "a topic ")
