"""The bytes of a connection -> MQTT packets -> messages. Pure.

paho reads a packet in four calls, each under locks, and makes an object with its own event for every message.
That costs more than everything else that happens to a reading. So publications, which are the simplest of
packets, are taken out of the stream here, and everything else goes to paho as it came.
"""

from collections.abc import Iterator

from tessflux.limits import MAX_PACKET, MAX_PAYLOAD
from tessflux.mqtt.properties import sent_at
from tessflux.readings import Message

PUBLISH, KIND, DUP, QOS, RETAIN = 0x30, 0xF0, 0x08, 0x06, 0x01
"""The first byte of a packet: what it is, and what a publication adds to it (MQTT 3.1.1, section 3.3.1)."""

NO_PROPERTIES = b"\0"
"""Their length, which nearly every publication of MQTT 5 has."""


class Malformed(ValueError):
    """No broker that follows the standard would send this."""


Packet = tuple[int, int, bytes]
"""One packet: its first byte, where its body begins, and all its bytes. A class would cost
more than reading the packet does."""


class Splitter:
    """`feed` it what arrives, and take whole `packets` out."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._missing = 0
        self._to_skip = 0
        self._data = b""
        self._position = 0

    def feed(self, data: bytes) -> None:
        """Add what has arrived. It is joined only when the packet that has begun is whole."""
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        self._chunks.append(data)
        self._buffered += len(data)

    def packets(self) -> Iterator[Packet]:
        """The packets that are whole, and of a very long one the beginning. Raises Malformed.

        A loop that stops early may be followed by another, which begins with the next packet.
        """
        if self._chunks and self._buffered >= self._missing:
            self._data = b"".join([self._data[self._position :], *self._chunks])
            self._position = self._buffered = self._missing = 0
            self._chunks.clear()
        while True:
            # Backpressure that ends within the loop runs another one inside it.
            data, start = self._data, self._position
            end = len(data)
            if end - start < 2:
                return
            length, body = data[start + 1], start + 2
            if length > 0x7F:
                length &= 0x7F
                for shift in (7, 14, 21):
                    if body >= end:
                        return
                    digit = data[body]
                    body += 1
                    length |= (digit & 0x7F) << shift
                    if digit <= 0x7F:
                        break
                else:
                    raise Malformed("a packet's length has more than four bytes")
            over = 0
            if length > MAX_PACKET:
                if data[start] & KIND != PUBLISH:
                    raise Malformed(f"a packet of {length} bytes that is not a publication")
                over, length = length - MAX_PACKET, MAX_PACKET
            after = body + length
            if after > end:
                self._missing = after - end
                return
            packet = data[start], body - start, data[start:after]
            if over:
                here = min(over, end - after)
                after += here
                self._to_skip = over - here
            self._position = after
            yield packet


def publication(packet: Packet, received_at: int, *, version5: bool) -> Message:
    """Read a PUBLISH at QoS 0 or 1. Raises Malformed."""
    first, start, data = packet
    mid = sent = None
    try:
        payload = start + 2 + (data[start] << 8 | data[start + 1])
        topic = data[start + 2 : payload]
        if first & QOS:
            mid = data[payload] << 8 | data[payload + 1]
            payload += 2
    except IndexError:
        raise Malformed("a publication ends too early") from None
    if version5:
        if data[payload : payload + 1] == NO_PROPERTIES:
            payload += 1
        else:
            properties, payload = _properties(data, payload)
            sent = sent_at(data[properties:payload])
    body = data[payload:]
    if payload > len(data) and len(data) - start == MAX_PACKET:
        # Only the beginning of a very long publication is here, and that is nothing but properties. It is
        # refused as a payload of that length is.
        body = bytes(MAX_PAYLOAD + 1)
    elif payload > len(data):
        raise Malformed("a publication ends too early")
    if mid == 0:
        raise Malformed("a publication has the packet identifier 0")
    try:
        # No good broker sends a message without a topic. In the quarantine "" would mean a line.
        text = topic.decode() or "(no topic)"
    except UnicodeDecodeError:
        text = "(a topic that is no UTF-8)"
    return Message(text, body, first & RETAIN != 0, received_at, mid, sent, first & DUP != 0)


def _properties(data: bytes, position: int) -> tuple[int, int]:
    """Where the properties of MQTT 5 begin and end; their length stands at `position`."""
    length = shift = 0
    while True:
        if position >= len(data) or shift > 21:
            raise Malformed("a publication's properties have no valid length")
        digit = data[position]
        position += 1
        length |= (digit & 0x7F) << shift
        shift += 7
        if digit <= 0x7F:
            return position, position + length
