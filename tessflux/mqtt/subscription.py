"""What one connection is subscribed to: brought in line with the config, whatever the broker had kept.

A persistent session keeps its subscriptions while tessflux is away, and no broker tells which. So `memory`
hears of a topic before the broker does, and forgets it only after the broker has: a topic that has left the
config in between is unsubscribed by the next connection, also after a crash at any moment.
"""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.mqtt.session import ANSWER, Session

log = Logger(namespace="mqtt")

AGAIN = 300.0
"""Seconds after which the broker is asked again for what it refused: its rules may have changed."""


T = TypeVar("T")


class Memory(Protocol):
    """Keeps, over restarts, the topics to which a session at a broker may be subscribed. Raises nothing."""

    async def subscriptions(self, session: str) -> frozenset[str]: ...

    async def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None: ...


class Subscription:
    """Of one connection. `want` says what to subscribe to; `settle` does it."""

    def __init__(self, session: Session, config: MqttConfig, memory: Memory, clock: IReactorTime) -> None:
        self._session, self._memory, self._clock = session, memory, clock
        # Not the broker's address, of which it may have many.
        self._key = config.client_id
        self._qos = config.qos
        self._kept: frozenset[str] | None = None
        self._active: frozenset[str] = frozenset()
        self._refused: frozenset[str] = frozenset()
        self._refused_at = 0.0
        self._said: Mapping[str, str] = {}
        self._busy = False
        self.want(config)

    @property
    def overdue(self) -> bool:
        """Whether it is time to ask again for what was refused."""
        return bool(self._refused) and self._clock.seconds() - self._refused_at >= AGAIN

    def want(self, config: MqttConfig) -> None:
        """Be subscribed to what this config names, by the next `settle` or the one that is under way."""
        share = f"$share/{config.share_group}/" if config.share_group else ""
        self._wanted = frozenset(share + topic for topic in config.topics)
        self._refused = frozenset()

    async def settle(self) -> None:
        """Be subscribed to what is wanted and to nothing else, as far as the broker lets us.

        Raises ServerError when it lets us have nothing or cannot be understood, TimeoutError when it does not
        answer.
        """
        if self._busy:
            return
        self._busy = True
        try:
            if self._kept is None:
                # A broker that has no session of ours has forgotten all, and so do we.
                present = self._session.session_present
                self._kept = await self._memory.subscriptions(self._key) if present else frozenset()
            if self.overdue:
                self._refused = frozenset()
            while await self._step(self._kept, self._wanted):
                pass
        finally:
            self._busy = False

    async def _step(self, kept: frozenset[str], wanted: frozenset[str]) -> bool:
        """Come nearer to what is wanted; returns whether there was anything to do."""
        gone = kept - wanted - self._refused
        new = wanted - self._active - self._refused
        # New topics first, so that nothing is missed in between. But a topic and its shared form must not be
        # subscribed together: another member of the group would store what we store.
        if gone and not (new and _shared(gone) == _shared(new)):
            refused = await self._answer(self._session.unsubscribe(sorted(gone)))
            done = gone - refused.keys()
            self._active -= done
            await self._keep(kept - done)
            if not (self._active or new):
                raise ServerError(f"the broker refuses the subscription: {self._said}")
            if done:
                log.info("Unsubscribed from {topics}", topics=sorted(done))
            self._note(refused)
        elif new:
            await self._keep(kept | new)
            refused = await self._answer(self._session.subscribe(sorted(new), self._qos))
            done = new - refused.keys()
            self._active |= done
            if not self._active:
                raise ServerError(f"the broker refuses the subscription: {refused}")
            if done:
                log.info("Subscribed to {topics}", topics=sorted(done))
            self._note(refused)
        return bool(gone or new)

    async def _keep(self, topics: frozenset[str]) -> None:
        if topics != self._kept:
            self._kept = topics
            await self._memory.remember_subscriptions(self._key, topics)

    def _note(self, refused: Mapping[str, str]) -> None:
        """Remember what was refused, and say it unless it was said last."""
        if not refused:
            return
        self._refused |= refused.keys()
        self._refused_at = self._clock.seconds()
        if refused != self._said:
            self._said = refused
            log.error(
                "The broker refuses {refused}; the others go on. It is asked again in {minutes:.0f} minutes.",
                refused=refused,
                minutes=AGAIN / 60,
            )

    async def _answer(self, request: Coroutine[Deferred[Any], Any, T]) -> T:
        return await Deferred.fromCoroutine(request).addTimeout(ANSWER, self._clock)


def _shared(topics: frozenset[str]) -> bool:
    return any(topic.startswith("$share/") for topic in topics)
