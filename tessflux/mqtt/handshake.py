"""Which version of MQTT the next CONNECT speaks to a broker, over restarts too, and what the log says of it.

A broker that never answers one version costs CONNACK_TIMEOUT, in which what is published at QoS 0 is lost. So
the version by which it lets us in is remembered if it is not the one of the config.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import MqttConfig, Version
from tessflux.logs import RateLimit
from tessflux.mqtt.terms import Refusal
from tessflux.mqtt.version import RETRY_CONFIGURED, Choice, other_than

log = Logger(namespace="mqtt")

SWITCH_PERIOD = 3600.0
SWITCH_LINES = 4
"""A change of the version is logged again after so many seconds: where both fail, they are tried in turns."""


class Memory(Protocol):
    """Keeps, over restarts, the version of MQTT by which a broker lets us in. Raises nothing."""

    async def mqtt_version(self, broker: str) -> tuple[str, float] | None: ...

    async def remember_mqtt_version(self, broker: str, version: str, since: float) -> None: ...


class Handshakes:
    """With the broker of a config. `recall` says whether what an earlier process remembered counts; `now` is
    the time of day in seconds since 1970 UTC."""

    def __init__(
        self,
        config: MqttConfig,
        memory: Memory,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        recall: bool,
    ) -> None:
        self._broker, self._wanted = str(config.broker), config.version
        self._memory, self._clock, self._now = memory, clock, now
        self._recall = recall
        self._choice = Choice(config.version)
        self._switches = RateLimit(clock, period=SWITCH_PERIOD, lines=SWITCH_LINES)

    async def version(self) -> Version:
        """Of the next connection."""
        if self._recall:
            self._recall = False
            if found := await self._memory.mqtt_version(self._broker):
                version, since = found
                age = self._now() - since
                # A clock that was wrong then, or is now, tells nothing.
                if version == other_than(self._wanted) and 0 <= age < RETRY_CONFIGURED:
                    self._choice.recall(self._clock.seconds() - age)
        return self._choice.next(self._clock.seconds())

    async def accepted(self, version: Version) -> None:
        """The broker has let us in by this version."""
        if self._choice.accepted():
            age = self._clock.seconds() - self._choice.since
            await self._memory.remember_mqtt_version(self._broker, version, self._now() - age)

    def failed(self, version: Version, error: Exception) -> None:
        """It has not, and the version may be why."""
        now = self._clock.seconds()
        if not isinstance(error, Refusal):
            self._choice.lost(now, silent=isinstance(error, DeferredTimeout))
        elif error.bad_version:
            self._choice.refused(now)
        else:
            self._choice.answered()
        other = self._choice.next(now)
        if self._choice.takes_neither and self._switches.admits("neither"):
            log.error(
                "The broker {broker} takes neither MQTT 3.1.1 nor MQTT 5: it must be updated",
                broker=self._broker,
            )
        if other == version or not self._switches.admits((version, type(error))):
            return
        if isinstance(error, Refusal):
            text = "The broker does not take MQTT {version}; trying MQTT {other}"
        else:
            text = "The broker gives no answer to MQTT {version}; trying MQTT {other}"
        log.warn(text, version=version, other=other)
