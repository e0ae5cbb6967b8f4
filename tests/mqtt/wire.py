"""The packets of a broker, made by hand, and a transport on which a test plays that broker."""

import struct
from collections.abc import Iterator
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 0x82, 0x90, 0xA2, 0xB0
PINGREQ, PINGRESP, DISCONNECT = 0xC0, 0xD0, 0xE0


def packet(kind: int, body: bytes = b"") -> bytes:
    """Any packet, with its length before its body."""
    size, length = len(body), bytearray()
    while True:
        size, low = divmod(size, 128)
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes([kind]) + bytes(length) + body


def text(value: str) -> bytes:
    """A string with its length before it."""
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def connack(
    code: int = 0, *, session_present: bool = False, version: str = "3.1.1", properties: bytes = b""
) -> bytes:
    return packet(CONNACK, bytes([session_present, code]) + _properties(properties, version))


def _properties(properties: bytes, version: str) -> bytes:
    """They are there only in MQTT 5. As in a packet, the length stands before them."""
    return packet(0, properties)[1:] if version == "5" else b""


def reason_string(text_: str) -> bytes:
    return b"\x1f" + text(text_)


def server_reference(text_: str) -> bytes:
    return b"\x1c" + text(text_)


def disconnect(code: int, properties: bytes = b"") -> bytes:
    """By which an MQTT 5 broker ends a connection."""
    return packet(DISCONNECT, bytes([code]) + _properties(properties, "5"))


def publish(
    topic: str,
    payload: bytes,
    *,
    mid: int = 0,
    retained: bool = False,
    version: str = "3.1.1",
    properties: bytes = b"",
) -> bytes:
    """A message: at QoS 0 without a `mid`, else at QoS 1; `properties` are there only in MQTT 5."""
    number = struct.pack("!H", mid) if mid else b""
    before = _properties(properties, version)
    return packet(PUBLISH | bool(mid) << 1 | retained, text(topic) + number + before + payload)


def user_property(name: str, value: str) -> bytes:
    return b"\x26" + text(name) + text(value)


def suback(mid: int, *codes: int, version: str = "3.1.1", properties: bytes = b"") -> bytes:
    return packet(SUBACK, struct.pack("!H", mid) + _properties(properties, version) + bytes(codes))


def unsuback(mid: int, *codes: int, version: str = "3.1.1") -> bytes:
    properties = b"\0" if version == "5" else b""
    return packet(UNSUBACK, struct.pack("!H", mid) + properties + bytes(codes))


def puback(mid: int) -> bytes:
    return packet(PUBACK, struct.pack("!H", mid))


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each packet in `data`, which ends where one ends."""
    while data:
        kind, size, position = data[0], 0, 1
        for shift in (0, 7, 14, 21):
            size |= (data[position] & 0x7F) << shift
            position += 1
            if data[position - 1] < 0x80:
                break
        yield kind, data[position : position + size]
        data = data[position + size :]


def mid_of(body: bytes) -> int:
    """The number by which SUBSCRIBE and UNSUBSCRIBE are answered."""
    return int.from_bytes(body[:2], "big")


def topics_of(kind: int, body: bytes, version: str = "3.1.1") -> list[tuple[str, int | None]]:
    """What SUBSCRIBE or UNSUBSCRIBE names, with the QoS that is asked for."""
    found: list[tuple[str, int | None]] = []
    rest = body[3:] if version == "5" else body[2:]
    while rest:
        end = 2 + mid_of(rest)
        topic = rest[2:end].decode()
        found.append((topic, rest[end] & 3 if kind == SUBSCRIBE else None))
        rest = rest[end + (kind == SUBSCRIBE) :]
    return found


class Wire(StringTransport):
    """The connection to a broker. As a real one it closes a moment after it is told to.

    A `stuck` one waits for a peer that does not read, until it is aborted.
    """

    def __init__(self, protocol: Protocol, clock: Clock, *, stuck: bool = False) -> None:
        super().__init__(lenient=True)
        self._protocol, self._clock, self._stuck = protocol, clock, stuck
        self.aborted = self.closed = False

    def open(self) -> None:
        self._protocol.makeConnection(self)

    def bring(self, data: bytes) -> None:
        """The broker sends something."""
        self._protocol.dataReceived(data)

    def sent(self) -> list[tuple[int, bytes]]:
        """The packets that the broker has received since the last look."""
        found = list(packets(self.value()))
        self.clear()
        return found

    def loseConnection(self) -> None:
        self.disconnecting = True
        if not self._stuck:
            self._clock.callLater(0, self.close)

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True
        self._clock.callLater(0, self.close)

    def agree_on_tls(self) -> None:
        """The certificate is accepted."""
        protocol: Any = self._protocol
        protocol.handshakeCompleted()

    def close(self, reason: Exception | None = None) -> None:
        """The broker or the network ends the connection, or TLS does for a `reason`."""
        if not self.closed:
            self.closed = True
            self.connected = False
            self._protocol.connectionLost(Failure(reason or ConnectionDone()))
