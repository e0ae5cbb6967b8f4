"""A publisher that is no bottleneck: all packets are made before the first one leaves.

    python scripts/flood.py PORT READINGS QOS PHOTOMETERS

Every reading has its number under freq and seq, by which the benchmark finds it again. A process of its own:
it waits for a line on its standard input, publishes, and ends when the broker has taken all.
"""

import socket
import struct
import sys
import threading

CHUNK = 500
"""Packets that are written at a time."""


def packet(kind: int, body: bytes) -> bytes:
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


def publish(number: int, qos: int, photometers: int) -> bytes:
    """The packet of one reading."""
    name = f"stars{number % photometers}"
    payload = (
        f'{{"seq":{number}, "rev":2, "name":"{name}", "freq":{number}.00, "mag":20.15,'
        f' "tamb":{number % 2500 / 100:.2f}, "tsky":-18.40, "wdBm":-61}}'
    )
    mid = struct.pack(">H", number % 65_535 + 1) if qos else b""
    return packet(0x30 | qos << 1, text(f"STARS4ALL/{name}/reading") + mid + payload.encode())


def main(port: int, readings: int, qos: int, photometers: int) -> None:
    """Connect, make the packets, wait for the word, publish."""
    with socket.create_connection(("127.0.0.1", port)) as broker:
        broker.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x02\x58" + text("flood")))
        broker.recv(4)
        packets = [publish(number, qos, photometers) for number in range(1, readings + 1)]
        print("ready", flush=True)
        sys.stdin.readline()
        # At QoS 1 the broker answers each packet with one of four bytes, which must be read, or it stops.
        wanted = readings * 4 if qos else 0
        reader = threading.Thread(target=_read, args=(broker, wanted))
        reader.start()
        for first in range(0, readings, CHUNK):
            broker.sendall(b"".join(packets[first : first + CHUNK]))
        reader.join()
        broker.sendall(packet(0xE0, b""))


def _read(broker: socket.socket, wanted: int) -> None:
    while wanted > 0:
        wanted -= len(broker.recv(65_536)) or wanted


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
