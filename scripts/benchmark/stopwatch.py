"""How long a bridge takes to acknowledge, as its broker sees it.

The rule: a process of its own for one connection, which passes on all bytes at once as they are, and notes
how long each message at QoS 1 waited for its PUBACK.
"""

import array
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark.between import between
from tessflux.mqtt.packets import KIND, PUBLISH, QOS, Splitter

PUBACK = 0x40
CHUNK = 262_144
"""Bytes that are read at a time."""


class Acknowledgements:
    """Which messages wait, and how long the others did."""

    def __init__(self) -> None:
        self._messages, self._answers = Splitter(), Splitter()
        self._since: dict[int, float] = {}

    def pass_on(self, data: bytes, at: float) -> None:
        """What comes from the broker."""
        self._messages.feed(data)
        for first, body, packet in self._messages.packets():
            if first & KIND == PUBLISH and first & QOS:
                (length,) = struct.unpack_from(">H", packet, body)
                self._since[_number(packet, body + 2 + length)] = at

    def acknowledge(self, data: bytes, at: float) -> list[float]:
        """What the bridge answers; the seconds that each message waited that it acknowledges."""
        self._answers.feed(data)
        return [
            at - self._since.pop(_number(packet, body))
            for first, body, packet in self._answers.packets()
            if first == PUBACK
        ]


def _number(packet: bytes, place: int) -> int:
    (number,) = struct.unpack_from(">H", packet, place)
    return int(number)


class Stopwatch:
    """Between a broker and a bridge, which connects to `port`."""

    def __init__(self, port: int, waits: Path) -> None:
        self.port = port
        self._waits, self._read = waits, 0

    def waits(self) -> Sequence[float]:
        """Seconds that each message waited that was acknowledged since this was called last."""
        with self._waits.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        return array.array("d", data)


@contextmanager
def stopwatch(broker: int, waits: Path) -> Iterator[Stopwatch]:
    """One before the broker's port, for as long as the block lasts; `waits` is the file where it notes."""
    with between("stopwatch", broker, waits.absolute()) as port:
        yield Stopwatch(port, waits)


def main(broker_port: int, path: str) -> None:
    """Serve one connection until either side ends it."""
    with socket.create_server(("127.0.0.1", 0)) as server, Path(path).open("wb", buffering=0) as waits:
        print(server.getsockname()[1], flush=True)
        bridge, _ = server.accept()
        acknowledgements = Acknowledgements()
        with bridge, socket.create_connection(("127.0.0.1", broker_port)) as broker:
            for end in (bridge, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                readable, _, _ = select.select([bridge, broker], [], [])
                for end in readable:
                    data, at = end.recv(CHUNK), time.monotonic()
                    if not data:
                        return
                    if end is broker:
                        bridge.sendall(data)
                        acknowledgements.pass_on(data, at)
                    else:
                        broker.sendall(data)
                        waits.write(array.array("d", acknowledgements.acknowledge(data, at)).tobytes())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
