"""Where log events go: to the console or a file, from a level on that is set for each namespace.

One event is one line of bounded length, whatever a payload holds: what is not printable is shown as escapes.
Only the traceback of a bug takes further lines; each begins with a blank, so that none looks like an event.
How often a problem is logged is limited by a `RateLimit`, and what photometers get wrong by `Reports`."""

import sys
import traceback
from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any, TextIO, cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
    globalLogBeginner,
)
from twisted.python.failure import Failure

from tessflux.config import Config
from tessflux.errors import CannotCreate
from tessflux.limits import LOG_LINE, REPORTED_PAIRS, TRACEBACK_LINES, TRACEBACKS

OTHERS = {"twisted": "warn", "log_legacy": "warn", "stdout": "info"}
"""Namespaces of the libraries, and the level from which on they are of interest."""

PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
"""Of the levels, as syslog(3) numbers them."""


def escape(text: str) -> str:
    """The text on one line. What is not printable is shown as escapes, so that nothing can forge a line, move
    the cursor, reverse the writing or hide."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def levels(config: Config) -> dict[str, str]:
    """The level of each namespace; "" stands for all the others."""
    return {
        "": config.global_.log_level,
        "mqtt": config.mqtt.log_level,
        "influxdb": config.influxdb.log_level,
        **OTHERS,
    }


def format_line(event: LogEvent) -> str:
    """One event as text: time, namespace, level, message; with the traceback if there is one."""
    first, *others = _lines(event)
    return "".join((f"{formatTime(event.get('log_time'))} {first}", *others))


def format_for_journal(event: LogEvent) -> str:
    """The same for the journal, which has a time of its own, and takes the level as a number at the beginning
    of each line (sd-daemon(3))."""
    priority = PRIORITIES[event.get("log_level", LogLevel.info)]
    return "".join(f"<{priority}>{line}" for line in _lines(event))


def _lines(event: LogEvent) -> list[str]:
    text = _short(formatEvent(event))
    level = event.get("log_level", LogLevel.info).name
    lines = [f"[{event.get('log_namespace', '-')}#{level}] {text}\n"]
    if "log_failure" in event:
        shown = event["log_failure"].getTraceback().splitlines()[-TRACEBACK_LINES:]
        lines += (f"  {_short(each)}\n" for each in shown)
    return lines


def _short(text: str) -> str:
    """As much of a text as goes into a log line."""
    shown = escape(text[:LOG_LINE])
    if len(text) <= LOG_LINE and len(shown) <= LOG_LINE:
        return shown
    return f"{shown[:LOG_LINE]}... ({len(text)} characters)"


class Logs:
    """The log of this process. Call `begin` once, then `reopen` and `set_levels` as often as needed."""

    def __init__(self, *, console: bool, journal: bool = False, path: str) -> None:
        """With `journal` the console is the journal. Raises CannotCreate when the file cannot be opened; ""
        means no file."""
        self._console = console
        self._format_for_console = format_for_journal if journal else format_line
        self._file = self._open(path)
        self._predicate = LogLevelFilterPredicate()
        self._observer: ILogObserver = FilteringLogObserver(
            cast(ILogObserver, self._write), [cast(ILogFilterPredicate, self._is_shown)]
        )

    def begin(self) -> None:
        """From now on, take every event of this process."""
        globalLogBeginner.beginLoggingTo([self._observer], redirectStandardIO=False)

    def set_levels(self, levels: Mapping[str, str]) -> None:
        """Show events from these levels on, by the beginning of their namespace."""
        predicate = LogLevelFilterPredicate(LogLevel.levelWithName(levels[""]))
        for namespace, level in levels.items():
            if namespace:
                predicate.setLogLevelForNamespace(namespace, LogLevel.levelWithName(level))
        self._predicate = predicate

    def reopen(self, path: str) -> None:
        """Continue in the file of this name: another one, or a new one after the old one was renamed.

        Raises CannotCreate when it cannot be opened; the log continues in the old file then.
        """
        file = self._open(path)
        old, self._file = self._file, file
        if old is not None:
            # On a full disk the last line may not have been written yet.
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

    def _is_shown(self, event: LogEvent) -> Any:
        return self._predicate(event)

    def _write(self, event: LogEvent) -> None:
        # A full disk or a closed terminal is no reason to stop.
        if self._file is not None:
            with suppress(OSError):
                _print(format_line(event), self._file)
        if self._console:
            with suppress(OSError):
                _print(self._format_for_console(event), sys.stdout)


def _print(line: str, stream: TextIO) -> None:
    """Write a line; characters that the stream's encoding does not have are shown as escapes."""
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


class RateLimit:
    """How often problems are logged: each one once in `period` seconds, and `lines` of them at most."""

    def __init__(self, clock: IReactorTime, *, period: float, lines: int) -> None:
        self._clock, self._period, self._lines = clock, period, lines
        self._ends = float("-inf")
        self._logged = 0
        self._lasts = False
        self._again: Counter[Hashable] = Counter()

    def admits(self, problem: Hashable) -> bool:
        """Whether this problem is to be logged now; if not, it is counted."""
        if self._clock.seconds() >= self._ends:
            self.new_period()
        if problem in self._again:
            self._again[problem] += 1
        elif self._logged >= self._lines:
            self._again[None] += 1
        else:
            self._again[problem] = 0
            self._logged += 1
            self._lasts = True
            return True
        return False

    def over(self, *, forget: bool = True) -> bool:
        """All is well. Returns whether a problem was logged: then its end is news. To `forget` the problems
        makes them news again too; otherwise each is still logged only once in the period, however often it
        returns."""
        lasted, self._lasts = self._lasts, False
        if forget:
            self._again.clear()
        return lasted

    def new_period(self) -> Counter[Hashable]:
        """Begin another period; returns how often each problem was not logged in the last, and under None
        those for which there were too many lines."""
        self._ends = self._clock.seconds() + self._period
        self._logged = 0
        again, self._again = self._again, Counter()
        return +again


class Reports:
    """What single photometers get wrong: one log line for each photometer and cause in a period, and at its
    end how often it came again. `period` ends one."""

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._limit = RateLimit(clock, period=float("inf"), lines=REPORTED_PAIRS)
        self._bugs = RateLimit(clock, period=float("inf"), lines=TRACEBACKS)

    def note(self, photometer: str, cause: str, detail: str) -> None:
        """Log the first of its kind in this period, count the rest."""
        if self._limit.admits((photometer, cause)):
            self._warn(photometer, cause, detail)

    def bug(self, text: str) -> None:
        """Log the exception that is being handled, once in a period for each place that raises it."""
        failure = Failure()
        place = traceback.extract_tb(failure.tb)[-1]
        if self._bugs.admits((failure.type, place.filename, place.lineno)):
            self._log.failure("{text}", failure, text=text)

    def period(self) -> None:
        """Log how often each thing came again, and begin a new period."""
        if again := self._bugs.new_period().total():
            self._log.error("{count} more internal errors in this period", count=again)
        for problem, count in self._limit.new_period().items():
            match problem:
                case (str(photometer), str(cause)):
                    self._warn(photometer, cause, f"{count} more in this period")
                case _:
                    self._log.warn("{count} further messages with something wrong", count=count)

    def _warn(self, photometer: str, cause: str, detail: str) -> None:
        self._log.warn(
            "{photometer}: {cause}: {detail}",
            photometer=photometer or "a photometer without a name",
            cause=cause,
            detail=detail,
        )
