"""Hostile names and topics: none makes another series, forges a log line or controls a terminal."""

import json
import random
import re
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import Mock

import paho.mqtt.client
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tessflux.clock import Clock as TimeOfDay
from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import InfluxConfig, MqttConfig
from tessflux.intake import Intake
from tessflux.limits import LOG_LINE, MAX_NAME, REPORTED_PAIRS
from tessflux.logs import Reports, format_line
from tessflux.mqtt.subscriber import Subscriber
from tessflux.photometers import Register
from tessflux.readings import Admission, Judge, Quarantined
from tessflux.readings.message import Message
from tessflux.readings.reading import Reading, parse
from tessflux.spool import Store
from tessflux.stats import MqttStats
from tessflux.watch import Watch
from tests.faults.hostile_payloads import UNPRINTABLE, Payloads, names
from tests.mqtt.site import Memory, Network
from tests.mqtt.wire import SUBSCRIBE, connack, mid_of, suback
from tests.real.site import Publisher, Site
from tests.test_intake import FakeCommitter

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[[a-z]+#(info|warn|error)\] ")
NO_TOPIC = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\uffff+#/]|\U0010ffff")
"""What a good broker refuses in a topic; the one of `test_hostile_broker` refuses nothing."""


def test_hostile_names_make_no_series_no_log_line_and_no_terminal_code(
    site: Site, publisher: Publisher
) -> None:
    # Once the last one, which is good, is in the database, all others have been judged.
    found = [*names(random.Random(3), 400), *(f"stars{each}1" for each in UNPRINTABLE), "last"]
    payloads = [
        json.dumps({"seq": number, "name": name, "freq": 1, "mag": 20}).encode()
        for number, name in enumerate(found)
    ]
    readings = [reading for each in payloads if isinstance(reading := parse(each), Reading)]
    assert 300 < len(readings) < len(payloads) - 80
    site.configure(mqtt={"topics": "STARS4ALL/#"})
    site.start()
    publisher.publish(
        [
            (f"STARS4ALL/{NO_TOPIC.sub('', name)}/reading", payload)
            for name, payload in zip(found, payloads, strict=True)
        ],
        qos=1,
    )
    site.wait_for_rows(len(readings))
    site.stop()

    def shown(query: str) -> list[list[Any]]:
        [series] = site.influxd.query(query, db="tessdb")
        return cast(list[list[Any]], series["values"])

    assert shown("SHOW MEASUREMENTS") == [["readings"]]
    assert shown("SHOW TAG KEYS") == [["name"]]
    assert {tuple(row) for row in shown("SHOW FIELD KEYS")} == {
        (key, "float") for key in ("seq", "freq", "mag")
    }
    whose = {reading.name for reading in readings}
    assert len(shown("SHOW SERIES")) == len(whose)
    assert {value for _, value in shown('SHOW TAG VALUES WITH KEY = "name"')} == whose

    lines = site.logged().splitlines()
    assert site.logged().count("\n") == len(lines) < 2 * REPORTED_PAIRS + 30
    for line in lines:
        assert LINE.match(line), line
        assert line.isprintable(), line
    refused = len(payloads) - len(readings)
    for form in ([], ["--json"], ["--export"]):
        output = site.run("refused", *form).stdout
        assert output.replace("\n", "").isprintable()
        assert output.count("\n") == len(output.splitlines()) == refused
    kept = [json.loads(line) for line in site.run("refused", "--json").stdout.splitlines()]
    assert all(entry["topic"].startswith("STARS4ALL/") for entry in kept)


class VolumeTest(SynchronousTestCase):
    """What is logged about a flood is bounded, in lines and in bytes."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        observer = cast(ILogObserver, self.observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") in ("mqtt", "influxdb"):
            self.lines.append(format_line(event))

    def flood(self, messages: Callable[[int], Message]) -> int:
        """50,000 messages in one period; returns how many were refused."""
        spool = FakeCommitter()
        config = MqttConfig(BrokerAddress("tcp", "localhost", 1883, ""))
        reports = Reports(Logger(namespace="mqtt"), Clock())
        intake = Intake(
            config,
            InfluxConfig(),
            {},
            Judge(Admission()),
            cast(Any, spool),
            Mock(Store),
            MqttStats(),
            reports,
            Mock(Watch, unseen=()),
            Register(history=False),
            TimeOfDay(0),
        )
        for number in range(50_000):
            intake.take([messages(number)], lambda mids: None)
        reports.period()
        return sum(isinstance(outcome, Quarantined) for [outcome], *_ in spool.taken)

    def check(self, longest: int) -> None:
        assert len(self.lines) <= 2 * REPORTED_PAIRS + 1
        assert max(map(len, self.lines)) < longest
        for line in self.lines:
            assert line.endswith("\n")
            assert line[:-1].isprintable()

    def test_50_000_bad_messages_of_every_kind_have_400_short_lines_a_period(self) -> None:
        payloads, topics = iter(Payloads(5)), random.Random(5)

        def message(number: int) -> Message:
            noise = topics.choice(UNPRINTABLE) * topics.randrange(1_000)
            return Message(f"{number}{noise}", next(payloads), False, 1_764_536_400_000 + number)

        assert self.flood(message) > 20_000
        # A name, or as much of a topic, of which each character may be an escape; a cause and its detail.
        self.check(10 * MAX_NAME + 400)

    def test_the_longest_topics_and_details_make_no_long_line(self) -> None:
        for level in (Logger(namespace="mqtt").warn, Logger(namespace="mqtt").error):
            level("{topic}: {detail}", topic="\x1b" * 65_535, detail="x" * 65_535)
        reports = Reports(Logger(namespace="influxdb"), Clock())
        reports.note("n" * 65_535, "refused by InfluxDB", "\u2028" * 65_535)
        self.check(LOG_LINE + 100)

    def test_what_50_000_refused_lines_are_told_is_bounded_too(self) -> None:
        reports = Reports(Logger(namespace="influxdb"), Clock())
        for number in range(50_000):
            reports.note(f"stars{number}", "refused by InfluxDB", f"400 {number}")
        reports.period()
        assert "49800 further" in self.lines[-1]
        self.check(200)

    def test_a_broker_that_refuses_in_ever_new_ways_has_three_lines_a_minute(self) -> None:
        clock = Clock()
        self.patch(paho.mqtt.client, "time_func", clock.seconds)
        network = Network(clock)
        subscriber = Subscriber(
            MqttConfig(
                BrokerAddress("tcp", "broker", 1883, ""),
                client_id="me",
                topics=("a",),
                register_topics=(),
                silence=0,
            ),
            take=lambda message, acknowledge: None,
            idle=lambda: None,
            resumed=lambda: None,
            memory=Memory(),
            clock=clock,
            now=clock.seconds,
            endpoint=network.endpoint,
            backoff=lambda attempt: float(min(2**attempt, 60)),
        )
        subscriber.startService()
        rng, hours = random.Random(1), 8
        while clock.seconds() < hours * 3_600:
            if not network.connecting:
                clock.advance(1)
            elif rng.random() < 0.2:
                network.refuse(OSError(f"reason {rng.random()}"))
            else:
                wire = network.accept()
                wire.bring(rng.choice([connack(4), connack(5), b"\0\0", connack()]))
                if asked := [body for kind, body in wire.sent() if kind == SUBSCRIBE]:
                    wire.bring(suback(mid_of(asked[0]), rng.choice([0x80, 1])))
                wire.close()
                clock.advance(0)
        stopped = subscriber.stopService()
        clock.pump([0, 60])
        self.successResultOf(stopped)
        assert 30 * hours < len(self.lines) <= 3 * 60 * hours + 30
        assert max(map(len, self.lines)) < 300
