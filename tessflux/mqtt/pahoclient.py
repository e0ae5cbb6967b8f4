"""paho's Client on a Twisted transport.

paho would open a socket of its own and block on it. Here `_create_socket` gives it one that never blocks:
`recv` returns what has arrived, `send` writes to the transport. That method is private to paho; it is there
since version 2.0, and a test in `test_session` fails if it moves.
"""

import struct
from collections.abc import Callable, Sequence
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

DISCONNECT = 0xE0
"""The first byte of the packet by which an MQTT 5 broker says why it ends the connection."""

SESSION_EXPIRY = 0xFFFFFFFF
"""MQTT 5: the broker keeps our session for ever, as it does with MQTT 3.1.1."""

RECEIVE_MAXIMUM = 500
"""MQTT 5: how many messages may be unacknowledged at a time."""


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
        self._requests: dict[int, Deferred[list[ReasonCode]]] = {}
        self.on_subscribe = self.on_unsubscribe = lambda _client, _data, mid, codes, _properties: (
            self._on_response(mid, codes)
        )
        if config.username:
            self.username_pw_set(config.username, config.password.reveal() or None)
        properties = None
        if version5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = SESSION_EXPIRY if keep else 0
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        # Only paho's own sockets look at the host, but it must not be empty.
        self.connect_async("broker", keepalive=config.keepalive, clean_start=not keep, properties=properties)

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

    async def request_subscribe(self, topics: Sequence[str], qos: int) -> dict[str, str]:
        """Returns the topics that the broker refused, with its reason. Raises ServerError."""
        codes = await self._response(self.subscribe([(topic, qos) for topic in topics]))
        return _refused(topics, codes)

    async def request_unsubscribe(self, topics: Sequence[str]) -> dict[str, str]:
        """Returns the topics that the broker refused, with its reason. Raises ServerError."""
        codes = await self._response(self.unsubscribe(list(topics)))
        # UNSUBACK has codes since MQTT 5.
        return _refused(topics, codes) if self._version5 else {}

    async def _response(self, sent: tuple[MQTTErrorCode, int | None]) -> list[ReasonCode]:
        _, mid = sent
        if mid is None:
            raise ServerError("the connection was lost before the subscription")
        response: Deferred[list[ReasonCode]] = Deferred()
        self._requests[mid] = response
        return await response

    def _on_response(self, mid: int, codes: list[ReasonCode]) -> None:
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


def _refused(topics: Sequence[str], codes: Sequence[ReasonCode]) -> dict[str, str]:
    if len(codes) != len(topics):
        raise ServerError(f"the broker answered {len(codes)} times for {len(topics)} topics")
    return {topic: str(code) for topic, code in zip(topics, codes, strict=True) if code.is_failure}
