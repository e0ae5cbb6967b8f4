"""Messages in memory that the next commit makes durable: nothing is counted or acknowledged before it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tessflux.admission import Admitted
from tessflux.journal import Group, Quarantined
from tessflux.limits import GROUP_READINGS, PENDING_BYTES, PENDING_MESSAGES
from tessflux.stats import LOST, REFUSED, STORED, MqttStats

Acknowledge = Callable[[], None]


@dataclass(slots=True)
class Gathering:
    """The next group, and what is to be done once it is on disk. Each message is put in by one method."""

    group: Group = field(default_factory=Group)
    acknowledge: list[Acknowledge] = field(default_factory=list)
    messages: int = 0
    since: float = 0.0
    """When the first message came (clock seconds)."""
    _ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    _size: int = 0

    @property
    def is_group(self) -> bool:
        """Enough for a commit, so that waiting for more would make it no cheaper."""
        return self.messages >= GROUP_READINGS

    @property
    def fills_memory(self) -> bool:
        return self.messages >= PENDING_MESSAGES or self._size >= PENDING_BYTES

    def store(self, line: str, admitted: Admitted, acknowledge: Acknowledge | None) -> None:
        """A line to write."""
        self.group.lines.append(line)
        self.group.admitted.append(admitted)
        self._add(STORED, "", len(line), acknowledge)

    def quarantine(self, refused: Quarantined, acknowledge: Acknowledge | None) -> None:
        """A refused payload to keep."""
        self.group.quarantined.append(refused)
        self._add(REFUSED, refused.cause, len(refused.payload) + len(refused.topic), acknowledge)

    def pass_by(self, kind: str, cause: str, acknowledge: Acknowledge) -> None:
        """Nothing to keep, but it is acknowledged in its turn."""
        self._add(kind, cause, 0, acknowledge)

    def _add(self, kind: str, cause: str, size: int, acknowledge: Acknowledge | None) -> None:
        self.messages += 1
        self._ended[kind, cause] += 1
        self._size += size
        if acknowledge is not None:
            self.acknowledge.append(acknowledge)

    def settle(self, stats: MqttStats) -> None:
        """It is on disk: count all, and acknowledge in the order in which they came."""
        for key, number in self._ended.items():
            stats.ended[key] += number
        for acknowledge in self.acknowledge:
            acknowledge()

    def give_up(self, stats: MqttStats, cause: str) -> int:
        """It will not get on disk: what the broker does not keep is lost. Returns how many are."""
        kept = len(self.acknowledge)
        lost = self.messages - kept
        stats.ended[LOST, cause] += lost
        stats.received -= kept
        return lost
