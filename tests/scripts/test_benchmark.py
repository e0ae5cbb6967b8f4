"""What the benchmark makes of what it measures, and that its publisher publishes what it says."""

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from benchmark import latency, watched
from benchmark.__main__ import FAILED, LOST_OR_DOUBLED, exit_code
from benchmark.bridges import CEILING, ROOT, Command, Tessflux, fill
from benchmark.disk import Writes
from benchmark.plan import BenchFailed, Measured, Row, Turn, take
from benchmark.process import Stat, status
from benchmark.relay import Window
from benchmark.report import Figure, figures, tables
from benchmark.stopwatch import Acknowledgements
from flood import Broker, Readings
from hypothesis import given
from hypothesis import strategies as st

from tessflux.mqtt.packets import Splitter
from tessflux.photometers.database import Database
from tessflux.photometers.means import bucket
from tessflux.readings.reading import Reading, parse
from tests.mqtt import wire


def row(bridge: str, *rates: float, case: str = "throughput", lost: int = 0, doubled: int = 0) -> Row:
    rounds = [Measured({"rate": rate}, lost, doubled) for rate in rates]
    return Row(Turn(case, "QoS 1", bridge, lambda: rounds[0]), rounds)


# The order of turns


def test_turns_take_turns_and_one_that_fails_is_left_out_from_then_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    order = []

    def measure(name: str, fails_at: int = 0) -> Measured:
        order.append(name)
        if order.count(name) == fails_at:
            raise BenchFailed("it did not subscribe")
        return Measured({"rate": order.count(name)})

    turns = [
        Turn("case", "QoS 1", name, partial(measure, name, fails_at))
        for name, fails_at in (("a", 0), ("never", 1), ("once", 2))
    ]
    rows = take(turns, 3)
    assert order == ["a", "never", "once", "a", "once", "a"]
    assert [(each.turn.bridge, len(each.rounds), each.failed) for each in rows] == [
        ("a", 3, False),
        ("never", 0, True),
        ("once", 1, True),
    ]
    assert "never, round 1: not measured: it did not subscribe" in capsys.readouterr().err
    assert "not measured" in tables(rows)
    assert exit_code(rows, peers=()) == FAILED


# The publisher


@pytest.mark.parametrize(("qos", "mid"), [(0, 0), (1, 8)])
def test_a_packet_is_a_publication_of_a_reading_with_its_number(qos: int, mid: int) -> None:
    readings = Readings(10, qos, 5)
    packet = readings.packet(7)
    payload = packet[packet.index(b"{") :]
    assert packet == wire.publish("STARS4ALL/stars2/reading", payload, mid=mid)
    reading = parse(payload)
    assert isinstance(reading, Reading)
    assert (reading.name, reading.fields["freq"], reading.fields["seq"]) == ("stars2", 0.07, 7.0)


@pytest.mark.parametrize("number", [1, 1_000_001, 5_000_000, 80_000_000])
def test_whatever_its_number_a_reading_is_plausible(number: int) -> None:
    readings = Readings(1, 1, 1_000, number)
    packet = readings.packet(number)
    assert isinstance(parse(packet[packet.index(b"{") :]), Reading)


def test_identifiers_of_packets_are_never_0_and_never_too_large() -> None:
    readings = Readings(200_000, 1, 1)
    for number in (65_534, 65_535, 65_536, 131_070, 200_000):
        found = re.search(rb"reading(..)\{", readings.packet(number), re.DOTALL)
        assert found is not None
        assert found[1] != b"\0\0"


def test_the_file_has_all_packets_in_order_and_is_made_once(tmp_path: Path) -> None:
    readings = Readings(3, 1, 2, first=11)
    path = readings.file(tmp_path)
    assert path.read_bytes() == b"".join(readings.packet(number) for number in (11, 12, 13))
    path.write_bytes(b"made before")
    assert readings.file(tmp_path).read_bytes() == b"made before"
    assert Readings(3, 0, 2, first=11).file(tmp_path) != path


@pytest.mark.parametrize("answers", [0, 3])
def test_the_publisher_ends_when_the_broker_has_answered_all(answers: int) -> None:
    complete = wire.connack() + wire.puback(0xD000) * answers + b"\xd0\x00"
    for answer, is_complete in ((complete, True), (complete[:-2], False), (complete[:4], False)):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with ThreadPoolExecutor(1) as pool:
                answered = pool.submit(answer_and_close, server, answer)
                broker = Broker(port, "flood", answers)
                if is_complete:
                    broker.finish()
                else:
                    with pytest.raises(ConnectionError):
                        broker.finish()
                answered.result()


def answer_and_close(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            continue


# What the operating system says


def test_cpu_is_that_of_user_and_kernel_and_of_dead_children() -> None:
    line = "7 (a) name) S 3 7 7 0 -1 4194560 901 0 0 0 100 200 30 4 20 0 3 0 123 1024 77"
    assert Stat.parse(line) == Stat(3, False, 334 / os.sysconf("SC_CLK_TCK"))
    assert Stat.parse(line.replace(") S ", ") Z ")).ended


def test_a_missing_value_of_the_status_is_0() -> None:
    assert status("Name:\tx\nVmHWM:\t  1234 kB\n", "VmHWM") == 1234
    assert status("Name:\tx\n", "VmHWM") == 0


def test_of_system_calls_only_those_to_the_spool_count() -> None:
    lines = [
        '9 pwrite64(7</d/spool/spool.db-wal>, ""..., 24, 0) = 24',
        '9 pwrite64(7</d/spool/spool.db-wal>, ""..., 4096, 24 <unfinished ...>',
        "9 <... pwrite64 resumed>) = 4096",
        "9 fdatasync(7</d/spool/spool.db-wal>) = 0",
        '8 write(1</d/tessflux.log>, ""..., 80) = 80',
        '8 write(5<pipe:[77]>, "", 1) = 1',
    ]
    assert Writes.parse(lines, Path("/d/spool")) == Writes(calls=2, bytes=4120, syncs=1)


# Latency


def test_a_reading_is_seen_when_the_first_answer_with_it_came() -> None:
    sightings = latency.Sightings(Readings(3, 0, 1, first=51))
    assert sightings.look([(1_000, 50), (2_000, 51)], at=10.5)
    assert not sightings.look([(2_000, 51)], at=10.6)
    assert not sightings.complete
    assert sightings.look([(2_000, 51), (4_000, 53), (3_000, 52)], at=10.7)
    assert sightings.complete
    assert sightings.latencies([10.0, 10.1, 10.6]) == pytest.approx([0.5, 0.6, 0.1])


def test_what_is_missing_is_asked_for_again() -> None:
    sightings = latency.Sightings(Readings(4, 0, 1))
    second = 1_000_000_000
    sightings.look([(second, 1)], at=1.0)
    sightings.look([(3 * second, 3), (4 * second, 4)], at=2.0)
    assert sightings.since < second
    sightings.look([(2 * second, 2)], at=3.0)
    assert 3 * second < sightings.since < 4 * second


def test_99_of_100_do_not_exceed_the_p99() -> None:
    values = [number / 100 for number in range(1, 101)]
    assert latency.summary(values) == {"p50": 0.5, "p99": 0.99, "longest": 1.0}
    assert latency.summary([0.3]) == {"p50": 0.3, "p99": 0.3, "longest": 0.3}


# The bridges


def test_a_tessflux_is_named_with_its_checkout_and_settings(tmp_path: Path) -> None:
    assert Tessflux.parse(f"old={tmp_path},mqtt.version=5,influxdb.batch=100") == Tessflux(
        "old", tmp_path, {"mqtt.version": "5", "influxdb.batch": "100"}
    )
    assert Tessflux.parse("same=").directory == ROOT
    for wrong in ("name", "=x", "name=nowhere/at/all", "name=version=5"):
        with pytest.raises(ValueError, match="is n"):
            Tessflux.parse(wrong)


def test_the_settings_of_a_tessflux_go_over_those_of_a_case() -> None:
    own = Tessflux("v5", settings={"mqtt.version": "5"})
    assert own.but({"mqtt.version": "3.1.1", "mqtt.keepalive": "9"}).settings == {
        "mqtt.version": "5",
        "mqtt.keepalive": "9",
    }


def test_placeholders_are_filled_and_other_braces_stay() -> None:
    assert fill('{"port": {mqtt_port}, "x": {}}', {"mqtt_port": 1883}) == '{"port": 1883, "x": {}}'
    assert Command.parse("node-red=node-red --x=y") == Command("node-red", "node-red --x=y")
    with pytest.raises(ValueError, match="is not NAME=COMMAND"):
        Command.parse("node-red")


# The tables


def test_a_figure_is_the_median_with_its_spread_and_a_ratio_is_that_of_one_round() -> None:
    rows = [row(CEILING.name, 100, 50, 200), row("tessflux", 90, 40, 100)]
    found = figures(rows[1], rows)
    assert found["rate"] == Figure(90, 40, 100)
    assert found["ratio"] == Figure(0.8, 0.5, 0.9)


def test_every_value_that_a_row_has_is_in_the_table_of_its_case() -> None:
    rows = [row("tessflux", 1000, 3000, 2000, lost=2), row("tessflux", 5, case="drain", doubled=1)]
    assert tables(rows) == "\n".join(
        [
            "### throughput",
            "",
            "|       | bridge   |          readings/s | lost | doubled |",
            "| ----- | -------- | ------------------: | ---: | ------: |",
            "| QoS 1 | tessflux | 2,000 (1,000-3,000) |    6 |       0 |",
            "",
            "### drain",
            "",
            "|       | bridge   | readings/s | lost | doubled |",
            "| ----- | -------- | ---------: | ---: | ------: |",
            "| QoS 1 | tessflux |          5 |    0 |       1 |",
        ]
    )


def test_a_lost_or_doubled_reading_is_a_failure_unless_a_peer_did_it() -> None:
    good, peer = [row("tessflux", 1), row(CEILING.name, 1)], row("telegraf", 1, lost=10, doubled=1)
    assert exit_code([*good, peer], peers={"telegraf"}) == 0
    for bad in (row("tessflux", 1, lost=1), row("tessflux", 1, doubled=1), peer):
        assert exit_code([*good, bad], peers=()) == LOST_OR_DOUBLED


# The relay


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4)), max_size=30))
def test_the_relay_keeps_to_its_window_and_changes_nothing(size: int, steps: list[tuple[int, int]]) -> None:
    """In each step some bytes come from the broker, and some messages are acknowledged."""
    stream = wire.connack() + b"".join(
        wire.publish("t", b"x" * (mid * 9), mid=mid if mid % 4 else 0) for mid in range(1, 40)
    )
    window, passed, acknowledged, at = Window(size), b"", 0, 0
    for come, answered in steps:
        window.hold(stream[at : at + come])
        at += come
        passed += window.release()
        sent = Splitter()
        sent.feed(passed)
        owed = sum(first == 0x32 for first, _, _ in sent.packets()) - acknowledged
        assert 0 <= owed <= size
        answers = b"".join(wire.puback(mid) for mid in range(1, min(answered, owed) + 1))
        for byte in answers:
            window.acknowledge(bytes([byte]))
        acknowledged += min(answered, owed)
    assert stream.startswith(passed)
    while acknowledged < 30:
        window.hold(stream[at:])
        at = len(stream)
        passed += window.release()
        window.acknowledge(wire.puback(1))
        acknowledged += 1
    assert passed + window.release() == stream


# Who looks


@given(st.lists(st.integers(1, 70), min_size=1, max_size=20))
def test_an_acknowledgement_waits_from_its_message_on_however_the_bytes_come(cuts: list[int]) -> None:
    """Messages at QoS 0 have none; what else is sent does not count."""
    sent = wire.connack() + b"".join(
        wire.publish("stars1/reading", b"x" * mid, mid=mid if mid % 3 else 0) for mid in range(1, 8)
    )
    acknowledgements = Acknowledgements()
    for cut in cuts:
        acknowledgements.pass_on(sent[:cut], 10.0)
        sent = sent[cut:]
    acknowledgements.pass_on(sent, 10.0)
    answers = b"\xc0\x00" + wire.puback(2) + wire.puback(1)
    waits = [wait for byte in answers for wait in acknowledgements.acknowledge(bytes([byte]), 10.5)]
    assert waits == [0.5, 0.5]
    assert acknowledgements.acknowledge(wire.puback(7), 12.0) == [2.0]


def test_who_looks_notes_how_long_each_kind_of_page_took_and_what_failed() -> None:
    audience = watched.Audience()
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    for path, bytes_ in (("/?q=7", answer), ("/photometers/stars1", answer), ("/metrics", b"HTTP/1.1 503 ")):
        with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
            answered = pool.submit(answer_and_close, server, bytes_)
            audience.ask(server.getsockname(), path)
            answered.result()
    assert list(audience.columns()) == ["front", "front_longest", "photometer", "photometer_longest"]
    assert audience.failures == ["/metrics: it was answered b'HTTP/1.1 503 '"]


def test_a_photometer_that_the_benchmark_knows_has_a_night_behind_it(tmp_path: Path) -> None:
    now = 1_700_000_000.0
    watched.past_night(tmp_path, now)
    database = Database(str(tmp_path))
    kept = database.load()
    assert (len(kept.photometers), kept.next_number) == (watched.WITH_NIGHT, watched.WITH_NIGHT)
    first = bucket(now - 86_400)
    [line] = database.magnitudes([999], range(first, first + 288))
    database.close()
    assert None not in line
