"""A window that is kept: between broker and bridge, so many messages at QoS 1 at most are unacknowledged.

The rule: a process of its own for one connection, which passes on all bytes as they are and in their order,
only some of them later. mosquitto 2.0.11 keeps to its own window only until the first acknowledgement.
"""

import select
import socket
import sys
from collections import deque

from tessflux.mqtt.packets import KIND, PUBLISH, QOS, Splitter

PUBACK = 0x40
CHUNK = 262_144
"""Bytes that are read at a time."""

HELD = 1_000
"""Packets that may wait for acknowledgements, before no more is read."""


class Window:
    """What comes from the broker and may not yet go on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._unacknowledged = 0
        self._messages, self._answers = Splitter(), Splitter()
        self._held: deque[bytes] = deque()

    @property
    def is_full(self) -> bool:
        """Whether enough waits."""
        return len(self._held) >= HELD

    def hold(self, data: bytes) -> None:
        """Keep what comes from the broker."""
        self._messages.feed(data)
        self._held.extend(packet for _, _, packet in self._messages.packets())

    def acknowledge(self, data: bytes) -> None:
        """Look at what the bridge answers."""
        self._answers.feed(data)
        self._unacknowledged -= sum(first == PUBACK for first, _, _ in self._answers.packets())

    def release(self) -> bytes:
        """What may go on now."""
        released = []
        while self._held:
            first = self._held[0][0]
            if first & KIND == PUBLISH and first & QOS:
                if self._unacknowledged >= self._size:
                    break
                self._unacknowledged += 1
            released.append(self._held.popleft())
        return b"".join(released)


def main(broker_port: int, size: int) -> None:
    """Serve one connection until either side ends it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        bridge, _ = server.accept()
    window = Window(size)
    with bridge, socket.create_connection(("127.0.0.1", broker_port)) as broker:
        for end in (bridge, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            readable, _, _ = select.select([bridge] if window.is_full else [bridge, broker], [], [])
            for end in readable:
                data = end.recv(CHUNK)
                if not data:
                    return
                if end is broker:
                    window.hold(data)
                else:
                    window.acknowledge(data)
                    broker.sendall(data)
            bridge.sendall(window.release())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
