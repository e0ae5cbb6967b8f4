"""Counters of what became of every message and every line, and the log lines that give them.

Every message that is received ends as exactly one of stored, filtered, refused and lost, counted by its
cause. While it waits for its commit it is counted as received only. One that is on disk, but whose time is
not known yet, is counted as held for so long."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.logger import Logger

STORED, FILTERED, REFUSED, LOST = "stored", "filtered", "refused", "lost"
HELD = "held"
FIRST_OUTPUT = "influxdb"
"""The section of the config that was there in 2017."""


@dataclass
class MqttStats:
    """Messages since the start; `ended` counts them by (kind, cause)."""

    received: int = 0
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)

    def total(self, kind: str) -> int:
        """How many ended as `kind`."""
        return sum(count for (kind_, _), count in self.ended.items() if kind_ == kind)

    def causes(self, kind: str) -> dict[str, int]:
        """The same by cause."""
        return {cause: count for (kind_, cause), count in self.ended.items() if kind_ == kind}


@dataclass
class InfluxStats:
    """Requests to InfluxDB by how they ended, and lines by what became of them, since the start."""

    requested: int = 0
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    delivered: int = 0
    expired: int = 0
    quarantined: int = 0
    again: int = 0
    """Lines that were delivered once more, after the output was away."""


class MqttLine:
    """The hourly line about the broker. It begins as it did in 2017, since monitoring scripts read it, and
    counts what came since the one before it."""

    def __init__(self, stats: MqttStats) -> None:
        self._stats, self._log = stats, Logger(namespace="mqtt")
        self._before = [0, 0, 0, 0, 0]

    def log(self) -> None:
        """Log what came from the broker."""
        stats = self._stats
        now = [stats.received, *map(stats.total, (STORED, FILTERED, REFUSED, LOST))]
        total, stored, filtered, refused, lost = _since(self._before, now)
        self._before = now
        self._log.info(
            "MQTT Stats [Total, Accepted, Filtered] = {counters}, refused {refused}, lost {lost};"
            " since the start {received} received, refused {causes}, filtered {filters}{held}",
            counters=[total, stored, filtered],
            refused=refused,
            lost=lost,
            received=stats.received,
            causes=stats.causes(REFUSED),
            filters=stats.causes(FILTERED),
            held=f"; held until their time is known: {held}" if (held := stats.ended[HELD, ""]) else "",
        )


class InfluxLine:
    """The hourly line about an output. That of the first one begins as it did in 2017."""

    def __init__(
        self,
        stats: InfluxStats,
        output: str,
        *,
        waiting: Callable[[], int],
        missed: Callable[[], int],
        state: Callable[[], str],
    ) -> None:
        self._stats, self._waiting, self._missed, self._state = stats, waiting, missed, state
        self._name = "" if output == FIRST_OUTPUT else f" of [{output}]"
        self._log = Logger(namespace="influxdb")
        self._before = [0, 0, 0, 0, 0]

    def log(self) -> None:
        """Log what the database took."""
        stats = self._stats
        now = [stats.requested, stats.ok, stats.rejected, stats.failed, stats.delivered]
        *counters, delivered = _since(self._before, now)
        self._before = now
        also = {"sent again": stats.again, "missed, since the spool was full": self._missed()}
        self._log.info(
            "InfluxDB Write Stats{name} [Requested, Ok, Reject, Fail] = {counters}, readings delivered"
            " {delivered}, waiting {waiting}; since the start {all} delivered, beyond retention {expired},"
            " quarantined {quarantined}{also}{state}",
            name=self._name,
            counters=counters,
            delivered=delivered,
            waiting=self._waiting(),
            all=stats.delivered,
            expired=stats.expired,
            quarantined=stats.quarantined,
            also="".join(f", {what} {count}" for what, count in also.items() if count),
            state=f"; {state}" if (state := self._state()) else "",
        )


def _since(before: list[int], now: list[int]) -> list[int]:
    return [after - earlier for earlier, after in zip(before, now, strict=True)]
