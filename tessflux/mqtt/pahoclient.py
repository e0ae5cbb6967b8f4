"""paho's Client on a Twisted transport.

paho would open a socket of its own and block on it. Here `_create_socket` gives it one that never blocks:
`recv` returns what has arrived, `send` writes to the transport. That method and `_mid_generate` are private
to paho; they are there since version 2.0, and tests in `test_session` fail if they move.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MQTTException, Properties  # type: ignore[attr-defined]
from paho.mqtt.reasoncodes import ReasonCode
from twisted.internet.defer import Deferred

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.mqtt.packets import Malformed
from tessflux.mqtt.terms import FOR_EVER, said

DISCONNECT = 0xE0
"""The first byte of the packet by which an MQTT 5 broker says why it ends the connection."""

PROBE_EXPIRY = 86_400
"""MQTT 5: seconds for which to keep a session that DISCONNECT is to end. A broker says that it keeps sessions
for a shorter time only if it is asked for a longer one."""

RECEIVE_MAXIMUM = 500
"""MQTT 5: how many messages may be unacknowledged at a time."""


IN_USE = 0x91
"""The reason code of a broker that takes the packet identifier of our question for that of a message it has
sent us. The two have nothing to do with each other, but some brokers look for both in one table."""

IDENTIFIERS = 5
"""So many different ones are tried at once."""

LARGEST_IDENTIFIER = 65_535


@dataclass(frozen=True)
class Answer:
    """To a subscription: the topics that the broker granted, with their QoS, those that it refused, with its
    reason, and which of these may be granted with another packet identifier."""

    granted: Mapping[str, int]
    refused: Mapping[str, str]
    in_use: frozenset[str]


class Socket:
    """As much of a socket as paho needs."""

    def __init__(self, send: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self._send, self._close = send, close
        self._received = b""

    def put(self, packet: bytes) -> None:
        """A whole packet that `recv` is to return."""
        self._received = packet

    def recv(self, size: int) -> bytes:
        data, self._received = self._received[:size], self._received[size:]
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


class PahoClient(Client):
    """paho's Client on the socket that it is given. `reconnect` sends CONNECT.

    `keep` asks the broker to keep our session while we are away.
    """

    def __init__(self, socket: Socket, config: MqttConfig, *, keep: bool) -> None:
        self._version5 = version5 = config.version == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if version5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if version5 else not keep,
            reconnect_on_failure=False,
        )
        self._given_socket = socket
        self._requests: dict[int, Deferred[Codes]] = {}
        self._identifier = LARGEST_IDENTIFIER
        self.expiry = FOR_EVER
        """The session expiry that is asked for."""
        self.on_subscribe = self.on_unsubscribe = lambda _client, _data, mid, codes, properties: (
            self._on_response(mid, [(code, said(code, properties, config.hide)) for code in codes])
        )
        if config.username:
            self.username_pw_set(config.username, config.password.reveal() or None)
        properties = None
        if version5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.expiry = FOR_EVER if keep else PROBE_EXPIRY
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        # Only paho's own sockets look at the host, but it must not be empty.
        self.connect_async("broker", keepalive=config.keepalive, clean_start=not keep, properties=properties)

    def leave(self) -> None:
        """Send DISCONNECT."""
        properties = None
        if self._version5 and self.expiry != FOR_EVER:
            properties = Properties(PacketTypes.DISCONNECT)
            properties.SessionExpiryInterval = 0
        self.disconnect(properties=properties)

    def receive(self, packet: bytes) -> None:
        """Do what a packet from the broker asks for. After an error the socket is closed, or it raises
        Malformed."""
        if packet[0] == DISCONNECT and len(packet) in (3, 4):
            # paho 2.1 overlooks the reason unless something follows it.
            packet = bytes((DISCONNECT, 3, packet[2], 0, 0))
        self._given_socket.put(packet)
        try:
            self.loop_read()
        except (struct.error, LookupError, ValueError, MQTTException) as error:
            # paho 2.1 lets the errors of its decoding pass; 2.2 closes the socket.
            raise Malformed(repr(error)) from error
        if self.want_write():
            # paho only queues what is sent from within its callbacks.
            self.loop_write()

    async def request_subscribe(self, topics: Sequence[str], qos: int) -> Answer:
        """Raises ServerError."""
        return await self._answer(topics, lambda asked: self.subscribe([(topic, qos) for topic in asked]))

    async def request_unsubscribe(self, topics: Sequence[str]) -> Answer:
        """Before MQTT 5 no broker says whether it did that. Raises ServerError."""
        if self._version5:
            return await self._answer(topics, lambda asked: self.unsubscribe(list(asked)))
        await self._response(self.unsubscribe(list(topics)))
        return Answer(dict.fromkeys(topics, 0), {}, frozenset())

    async def _answer(
        self, topics: Sequence[str], ask: Callable[[Sequence[str]], tuple[MQTTErrorCode, int | None]]
    ) -> Answer:
        answers: dict[str, tuple[ReasonCode, str]] = {}
        asked = topics
        for _ in range(IDENTIFIERS):
            codes = await self._response(ask(asked))
            if len(codes) != len(asked):
                raise ServerError(f"the broker answered {len(codes)} times for {len(asked)} topics")
            answers.update(zip(asked, codes, strict=True))
            asked = [topic for topic in asked if answers[topic][0].value == IN_USE]
            if not asked:
                break
        return Answer(
            {topic: code.value for topic, (code, _) in answers.items() if not code.is_failure},
            {topic: reason for topic, (code, reason) in answers.items() if code.is_failure},
            frozenset(asked),
        )

    async def _response(self, sent: tuple[MQTTErrorCode, int | None]) -> "Codes":
        _, mid = sent
        if mid is None:
            raise ServerError("the connection was lost before the subscription")
        response: Deferred[Codes] = Deferred()
        self._requests[mid] = response
        return await response

    def _on_response(self, mid: int, codes: "Codes") -> None:
        response = self._requests.pop(mid, None)
        if response is not None:
            response.callback(codes)

    def fail_requests(self, error: ServerError) -> None:
        """No response will come any more."""
        requests, self._requests = self._requests, {}
        for response in requests.values():
            response.errback(error)

    def _create_socket(self) -> Any:
        return self._given_socket

    def _mid_generate(self) -> int:
        """From the largest number down: brokers number their messages from 1 up (see IN_USE)."""
        identifier = self._identifier
        self._identifier = identifier - 1 or LARGEST_IDENTIFIER
        return identifier


Codes = list[tuple[ReasonCode, str]]
"""What a broker answers: for each topic its code, and its reason in words."""
