"""What one connection is subscribed to: synchronised with the config, whatever the broker had kept.

A persistent session keeps its subscriptions while tessflux is away, and no broker tells which they are. So a
topic is stored in `memory` before the broker hears of it, and removed only after the broker has forgotten it.
A topic that has left the config in the meantime is unsubscribed by the next connection, also after a crash at
any moment.

Readings come first: register topics are asked for once those of the readings are granted, and a broker that
refuses them, or ends the connection for it, keeps nothing else from coming.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.logs import RateLimit
from tessflux.mqtt.pahoclient import Answer
from tessflux.mqtt.session import RESPONSE_TIMEOUT, Session

log = Logger(namespace="mqtt")

RETRY_REFUSED = 300.0
"""Seconds after which the broker is asked again for what it refused: its rules may have changed."""

RETRY_IN_USE = 5.0
"""Seconds after which it is asked again for what it refused because of our packet identifier. Meanwhile the
messages are acknowledged that have it."""


RETRY_REGISTERS = 3_600.0
"""Seconds after which the next connection asks again for register topics for which the broker has ended
others."""

REGISTER_LOSSES = 2
"""So many connections in turn, so that it was no accident."""


class Asking:
    """Whether to ask a broker for register topics: over its connections, since some end one for what they do
    not allow."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._unanswered, self._asked_at = 0, 0.0

    @property
    def helps(self) -> bool:
        """Whether it may answer."""
        late = self._clock.seconds() - self._asked_at >= RETRY_REGISTERS
        return self._unanswered < REGISTER_LOSSES or late

    def asks(self) -> None:
        """It is asked now."""
        self._unanswered += 1
        self._asked_at = self._clock.seconds()

    def answers(self) -> None:
        """It has answered, whatever that was."""
        self._unanswered = 0


class Memory(Protocol):
    """Keeps, over restarts, the topics to which a session at a broker may be subscribed. Raises nothing."""

    async def subscriptions(self, session: str) -> frozenset[str]: ...

    async def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None: ...


class Subscription:
    """Of one connection. `want` says what to subscribe to; `synchronise` does it.

    `refusals` limits how often a refusal is logged, `asking` whether register topics are asked for, both over
    the connections of a broker.
    """

    def __init__(
        self,
        session: Session,
        config: MqttConfig,
        memory: Memory,
        clock: IReactorTime,
        refusals: RateLimit,
        asking: Asking,
    ) -> None:
        self._session, self._memory, self._clock = session, memory, clock
        self._refusals, self._asking = refusals, asking
        # Not the broker's address: a broker may have many.
        self._key = config.client_id
        self._qos = config.qos
        self._remembered: frozenset[str] | None = None
        self.granted: dict[str, int] = {}
        """What the broker has granted on this connection: topics and their QoS."""
        self._refused: dict[str, str] = {}
        self._in_use: frozenset[str] = frozenset()
        self._refused_at = 0.0
        self._busy = False
        self.want(config)

    @property
    def overdue(self) -> bool:
        """Whether it is time to ask again for what was refused."""
        return bool(self._refused) and self._clock.seconds() - self._refused_at >= self._retry

    @property
    def refused(self) -> tuple[str, ...]:
        """The topics that the broker refuses, but for register topics."""
        return tuple(sorted(self._refused.keys() - self._registers))

    @property
    def granted_readings(self) -> dict[str, int]:
        """What the broker has granted, but for register topics."""
        return {topic: qos for topic, qos in self.granted.items() if topic not in self._registers}

    @property
    def without_registers(self) -> tuple[str, ...]:
        """The register topics that the broker refuses, or that it is not asked for."""
        return tuple(sorted(self._registers - self.granted.keys()))

    @property
    def _retry(self) -> float:
        return RETRY_IN_USE if self._in_use & self._refused.keys() else RETRY_REFUSED

    def want(self, config: MqttConfig) -> None:
        """Subscribe to what this config names, by the next `synchronise` or the one that is under way."""
        share = f"$share/{config.share_group}/" if config.share_group else ""
        self._readings = frozenset(share + topic for topic in config.topics)
        self._registers = frozenset(share + topic for topic in config.register_topics) - self._readings
        self._refused = {}

    async def synchronise(self) -> None:
        """Subscribe to what is wanted and to nothing else, as far as the broker lets us.

        Raises ServerError when the broker refuses everything or its answer makes no sense, TimeoutError when
        it does not answer.
        """
        if self._busy:
            return
        self._busy = True
        try:
            if self._remembered is None:
                # A broker that has no session of ours has forgotten everything, and so do we.
                present = self._session.session_present
                self._remembered = await self._memory.subscriptions(self._key) if present else frozenset()
            if self.overdue:
                self._refused = {}
            while await self._step(self._remembered, self._readings | self._registers):
                pass
        finally:
            self._busy = False
        refused = {topic: self._refused[topic] for topic in self.refused}
        if not refused:
            self._refusals.over()
        elif self._refusals.admits(frozenset(refused.items())):
            log.error(
                "The broker refuses {refused}; the others go on. It is asked again in {seconds:.0f} s.",
                refused=refused,
                seconds=self._retry,
            )

    async def _step(self, remembered: frozenset[str], wanted: frozenset[str]) -> bool:
        """Come nearer to what is wanted; returns whether there was anything to do."""
        gone = remembered - wanted - self._refused.keys()
        new = wanted - self.granted.keys() - self._refused.keys()
        new = new & self._readings or (new if self._asking.helps else frozenset())
        # New topics first, so that nothing is missed in between. But a topic and its shared form must not be
        # subscribed together: another member of the group would store what we store.
        if gone and not (new and _shared(gone) == _shared(new)):
            answer = await self._within_timeout(self._session.unsubscribe(sorted(gone)))
            self._note_refused(answer)
            done = gone - answer.refused.keys()
            for topic in done:
                self.granted.pop(topic, None)
            await self._remember(remembered - done)
            if not (self.granted.keys() & self._readings or new):
                raise ServerError(f"the broker refuses the subscription: {self._refused}")
            if done:
                log.info("Unsubscribed from {topics}", topics=sorted(done))
        elif new:
            await self._remember(remembered | new)
            answer = await self._ask(new)
            self._note_refused(answer)
            self.granted |= answer.granted
            # A session that the broker had kept brings its messages without a new subscription.
            none = new <= self._readings and not self.granted.keys() & self._readings
            if none and not (answer.in_use and self._session.session_present):
                raise ServerError(f"the broker refuses the subscription: {self._refused}")
            if answer.granted:
                also = "Also subscribed" if new <= self._registers else "Subscribed"
                log.info("{also} to {topics}", also=also, topics=sorted(answer.granted))
        return bool(gone or new)

    async def _ask(self, topics: frozenset[str]) -> Answer:
        for_registers = topics <= self._registers
        if for_registers:
            self._asking.asks()
        answer = await self._within_timeout(self._session.subscribe(sorted(topics), self._qos))
        if for_registers:
            self._asking.answers()
        return answer

    async def _remember(self, topics: frozenset[str]) -> None:
        if topics != self._remembered:
            self._remembered = topics
            await self._memory.remember_subscriptions(self._key, topics)

    def _note_refused(self, answer: Answer) -> None:
        self._refused.update(answer.refused)
        self._in_use = self._in_use - answer.refused.keys() | answer.in_use
        self._refused_at = self._clock.seconds()

    async def _within_timeout(self, request: Coroutine[Deferred[Any], Any, Answer]) -> Answer:
        return await Deferred.fromCoroutine(request).addTimeout(RESPONSE_TIMEOUT, self._clock)


def _shared(topics: frozenset[str]) -> bool:
    return any(topic.startswith("$share/") for topic in topics)
