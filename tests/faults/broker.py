"""A broker that says what a test wants and no real one can be made to say, on a port of this machine.

It keeps one session, whoever comes, and sends what is published at QoS 1. A thread serves each connection.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.mqtt.wire import (
    CONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    SUBSCRIBE,
    UNSUBSCRIBE,
    connack,
    mid_of,
    packet,
    packets,
    publish,
    suback,
    topics_of,
    unsuback,
)

Version = str


def accept(version: Version) -> bytes | None:
    return connack(version=version)


class ScriptedBroker:
    """Each attribute is what it does at one point; set it before somebody comes.

    `connack` makes the answer to CONNECT: None for silence, b"" for the end of the connection. `grant` gives
    the code for a topic, its QoS and the packet identifier. `shares` says whether a shared subscription
    brings anything. `seen` has every packet that came, by kind and version of the connection.
    """

    def __init__(self) -> None:
        self.connack: Callable[[Version], bytes | None] = accept
        self.grant: Callable[[str, int, int], int] = lambda topic, qos, identifier: qos
        self.shares = True
        self.seen: list[tuple[int, Version]] = []
        self._subscribed: dict[socket.socket, tuple[Version, set[str]]] = {}
        self._lock = threading.Lock()
        self._mid = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """End it, and every connection."""
        # A thread that waits in accept() keeps a socket that is only closed.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._subscribed:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def subscribers(self) -> int:
        with self._lock:
            return sum(bool(topics) for _, topics in self._subscribed.values())

    def publish(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Send it to everyone: every subscription of a test takes it."""
        with self._lock:
            for connection, (version, topics) in self._subscribed.items():
                if any(self.shares or not each.startswith("$share/") for each in topics):
                    self._mid = self._mid % 60_000 + 1
                    data = publish(topic, payload, mid=self._mid, retained=retained, version=version)
                    with suppress(OSError):
                        connection.sendall(data)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            try:
                self._listen(connection)
            finally:
                with self._lock:
                    self._subscribed.pop(connection, None)

    def _listen(self, connection: socket.socket) -> None:
        data, version = b"", ""
        while received := connection.recv(65_536):
            data += received
            whole = _whole(data)
            data, found = data[whole:], data[:whole]
            for kind, body in packets(found):
                if kind == CONNECT:
                    version = "5" if body[6] == 5 else "3.1.1"
                self.seen.append((kind & 0xF0, version))
                answer = self._answer(connection, kind, body, version)
                if answer == b"":
                    return
                connection.sendall(answer or b"")

    def _answer(self, connection: socket.socket, kind: int, body: bytes, version: Version) -> bytes | None:
        mid = mid_of(body)
        if kind == CONNECT:
            with self._lock:
                self._subscribed[connection] = version, set()
            return self.connack(version)
        if kind == SUBSCRIBE:
            wanted = topics_of(kind, body, version)
            codes = [self.grant(topic, qos or 0, mid) for topic, qos in wanted]
            with self._lock:
                self._subscribed[connection][1].update(
                    topic for (topic, _), code in zip(wanted, codes, strict=True) if code < 0x80
                )
            return suback(mid, *codes, version=version)
        if kind == UNSUBSCRIBE:
            gone = [topic for topic, _ in topics_of(kind, body, version)]
            with self._lock:
                self._subscribed[connection][1].difference_update(gone)
            return unsuback(mid, *([0] * len(gone) if version == "5" else []), version=version)
        if kind == PINGREQ:
            return packet(PINGRESP)
        return None if kind == PUBACK else b""


def _whole(data: bytes) -> int:
    """How many bytes of it are whole packets."""
    position = 0
    while position < len(data):
        size, at = 0, position + 1
        for shift in (0, 7, 14, 21):
            if at >= len(data):
                return position
            size |= (data[at] & 0x7F) << shift
            at += 1
            if data[at - 1] < 0x80:
                break
        if at + size > len(data):
            return position
        position = at + size
    return position
