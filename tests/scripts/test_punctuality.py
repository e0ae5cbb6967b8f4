"""The ledger of the simulator against the database: what is lost, too much, in the wrong order or late."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from punctuality import Published, compare, ledger

BEGIN = 1_700_000_000_000


def published(
    seq: int, at: float, *, name: str = "stars1", boot: int = 0, tsky: float = 1.0, payload: str = ""
) -> Published:
    """A reading that left `at` seconds after the beginning."""
    return Published(name, seq, tsky, boot, BEGIN + round(at * 1000), payload or f"{name} {seq} {boot}")


def row(seq: int, at: float, *, name: str = "stars1", tsky: float = 1.0) -> Mapping[str, Any]:
    """A row whose time is `at` seconds after the beginning."""
    return {"name": name, "seq": float(seq), "tsky": tsky, "time": BEGIN + round(at * 1000)}


def test_a_ledger_is_what_the_simulator_writes() -> None:
    line = {"name": "stars1", "seq": 2, "tsky": -17.5, "boot": 1, "at": BEGIN, "payload": "{}"}
    text = json.dumps(line) + "\n"
    # It may be read while the second line is written.
    for part in range(len(text)):
        assert ledger(text + text[:part]) == [Published("stars1", 2, -17.5, 1, BEGIN, "{}")]


def test_readings_that_are_stored_at_their_times_are_punctual() -> None:
    found = compare([published(2, 0), published(3, 10)], [row(3, 10), row(2, 0)])
    assert (found.lost, found.extra, found.misplaced) == ([], [], [])
    assert str(found.errors(BEGIN, BEGIN + 10_000)) == (
        "2 readings: median 0.00 s, 95% within 0.00 s, worst 0.00 s, 100.0% within half a period"
    )


def test_what_is_lost_or_too_much_is_named() -> None:
    found = compare([published(2, 0), published(3, 10)], [row(2, 0), row(2, 5), row(9, 9)])
    assert found.lost == [published(3, 10)]
    assert found.extra == [row(2, 5), row(9, 9)]


def test_what_was_published_without_a_broker_may_be_missing() -> None:
    readings = [published(2, 0), published(3, 10), published(4, 20)]
    excused = [range(BEGIN + 15_000, BEGIN + 25_000)]
    assert compare(readings, [row(2, 0)], excused).lost == [published(3, 10)]
    found = compare(readings, [row(2, 0), row(3, 10)], excused)
    assert not found.wrong
    assert str(found) == "2 stored, 0 lost, 0 too many, 0 in the wrong order"


def test_a_reading_that_says_the_same_as_an_earlier_one_may_be_missing() -> None:
    readings = [published(2, 0, payload="same"), published(2, 60, boot=1, payload="same"), published(3, 70)]
    found = compare(readings, [row(2, 1), row(3, 70)])
    assert not found.wrong
    assert found.stored == {readings[0]: BEGIN + 1000, readings[2]: BEGIN + 70_000}
    assert not compare(readings, [row(2, 1), row(2, 61), row(3, 70)]).wrong


def test_times_that_do_not_follow_the_order_of_publication_are_misplaced() -> None:
    readings = [published(2, 0), published(3, 10), published(2, 20, name="stars2")]
    rows = [row(2, 10), row(3, 9), row(2, 5, name="stars2")]
    assert compare(readings, rows).misplaced == [published(3, 10)]


def test_the_same_seq_of_two_boots_is_two_readings() -> None:
    readings = [published(2, 0), published(2, 60, boot=1), published(2, 120, boot=2, tsky=2.0)]
    rows = [row(2, 61), row(2, 1), row(2, 122, tsky=2.0)]
    found = compare(readings, rows)
    assert not found.lost
    assert [found.stored[each] - each.at for each in readings] == [1000, 1000, 2000]


def test_errors_are_those_of_the_readings_between_two_times_to_either_side() -> None:
    readings = [published(seq, 10 * seq) for seq in range(2, 12)]
    late = {4: 5.5, 5: -4.5}
    found = compare(readings, [row(seq, 10 * seq + late.get(seq, 0)) for seq in range(2, 12)])
    some = found.errors(BEGIN + 40_000, BEGIN + 70_000)
    assert (some.count, some.median, some.most, some.worst) == (4, 2.25, 5.5, 5.5)
    assert some.close == pytest.approx(3 / 4)


def test_a_reboot_is_no_part_of_a_period() -> None:
    readings = [published(2, 0), published(3, 10), published(2, 300, boot=1), published(3, 310, boot=1)]
    assert compare(readings, []).periods == {"stars1": 10_000}


def test_without_readings_nothing_is_punctual() -> None:
    assert compare([], []).errors(0, BEGIN).close == 0
