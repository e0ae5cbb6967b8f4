"""Counters of what became of every message and every line, and the log lines that give them.

Every message that is received ends as exactly one of stored, filtered, refused and lost, counted by its
cause. While it waits for its commit it is counted as received only. One that is on disk, but whose time is
not known yet, is counted as held for so long."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.logger import Logger

from tessflux.config import FIRST_OUTPUT

STORED, FILTERED, REFUSED, LOST = "stored", "filtered", "refused", "lost"
HELD = "held"


@dataclass
class MqttStats:
    """Messages since the start; `ended` counts them by (kind, cause)."""

    received: int = 0
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    last_stored: float | None = None
    """When a reading was last made durable (clock seconds)."""

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
    last_delivered: float | None = None
    """When the database last took a reading (clock seconds)."""


COMMIT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: a commit takes some ms on an SSD, 50 ms on an SD card, and seconds on one that is about to die."""


@dataclass
class CommitStats:
    """How long commits took; `counts` has those up to each bound but not up to the one before it, and last
    those beyond all."""

    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_BOUNDS) + 1))
    failed: int = 0

    def took(self, seconds: float) -> None:
        """One has succeeded."""
        self.seconds += seconds
        self.counts[bisect_left(COMMIT_BOUNDS, seconds)] += 1


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
