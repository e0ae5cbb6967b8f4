"""Notices lists of the config that let nothing through, and topics that bring nothing.

A wrong name in a whitelist, or a topic on which nobody publishes, is no error anywhere: readings are
filtered, or the broker does not send them. After ten minutes the log says so. That the lists let nothing
through, or that nothing comes at all, is said again each day as long as it lasts; that a topic brings nothing
is said once. A topic that has brought something is right, and may be silent later.
"""

import re
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import MqttConfig
from tessflux.logs import RateLimit
from tessflux.readings import BLACKLISTED, DUPLICATE, NOT_WHITELISTED, OTHER_KINDS, RETAINED
from tessflux.stats import FILTERED, LOST, STORED, MqttStats

log = Logger(namespace="mqtt")

LOOK = 60.0
"""Seconds between two looks."""

PATIENCE = 600.0
"""Seconds in which nothing was let through. No photometer has a longer period."""

DAY = 86_400.0


class Watch:
    """Call `configure` first, `came` with the topic of each message while there are `unseen` topics, and
    `look` every LOOK seconds. While commits fail, as `failing` says, what was let through is not counted.
    Unless we are `listening` to the broker, nothing can come."""

    def __init__(
        self,
        stats: MqttStats,
        clock: IReactorTime,
        failing: Callable[[], object],
        listening: Callable[[], bool],
    ) -> None:
        self._stats, self._clock, self._failing, self._listening = stats, clock, failing, listening
        self._limit = RateLimit(clock, period=DAY, lines=10)
        self._watched: tuple[object, ...] = ()

    def configure(self, mqtt: MqttConfig) -> None:
        """Watch the lists and topics of this config, from now on if they are others than before."""
        watched = (mqtt.topics, mqtt.whitelist, mqtt.blacklist)
        if watched == self._watched:
            return
        self._watched = watched
        self._limit.over()
        self._new_window()
        self._first: float | None = None
        self._silent_since = self._clock.seconds()
        self._number = len(mqtt.topics)
        # What is not a reading is published at a boot only.
        self.unseen = {each for each in mqtt.topics if each.rpartition("/")[2] not in OTHER_KINDS}
        self._patterns = {each: _pattern(each) for each in self.unseen if "+" in each or "#" in each}

    def came(self, topic: str) -> None:
        """A message came on this topic."""
        if self._first is None:
            self._first = self._clock.seconds()
        self.unseen.discard(topic)
        for each, pattern in self._patterns.items():
            if each in self.unseen and pattern.fullmatch(topic):
                self.unseen.discard(each)

    def look(self) -> None:
        """Log what has let nothing through for so long."""
        now = self._clock.seconds()
        self._look_at_lists(now)
        if self._first is None:
            self._look_at_silence(now)
        elif now - self._first >= PATIENCE:
            if 0 < len(self.unseen) < self._number:
                log.warn(
                    "Messages came for ten minutes, but none on {topics}: check [mqtt] topics",
                    topics=", ".join(sorted(self.unseen)),
                )
            self.unseen.clear()

    def _look_at_lists(self, now: float) -> None:
        stopped, passed = self._counts()
        if self._failing() or passed > self._passed or stopped == self._stopped:
            self._new_window()
        elif now - self._since >= PATIENCE and self._limit.admits("lists"):
            log.warn(
                "No reading was let through for ten minutes, and {stopped} were filtered:"
                " check the names in [mqtt] whitelist and blacklist",
                stopped=stopped - self._stopped,
            )

    def _look_at_silence(self, now: float) -> None:
        if not self.unseen or not self._listening():
            self._silent_since = now
        elif now - self._silent_since >= PATIENCE and self._limit.admits("silence"):
            log.warn(
                "Not one message came in ten minutes on {topics}: check [mqtt] topics, whether photometers"
                " publish there, and whether the broker lets us read them. [mqtt] whitelist and blacklist had"
                " nothing to do",
                topics=", ".join(sorted(self.unseen)),
            )

    def _counts(self) -> tuple[int, int]:
        """How many readings the lists stopped, and how many passed them; what is lost may be one of these."""
        ended, total = self._stats.ended, self._stats.total
        stopped = ended[FILTERED, NOT_WHITELISTED] + ended[FILTERED, BLACKLISTED]
        known = ended[FILTERED, DUPLICATE] + ended[FILTERED, RETAINED]
        return stopped, ended[STORED, ""] + total(LOST) + known

    def _new_window(self) -> None:
        self._since = self._clock.seconds()
        self._stopped, self._passed = self._counts()


def _pattern(topic: str) -> re.Pattern[str]:
    """What matches the topics that a filter with wildcards takes (MQTT 3.1.1, section 4.7)."""
    pattern = re.escape(topic).replace(r"\+", "[^/]*")
    return re.compile(re.sub(r"(^|/)\\#$", r"(\1.*)?", pattern), re.DOTALL)
