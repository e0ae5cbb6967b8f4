"""The counters, the periodic lines that monitoring scripts read, and the bound on what is reported."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger, capturedLogs, formatEvent

from tessflux.limits import REPORTED_PAIRS
from tessflux.stats import FILTERED, LOST, REFUSED, STORED, Hourly, InfluxStats, MqttStats, Reports


def texts(events: Iterable[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events]


class Reported:
    """Reports, and the lines that came of them."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []
        self.reports = Reports(Logger(namespace="test", observer=cast(ILogObserver, self._events.append)))

    def lines(self) -> list[str]:
        """What was logged since the last call."""
        lines = texts(self._events)
        self._events.clear()
        return lines


# Counters


def test_messages_are_counted_by_how_they_ended_and_why() -> None:
    stats = MqttStats()
    stats.ended[FILTERED, "duplicate"] += 2
    stats.ended[FILTERED, "retained"] += 1
    stats.ended[STORED, ""] += 5
    assert [stats.total(kind) for kind in (STORED, FILTERED, REFUSED, LOST)] == [5, 3, 0, 0]
    assert stats.causes(FILTERED) == {"duplicate": 2, "retained": 1}
    assert stats.causes(REFUSED) == {}


def test_two_sets_of_counters_share_nothing() -> None:
    MqttStats().ended[STORED, ""] += 1
    assert MqttStats().total(STORED) == 0


def test_the_counters_of_the_database_begin_at_nothing() -> None:
    assert set(vars(InfluxStats()).values()) == {0}


# The periodic lines


def test_the_line_of_the_broker_begins_as_in_2017_and_tells_what_is_new() -> None:
    stats = MqttStats(received=10)
    stats.ended.update(
        {(STORED, ""): 6, (FILTERED, "duplicate"): 2, (REFUSED, "not JSON"): 1, (LOST, "full"): 1}
    )
    hourly = Hourly(stats, InfluxStats(), lambda: 0)
    with capturedLogs() as events:
        hourly.mqtt_line()
        hourly.mqtt_line()
        stats.received += 2
        stats.ended[STORED, ""] += 1
        stats.ended[REFUSED, "bad name"] += 1
        hourly.mqtt_line()
    assert texts(events) == [
        "MQTT Stats [Total, Accepted, Filtered] = [10, 6, 2], refused 1, lost 1;"
        " since the start 10 received, refused {'not JSON': 1}, filtered {'duplicate': 2}",
        "MQTT Stats [Total, Accepted, Filtered] = [0, 0, 0], refused 0, lost 0;"
        " since the start 10 received, refused {'not JSON': 1}, filtered {'duplicate': 2}",
        "MQTT Stats [Total, Accepted, Filtered] = [2, 1, 0], refused 1, lost 0;"
        " since the start 12 received, refused {'not JSON': 1, 'bad name': 1}, filtered {'duplicate': 2}",
    ]
    assert {event["log_namespace"] for event in events} == {"mqtt"}


def test_the_line_of_the_database_begins_as_in_2017_and_tells_what_is_new() -> None:
    stats = InfluxStats(requested=5, ok=3, rejected=1, failed=1, delivered=300, expired=2, quarantined=4)
    waiting = [7]
    hourly = Hourly(MqttStats(), stats, waiting.pop)
    with capturedLogs() as events:
        hourly.influx_line()
        stats.requested += 1
        stats.ok += 1
        stats.delivered += 50
        waiting.append(0)
        hourly.influx_line()
    assert texts(events) == [
        "InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [5, 3, 1, 1], readings delivered 300,"
        " waiting 7; since the start 300 delivered, beyond retention 2, quarantined 4",
        "InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [1, 1, 0, 0], readings delivered 50,"
        " waiting 0; since the start 350 delivered, beyond retention 2, quarantined 4",
    ]
    assert {event["log_namespace"] for event in events} == {"influxdb"}


@given(st.lists(st.integers(0, 1_000), max_size=20))
def test_the_lines_together_tell_of_every_message_once(batches: list[int]) -> None:
    stats = MqttStats()
    hourly = Hourly(stats, InfluxStats(), lambda: 0)
    with capturedLogs() as events:
        for batch in batches:
            stats.received += batch
            hourly.mqtt_line()
    assert [event["counters"][0] for event in events] == batches


# Reports


def test_the_first_of_a_kind_is_logged_at_once_and_the_rest_as_a_number() -> None:
    reported = Reported()
    for _ in range(1_000):
        reported.reports.note("stars1", "bad time", "its clock is before 2000")
    assert reported.lines() == ["stars1: bad time: its clock is before 2000"]
    reported.reports.period()
    assert reported.lines() == ["stars1: bad time: 999 more in this period"]


def test_every_photometer_and_every_cause_has_a_line_of_its_own() -> None:
    reported = Reported()
    for photometer in ("stars1", "stars2"):
        for cause in ("bad time", "not a number"):
            reported.reports.note(photometer, cause, "so it is")
    assert reported.lines() == [
        "stars1: bad time: so it is",
        "stars1: not a number: so it is",
        "stars2: bad time: so it is",
        "stars2: not a number: so it is",
    ]


def test_what_came_once_or_not_at_all_is_not_told_again() -> None:
    reported = Reported()
    reported.reports.period()
    assert reported.lines() == []
    reported.reports.note("stars1", "bad time", "x")
    assert len(reported.lines()) == 1
    reported.reports.period()
    reported.reports.period()
    assert reported.lines() == []


def test_a_new_period_logs_the_first_again() -> None:
    reported = Reported()
    reported.reports.note("stars1", "bad time", "x")
    reported.reports.period()
    reported.reports.note("stars1", "bad time", "y")
    assert reported.lines() == ["stars1: bad time: x", "stars1: bad time: y"]


def test_a_photometer_without_a_name_is_called_so() -> None:
    reported = Reported()
    reported.reports.note("", "bad name", "no name")
    reported.reports.note("", "bad name", "no name")
    reported.reports.period()
    assert reported.lines() == [
        "a photometer without a name: bad name: no name",
        "a photometer without a name: bad name: 1 more in this period",
    ]


def test_braces_in_a_name_are_no_format() -> None:
    reported = Reported()
    reported.reports.note("{cause}", "{0}", "{nothing}")
    assert reported.lines() == ["{cause}: {0}: {nothing}"]


def test_past_the_bound_the_others_share_one_line() -> None:
    reported = Reported()
    for number in range(REPORTED_PAIRS + 50):
        reported.reports.note(f"stars{number}", "bad time", "x")
    assert len(reported.lines()) == REPORTED_PAIRS
    reported.reports.note("stars0", "bad time", "x")
    reported.reports.period()
    assert reported.lines() == [
        "stars0: bad time: 1 more in this period",
        "50 further messages with something wrong",
    ]
    reported.reports.note("stars249", "bad time", "x")
    assert reported.lines() == ["stars249: bad time: x"]
    reported.reports.period()
    assert reported.lines() == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]), st.booleans())))
def test_the_lines_add_up_to_what_was_noted(notes: list[tuple[str, str, bool]]) -> None:
    reported = Reported()
    noted: Counter[tuple[str, str]] = Counter()
    told: Counter[tuple[str, str]] = Counter()
    for photometer, cause, end_of_period in notes:
        reported.reports.note(photometer, cause, "seen")
        noted[photometer, cause] += 1
        if end_of_period:
            reported.reports.period()
    reported.reports.period()
    for line in reported.lines():
        photometer, cause, what = line.split(": ")
        more = re.fullmatch(r"(\d+) more in this period", what)
        told[photometer, cause] += int(more[1]) if more else 1
    assert told == noted
