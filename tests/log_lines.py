"""What is logged while a test runs."""

from collections.abc import Callable
from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


def record(case: SynchronousTestCase, namespace: str) -> Callable[..., list[str]]:
    """Record from now on; call the result for the lines of the given levels, by default warn and worse."""
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(*levels: LogLevel) -> list[str]:
        wanted = levels or (LogLevel.warn, LogLevel.error, LogLevel.critical)
        return [
            formatEvent(event)
            for event in events
            if event.get("log_namespace") == namespace and event["log_level"] in wanted
        ]

    return lines
