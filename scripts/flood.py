"""The publisher of the benchmark: so fast that no bridge waits for it.

A process of its own connects, prints "ready", waits for a line on its standard input, publishes, and ends
when the broker has taken everything. Every reading has its number in seq, which shows in the database what is
lost or doubled.

As a flood it sends a file of packets that was made before, the same bytes for every bridge. At a rate it
sends each reading when it is due, and notes when that was.
"""

import argparse
import array
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

CHUNK = 65_536
"""Bytes of answers that are read at a time."""

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 0x10, 0x30, 0xC0, 0xE0
PINGRESP = b"\xd0\x00"
PUBACK_BYTES = 4


@dataclass(frozen=True)
class Readings:
    """Which readings: `count` of them with the numbers from `first` on, by so many photometers in turn."""

    count: int
    qos: int
    photometers: int
    first: int = 1
    prefix: str = "stars"

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self.first + self.count - 1

    def name(self, number: int) -> str:
        """The photometer of a reading."""
        return f"{self.prefix}{number % self.photometers}"

    def frequency(self, number: int) -> float:
        """What a reading has measured (Hz)."""
        return number % 5_000_000 / 100

    def packet(self, number: int) -> bytes:
        """A reading as an MQTT 3.1.1 PUBLISH."""
        name = self.name(number)
        payload = (
            f'{{"seq":{number}, "rev":2, "name":"{name}", "freq":{self.frequency(number):.2f}, "mag":20.15,'
            f' "tamb":{number % 2500 / 100:.2f}, "tsky":-18.40, "wdBm":-61}}'
        )
        mid = struct.pack(">H", number % 65_535 + 1) if self.qos else b""
        return packet(PUBLISH | self.qos << 1, text(f"STARS4ALL/{name}/reading") + mid + payload.encode())

    def line(self, number: int, time_ms: int) -> str:
        """The same reading as the database takes it."""
        return (
            f"readings,name={self.name(number)} seq={number},freq={self.frequency(number):.2f},mag=20.15,"
            f"tamb={number % 2500 / 100:.2f},tsky=-18.4,wdBm=-61 {time_ms}"
        )

    def file(self, directory: Path) -> Path:
        """All packets one after the other, made when they are not there yet."""
        path = directory / f"{self.prefix}{self.photometers}.{self.first}-{self.last}.qos{self.qos}"
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            with part.open("wb") as file:
                file.writelines(map(self.packet, range(self.first, self.last + 1)))
            part.rename(path)
        return path


def packet(kind: int, body: bytes = b"") -> bytes:
    """An MQTT packet with its length."""
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([kind]) + length + body


def text(value: str) -> bytes:
    """A string as MQTT writes it."""
    data = value.encode()
    return struct.pack(">H", len(data)) + data


class Broker:
    """A connection that publishes; a thread reads the answers, or the broker would stop reading."""

    def __init__(self, port: int, client_id: str, answers: int) -> None:
        """`answers`: how many packets at QoS 1 will be sent."""
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # No keep-alive: the publisher may wait for long before it begins.
        self._socket.sendall(packet(CONNECT, text("MQTT") + b"\x04\x02\x00\x00" + text(client_id)))
        if self._socket.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker does not take the publisher")
        self._missing = answers * PUBACK_BYTES + len(PINGRESP)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def send(self, data: bytes) -> None:
        """Send whole packets."""
        self._socket.sendall(data)

    def send_file(self, path: Path) -> None:
        """Send all packets of a file."""
        with path.open("rb") as file:
            self._socket.sendfile(file)

    def finish(self) -> None:
        """Return when the broker has taken everything: it answers a ping after what came before it."""
        with self._socket:
            self.send(packet(PINGREQ))
            self._reader.join()
            if self._missing:
                raise ConnectionError("the broker closed the connection")
            self.send(packet(DISCONNECT))

    def _read(self) -> None:
        while self._missing > 0:
            data = self._socket.recv(CHUNK)
            if not data:
                return
            self._missing -= len(data)


def pace(broker: Broker, readings: Readings, rate: float) -> "array.array[float]":
    """Send each reading when it is due; the times (CLOCK_MONOTONIC) at which each was handed over."""
    sent = array.array("d")
    start = time.monotonic()
    for index, number in enumerate(range(readings.first, readings.last + 1)):
        data = readings.packet(number)
        wait = start + index / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        sent.append(time.monotonic())
        broker.send(data)
    return sent


def main() -> None:
    """Connect, make the packets, wait until it may begin, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int, help="of the broker on this machine")
    parser.add_argument("directory", type=Path, help="where the file of packets is, or is made")
    parser.add_argument("--count", type=int, required=True, help="of readings")
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0)
    parser.add_argument("--photometers", type=int, required=True)
    parser.add_argument("--first", type=int, default=1, help="number of the first reading")
    parser.add_argument("--prefix", default="stars", help="with which the names of photometers begin")
    parser.add_argument("--rate", type=float, help="readings a second; without it: as fast as they go")
    parser.add_argument("--times", type=Path, help="where the times of sending go, as doubles; with --rate")
    options = parser.parse_args()
    readings = Readings(options.count, options.qos, options.photometers, options.first, options.prefix)
    path = None if options.rate else readings.file(options.directory)
    broker = Broker(options.port, f"flood-{readings.prefix}{readings.first}", readings.count * readings.qos)
    print("ready", flush=True)
    sys.stdin.readline()
    if path is not None:
        broker.send_file(path)
    else:
        sent = pace(broker, readings, options.rate)
        if options.times:
            options.times.write_bytes(sent.tobytes())
    broker.finish()


if __name__ == "__main__":
    main()
