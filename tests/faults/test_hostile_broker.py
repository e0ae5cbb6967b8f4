"""Whatever a broker sends, the connection goes on or ends with one log line, and leaves nothing behind."""

import contextlib
import random
import signal
import socket
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, cast
from unittest.mock import Mock

import paho.mqtt.client
from servers import Influxd, Mosquitto
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.clock import Clock as TimeOfDay
from tessflux.commands.requeue import requeue
from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import InfluxConfig, MqttConfig, SpoolConfig
from tessflux.intake import Intake
from tessflux.limits import MAX_PACKET
from tessflux.logs import Reports
from tessflux.mqtt.pahoclient import LARGEST_IDENTIFIER
from tessflux.mqtt.session import CLOSE_TIMEOUT
from tessflux.mqtt.subscriber import Subscriber
from tessflux.photometers import Register
from tessflux.readings import Admission, Judge
from tessflux.spool.committer import HOLD
from tessflux.watch import Watch
from tests.log_lines import record
from tests.mqtt.site import Memory, Network
from tests.mqtt.wire import (
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Wire,
    connack,
    mid_of,
    packet,
    puback,
    publish,
    suback,
    text,
    unsuback,
)
from tests.readings.samples import PLAIN, row
from tests.real.site import DEADLINE, Publisher, Site, reading, wait_until
from tests.spool.site import FLUSH
from tests.spool.site import Site as SpoolSite

VERSIONS: tuple[Literal["3.1.1", "5"], ...] = ("3.1.1", "5")
BROKER = BrokerAddress("tcp", "broker", 1883, "")
PUBREC = 0x50
EVIL_MIDS = (0, 60_001, 60_002, 65_535)
"""Packet identifiers of hostile packets; those of real messages are lower."""


def evil(rng: random.Random, version: str) -> bytes:
    """One packet, or some bytes that are none, that no good broker sends at that moment."""
    mid = rng.choice(EVIL_MIDS)
    number = mid.to_bytes(2)

    def some(most: int) -> bytes:
        return rng.randbytes(rng.randrange(most))

    match rng.randrange(14):
        case 0:
            topic = rng.choice(["", "\0", "a\n\x1b[2J", "#", "t" * 65_535])
            return publish(topic, some(40), mid=mid, retained=True, version=version)
        case 1:
            return suback(mid, *some(5), version=version)
        case 2:
            return unsuback(mid, *some(5), version=version)
        case 3:
            return connack(rng.choice([0, 0, 1, 5, 0x84, 255]), version=version)
        case 4:
            return puback(mid)
        case 5:
            # PUBREC, PUBREL, PUBCOMP, PINGREQ or PINGRESP, with or without bytes that do not belong there.
            return packet(rng.choice([0x50, 0x60, 0x62, 0x70, 0xC0, 0xD0]), number + some(6))
        case 6:
            return packet(rng.choice([0x00, 0x10, 0x82, 0xA2, 0xE0, 0xF0]), number + some(12))
        case 7:
            # QoS 2, QoS 3, or a duplicate.
            return packet(PUBLISH | rng.choice([4, 6, 8, 13, 14]), text("a") + number + some(12))
        case 8:
            return packet(
                PUBLISH, rng.choice([b"", b"\0", b"\xff\xff", b"\0\2\xff\xfe", b"\0\3ab"]) + some(3)
            )
        case 9:
            return packet(
                PUBLISH | 2, text("a") + number + rng.choice([b"\xff\xff\xff\xff\x01", b"\x7f", b"\x80"])
            )
        case 10:
            # A length of up to 256 MiB, or one that does not end.
            return bytes([rng.choice([0x20, 0x90, 0x32, 0x30, 0xD0]), 0xFF, 0xFF, 0xFF, rng.randrange(256)])
        case 11:
            # Properties of MQTT 5 with a wrong length, or unknown ones.
            properties = rng.choice(
                [b"\x05\x11\0\0", b"\x03\x99\0\0", b"\xff\xff\xff\xff\x01", b"\x06\x1f\xff\xffabc"]
            )
            return packet(rng.choice([0x20, 0x90, 0xB0, 0xE0]), rng.choice([number, b"\0\0"]) + properties)
        case 12:
            return packet(rng.randrange(256), some(30))
        case _:
            return some(20)


def in_pieces(rng: random.Random, stream: bytes) -> Iterator[bytes]:
    """The stream as it may arrive: whole, in pieces, or byte by byte."""
    most = rng.choice([1, 3, 50, len(stream)])
    position = 0
    while position < len(stream):
        size = rng.randint(1, most)
        yield stream[position : position + size]
        position += size


class Case(SynchronousTestCase):
    """A subscriber, an intake and a spool on a real file, and a broker that the test plays."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = SpoolSite(self, directory.name)
        self.site.open()
        self.clock = self.site.clock
        self.patch(paho.mqtt.client, "time_func", self.clock.seconds)
        self.log = record(self, "mqtt")
        self.network = Network(self.clock)
        unlogged = Reports(Logger(observer=cast(ILogObserver, lambda event: None)), self.clock)
        config = MqttConfig(BROKER, backlog_wait=0)
        self.intake = Intake(
            config,
            InfluxConfig(),
            {},
            Judge(Admission()),
            self.site.committer,
            self.site.store,
            self.site.stats,
            unlogged,
            Mock(Watch, unseen=()),
            Register(history=False),
            TimeOfDay(0),
        )
        self.published = 0

    def tearDown(self) -> None:
        self.site.stop()

    def connect(self, version: Literal["3.1.1", "5"]) -> tuple[Subscriber, Wire]:
        subscriber = Subscriber(
            MqttConfig(BROKER, client_id="me", version=version, topics=("a",), register_topics=(), silence=0),
            take=self.intake.take,
            idle=self.site.committer.flush,
            resumed=lambda: None,
            memory=Memory(),
            clock=self.clock,
            now=lambda: 1_764_536_400.0 + self.clock.seconds(),
            endpoint=self.network.endpoint,
            backoff=lambda attempt: 60.0,
        )
        self.site.backpressure, self.site.redeliver = subscriber.backpressure, subscriber.redeliver
        subscriber.startService()
        return subscriber, self.network.accept()

    def welcome(self, wire: Wire, version: str) -> None:
        wire.bring(connack(version=version))
        [asked] = [body for kind, body in wire.sent() if kind == SUBSCRIBE]
        wire.bring(suback(mid_of(asked), 1, version=version))

    def good(self, version: str) -> bytes:
        """A reading. Its `seq` is its packet identifier, so a test can recognise it."""
        self.published += 1
        return publish("a", row(PLAIN, seq=self.published), mid=self.published, version=version)

    def acknowledged(self, wire: Wire) -> set[int]:
        mids = {mid_of(body) for kind, body in wire.sent() if kind in (PUBACK, PUBREC)}
        # 0 is no packet identifier.
        assert 0 not in mids
        return mids.difference(EVIL_MIDS)

    def on_disk(self) -> set[int]:
        return {int(float(line.partition("seq=")[2].partition(",")[0])) for line in self.site.on_disk()}

    def stop(self, subscriber: Subscriber) -> None:
        """Stop; nothing is left of the service."""
        stopped = subscriber.stopService()
        self.site.thread.release()
        self.clock.pump([0, CLOSE_TIMEOUT, FLUSH, 0])
        self.successResultOf(stopped)
        assert self.clock.getDelayedCalls() == []


class AnythingTest(Case):
    def attack(self, rng: random.Random) -> tuple[bool, set[int]]:
        """One connection; returns whether it has ended, and what was acknowledged."""
        version: Literal["3.1.1", "5"] = rng.choice(("3.1.1", "5"))
        subscriber, wire = self.connect(version)
        if rng.random() < 0.8:
            self.welcome(wire, version)
        packets = [rng.choice((evil, lambda _, version: self.good(version)))(rng, version) for _ in range(8)]
        acknowledged: set[int] = set()
        for piece in in_pieces(rng, b"".join(packets)):
            self.site.thread.held = rng.random() < 0.5
            if not self.site.thread.held:
                self.site.thread.run()
            if not wire.closed:
                wire.bring(piece)
            if now := self.acknowledged(wire):
                assert now <= self.on_disk()
                acknowledged |= now
            self.clock.advance(rng.choice((0.001, HOLD)))
        ended = wire.closed
        self.stop(subscriber)
        return ended, acknowledged

    def test_300_hostile_brokers_end_a_connection_with_one_line_or_not_at_all(self) -> None:
        rng = random.Random(20260301)
        ends, acknowledged, seen = 0, 0, 0
        for _ in range(300):
            ended, mids = self.attack(rng)
            ends += ended
            acknowledged += len(mids)
            lines = [line for line in self.log()[seen:] if "; trying MQTT" not in line]
            seen = len(self.log())
            assert len(lines) == ended, lines
            assert all(line.startswith(("Lost", "Cannot use")) for line in lines), lines
            assert all(len(line) < 300 for line in lines), lines
        # No packet finds a bug of ours.
        assert self.log(LogLevel.critical) == []
        # If the brokers were too mild or too wild, this would test nothing.
        assert ends > 150
        assert 300 - ends > 10
        assert acknowledged > 150

    def test_a_message_without_a_topic_does_not_become_a_line_when_it_is_tried_again(self) -> None:
        subscriber, wire = self.connect("3.1.1")
        self.welcome(wire, "3.1.1")
        wire.bring(publish("", b"readings,name=forged seq=1.0 1", mid=1))
        self.clock.advance(HOLD)
        assert requeue(SpoolConfig(str(self.site.directory)), photometer="", cause="") == 1
        self.site.result(self.intake.requeue())
        assert self.site.on_disk() == []
        assert self.site.query("SELECT topic FROM quarantine") == ["(no topic)"]
        self.stop(subscriber)

    def test_whatever_length_a_broker_announces_memory_is_bounded(self) -> None:
        piece = bytes(65_536)
        for head in (
            bytes([PUBLISH]) + b"\xff\xff\xff\x7f" + text("a"),
            bytes([PUBLISH | 2]) + b"\xff\xff\xff\x7f" + text("a"),
            b"\x90\xff\xff\xff\x7f",
            b"\x20\xff\xff\xff\xff",
            b"\xd0\xff\xff\x7f",
        ):
            for version in VERSIONS:
                subscriber, wire = self.connect(version)
                self.welcome(wire, version)
                tracemalloc.start()
                wire.bring(head)
                for _ in range(100):
                    if not wire.closed:
                        wire.bring(piece)
                    self.clock.advance(0)
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert peak < 5 * MAX_PACKET, head
                self.stop(subscriber)


# The real daemon

GREETING = connack() + suback(LARGEST_IDENTIFIER, 1)
VISITS = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100,
    bytes(range(256)) * 300,
    GREETING + publish("a\x1b[2J\n", b"\xff", mid=1) * 100 + b"\x36\x05\0\1a\0\1",
    GREETING + bytes([PUBLISH]) + b"\xff\xff\xff\x7f" + bytes(400_000),
    connack() + suback(LARGEST_IDENTIFIER),
]
"""What a hostile broker sends, one item for each connection."""


class HostileBroker(threading.Thread):
    """Sends one item to each connection, and closes it when everything was read."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.visits = 0

    def run(self) -> None:
        for data in VISITS:
            with self._socket.accept()[0] as connection, contextlib.suppress(OSError):
                connection.settimeout(DEADLINE)
                connection.recv(1_024)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
            self.visits += 1
        self._socket.close()


def test_after_a_hostile_broker_a_good_one_on_its_port_is_used(tmp_path: Path, influxd: Influxd) -> None:
    hostile = HostileBroker()
    hostile.start()
    site = Site(tmp_path, Mosquitto(tmp_path / "mosquitto", port=hostile.port), influxd)
    site.launch()
    try:
        for visit in range(1, len(VISITS)):
            wait_until(lambda: hostile.visits >= visit, f"visit {visit} ends:\n{site.logged()}")  # noqa: B023
            try_at_once(site, visit)
        hostile.join(DEADLINE)
        with site.mosquitto, closing(Publisher(site.mosquitto)) as publisher:
            try_at_once(site, len(VISITS))
            site.wait_for_log("Subscribed to")
            publisher.publish([reading("stars1", n, n) for n in range(100)])
            site.wait_for_rows(100)
            site.stop()
    finally:
        site.end()
    assert "Traceback" not in site.logged()
    # Each connection has at most two lines; the rest are the reloads, the start and the stop.
    assert len(site.logged().splitlines()) < 40
    assert site.logged().replace("\n", "").isprintable()


def try_at_once(site: Site, times: int) -> None:
    """Give the daemon a new config, so that it does not back off."""
    site.configure(mqtt={"keepalive": 60 + times})
    site.signal(signal.SIGHUP)
    site.wait_for_log("Reloaded", times)
