"""Where log events go: the console or a file, from a level on that each namespace has for itself.

One event is one line of bounded length, whatever a payload holds: what is not printable is shown as escapes.
Only the traceback of a bug of ours has lines of its own; each begins with a blank, so none passes for another
event.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
    globalLogBeginner,
)

from tessflux.config import Config
from tessflux.errors import CannotCreate
from tessflux.limits import LOG_LINE, TRACEBACK_LINES

OTHERS = {"twisted": "warn", "stdout": "info"}
"""Namespaces of the libraries, and the least level that is of interest."""


def escape(text: str) -> str:
    """The text on one line; what is not printable is shown as escapes, so that nothing can forge a
    line, move a cursor, turn the direction of writing or hide."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def levels(config: Config) -> dict[str, str]:
    """The level of each namespace; "" is that of all the rest."""
    return {
        "": config.global_.log_level,
        "mqtt": config.mqtt.log_level,
        "influxdb": config.influxdb.log_level,
        **OTHERS,
    }


def format_line(event: LogEvent) -> str:
    """One event as text: time, namespace, level, message; with the traceback if there is one."""
    text = _short(formatEvent(event))
    level = event.get("log_level", LogLevel.info).name
    line = f"{formatTime(event.get('log_time'))} [{event.get('log_namespace', '-')}#{level}] {text}\n"
    if "log_failure" in event:
        traceback = event["log_failure"].getTraceback().splitlines()[-TRACEBACK_LINES:]
        line += "".join(f"  {_short(each)}\n" for each in traceback)
    return line


def _short(text: str) -> str:
    """As much of a text as goes into a log line."""
    shown = escape(text[:LOG_LINE])
    if len(text) <= LOG_LINE and len(shown) <= LOG_LINE:
        return shown
    return f"{shown[:LOG_LINE]}... ({len(text)} characters)"


class Logs:
    """The log of this process. `begin` it once; `reopen` and `set_levels` as often as wished."""

    def __init__(self, *, console: bool, path: str) -> None:
        """Raises CannotCreate when the file cannot be opened; "" means no file."""
        self._console = console
        self._file = self._open(path)
        self._predicate = LogLevelFilterPredicate()
        self._observer: ILogObserver = FilteringLogObserver(
            cast(ILogObserver, self._write), [cast(ILogFilterPredicate, self._judge)]
        )

    def begin(self) -> None:
        """From now on every event of this process comes here."""
        globalLogBeginner.beginLoggingTo([self._observer], redirectStandardIO=False)

    def set_levels(self, levels: Mapping[str, str]) -> None:
        """Show events from these levels on, by the beginning of their namespace."""
        predicate = LogLevelFilterPredicate(LogLevel.levelWithName(levels[""]))
        for namespace, level in levels.items():
            if namespace:
                predicate.setLogLevelForNamespace(namespace, LogLevel.levelWithName(level))
        self._predicate = predicate

    def reopen(self, path: str) -> None:
        """Go on in the file of this name: another one, or a new one after the old was renamed.

        Raises CannotCreate, and goes on in the old file, when it cannot be opened.
        """
        file = self._open(path)
        old, self._file = self._file, file
        if old is not None:
            # On a full disk the last line may still wait to be written.
            with suppress(OSError):
                old.close()

    @staticmethod
    def _open(path: str) -> TextIO | None:
        if not path:
            return None
        try:
            return open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise CannotCreate(
                f"cannot open the log file {path}: {error.strerror};"
                " see [global] log_file, and who owns its directory"
            ) from None

    def _judge(self, event: LogEvent) -> Any:
        return self._predicate(event)

    def _write(self, event: LogEvent) -> None:
        line = format_line(event)
        for stream in (self._file, sys.stdout if self._console else None):
            if stream is not None:
                # A full disk or a closed terminal: a log line is no reason to stop.
                with suppress(OSError):
                    _print(line, stream)


def _print(line: str, stream: TextIO) -> None:
    """Write a line; what the stream's encoding does not know is shown as escapes."""
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
