"""A window that is kept: between broker and bridge, so many messages at QoS 1 at most are unacknowledged.

The rule: a process of its own for one connection, which passes on all bytes as they are and in their order,
only some of them later. mosquitto 2.0.11 keeps to its own window only until the first acknowledgement.
"""

import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PUBLISH, PUBACK, KIND, QOS = 0x30, 0x40, 0xF0, 0x06
CHUNK = 262_144
"""Bytes that are read at a time, and that may wait for acknowledgements."""


@contextmanager
def relay(broker: int, window: int) -> Iterator[int]:
    """The port of a relay to the broker's port, for as long as the block lasts."""
    command = [sys.executable, __file__, str(broker), str(window)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline()
            if not port:
                raise OSError("the relay did not start")
            yield int(port)
        finally:
            process.kill()


def packets(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """The first byte of each whole MQTT packet, and where it ends."""
    position = 0
    while position + 1 < len(data):
        length = shift = 0
        for at in range(position + 1, min(position + 5, len(data))):
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] <= 0x7F:
                break
        else:
            return
        end = at + 1 + length
        if end > len(data):
            return
        yield data[position], end
        position = end


class Window:
    """What comes from the broker and may not yet go on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._unacknowledged = 0
        self._held, self._answers = bytearray(), bytearray()

    @property
    def is_full(self) -> bool:
        """Whether enough waits."""
        return len(self._held) >= CHUNK

    def hold(self, data: bytes) -> None:
        """Keep what comes from the broker."""
        self._held += data

    def acknowledge(self, data: bytes) -> None:
        """Look at what the bridge answers."""
        self._answers += data
        done = 0
        for first, end in packets(self._answers):
            self._unacknowledged -= first == PUBACK
            done = end
        del self._answers[:done]

    def release(self) -> bytes:
        """What may go on now."""
        done = 0
        for first, end in packets(self._held):
            if first & KIND == PUBLISH and first & QOS:
                if self._unacknowledged >= self._size:
                    break
                self._unacknowledged += 1
            done = end
        released = bytes(self._held[:done])
        del self._held[:done]
        return released


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
