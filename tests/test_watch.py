"""A list or a topic that lets nothing through although messages come is logged after ten minutes."""

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config import BrokerAddress, MqttConfig
from tessflux.stats import FILTERED, LOST, REFUSED, STORED, MqttStats
from tessflux.watch import LOOK, Watch
from tests.log_lines import record

MQTT = MqttConfig(BrokerAddress("tcp", "h", 1883, ""), topics=("A/+/reading", "B/+/reading"))
LISTED = replace(MQTT, whitelist=frozenset({"stars1 stars17"}))
NOT_LISTED = (FILTERED, "not in the whitelist")
MINUTES_10 = int(600 / LOOK)


class Watching(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.stats = Clock(), MqttStats()
        self.failing, self.listening = "", True
        self.watch = Watch(self.stats, self.clock, lambda: self.failing, lambda: self.listening)
        lines = record(self, "mqtt")
        self.logged = lambda: lines(LogLevel.warn)

    def minutes(self, number: int, *ended: tuple[str, str], topics: tuple[str, ...] = ()) -> None:
        """In each minute one message ends in each of these ways, and one comes on each of the topics."""
        for _ in range(number):
            for way in ended:
                self.stats.received += 1
                self.stats.ended[way] += 1
            for topic in topics:
                if self.watch.unseen:
                    self.watch.came(topic)
            self.clock.advance(LOOK)
            self.watch.look()


def line(stopped: int) -> str:
    return (
        f"No reading was let through for ten minutes, and {stopped} were filtered:"
        " check the names in [mqtt] whitelist and blacklist"
    )


class Lists(Watching):
    def setUp(self) -> None:
        super().setUp()
        self.listening = False  # So that nothing is said of topics, on which these tests have no messages.

    def test_a_whitelist_that_lets_nothing_through_is_logged_once_a_day(self) -> None:
        self.watch.configure(LISTED)
        self.minutes(MINUTES_10 - 1, NOT_LISTED)
        assert self.logged() == []
        self.minutes(1, NOT_LISTED)
        assert self.logged() == [line(10)]
        self.minutes(24 * 60 - 1, NOT_LISTED)
        assert len(self.logged()) == 1
        self.minutes(1, NOT_LISTED)
        assert self.logged() == [line(10), line(10 + 24 * 60)]

    def test_a_blacklist_is_no_better(self) -> None:
        self.watch.configure(replace(MQTT, blacklist=frozenset({"stars1"})))
        self.minutes(MINUTES_10, (FILTERED, "blacklist"))
        assert self.logged() == [line(10)]

    def test_what_is_no_good_reading_got_through_no_list(self) -> None:
        self.watch.configure(LISTED)
        junk = ((REFUSED, "not JSON"), (FILTERED, "register message"), (FILTERED, "empty"))
        self.minutes(MINUTES_10, NOT_LISTED, *junk)
        assert self.logged() == [line(10)]

    def test_a_list_that_has_nothing_to_stop_is_right(self) -> None:
        self.watch.configure(LISTED)
        self.minutes(60)
        self.minutes(60, (REFUSED, "not JSON"), (FILTERED, "empty"))
        assert self.logged() == []

    def test_whatever_gets_past_the_lists_shows_that_they_are_right(self) -> None:
        for way in (STORED, ""), (FILTERED, "duplicate"), (FILTERED, "retained"), (LOST, "disk full"):
            self.watch.configure(LISTED)
            for _ in range(20):
                self.minutes(MINUTES_10 - 2, NOT_LISTED)
                self.minutes(1, NOT_LISTED, way)
            assert self.logged() == []

    def test_the_ten_minutes_begin_when_readings_come(self) -> None:
        """Not at the start: the broker may have been away."""
        self.watch.configure(LISTED)
        self.minutes(30)
        self.minutes(MINUTES_10 - 1, NOT_LISTED)
        assert self.logged() == []
        self.minutes(1, NOT_LISTED)
        assert self.logged() == [line(10)]

    def test_nothing_is_logged_while_commits_fail(self) -> None:
        """What was let through waits in memory, and is not counted yet."""
        self.watch.configure(LISTED)
        self.failing = "disk full"
        self.minutes(60, NOT_LISTED)
        self.failing = ""
        self.minutes(MINUTES_10 - 1, NOT_LISTED)
        assert self.logged() == []
        self.minutes(1, NOT_LISTED)
        assert self.logged() == [line(10)]

    def test_other_lists_have_ten_minutes_of_their_own_and_the_same_ones_go_on(self) -> None:
        self.watch.configure(LISTED)
        self.minutes(MINUTES_10, NOT_LISTED)
        self.watch.configure(replace(LISTED, keepalive=30))
        self.minutes(MINUTES_10, NOT_LISTED)
        assert len(self.logged()) == 1
        self.watch.configure(replace(LISTED, whitelist=frozenset({"stars2 stars17"})))
        self.minutes(MINUTES_10 - 1, NOT_LISTED)
        assert len(self.logged()) == 1
        self.minutes(1, NOT_LISTED)
        assert self.logged()[1:] == [line(10)]


class Topics(Watching):
    def test_a_topic_that_brings_nothing_while_another_does_is_logged_once(self) -> None:
        self.watch.configure(MQTT)
        self.minutes(MINUTES_10 - 1, (STORED, ""), topics=("A/x/reading", "A/y/reading"))
        assert self.logged() == []
        self.minutes(24 * 60, (STORED, ""), topics=("A/x/reading",))
        assert self.logged() == [
            "Messages came for ten minutes, but none on B/+/reading: check [mqtt] topics"
        ]

    def test_all_such_topics_share_a_line(self) -> None:
        self.watch.configure(replace(MQTT, topics=("c", "A/+/reading", "b/#")))
        self.minutes(MINUTES_10, topics=("A/x/reading",))
        assert self.logged() == ["Messages came for ten minutes, but none on b/#, c: check [mqtt] topics"]

    def test_a_topic_that_has_brought_something_may_be_silent(self) -> None:
        self.watch.configure(MQTT)
        self.minutes(1, topics=("B/x/reading",))
        self.minutes(60, topics=("A/x/reading",))
        assert self.logged() == []

    def test_the_ten_minutes_begin_with_the_first_message(self) -> None:
        self.watch.configure(MQTT)
        self.minutes(MINUTES_10 - 1)
        self.minutes(MINUTES_10 - 1, topics=("A/x/reading",))
        assert self.logged() == []

    def test_when_no_topic_brings_anything_none_is_to_blame(self) -> None:
        """The broker gives messages other topics than we asked for."""
        self.watch.configure(MQTT)
        self.minutes(60, topics=("c",))
        assert self.logged() == []

    def test_a_topic_for_what_photometers_publish_at_a_boot_may_be_silent(self) -> None:
        self.watch.configure(replace(MQTT, topics=("A/+/reading", "A/register", "A/+/status")))
        self.minutes(60, topics=("A/x/reading",))
        assert self.logged() == []

    def test_other_topics_have_ten_minutes_of_their_own(self) -> None:
        self.watch.configure(MQTT)
        self.minutes(MINUTES_10 - 1, topics=("A/x/reading",))
        self.watch.configure(replace(MQTT, topics=("A/+/reading", "C/+/reading")))
        self.minutes(MINUTES_10 - 1, topics=("A/x/reading",))
        assert self.logged() == []
        self.minutes(1, topics=("A/x/reading",))
        assert len(self.logged()) == 1


class Nothing(Watching):
    line = (
        "Not one message came in ten minutes on A/+/reading, B/+/reading: check [mqtt] topics, whether"
        " photometers publish there, and whether the broker lets us read them. [mqtt] whitelist and blacklist"
        " had nothing to do"
    )

    def test_topics_that_bring_nothing_at_all_are_logged_once_a_day(self) -> None:
        self.watch.configure(MQTT)
        self.minutes(MINUTES_10 - 1)
        assert self.logged() == []
        self.minutes(24 * 60)
        assert self.logged() == [self.line]
        self.minutes(1)
        assert self.logged() == [self.line] * 2

    def test_a_topic_alone_is_named_too(self) -> None:
        self.watch.configure(replace(MQTT, topics=("STARS4ALL/+/reding",)))
        self.minutes(MINUTES_10)
        [logged] = self.logged()
        assert " on STARS4ALL/+/reding: " in logged

    def test_what_has_brought_something_may_be_silent(self) -> None:
        self.watch.configure(MQTT)
        self.minutes(MINUTES_10 - 1)
        self.minutes(1, topics=("B/x/reading",))
        self.watch.configure(replace(MQTT, keepalive=30))
        self.minutes(MINUTES_10 - 2)
        assert self.logged() == []

    def test_the_ten_minutes_begin_when_the_broker_listens_to_us(self) -> None:
        self.watch.configure(MQTT)
        self.listening = False
        self.minutes(60)
        self.listening = True
        self.minutes(MINUTES_10 - 1)
        self.listening = False
        self.minutes(1)
        self.listening = True
        self.minutes(MINUTES_10 - 1)
        assert self.logged() == []
        self.minutes(1)
        assert self.logged() == [self.line]

    def test_other_topics_have_ten_minutes_of_their_own(self) -> None:
        self.watch.configure(replace(MQTT, topics=("C/+/reading",)))
        self.minutes(MINUTES_10 - 1)
        self.watch.configure(MQTT)
        self.minutes(MINUTES_10 - 1)
        assert self.logged() == []
        self.minutes(1)
        assert self.logged() == [self.line]

    def test_topics_of_which_none_is_for_readings_may_be_silent(self) -> None:
        self.watch.configure(replace(MQTT, topics=("A/register",)))
        self.minutes(60)
        assert self.logged() == []


@pytest.mark.parametrize(
    ("topic", "takes", "leaves"),
    [
        ("a/b", ["a/b"], ["a/B", "a", "a/b/c"]),
        ("a/+/c", ["a/b/c", "a//c", "a/x\ny/c"], ["a/b", "a/b/b/c", "b/a/b/c"]),
        ("a/#", ["a", "a/b", "a/b/c", "a/x\ny"], ["ab", "b/a"]),
        ("#", ["a", "a/b", "/"], []),
        ("+", ["a", ""], ["a/b"]),
        ("+/a.b/+/#", ["x/a.b/y", "x/a.b/y/z/z"], ["x/aab/y", "x/a.b"]),
    ],
)
def test_a_topic_with_wildcards_takes_what_the_broker_sends_for_it(
    topic: str, takes: list[str], leaves: list[str]
) -> None:
    def unseen(after: str) -> set[str]:
        watch: Any = Watch(MqttStats(), Clock(), bool, bool)
        watch.configure(replace(MQTT, topics=(topic,)))
        watch.came(after)
        return set(watch.unseen)

    assert [each for each in takes if unseen(each)] == []
    assert [each for each in leaves if not unseen(each)] == []
