"""One message -> one verdict: every case of the project's own payloads, and every way a message can end."""

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent

from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import InfluxConfig, MqttConfig, SpoolConfig
from tessflux.intake import SKEW_MS, Intake
from tessflux.logs import Reports
from tessflux.readings.admission import Admission, Admitted
from tessflux.readings.message import Acknowledge, Message
from tessflux.spool.committer import Spool
from tessflux.spool.quarantine import Quarantined
from tessflux.stats import FILTERED, LOST, REFUSED, STORED, MqttStats
from tests.readings.payloads import Case, cases

NOW = 1_772_323_214_000
TOPIC = "STARS4ALL/stars1/reading"
MQTT = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))
SUBSCRIBED = "STARS4ALL/#"


def payload(seq: int, name: str = "stars1", more: str = "") -> bytes:
    return f'{{"seq": {seq}, "name": "{name}", "freq": 0.5, "mag": 21.19{more}}}'.encode()


def message(payload: bytes, topic: str = TOPIC, *, retained: bool = False, received_at: int = NOW) -> Message:
    return Message(topic, payload, retained, received_at)


@dataclass
class FakeSpool:
    """Takes what Intake hands over, as a list of effects; nothing is acknowledged."""

    effects: list[tuple[Any, ...]] = field(default_factory=list)
    room: bool = True

    def admits(self, *, kept_by_broker: bool) -> bool:
        if not self.room:
            self.effects.append(("no room", kept_by_broker))
        return self.room

    def store(self, line: str, admitted: Admitted, acknowledge: Acknowledge | None) -> None:
        self.effects.append(("store", line, admitted, acknowledge))

    def quarantine(self, refused: Quarantined, acknowledge: Acknowledge | None) -> None:
        self.effects.append(("quarantine", refused, acknowledge))

    def filter_out(self, cause: str, acknowledge: Acknowledge | None) -> None:
        self.effects.append(("filter", cause, acknowledge))


class Taking:
    """An Intake with all that it needs, and what came of the messages that it took."""

    def __init__(self, mqtt: MqttConfig = MQTT, influx: InfluxConfig | None = None) -> None:
        self.spool = FakeSpool()
        self.stats = MqttStats()
        self._events: list[LogEvent] = []
        reports = Reports(Logger(namespace="mqtt", observer=cast(ILogObserver, self._events.append)), Clock())
        self.intake = Intake(
            mqtt, influx or InfluxConfig(), Admission(), cast(Spool, self.spool), self.stats, reports
        )

    def take(self, message: Message, acknowledge: Acknowledge | None = None) -> tuple[Any, ...]:
        """The one effect of one message."""
        before = len(self.spool.effects)
        self.intake.take(message, acknowledge)
        (effect,) = self.spool.effects[before:]
        return effect

    def line(self, message: Message) -> str:
        """The line of a message that must be stored."""
        effect = self.take(message)
        assert effect[0] == "store", effect
        return cast(str, effect[1])

    def reported(self) -> list[str]:
        return [formatEvent(event) for event in self._events]


# The project's own payloads

CASES = {case.id: case for case in cases()}
BURSTS = {case.burst for case in CASES.values() if case.burst}
VERDICTS = {"store": "accept", "filter": "filter", "quarantine": "reject"}


def verdict(taking: Taking, case: Case) -> str:
    """What becomes of a case's message; the broker keeps back what nobody subscribed to."""
    if not topic_matches_sub(SUBSCRIBED, case.topic):
        return "filter"
    received_at = NOW if case.now is None else case.now
    effect = taking.take(Message(case.topic, case.payload, case.retain, received_at))
    if case.norm_name:
        assert effect[1].startswith(f"readings,name={case.norm_name} ")
    return VERDICTS[effect[0]]


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.id)
def test_every_payload_has_the_verdict_that_it_deserves(case: Case) -> None:
    taking = Taking(replace(MQTT, whitelist=case.whitelist, blacklist=case.blacklist))
    if case.after:
        assert verdict(taking, CASES[case.after]) == CASES[case.after].expect
    assert verdict(taking, case) == case.expect, case.why


@pytest.mark.parametrize("burst", sorted(BURSTS))
def test_a_burst_of_readings_is_stored_under_different_times(burst: str) -> None:
    taking = Taking()
    together = [case for case in CASES.values() if case.burst == burst]
    times = {taking.line(message(case.payload, case.topic)).rsplit(" ", 1)[1] for case in together}
    assert len(times) == len(together) > 1


def test_all_the_payloads_have_names_of_their_own_and_every_verdict_occurs() -> None:
    assert len(CASES) == len(cases())
    assert {case.expect for case in CASES.values()} == {"accept", "filter", "reject"}


# What is stored


def test_a_reading_becomes_a_line_with_its_identity_and_its_acknowledgement() -> None:
    taking = Taking()
    acknowledge = list[None]().clear
    kind, line, admitted, handed_on = taking.take(message(payload(7)), acknowledge)
    assert (kind, line) == ("store", f"readings,name=stars1 seq=7.0,mag=21.19,freq=0.5 {NOW}")
    assert (admitted.name, admitted.time) == ("stars1", NOW)
    assert handed_on is acknowledge
    assert taking.stats.received == 1
    assert taking.reported() == []


def test_a_line_escapes_what_a_name_and_a_measurement_hold() -> None:
    taking = Taking(influx=InfluxConfig(measurement="my readings"))
    line = taking.line(message(payload(7, "a,b c=d")))
    assert line.startswith(r"my\ readings,name=a\,b\ c\=d seq=7.0,")


def test_the_payload_says_whose_reading_it_is_not_the_topic() -> None:
    assert ",name=stars9 " in Taking().line(message(payload(7, "stars9"), "STARS4ALL/01/reading"))


def test_extra_fields_and_validation_follow_the_config() -> None:
    odd = payload(7, more=', "mag": 50, "vbat": 3.9')
    assert Taking().take(message(odd))[0] == "quarantine"
    taking = Taking(replace(MQTT, validation=False), InfluxConfig(extra_fields=("vbat",)))
    assert "mag=50.0,freq=0.5,vbat=3.9 " in taking.line(message(odd))


def test_another_config_holds_for_the_messages_that_come_and_forgets_nothing() -> None:
    taking = Taking()
    taking.line(message(payload(1)))
    taking.intake.reconfigure(
        replace(MQTT, blacklist=frozenset({"stars2"}), validation=False),
        InfluxConfig(measurement="other", extra_fields=("vbat",)),
    )
    assert taking.take(message(payload(1))) == ("filter", "duplicate", None)
    assert taking.take(message(payload(1, "stars2"))) == ("filter", "blacklist", None)
    line = taking.line(message(payload(2, more=', "mag": 50, "vbat": 3.9')))
    assert line.startswith("other,name=stars1 seq=2.0,mag=50.0,freq=0.5,vbat=3.9 ")


# What is filtered

REGISTER = b'{"name": "stars1", "rev": 2, "mac": "5C:CF:7F:8:A:1", "calib": 20.5}'


@pytest.mark.parametrize(
    ("taken", "cause"),
    [
        (message(b""), "empty"),
        (message(b"", retained=True), "empty"),
        (message(b"", "STARS4ALL/register"), "empty"),
        (message(payload(1), retained=True), "retained"),
        (message(REGISTER, "STARS4ALL/register"), "register message"),
        (message(REGISTER, "STARS4ALL/register", retained=True), "register message"),
        (message(payload(1), "STARS4ALL/register"), "misrouted"),
        (message(payload(1), "STARS4ALL/stars1/status"), "misrouted"),
    ],
)
def test_what_is_filtered_is_handed_on_with_its_acknowledgement(taken: Message, cause: str) -> None:
    acknowledge = list[None]().clear
    assert Taking().take(taken, acknowledge) == ("filter", cause, acknowledge)


def test_a_misrouted_reading_is_reported_and_may_still_come_the_right_way() -> None:
    taking = Taking()
    taking.take(message(payload(1), "STARS4ALL/register"))
    assert taking.reported() == ["stars1: misrouted: it publishes its readings on STARS4ALL/register"]
    taking.line(message(payload(1)))


@pytest.mark.parametrize("topic", ["STARS4ALL/stars1/myregister", "STARS4ALL/register/reading", "register/x"])
def test_only_the_last_level_of_a_topic_tells_of_another_kind(topic: str) -> None:
    taking = Taking()
    taking.line(message(payload(1), topic))
    assert taking.take(message(REGISTER, topic))[0] == "quarantine"


# What is refused


@pytest.mark.parametrize(
    ("taken", "name", "cause"),
    [
        (message(b"\xff\x00"), "", "not JSON"),
        (message(b"x" * 65_537), "", "too long"),
        (message(b'{"seq": 1}'), "", "bad name"),
        (message(payload(1, more=', "mag": true')), "stars1", "not a number"),
        (message(payload(1, more=', "mag": 50')), "stars1", "implausible"),
        (message(payload(1, more=', "tstamp": "noon"')), "stars1", "bad time"),
        (message(payload(1, more=', "tstamp": "1970-01-01T00:00:05"')), "stars1", "bad time"),
        (message(REGISTER), "stars1", "register message"),
        (message(REGISTER, "STARS4ALL/stars1/status"), "stars1", "register message"),
        (message(b'{"mac": 1}', "STARS4ALL/register"), "", "bad name"),
        (message(b"{", "STARS4ALL/stars1/status", retained=True), "", "not JSON"),
    ],
)
def test_what_is_refused_is_kept_as_it_came_and_reported(taken: Message, name: str, cause: str) -> None:
    taking = Taking()
    acknowledge = list[None]().clear
    kind, refused, handed_on = taking.take(taken, acknowledge)
    assert kind == "quarantine"
    assert refused == Quarantined(
        NOW, taken.topic, name, cause, refused.detail, taken.payload[:65_536], taken.retained
    )
    assert refused.detail
    assert handed_on is acknowledge
    assert taking.reported() == [f"{name or taken.topic}: {cause}: {refused.detail}"]


def test_a_photometer_that_goes_on_sending_wrong_messages_has_one_line_a_period() -> None:
    taking = Taking()
    for seq in range(500):
        taking.take(message(payload(seq, more=', "mag": 50')))
        taking.take(message(payload(seq, "stars2", more=', "mag": 50')))
        taking.take(message(payload(seq, more=', "mag": "x"')))
        taking.take(message(b"{", "STARS4ALL/a/reading"))
    assert taking.reported() == [
        "stars1: implausible: mag = 50.0",
        "stars2: implausible: mag = 50.0",
        "stars1: not a number: mag is no finite number",
        "STARS4ALL/a/reading: not JSON: Expecting property name enclosed in double quotes:"
        " line 1 column 2 (char 1)",
    ]
    taking.intake.reports.period()
    assert taking.reported()[4:] == [
        "stars1: implausible: 499 more in this period",
        "stars2: implausible: 499 more in this period",
        "stars1: not a number: 499 more in this period",
        "STARS4ALL/a/reading: not JSON: 499 more in this period",
    ]


@pytest.mark.parametrize(("tstamp", "off"), [("2026-03-01T00:01:15", "+61"), ("2026-02-28T23:59:13", "-61")])
def test_a_publishers_clock_that_is_off_is_reported_and_its_time_kept(tstamp: str, off: str) -> None:
    taking = Taking()
    line = taking.line(message(payload(1, more=f', "tstamp": "{tstamp}"')))
    assert int(line.rsplit(" ", 1)[1]) == NOW + int(off) * 1_000
    assert taking.reported() == [f"stars1: clock: its time is off by {off} s"]


def test_a_publishers_clock_that_is_nearly_right_is_no_news() -> None:
    taking = Taking()
    for at in (NOW - SKEW_MS, NOW, NOW + SKEW_MS):
        taking.line(message(payload(at, more=', "tstamp": "2026-03-01T00:00:14"'), received_at=at))
    assert taking.reported() == []


# Counters, acknowledgements and room


def test_a_message_for_which_there_is_no_room_is_left_to_the_spool() -> None:
    taking = Taking()
    taking.spool.room = False
    assert taking.take(message(payload(1))) == ("no room", False)
    assert taking.take(message(payload(1)), list[None]().clear) == ("no room", True)
    assert taking.stats.received == 0, "the spool counts them, or the broker sends them again"
    taking.spool.room = True
    taking.line(message(payload(1)))


def at_once(call: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    """The spool's thread, without a thread."""
    return succeed(call(*args))


class Storing:
    """An Intake before a real spool on disk."""

    def __init__(self, directory: str) -> None:
        self.clock, self.stats, self.acknowledged = Clock(), MqttStats(), list[int]()
        config = SpoolConfig(directory=directory)
        self.spool = Spool(config, flush_interval=1.0, stats=self.stats, clock=self.clock, in_thread=at_once)
        Deferred.fromCoroutine(self.spool.open())
        mqtt = replace(MQTT, blacklist=frozenset({"banned"}))
        reports = Reports(Logger(observer=cast(ILogObserver, [].append)), self.clock)
        self.intake = Intake(mqtt, InfluxConfig(), Admission(), self.spool, self.stats, reports)

    def take(self, message: Message, number: int, qos: int) -> None:
        self.intake.take(message, (lambda: self.acknowledged.append(number)) if qos else None)

    def commit(self) -> None:
        """The flush interval goes by."""
        self.clock.advance(1)

    def close(self) -> None:
        Deferred.fromCoroutine(self.spool.close())
        assert self.clock.getDelayedCalls() == []

    def ended(self) -> dict[str, int]:
        return {kind: self.stats.total(kind) for kind in (STORED, FILTERED, REFUSED, LOST)}


MESSAGES = st.builds(
    Message,
    st.sampled_from([TOPIC, "STARS4ALL/register", "STARS4ALL/stars1/status"])
    | st.text(st.characters(codec="utf-8")),
    st.sampled_from([b"", b"{", REGISTER, payload(1, "banned"), payload(1, more=', "mag": 50')])
    | st.builds(payload, st.integers(0, 5), st.sampled_from(["stars1", "stars2"]))
    | st.sampled_from([case.payload for case in CASES.values()])
    | st.binary(max_size=20),
    st.booleans(),
    st.integers(NOW - 5, NOW + 5),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(MESSAGES, st.integers(0, 1), st.booleans()), max_size=30))
def test_every_message_ends_in_exactly_one_counter(
    messages: list[tuple[Message, int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        storing = Storing(directory)
        for number, (taken, qos, commit) in enumerate(messages):
            storing.take(taken, number, qos)
            assert storing.stats.received == number + 1
            if commit:
                storing.commit()
            assert sum(storing.ended().values()) + storing.spool.pending == number + 1
        storing.commit()
        assert storing.spool.pending == 0
        assert sum(storing.ended().values()) == storing.stats.received
        assert storing.acknowledged == [number for number, (_, qos, _) in enumerate(messages) if qos], (
            "in the order in which they came"
        )
        storing.close()


def test_nothing_is_acknowledged_before_its_commit_and_then_all_in_order(tmp_path: Any) -> None:
    storing = Storing(str(tmp_path))
    taken = [payload(1), b"", b"{", payload(1), payload(2), payload(3, "banned"), payload(4)]
    for number, each in enumerate(taken):
        storing.take(message(each), number, qos=1)
    assert storing.acknowledged == []
    assert sum(storing.ended().values()) == 0
    storing.commit()
    assert storing.acknowledged == [0, 1, 2, 3, 4, 5, 6]
    assert storing.ended() == {STORED: 3, FILTERED: 3, REFUSED: 1, LOST: 0}
    storing.close()
