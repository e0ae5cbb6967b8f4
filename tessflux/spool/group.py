"""Messages in memory that the next commit makes durable: nothing is counted or acknowledged before it."""

from collections import Counter
from dataclasses import dataclass, field

from tessflux.limits import GROUP_READINGS, PENDING_BYTES, PENDING_MESSAGES
from tessflux.readings import Acknowledge, Admitted
from tessflux.spool.journal import Group
from tessflux.spool.quarantine import Quarantined
from tessflux.stats import FILTERED, LOST, REFUSED, STORED, MqttStats


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
        """Enough for a commit: waiting for more would make it no cheaper, or there is no room for more."""
        return self.messages >= GROUP_READINGS or self._size >= PENDING_BYTES

    @property
    def fills_memory(self) -> bool:
        return self.messages >= PENDING_MESSAGES or self._size >= PENDING_BYTES

    def store(self, line: str, admitted: Admitted, acknowledge: Acknowledge | None) -> None:
        """A line to write."""
        # As _add does, but for the count, which is that of the admitted.
        self.group.lines.append(line)
        self.group.admitted.append(admitted)
        self.messages += 1
        self._size += len(line)
        if acknowledge is not None:
            self.acknowledge.append(acknowledge)

    def quarantine(self, refused: Quarantined, acknowledge: Acknowledge | None) -> None:
        """A refused payload to keep."""
        self.group.quarantined.append(refused)
        self._add(REFUSED, refused.cause, refused.size, acknowledge)

    def put_back(self, line: str) -> None:
        """A line that InfluxDB refused, to be sent again: it was counted when it came."""
        self.group.lines.append(line)

    def filter_out(self, cause: str, acknowledge: Acknowledge | None) -> None:
        """Nothing to keep, but it is counted, and acknowledged in its turn."""
        self._add(FILTERED, cause, 0, acknowledge)

    def _add(self, kind: str, cause: str, size: int, acknowledge: Acknowledge | None) -> None:
        self.messages += 1
        self._ended[kind, cause] += 1
        self._size += size
        if acknowledge is not None:
            self.acknowledge.append(acknowledge)

    def settle(self, stats: MqttStats) -> None:
        """It is on disk: count all, and acknowledge in the order in which they came."""
        stats.ended[STORED, ""] += len(self.group.admitted)
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
