"""One connection to the broker: paho speaks MQTT, Twisted moves the bytes.

Publications and their acknowledgements do not pass through paho, see `packets`; all that makes and keeps a
connection does.

A session is used once: connect, subscribe, deliver, lost. A new connection is a new session, so that an
acknowledgement cannot reach another connection than the one which brought its message.
"""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.errors import ServerError
from tessflux.limits import UNREAD_BYTES
from tessflux.mqtt.endpoint import why
from tessflux.mqtt.packets import KIND, PUBLISH, QOS, Malformed, Splitter, publication
from tessflux.mqtt.pahoclient import Login, PahoClient, Socket
from tessflux.readings import Deliver

log = Logger(namespace="mqtt")

EXACTLY_ONCE, NO_QOS = 0x04, 0x06
"""QoS 2 in the first byte of a publication, and what stands for none. We subscribe at QoS 1; QoS 2 comes only
from a session that another program began; then the first half of its handshake waits for the commit too."""

PUBACK, PUBREC = 0x4002_0000, 0x5002_0000
"""The number of a message is added in the last two bytes (MQTT 3.1.1, sections 3.4 and 3.5)."""

ANSWER = 30.0
"""Seconds that the broker may take to answer CONNECT, SUBSCRIBE and UNSUBSCRIBE."""

TICK = 1.0
"""Seconds between two looks at the keepalive."""

CLOSING = 5.0
"""Seconds for what was written to leave, and the connection to close, before it is cut."""


class Refusal(ServerError):
    """The broker answered CONNECT with no; `bad_version` if it was for the version of MQTT."""

    def __init__(self, reason: str, *, bad_version: bool = False) -> None:
        super().__init__(f"the broker refuses: {reason}")
        self.bad_version = bad_version


class Session(Protocol):
    """`accepted` fires when the broker has said yes, or fails; `lost` fires with the reason at the end.

    `idle` is called when all that has arrived was delivered; `now` is the time of day, in seconds since
    1970 UTC.
    """

    def __init__(
        self,
        login: Login,
        deliver: Deliver,
        idle: Callable[[], None],
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._login, self._deliver, self._idle = login, deliver, idle
        self._clock, self._now = clock, now
        self.session_present = False
        self.goodbye = False
        """Whether it was us who wanted the end."""
        self.accepted: Deferred[None] = Deferred()
        self.lost: Deferred[str] = Deferred()
        self._answers: dict[int, Deferred[list[ReasonCode]]] = {}
        self._reason = ""
        self._splitter = Splitter()
        self._owed: list[int] = []
        # Made here and not for each message, which would hold a bound method of its own until its commit.
        self._acknowledge = self._owe
        self._paying: IDelayedCall | None = None
        self._version5 = login.version == "5"
        self._held = False
        self._unread: int | None = None
        self._open = False
        self._closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The transport is there: send CONNECT."""
        assert self.transport is not None
        self._open = True
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self._socket = Socket(self._send, self._close)
        self._client = client = PahoClient(self._socket, self._login)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_answer
        client.on_unsubscribe = self._on_answer
        client.on_disconnect = self._on_disconnect
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self._clock
        client.reconnect()
        self._ticker.start(TICK, now=False)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the broker: deliver the messages that they complete."""
        self._splitter.feed(data)
        self._read()

    def _read(self) -> None:
        if self._held or not self._talks():
            return
        # One time for all that arrived together.
        received_at = int(self._now() * 1000)
        try:
            for packet in self._splitter.packets():
                first = packet[0]
                if first & KIND == PUBLISH and first & QOS != NO_QOS:
                    message = publication(packet, received_at, version5=self._version5)
                    acknowledge = None
                    if message.mid is not None:
                        answer = PUBREC if first & EXACTLY_ONCE else PUBACK
                        acknowledge = partial(self._acknowledge, answer | message.mid)
                    self._deliver(message, acknowledge)
                else:
                    self._protocol(packet[2])
                if self._held or not self._talks():
                    break
        except Malformed as error:
            self.abort(f"the broker sent something that cannot be read: {error}")
        except Exception:
            # Such as what paho cannot digest. Whatever it was, this connection is of no use any more.
            log.failure("What the broker sent could not be taken")
            self.abort("unreadable packet")
        self._idle()

    def _talks(self) -> bool:
        """Whether the connection is there, and nobody has said goodbye."""
        return self._open and self._closing is None

    def _protocol(self, packet: bytes) -> None:
        """Let paho do what is to be done about anything but a publication."""
        self._socket.arrived(packet)
        # An error makes paho close the socket, and so the transport.
        self._client.loop_read()
        if self._client.want_write():
            # paho only queues what is sent from within its callbacks.
            self._client.loop_write()

    def _tick(self) -> None:
        try:
            self._client.loop_misc()
        except Exception:
            log.failure("The keepalive went wrong")
            self.abort("keepalive went wrong")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The transport is gone, whoever wanted it."""
        self._open = False
        self._pay()
        if self._ticker.running:
            self._ticker.stop()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        text = self._reason or (why(reason) if reason else "")
        error = ServerError(f"the connection was lost: {text}")
        waiting: list[Deferred[Any]] = [self.accepted, *self._answers.values()]
        for answer in waiting:
            if not answer.called:
                answer.errback(error)
        self._answers.clear()
        self.lost.callback(text)

    def pauseProducing(self) -> None:
        """The transport holds back what we send, because the broker does not read."""
        self._unread = 0

    def resumeProducing(self) -> None:
        """The broker has read what we sent."""
        self._unread = None

    def stopProducing(self) -> None:
        """The connection is gone, which `connectionLost` says too."""

    def _send(self, data: bytes) -> None:
        assert self.transport is not None
        if self._unread is not None:
            self._unread += len(data)
            if self._unread > UNREAD_BYTES:
                self.abort("the broker does not read what it is answered")
                return
        self.transport.write(data)

    def hold(self, hold: bool) -> None:
        """Stop reading from the broker, or go on."""
        self._held = hold
        if self.transport is None or not self._open:
            return
        if hold:
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        else:
            self.transport.resumeProducing()  # type: ignore[attr-defined]
            self._read()

    async def subscribe(self, topics: Sequence[str], qos: int) -> dict[str, str]:
        """Subscribe; returns the topics that the broker refused, with its reason."""
        codes = await self._request(lambda: self._client.subscribe([(topic, qos) for topic in topics]))
        return _refused(topics, codes)

    async def unsubscribe(self, topics: Sequence[str]) -> dict[str, str]:
        """Unsubscribe; returns the topics that the broker refused, with its reason (by MQTT 5)."""
        codes = await self._request(lambda: self._client.unsubscribe(list(topics)))
        return _refused(topics, codes) if self._version5 else {}

    async def _request(self, send: Callable[[], tuple[MQTTErrorCode, int | None]]) -> list[ReasonCode]:
        _, mid = send() if self._talks() else (None, None)
        if mid is None:
            raise ServerError("the connection was lost before the subscription")
        answer: Deferred[list[ReasonCode]] = Deferred()
        self._answers[mid] = answer
        return await answer

    def disconnect(self) -> None:
        """Say goodbye; `lost` fires when the transport is closed."""
        self.goodbye = True
        self._reason = self._reason or "tessflux disconnected"
        if self._talks():
            self._pay()
            self._cut_later()
            # Held, the end would not be read: TLS waits for that of the peer. No message is read any more.
            self.hold(False)
            self._client.disconnect()

    def _close(self) -> None:
        """paho is done with the transport: after a goodbye, an error, or when the broker is silent."""
        if self._open:
            assert self.transport is not None
            self._cut_later()
            # It would wait for us to produce no more.
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseConnection()

    def _cut_later(self) -> None:
        # What was written never leaves when nobody reads it any more.
        if self._closing is None:
            self._closing = self._clock.callLater(CLOSING, self.abort, "it did not close")

    def abort(self, reason: str) -> None:
        """Close at once, whatever the broker does."""
        self._reason = self._reason or reason
        if self._open:
            assert self.transport is not None
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _owe(self, answer: int) -> None:
        # A commit acknowledges many at once: they leave together.
        if not self._owed:
            if not self._talks():
                return
            self._paying = self._clock.callLater(0, self._pay)
        self._owed.append(answer)

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        if self._paying is not None and self._paying.active():
            self._paying.cancel()
        if owed and self._talks():
            self._send(struct.pack(f">{len(owed)}I", *owed))

    def _on_connect(
        self,
        client: Client,
        userdata: Any,
        flags: ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.session_present = flags.session_present
        if self.accepted.called:
            return
        if code.is_failure:
            bad_version = code.getName() == "Unsupported protocol version"
            self.accepted.errback(Refusal(str(code), bad_version=bad_version))
        else:
            self.accepted.callback(None)

    def _on_answer(
        self, client: Client, userdata: Any, mid: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        answer = self._answers.pop(mid, None)
        if answer is not None:
            answer.callback(codes)

    def _on_disconnect(
        self,
        client: Client,
        userdata: Any,
        flags: DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        who = "the broker says" if flags.is_disconnect_packet_from_server else "MQTT"
        self._reason = self._reason or f"{who}: {code}"


def _refused(topics: Sequence[str], codes: Sequence[ReasonCode]) -> dict[str, str]:
    """What the broker's answer about each topic says no to. Raises ServerError when it is no such answer."""
    if len(codes) != len(topics):
        raise ServerError(f"the broker answered {len(codes)} times for {len(topics)} topics")
    return {topic: str(code) for topic, code in zip(topics, codes, strict=True) if code.is_failure}
