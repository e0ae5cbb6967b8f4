"""One connection to the broker: paho speaks MQTT, Twisted moves the bytes.

paho's Client would open a socket of its own and wait for it. Here `_create_socket` gives it the Twisted
transport in the shape of one: `recv` hands out what has arrived, `send` never blocks. That method is private
to paho, there since its version 2.0; `test_session` fails should it move. Publications and their
acknowledgements do not pass through paho, see `packets`; all that makes and keeps a connection does.

A session is used once: connect, subscribe, deliver, lost. A new connection is a new session, so that an
acknowledgement cannot reach another connection than the one which brought its message.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.errors import ServerError
from tessflux.mqtt.packets import KIND, PUBLISH, QOS, Malformed, Publication, Splitter, publication
from tessflux.secret import Secret

log = Logger(namespace="mqtt")

Deliver = Callable[[str, bytes, bool, Callable[[], None] | None], None]
"""Called with topic, payload, retained, and how to acknowledge (None at QoS 0)."""

EXACTLY_ONCE, NO_QOS = 0x04, 0x06
"""QoS 2 in the first byte of a publication, and what stands for none. We subscribe at QoS 1; QoS 2 comes only
from a session that another program began; then the first half of its handshake waits for the commit too."""

PUBACK = b"\x40\x02"
PUBREC = b"\x50\x02"
"""With the number of a message they acknowledge it (MQTT 3.1.1, sections 3.4 and 3.5)."""

TICK = 1.0
"""Seconds between two looks at the keepalive."""

CLOSING = 5.0
"""Seconds for what was written to leave, and the connection to close, before it is cut."""

SESSION_EXPIRY = 0xFFFFFFFF
"""MQTT 5: the broker keeps our session for ever, as it does with MQTT 3.1.1."""

RECEIVE_MAXIMUM = 500
"""MQTT 5: messages that may be unacknowledged at a time."""


@dataclass(frozen=True)
class Login:
    """How to introduce ourselves to the broker."""

    client_id: str
    username: str
    password: Secret
    keepalive: int
    version: Literal["3.1.1", "5"]
    keep_session: bool = True
    """Whether the broker is to keep our subscriptions, and messages at QoS 1, while we are away."""


class Refusal(ServerError):
    """The broker answered CONNECT with no; `bad_version` if it was for the version of MQTT."""

    def __init__(self, reason: str, *, bad_version: bool = False) -> None:
        super().__init__(f"the broker refuses: {reason}")
        self.bad_version = bad_version


class _Socket:
    """As much of a socket as paho needs: `arrived` has a whole packet for it, what it sends goes out."""

    def __init__(self, send: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self._send, self._close = send, close
        self._data = b""

    def arrived(self, packet: bytes) -> None:
        self._data = packet

    def recv(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        if not data:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        self._send(bytes(data))
        return len(data)

    def close(self) -> None:
        self._close()

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""


class _PahoClient(Client):
    """paho's Client over a socket that it is given."""

    def __init__(self, socket: _Socket, login: Login) -> None:
        version5 = login.version == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if version5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if version5 else not login.keep_session,
            reconnect_on_failure=False,
        )
        self._given_socket = socket
        if login.username:
            self.username_pw_set(login.username, login.password.reveal() or None)
        properties = None
        if version5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = SESSION_EXPIRY if login.keep_session else 0
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        # The host is only looked at by paho's own sockets, but must not be empty.
        self.connect_async(
            "broker", keepalive=login.keepalive, clean_start=not login.keep_session, properties=properties
        )

    def _create_socket(self) -> Any:
        return self._given_socket


class Session(Protocol):
    """`accepted` fires when the broker has said yes, or fails; `lost` fires with the reason at the end.

    `idle` is called when all that has arrived was delivered.
    """

    def __init__(self, login: Login, deliver: Deliver, idle: Callable[[], None], clock: IReactorTime) -> None:
        self._login, self._deliver, self._idle = login, deliver, idle
        self._clock = clock
        self.session_present = False
        self.goodbye = False
        """Whether it was us who wanted the end."""
        self.accepted: Deferred[None] = Deferred()
        self.lost: Deferred[str] = Deferred()
        self._answers: dict[int, Deferred[list[ReasonCode]]] = {}
        self._reason = ""
        self._splitter = Splitter()
        self._version5 = login.version == "5"
        self._held = False
        self._open = False
        self._closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The transport is there: send CONNECT."""
        assert self.transport is not None
        self._open = True
        self._socket = _Socket(self.transport.write, self._close)
        self._client = client = _PahoClient(self._socket, self._login)
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
        if not self._held:
            self._read()

    def _read(self) -> None:
        try:
            while not self._held and self._talks() and (packet := self._splitter.take()):
                first = packet[0]
                if first & KIND == PUBLISH and first & QOS != NO_QOS:
                    self._publication(publication(packet, version5=self._version5), first)
                else:
                    self._protocol(packet[2])
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

    def _publication(self, message: Publication, first: int) -> None:
        topic, payload, retained, mid = message
        acknowledge = (
            None
            if mid is None
            else partial(self._acknowledge, PUBREC if first & EXACTLY_ONCE else PUBACK, mid)
        )
        self._deliver(topic, payload, retained, acknowledge)

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
        if self._ticker.running:
            self._ticker.stop()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        text = self._reason or (reason.getErrorMessage() if reason else "")
        error = ServerError(f"the connection was lost: {text}")
        waiting: list[Deferred[Any]] = [self.accepted, *self._answers.values()]
        for answer in waiting:
            if not answer.called:
                answer.errback(error)
        self._answers.clear()
        self.lost.callback(text)

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
        codes = await self._request(self._client.subscribe([(topic, qos) for topic in topics]))
        return {topic: str(code) for topic, code in zip(topics, codes, strict=False) if code.is_failure}

    async def unsubscribe(self, topics: Sequence[str]) -> None:
        """Unsubscribe and wait for the answer."""
        await self._request(self._client.unsubscribe(list(topics)))

    async def _request(self, sent: tuple[MQTTErrorCode, int | None]) -> list[ReasonCode]:
        code, mid = sent
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise ServerError("the connection was lost before the subscription")
        answer: Deferred[list[ReasonCode]] = Deferred()
        self._answers[mid] = answer
        return await answer

    def disconnect(self) -> None:
        """Say goodbye; `lost` fires when the transport is closed."""
        self.goodbye = True
        self._reason = self._reason or "tessflux disconnected"
        if self._open and self._closing is None:
            self._cut_later()
            self._client.disconnect()

    def _close(self) -> None:
        """paho is done with the transport: after a goodbye, an error, or when the broker is silent."""
        if self._open:
            assert self.transport is not None
            self._cut_later()
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

    def _acknowledge(self, answer: bytes, mid: int) -> None:
        if self._talks():
            assert self.transport is not None
            self.transport.write(answer + mid.to_bytes(2))

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
