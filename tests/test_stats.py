"""The counters, and the periodic lines that monitoring scripts read."""

from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, capturedLogs, formatEvent

from tessflux.stats import FILTERED, HELD, LOST, REFUSED, STORED, InfluxLine, InfluxStats, MqttLine, MqttStats


def texts(events: Iterable[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events]


def influx_line_of(
    stats: InfluxStats,
    output: str = "influxdb",
    waiting: Callable[[], int] = lambda: 0,
    missed: Callable[[], int] = lambda: 0,
    state: Callable[[], str] = lambda: "",
) -> InfluxLine:
    return InfluxLine(stats, output, waiting=waiting, missed=missed, state=state)


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
    assert set(vars(InfluxStats()).values()) == {0, None}


# The periodic lines


def test_the_line_of_the_broker_tells_of_messages_whose_time_is_not_known() -> None:
    stats = MqttStats(received=10)
    stats.ended.update({(STORED, ""): 6, (HELD, ""): 4})
    with capturedLogs() as events:
        MqttLine(stats).log()
    [text] = texts(events)
    assert text.endswith("10 received, refused {}, filtered {}; held until their time is known: 4")


def test_the_line_of_the_broker_begins_as_in_2017_and_counts_what_is_new() -> None:
    stats = MqttStats(received=10)
    stats.ended.update(
        {(STORED, ""): 6, (FILTERED, "duplicate"): 2, (REFUSED, "not JSON"): 1, (LOST, "full"): 1}
    )
    line = MqttLine(stats)
    with capturedLogs() as events:
        line.log()
        line.log()
        stats.received += 2
        stats.ended[STORED, ""] += 1
        stats.ended[REFUSED, "bad name"] += 1
        line.log()
    assert texts(events) == [
        "MQTT Stats [Total, Accepted, Filtered] = [10, 6, 2], refused 1, lost 1;"
        " since the start 10 received, refused {'not JSON': 1}, filtered {'duplicate': 2}",
        "MQTT Stats [Total, Accepted, Filtered] = [0, 0, 0], refused 0, lost 0;"
        " since the start 10 received, refused {'not JSON': 1}, filtered {'duplicate': 2}",
        "MQTT Stats [Total, Accepted, Filtered] = [2, 1, 0], refused 1, lost 0;"
        " since the start 12 received, refused {'not JSON': 1, 'bad name': 1}, filtered {'duplicate': 2}",
    ]
    assert {event["log_namespace"] for event in events} == {"mqtt"}


def test_the_line_of_the_database_begins_as_in_2017_and_counts_what_is_new() -> None:
    stats = InfluxStats(requested=5, ok=3, rejected=1, failed=1, delivered=300, expired=2, quarantined=4)
    waiting = [7]
    line = influx_line_of(stats, waiting=waiting.pop)
    with capturedLogs() as events:
        line.log()
        stats.requested += 1
        stats.ok += 1
        stats.delivered += 50
        waiting.append(0)
        line.log()
    assert texts(events) == [
        "InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [5, 3, 1, 1], readings delivered 300,"
        " waiting 7; since the start 300 delivered, beyond retention 2, quarantined 4",
        "InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [1, 1, 0, 0], readings delivered 50,"
        " waiting 0; since the start 350 delivered, beyond retention 2, quarantined 4",
    ]
    assert {event["log_namespace"] for event in events} == {"influxdb"}


def test_the_line_of_the_database_tells_that_the_delivery_is_paused() -> None:
    state = "delivery is paused since 2026-11-26 22:00:35 UTC"
    with capturedLogs() as events:
        influx_line_of(InfluxStats(), state=lambda: state).log()
    [text] = texts(events)
    assert text.endswith(f"quarantined 0; {state}")


def test_the_line_of_another_output_names_it_and_what_is_not_as_usual() -> None:
    stats = InfluxStats(delivered=5, again=3)
    with capturedLogs() as events:
        influx_line_of(stats, "influxdb copy", missed=lambda: 9).log()
    [text] = texts(events)
    assert text.startswith("InfluxDB Write Stats of [influxdb copy] [Requested, Ok, Reject, Fail] = ")
    assert text.endswith("quarantined 0, sent again 3, missed, since the spool was full 9")


@given(st.lists(st.integers(0, 1_000), max_size=20))
def test_the_lines_together_tell_of_every_message_once(batches: list[int]) -> None:
    stats = MqttStats()
    line = MqttLine(stats)
    with capturedLogs() as events:
        for batch in batches:
            stats.received += batch
            line.log()
    assert [event["counters"][0] for event in events] == batches
