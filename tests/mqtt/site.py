"""What the tests of this room share: a clock and a log, a network and a disk, and who takes the messages."""

from collections.abc import Sequence
from typing import Any

import paho.mqtt.client
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import MqttConfig
from tessflux.readings.message import Acknowledge, Message
from tests.log_lines import record
from tests.mqtt.wire import Wire

CONFIG = MqttConfig(
    BrokerAddress("tcp", "broker", 1883, ""), client_id="me", topics=("a", "b"), register_topics=(), silence=0
)

NOW = 1_700_000_000_250
"""The time of day at which a test begins, in milliseconds."""


class Intake:
    """Takes messages, and acknowledges them when the test says so."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.unacknowledged: dict[Acknowledge, list[int]] = {}
        self.idle = 0
        self.resumptions: list[int] = []
        """How many messages had been taken when an earlier session was resumed."""
        self.broken = False

    def take(self, messages: Sequence[Message], acknowledge: Acknowledge) -> None:
        if self.broken:
            raise RuntimeError("a bug")
        self.messages += messages
        mids = [message.mid for message in messages if message.mid is not None]
        self.unacknowledged.setdefault(acknowledge, []).extend(mids)

    def when_idle(self) -> None:
        self.idle += 1

    def resumed(self) -> None:
        self.resumptions.append(len(self.messages))

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def commit(self) -> None:
        """Acknowledge what was taken, in that order."""
        taken, self.unacknowledged = self.unacknowledged, {}
        for acknowledge, mids in taken.items():
            if mids:
                acknowledge(mids)


@implementer(IStreamClientEndpoint)
class Network:
    """An endpoint whose attempts wait until the test decides about them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.attempts: list[tuple[float, str]] = []
        self.broken: Exception | None = None
        self.wires: list[Wire] = []
        self._waiting: tuple[IProtocolFactory, Deferred[IProtocol]] | None = None

    def endpoint(self, config: MqttConfig) -> IStreamClientEndpoint:
        self.attempts.append((self._clock.seconds(), str(config.broker)))
        if self.broken:
            raise self.broken
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Deferred[IProtocol] = Deferred(self._cancelled)
        self._waiting = protocolFactory, connected
        return connected

    def _cancelled(self, connected: Deferred[IProtocol]) -> None:
        self._waiting = None
        connected.errback(ConnectingCancelledError(None))

    @property
    def connecting(self) -> bool:
        return self._waiting is not None

    def accept(self, *, stuck: bool = False) -> Wire:
        assert self._waiting is not None
        (factory, connected), self._waiting = self._waiting, None
        protocol: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        wire = Wire(protocol, self._clock, stuck=stuck)
        self.wires.append(wire)
        wire.open()
        connected.callback(protocol)
        return wire

    def refuse(self, error: Exception | None = None) -> None:
        assert self._waiting is not None
        (_, connected), self._waiting = self._waiting, None
        connected.errback(error or Refused())


class Memory:
    """The topics that are remembered on a disk. A `slow` one does one thing whenever the test says `step`."""

    def __init__(self, *topics: str, slow: bool = False) -> None:
        self.kept = {CONFIG.client_id: frozenset(topics)} if topics else {}
        self.versions: dict[str, tuple[str, float]] = {}
        self._slow = slow
        self._waiting: list[Deferred[None]] = []

    @property
    def topics(self) -> set[str]:
        return set(self.kept.get(CONFIG.client_id, ()))

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    async def subscriptions(self, session: str) -> frozenset[str]:
        await self._turn()
        return self.kept.get(session, frozenset())

    async def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None:
        await self._turn()
        self.kept[session] = topics

    async def mqtt_version(self, broker: str) -> tuple[str, float] | None:
        await self._turn()
        return self.versions.get(broker)

    async def remember_mqtt_version(self, broker: str, version: str, since: float) -> None:
        await self._turn()
        self.versions[broker] = version, since

    async def _turn(self) -> None:
        if self._slow:
            self._waiting.append(Deferred())
            await self._waiting[-1]

    def step(self) -> None:
        self._waiting.pop().callback(None)

    def crash(self) -> None:
        """What waits for the disk is never done."""
        self._waiting.clear()


class Case(SynchronousTestCase):
    """Every test ends with nothing left on the clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.patch(paho.mqtt.client, "time_func", self.clock.seconds)
        self.log = record(self, "mqtt")
        self.intake = Intake()
        self.wires: list[Wire] = []
        self.addCleanup(self.end)

    def now(self) -> float:
        """The time of day, in seconds."""
        return NOW / 1000 + self.clock.seconds()

    def end(self) -> None:
        """Close every connection."""
        for wire in self.wires:
            wire.close()
        self.wires.clear()
        # A close that was under way comes to nothing.
        self.clock.advance(0)
        assert self.clock.getDelayedCalls() == []
