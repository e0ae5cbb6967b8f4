"""Where log events go: the console or a file, from a level on that each namespace has for itself.

One event is one line, whatever a payload holds: control characters are shown as escapes. Only the traceback
of a bug of ours has lines of its own.
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

OTHERS = {"twisted": "warn", "stdout": "info"}
"""Namespaces of the libraries, and the least level that is of interest."""

_ESCAPES: Mapping[int, str] = {
    code: f"\\x{code:02x}" for code in [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029]
}


def escape(text: str) -> str:
    """The text on one line, control characters as escapes: it can neither forge a line nor move a cursor."""
    return text.translate(_ESCAPES)


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
    text = escape(formatEvent(event))
    level = event.get("log_level", LogLevel.info).name
    line = f"{formatTime(event.get('log_time'))} [{event.get('log_namespace', '-')}#{level}] {text}\n"
    if "log_failure" in event:
        line += event["log_failure"].getTraceback()
    return line


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
