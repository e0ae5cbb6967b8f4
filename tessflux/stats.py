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


class Hourly:
    """The hourly lines. They begin as they did in 2017, since monitoring scripts read them. Each counts what
    came since the one before it."""

    def __init__(
        self, mqtt: MqttStats, influx: InfluxStats, *, waiting: Callable[[], int], state: Callable[[], str]
    ) -> None:
        self._mqtt, self._influx, self._waiting, self._state = mqtt, influx, waiting, state
        self._mqtt_log, self._influx_log = Logger(namespace="mqtt"), Logger(namespace="influxdb")
        self._mqtt_before = [0, 0, 0, 0, 0]
        self._influx_before = [0, 0, 0, 0, 0]

    def mqtt_line(self) -> None:
        """Log what came from the broker."""
        stats = self._mqtt
        now = [stats.received, *map(stats.total, (STORED, FILTERED, REFUSED, LOST))]
        total, stored, filtered, refused, lost = _since(self._mqtt_before, now)
        self._mqtt_before = now
        self._mqtt_log.info(
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

    def influx_line(self) -> None:
        """Log what InfluxDB took."""
        stats = self._influx
        now = [stats.requested, stats.ok, stats.rejected, stats.failed, stats.delivered]
        *counters, delivered = _since(self._influx_before, now)
        self._influx_before = now
        self._influx_log.info(
            "InfluxDB Write Stats [Requested, Ok, Reject, Fail] = {counters}, readings delivered"
            " {delivered}, waiting {waiting}; since the start {all} delivered, beyond retention {expired},"
            " quarantined {quarantined}{state}",
            counters=counters,
            delivered=delivered,
            waiting=self._waiting(),
            all=stats.delivered,
            expired=stats.expired,
            quarantined=stats.quarantined,
            state=f"; {state}" if (state := self._state()) else "",
        )


def _since(before: list[int], now: list[int]) -> list[int]:
    return [after - earlier for earlier, after in zip(before, now, strict=True)]
