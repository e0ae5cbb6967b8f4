"""One connection to the broker: paho speaks MQTT, Twisted moves the bytes.

Publications and their acknowledgements do not pass through paho (see `packets`). Everything that makes and
keeps a connection does.

A session is used once: connect, subscribe, deliver, lost. A new connection is a new session, so an
acknowledgement can only go to the connection that brought its message.
"""

import struct
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from paho.mqtt.client import DisconnectFlags
from paho.mqtt.reasoncodes import ReasonCode
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.limits import UNREAD_BYTES
from tessflux.mqtt.endpoint import BrokerProtocol, loss_reason, tls_failure
from tessflux.mqtt.packets import KIND, PUBLISH, QOS, Malformed, Packet, Splitter, publication
from tessflux.mqtt.pahoclient import Answer, PahoClient, Socket
from tessflux.mqtt.terms import Refusal, Terms, refuses_version, said
from tessflux.readings import Deliver, Message

log = Logger(namespace="mqtt")

QOS_2, QOS_3 = 0x04, 0x06
"""In the first byte of a publication. We subscribe at QoS 1, so QoS 2 comes only from a session that another
program began; then PUBREC waits for the commit as PUBACK does. QoS 3 does not exist."""

PUBACK, PUBREC = 0x4002_0000, 0x5002_0000
"""The packet identifier is added in the last two bytes (MQTT 3.1.1, sections 3.4 and 3.5)."""

CONNACK_TIMEOUT = 10.0
"""Seconds that the broker may take to answer CONNECT: some never answer a version that they do not know."""

RESPONSE_TIMEOUT = 30.0
"""Seconds that the broker may take to answer SUBSCRIBE and UNSUBSCRIBE. What it has kept may come before."""

KEEPALIVE_CHECK = 1.0
"""Seconds between two checks of the keepalive."""

CLOSE_TIMEOUT = 5.0
"""Seconds for what was written to leave and for the connection to close, before it is aborted."""


DISCONNECTED = "tessflux disconnected"


class State(Enum):
    """Of a connection. Each state follows the one before it; CLOSING may be left out."""

    NEW = "not yet connected"
    OPEN = "messages are read and acknowledged"
    CLOSING = "nothing more is read or acknowledged"
    CLOSED = "the transport is gone"


class Session(BrokerProtocol):
    """`accepted` fires when the broker accepts CONNECT, or fails; `lost` fires at the end with the reason.

    `deliver` gets the messages that arrived together; `idle` is called when all that has arrived was
    delivered; `now` is the time of day in seconds since 1970 UTC.
    """

    def __init__(
        self,
        config: MqttConfig,
        deliver: Deliver,
        idle: Callable[[], None],
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        keep: bool = True,
    ) -> None:
        """`keep` asks the broker to keep our subscriptions, and messages at QoS 1, while we are away."""
        self._config, self._keep = config, keep
        self._deliver, self._idle = deliver, idle
        self._clock, self._now = clock, now
        self._version5 = config.version == "5"
        self.accepted: Deferred[None] = Deferred()
        self.lost: Deferred[str] = Deferred()
        self.session_present = False
        self.terms = Terms()
        """What the broker has said about the connection."""
        self.last_message = 0.0
        """When the last message came, on the clock. It begins with the broker's acceptance."""
        self.qos0_messages = 0
        self.above_qos0 = False
        """Whether any message came that the broker keeps until it is acknowledged."""
        self._state = State.NEW
        self._reason = ""
        self._tls_failed = False
        self._backpressure = False
        self._abort_timer: IDelayedCall | None = None
        self._splitter = Splitter()
        self._qos2: set[int] = set()
        """Packet identifiers that came with QoS 2 last. Each may come again, even when it is acknowledged."""
        self._unread_bytes: int | None = None

    def connectionMade(self) -> None:
        """The transport is there: send CONNECT."""
        assert self.transport is not None
        self._state = State.OPEN
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self._client = client = PahoClient(Socket(self._send, self._close), self._config, keep=self._keep)
        client.on_connect = lambda _client, _data, flags, code, properties: self._on_connack(
            flags.session_present, code, properties
        )
        client.on_disconnect = lambda _client, _data, flags, code, properties: self._on_disconnect(
            flags, code, properties
        )
        self._keepalive = LoopingCall(self._check_keepalive)
        self._keepalive.clock = self._clock
        client.reconnect()
        self._keepalive.start(KEEPALIVE_CHECK, now=False)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the broker: deliver the messages that they complete."""
        if not self.first:
            self.first = data[:16]
        self._splitter.feed(data)
        self._read()

    def _read(self) -> None:
        if self._backpressure or self._state is not State.OPEN:
            return
        # One time for all that arrived together.
        received_at, version5 = int(self._now() * 1000), self._version5
        messages: list[Message] = []
        unreadable = ""
        try:
            for packet in self._splitter.packets():
                first = packet[0]
                if first & KIND == PUBLISH and first & QOS != QOS_3:
                    message = publication(packet, received_at, version5=version5)
                    messages.append(message)
                    if first & QOS_2 and message.mid is not None:
                        self._qos2.add(message.mid)
                    elif self._qos2 and message.mid is not None:
                        self._qos2.discard(message.mid)
                    continue
                self._hand_on(messages)
                messages = []
                if self._state is State.OPEN:
                    self._control(packet)
                if self._backpressure or self._state is not State.OPEN:
                    break
        except Malformed as error:
            unreadable = f"the broker sent something that cannot be read: {error}"
        except Exception:
            # Such as what paho cannot digest. Whatever it was, this connection is of no use any more.
            log.failure("A packet of the broker could not be read")
            unreadable = "unreadable packet"
        self._hand_on(messages)
        if unreadable:
            self.abort(unreadable)
        self._idle()

    def _hand_on(self, messages: list[Message]) -> None:
        """Deliver messages that arrived together."""
        if not messages:
            return
        self.last_message = self._clock.seconds()
        above = sum(message.mid is not None for message in messages)
        self.qos0_messages += len(messages) - above
        self.above_qos0 = self.above_qos0 or above > 0
        try:
            self._deliver(messages, self._acknowledge)
        except Exception:
            log.failure(
                "{count} messages could not be taken, the first on {topic}",
                count=len(messages),
                topic=messages[0].topic,
            )

    def _control(self, packet: Packet) -> None:
        """What is no publication is for paho, but for a refusal that it would not explain."""
        if not self._version5 and refuses_version(packet):
            self._refused(Refusal("Unsupported protocol version", "Unsupported protocol version"))
            self._close()
        else:
            self._client.receive(packet[2])

    def _refused(self, refusal: Refusal) -> None:
        if not self.accepted.called:
            self.accepted.errback(refusal)

    def _check_keepalive(self) -> None:
        try:
            self._client.loop_misc()
        except Exception:
            log.failure("The keepalive went wrong")
            self.abort("keepalive went wrong")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone, whoever wanted it."""
        self._state = State.CLOSED
        self._tls_failed = tls_failure(reason) is not None
        if self._keepalive.running:
            self._keepalive.stop()
        if self._abort_timer is not None and self._abort_timer.active():
            self._abort_timer.cancel()
        text = self._config.hide(self._reason or loss_reason(reason))
        if not self.accepted.called and self._reason != DISCONNECTED:
            who = self.who_answered(self._config.broker, reason)
            text = f"{text}; {who}" if who else text
        error = ServerError(f"the connection was lost: {text}")
        if not self.accepted.called:
            self.accepted.errback(error)
        self._client.fail_requests(error)
        self.lost.callback(text)

    def pauseProducing(self) -> None:
        """The transport's buffer is full, because the broker does not read."""
        self._unread_bytes = 0

    def resumeProducing(self) -> None:
        """The broker has read what we sent."""
        self._unread_bytes = None

    def stopProducing(self) -> None:
        """The connection is gone, which `connectionLost` says too."""

    def _send(self, data: bytes) -> None:
        assert self.transport is not None
        if self._unread_bytes is not None:
            self._unread_bytes += len(data)
            if self._unread_bytes > UNREAD_BYTES:
                self.abort("the broker does not read our answers")
                return
        self.transport.write(data)

    def backpressure(self, on: bool) -> None:
        """Stop reading from the broker, or go on."""
        self._backpressure = on
        if self.transport is None or self._state is State.CLOSED:
            return
        if on:
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        else:
            self.last_message = self._clock.seconds()
            self.transport.resumeProducing()  # type: ignore[attr-defined]
            self._read()

    async def subscribe(self, topics: Sequence[str], qos: int) -> Answer:
        """Subscribe; messages are delivered meanwhile."""
        return await self._open_client().request_subscribe(topics, qos)

    async def unsubscribe(self, topics: Sequence[str]) -> Answer:
        """Unsubscribe; before MQTT 5 no broker refuses."""
        return await self._open_client().request_unsubscribe(topics)

    @property
    def is_open(self) -> bool:
        """Whether the broker can still answer."""
        return self._state is State.OPEN

    @property
    def reached(self) -> bool:
        """Whether a broker can have read our CONNECT: TLS is agreed if it is spoken, and what has answered is
        no other server. Only then may the version of MQTT be why we are not let in."""
        broker = self._config.broker
        # A WebSocket is agreed over TLS that is.
        agreed = not broker.tls or broker.websocket or self._tls_agreed
        return self.transport is not None and agreed and not (self._tls_failed or self.other_server(broker))

    def _open_client(self) -> PahoClient:
        if not self.is_open:
            raise ServerError("the connection was lost before the subscription")
        return self._client

    def disconnect(self) -> None:
        """Send DISCONNECT; `lost` fires when the transport is closed."""
        self._reason = self._reason or DISCONNECTED
        if self._state is State.OPEN:
            self._begin_to_close()
            # TLS closes only when the peer's answer is read. No message is read any more.
            self.backpressure(False)
            self._client.leave()

    def _close(self) -> None:
        """paho no longer needs the transport: after DISCONNECT, an error, or when the broker is silent."""
        if self._state in (State.OPEN, State.CLOSING):
            assert self.transport is not None
            self._begin_to_close()
            # It would wait for us to produce no more.
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseConnection()

    def peer_closes(self, reason: str) -> None:
        """The broker is about to close the transport: nothing more leaves or comes, and if the transport is
        not gone soon, it is aborted."""
        self._reason = self._reason or reason
        self._close()

    def _begin_to_close(self) -> None:
        # What was written never leaves when nobody reads it.
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self._abort_timer = self._clock.callLater(CLOSE_TIMEOUT, self.abort, "it did not close")

    def abort(self, reason: str) -> None:
        """Close at once, whatever the broker does."""
        self._reason = self._reason or reason
        if self._state in (State.OPEN, State.CLOSING):
            assert self.transport is not None
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _acknowledge(self, mids: Sequence[int]) -> None:
        """The responses leave in one write."""
        if self._state is not State.OPEN:
            return
        responses = [PUBACK | mid for mid in mids]
        if self._qos2:
            responses = [PUBREC | mid if mid in self._qos2 else PUBACK | mid for mid in mids]
        self._send(struct.pack(f">{len(responses)}I", *responses))

    def _on_connack(self, session_present: bool, code: ReasonCode, properties: Any) -> None:
        self.session_present = session_present
        if self.accepted.called:
            return
        self.terms = Terms.of(properties, self._client.expiry)
        if code.is_failure:
            self._refused(Refusal(code.getName(), said(code, properties, self._config.hide)))
        else:
            self.last_message = self._clock.seconds()
            self.accepted.callback(None)

    def _on_disconnect(self, flags: DisconnectFlags, code: ReasonCode, properties: Any) -> None:
        who = "the broker says" if flags.is_disconnect_packet_from_server else "MQTT"
        self._reason = self._reason or f"{who}: {said(code, properties, self._config.hide)}"
