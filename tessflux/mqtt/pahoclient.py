"""paho's Client on a Twisted transport.

It would open a socket of its own and wait for it. Here `_create_socket` gives it one that never blocks:
`recv` hands out what has arrived, `send` writes to the transport. That method is private to paho, there since
its version 2.0; `test_session` fails should it move.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tessflux.config import Secret, Version

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
    version: Version
    keep_session: bool = True
    """Whether the broker is to keep our subscriptions, and messages at QoS 1, while we are away."""


class Socket:
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


class PahoClient(Client):
    """paho's Client over a socket that it is given."""

    def __init__(self, socket: Socket, login: Login) -> None:
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
