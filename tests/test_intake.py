"""Every message is counted, judged and handed to the spool with its acknowledgement."""

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock, patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent

from tessflux.clock import Clock as TimeOfDay
from tessflux.config import BrokerAddress, InfluxConfig, MqttConfig, SpoolConfig
from tessflux.intake import Intake
from tessflux.logs import Reports
from tessflux.photometers import Register
from tessflux.readings import Acknowledge, Admission, Filtered, Judge, Message, Outcome, Quarantined, Stored
from tessflux.spool import FILE_NAME, Committer, Store
from tessflux.spool.positions import Keeping
from tessflux.stats import FILTERED, LOST, REFUSED, STORED, MqttStats
from tessflux.watch import Watch
from tests.readings.payloads import cases
from tests.readings.samples import NOW, REGISTER, TOPIC, message, payload
from tests.spool.site import OUTPUT, make_spool

MQTT = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))


@dataclass
class FakeCommitter:
    """Takes what the intake hands over; nothing is acknowledged."""

    taken: list[tuple[Sequence[Outcome], Sequence[int], Acknowledge]] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    room: bool = True

    def admits(self, messages: int, *, kept_by_broker: int) -> bool:
        self.asked.append((messages, kept_by_broker))
        return self.room

    def take(self, outcomes: Sequence[Outcome], mids: Sequence[int], acknowledge: Acknowledge) -> None:
        self.taken.append((outcomes, mids, acknowledge))


class Taking:
    """An Intake with all that it needs, and what came of the messages that it took."""

    def __init__(self, mqtt: MqttConfig = MQTT, influx: InfluxConfig | None = None) -> None:
        self.committer = FakeCommitter()
        self.stats = MqttStats()
        self._events: list[LogEvent] = []
        log = Logger(namespace="mqtt", observer=cast(ILogObserver, self._events.append))
        self.reports = Reports(log, Clock())
        self.watch = Watch(self.stats, Clock(), failing=bool, listening=bool)
        self.intake = Intake(
            mqtt,
            influx or InfluxConfig(),
            {},
            Judge(Admission()),
            cast(Committer, self.committer),
            Mock(Store),
            self.stats,
            self.reports,
            self.watch,
            Register(history=False),
            TimeOfDay(0),
        )

    def take(self, message: Message) -> Outcome:
        """The outcome of one message."""
        [outcome] = self.take_all(message)
        return outcome

    def take_all(self, *messages: Message) -> Sequence[Outcome]:
        """The outcomes of messages that came together."""
        before = len(self.committer.taken)

        def acknowledge(mids: Sequence[int]) -> None:
            raise AssertionError("nothing is on disk")

        self.intake.take(messages, acknowledge)
        [(outcomes, mids, handed_on)] = self.committer.taken[before:]
        assert handed_on is acknowledge
        assert mids == [each.mid for each in messages if each.mid is not None]
        return outcomes

    def reported(self) -> list[str]:
        return [formatEvent(event) for event in self._events]


def test_messages_are_counted_and_handed_on_in_their_order_with_their_acknowledgement() -> None:
    taking = Taking()
    sent = [message(b"{", mid=5), message(b""), message(payload(1), mid=6), message(payload(2))]
    assert [type(each) for each in taking.take_all(*sent)] == [Quarantined, Filtered, Stored, Stored]
    assert taking.stats.received == 4


def test_what_deserves_a_remark_is_reported() -> None:
    taking = Taking()
    taking.take(message(payload(1)))
    taking.take(message(payload(2), "STARS4ALL/register"))
    taking.take(message(b"{", "STARS4ALL/a/reading"))
    assert [line.split(": ")[:2] for line in taking.reported()] == [
        ["stars1", "misrouted"],
        ["STARS4ALL/a/reading", "not JSON"],
    ]


def test_a_register_of_photometers_that_fails_costs_no_reading() -> None:
    taking = Taking()
    with patch.object(Register, "take", side_effect=LookupError("a bug")):
        for seq in range(3):
            assert isinstance(taking.take(message(payload(seq))), Stored)
    assert taking.reported() == ["The photometers that were heard could not be noted"]


def test_the_register_of_photometers_gets_every_outcome() -> None:
    with patch.object(Register, "take", autospec=True) as took:
        taking = Taking()
        for each in (payload(1), payload(1), b"{", b""):
            taking.take(message(each))
    outcomes = [type(outcome) for call in took.mock_calls for outcome in call.args[2]]
    assert outcomes == [Stored, Filtered, Quarantined, Filtered]


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
        "stars1: not a number: mag is not a finite number",
        "STARS4ALL/a/reading: not JSON: Expecting property name enclosed in double quotes:"
        " line 1 column 2 (char 1)",
    ]
    taking.reports.period()
    assert taking.reported()[4:] == [
        "stars1: implausible: 499 more in this period",
        "stars2: implausible: 499 more in this period",
        "stars1: not a number: 499 more in this period",
        "STARS4ALL/a/reading: not JSON: 499 more in this period",
    ]


def test_another_config_holds_for_the_messages_that_come_and_forgets_nothing() -> None:
    taking = Taking()
    taking.take(message(payload(1)))
    taking.intake.reconfigure(
        replace(MQTT, blacklist=frozenset({"stars2"}), validation=False),
        InfluxConfig(measurement="other", extra_fields=("vbat",)),
        {},
    )
    assert taking.take(message(payload(1))) == Filtered("duplicate")
    assert taking.take(message(payload(1, "stars2"))) == Filtered("blacklist")
    outcome = taking.take(message(payload(2, more=', "mag": 50, "vbat": 3.9')))
    assert isinstance(outcome, Stored)
    assert outcome.line.startswith("other,name=stars1 seq=2.0,mag=50.0,freq=0.5,vbat=3.9 ")


class DecodeError(Exception):
    """As that of msgspec before its version 0.21: no ValueError."""


def test_a_message_that_a_bug_keeps_from_being_judged_is_counted_kept_and_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taking = Taking()

    def broken(self: Judge, *args: object) -> Outcome:
        raise DecodeError("x" * 10_000)

    monkeypatch.setattr(Judge, "judge", broken)
    for _ in range(3):
        outcome = taking.take(message(b"?" * 70_000, retained=True))
        assert isinstance(outcome, Quarantined)
        assert outcome == Quarantined(
            NOW, TOPIC, "", "internal error", outcome.detail, b"?" * 65_536, retained=True
        )
        assert outcome.detail == f"DecodeError: {'x' * 10_000}"[:500]
    assert taking.stats.received == 3
    assert taking.reported() == ["A message could not be judged; it is in quarantine"]
    taking.reports.period()
    assert taking.reported()[1:] == ["2 more internal errors in this period"]


class SilentError(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ValueError("a\ud800" + "\ud800" * 500), r"ValueError: a\ud800" + r"\ud800" * 80 + "\\ud80"),
        (SilentError(), "SilentError: without a text"),
    ],
    ids=["a text that is no UTF-8", "no text"],
)
def test_whatever_a_bug_says_its_message_is_kept_on_disk(
    error: Exception, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Judge, *args: object) -> Outcome:
        raise error

    monkeypatch.setattr(Judge, "judge", broken)
    storing = Storing(str(tmp_path))
    storing.take(message(payload(1), mid=7))
    storing.commit()
    assert storing.acknowledged == [7]
    storing.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        assert file.execute("SELECT detail FROM quarantine").fetchall() == [(detail[:500],)]


def test_a_message_whose_topic_cannot_be_watched_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Watch, topic: str) -> None:
        raise LookupError(topic)

    monkeypatch.setattr(Watch, "came", broken)
    taking = Taking()
    assert isinstance(taking.take(message(payload(1))), Stored)
    assert isinstance(taking.take(message(payload(2))), Stored)
    assert taking.reported() == ["The topic of a message could not be watched"]


def test_the_topic_of_each_message_is_watched_and_the_topics_of_each_config() -> None:
    taking = Taking(replace(MQTT, topics=("a", "b", "c")))
    taking.take(message(b"{", "a"))
    taking.take(message(b"", "b"))
    assert taking.watch.unseen == {"c"}
    taking.intake.reconfigure(replace(MQTT, topics=("d", "e")), InfluxConfig(), {})
    taking.take(message(payload(1), "d"))
    assert taking.watch.unseen == {"e"}


def test_a_message_for_which_there_is_no_room_is_neither_counted_nor_judged() -> None:
    """The spool counts it, or the broker sends it again."""
    taking = Taking()
    taking.committer.room = False
    taking.intake.take([message(payload(1)), message(payload(1), mid=7), message(payload(2))], lambda _: None)
    assert (taking.committer.asked, taking.committer.taken, taking.stats.received) == ([(3, 1)], [], 0)
    taking.committer.room = True
    assert isinstance(taking.take(message(payload(1))), Stored)


class Storing:
    """An Intake before a real spool on disk."""

    def __init__(self, directory: str) -> None:
        self.clock, self.stats, self.acknowledged = Clock(), MqttStats(), list[int]()
        config = SpoolConfig(directory=directory)
        self.spool = make_spool(config, clock=self.clock, stats=self.stats, flush_interval=1.0)
        Deferred.fromCoroutine(self.spool.open({OUTPUT: Keeping()}))
        mqtt = replace(MQTT, blacklist=frozenset({"banned"}))
        reports = Reports(Logger(observer=cast(ILogObserver, [].append)), self.clock)
        self.intake = Intake(
            mqtt,
            InfluxConfig(),
            {},
            Judge(Admission()),
            self.spool.committer,
            self.spool.store,
            self.stats,
            reports,
            Mock(Watch, unseen=()),
            Register(history=False),
            TimeOfDay(0),
        )

    def take(self, *messages: Message) -> None:
        """They come together."""
        self.intake.take(messages, self.acknowledged.extend)

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
    st.sampled_from(
        [
            b"",
            b"{",
            REGISTER,
            REGISTER.replace(b"20.5", b"20.4"),
            payload(1, "banned"),
            payload(1, more=', "mag": 50'),
        ]
    )
    | st.builds(payload, st.integers(0, 5), st.sampled_from(["stars1", "stars2"]))
    | st.sampled_from([case.payload for case in cases()])
    | st.binary(max_size=20),
    st.booleans(),
    st.integers(NOW - 5, NOW + 5),
    st.none() | st.integers(1, 65_535),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(MESSAGES, max_size=6), st.booleans()), max_size=10))
def test_every_message_ends_in_exactly_one_counter(chunks: list[tuple[list[Message], bool]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        storing = Storing(directory)
        sent: list[Message] = []
        for messages, commit in chunks:
            storing.take(*messages)
            sent += messages
            assert storing.stats.received == len(sent)
            if commit:
                storing.commit()
            assert sum(storing.ended().values()) + storing.spool.committer.pending == len(sent)
        storing.commit()
        assert storing.spool.committer.pending == 0
        assert sum(storing.ended().values()) == storing.stats.received
        assert storing.acknowledged == [each.mid for each in sent if each.mid is not None], (
            "in the order in which they came"
        )
        storing.close()


def test_nothing_is_acknowledged_before_its_commit_and_then_all_in_order(tmp_path: Any) -> None:
    storing = Storing(str(tmp_path))
    taken = [payload(1), b"", b"{", payload(1), payload(2), payload(3, "banned"), payload(4)]
    for number, each in enumerate(taken, 1):
        storing.take(message(each, mid=number))
    assert storing.acknowledged == []
    assert sum(storing.ended().values()) == 0
    storing.commit()
    assert storing.acknowledged == [1, 2, 3, 4, 5, 6, 7]
    assert storing.ended() == {STORED: 3, FILTERED: 3, REFUSED: 1, LOST: 0}
    storing.close()
