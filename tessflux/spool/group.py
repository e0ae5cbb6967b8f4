"""What one commit makes durable, and which messages to acknowledge after it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tessflux.limits import GROUP_READINGS, PENDING_BYTES, PENDING_MESSAGES
from tessflux.readings import (
    REGISTER,
    Acknowledge,
    Admitted,
    Filtered,
    Held,
    Outcome,
    Quarantined,
    Registered,
    Stored,
)
from tessflux.stats import FILTERED, HELD, LOST, REFUSED, STORED, MqttStats


@dataclass(slots=True)
class Group:
    """Messages by their outcomes. This commit deletes rows: `released` are numbers of the quarantine's, and
    `dated` of those that were held."""

    lines: list[str] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)
    registered: list[Registered] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    dated: list[int] = field(default_factory=list)
    unacknowledged: dict[Acknowledge, list[int]] = field(default_factory=dict)
    """Packet identifiers of messages that come again if they are not acknowledged, in the order in which they
    came, by what acknowledges them."""
    messages: int = 0
    kept_by_broker: int = 0
    """How many of the messages come again."""
    since: float = 0.0
    """When the first message came (clock seconds)."""
    _filtered: Counter[str] = field(default_factory=Counter)
    _size: int = 0

    @property
    def is_due(self) -> bool:
        """Enough for a commit: waiting for more would make it no cheaper, or there is no room for more."""
        return self.messages >= GROUP_READINGS or self._size >= PENDING_BYTES

    @property
    def fills_memory(self) -> bool:
        """No more may be read from the broker before it is committed."""
        return self.messages >= PENDING_MESSAGES or self._size >= PENDING_BYTES

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Add messages."""
        self.messages += len(outcomes)
        for outcome in outcomes:
            if isinstance(outcome, Stored):
                self.lines.append(outcome.line)
                self.admitted.append(outcome.admitted)
                self._size += len(outcome.line)
            elif isinstance(outcome, Registered):
                self.lines.append(outcome.line)
                self.registered.append(outcome)
                self._size += len(outcome.line)
            elif isinstance(outcome, Filtered):
                self._filtered[outcome.cause] += 1
            else:
                self._size += outcome.size
                if isinstance(outcome, Held):
                    self.held.append(outcome)
                else:
                    self.quarantined.append(outcome)

    def keep(self, mids: Sequence[int], acknowledge: Acknowledge) -> None:
        """Acknowledge messages with these packet identifiers once this is on disk."""
        self.kept_by_broker += len(mids)
        self.unacknowledged.setdefault(acknowledge, []).extend(mids)

    def count_and_acknowledge(self, stats: MqttStats) -> None:
        """It is on disk: count the messages, and acknowledge them in the order in which they came."""
        stats.ended[STORED, ""] += len(self.admitted)
        if self.registered:
            stats.ended[STORED, REGISTER] += len(self.registered)
        if self.held or self.dated:
            stats.ended[HELD, ""] += len(self.held) - len(self.dated)
        for refused in self.quarantined:
            stats.ended[REFUSED, refused.cause] += 1
        for cause, number in self._filtered.items():
            stats.ended[FILTERED, cause] += number
        for acknowledge, mids in self.unacknowledged.items():
            acknowledge(mids)

    def count_lost(self, stats: MqttStats, cause: str) -> int:
        """It will not get on disk: what the broker does not keep is lost. Returns how many messages are."""
        lost = self.messages - self.kept_by_broker
        stats.ended[LOST, cause] += lost
        stats.received -= self.kept_by_broker
        return lost
