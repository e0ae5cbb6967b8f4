"""The ledger finds each thing that can be wrong with what is in the database, and nothing if all is right."""

import json
from typing import Any

import pytest

from tests.faults.ledger import NO_TSTAMP, ROUNDED, Comparison, Differences, Ledger, Sample, sample

T = 1_800_000_000_000
PHOTOMETERS = 3


def row(sample: Sample, time: int) -> dict[str, Any]:
    """What the database holds of a reading; InfluxDB says null for a field that others have."""
    return {"name": sample.name, "time": time, "vbat": None, **sample.fields}


def good() -> tuple[Ledger, list[dict[str, Any]]]:
    """Six readings, every other one with a time of its own, and their rows."""
    ledger = Ledger(PHOTOMETERS)
    rows = []
    for n in range(6):
        tstamp = T - 5_000 + n if n % 2 else NO_TSTAMP
        published = ledger.publish(T + n, 1, tstamp)
        rows.append(row(published, T + n + 3 if tstamp == NO_TSTAMP else tstamp + 2))
    return ledger, rows


def compare(ledger: Ledger, rows: list[dict[str, Any]], rounded: float = 0.0) -> Differences:
    comparison = Comparison(ledger, rounded)
    comparison.check(rows, until=T + 100)
    return comparison.differences()


def test_rows_as_they_were_published_are_right() -> None:
    differences = compare(*good())
    assert not differences
    assert differences == Differences(rows=6)


def test_rows_may_come_in_slices_and_readings_between_them() -> None:
    ledger, rows = good()
    comparison = Comparison(ledger)
    comparison.check(rows[:2], until=T + 100)
    more = ledger.publish(T + 50)
    comparison.check([*rows[2:], row(more, T + 50)], until=T + 100)
    assert comparison.differences() == Differences(rows=7)


def test_a_database_that_rounds_may_do_so_and_no_more() -> None:
    ledger, rows = good()
    rows[4]["mag"] *= 1 + 1e-14
    assert compare(ledger, rows).altered
    assert compare(ledger, rows, ROUNDED) == Differences(rows=6)
    rows[4]["mag"] *= 1 + 1e-11
    assert compare(ledger, rows, ROUNDED).altered
    del rows[4]["mag"]
    assert compare(ledger, rows, ROUNDED).altered


def test_a_row_that_is_not_there_is_lost() -> None:
    ledger, rows = good()
    assert compare(ledger, rows[:3] + rows[4:]) == Differences(rows=5, lost=[3])


def test_a_reading_with_two_rows_is_doubled() -> None:
    ledger, rows = good()
    again = {**rows[2], "time": rows[2]["time"] + 1}
    assert compare(ledger, [*rows, again]) == Differences(rows=7, doubled=[2])


@pytest.mark.parametrize(
    "change", [{"mag": 9.0}, {"tamb": None}, {"vbat": 3.3}, {"name": "stars77"}, {"seq": 77.0}]
)
def test_a_row_with_another_value_is_altered(change: dict[str, Any]) -> None:
    ledger, rows = good()
    rows[4].update(change)
    differences = compare(ledger, rows)
    assert differences
    assert [text.split()[0] for text in differences.altered] == ["4"]


@pytest.mark.parametrize(
    ("number", "time"), [(4, T + 3), (4, T + 101), (3, T - 4_998), (3, T - 3_996), (3, T + 50)]
)
def test_a_row_at_a_time_that_it_cannot_have_is_misplaced(number: int, time: int) -> None:
    """Before it was published or after it was stored; before its own time or beyond the shift."""
    ledger, rows = good()
    rows[number]["time"] = time
    differences = compare(ledger, rows)
    assert differences
    assert [text.split()[0] for text in differences.misplaced] == [str(number)]


@pytest.mark.parametrize("freq", [None, 6 / 8, -1 / 8, 1 / 16])
def test_a_row_that_nobody_published_is_unknown(freq: float | None) -> None:
    ledger, rows = good()
    differences = compare(ledger, [*rows, {**rows[0], "freq": freq}])
    assert differences
    assert len(differences.unknown) == 1
    assert not differences.doubled


def test_all_samples_are_different_and_plausible_and_a_payload_says_what_they_say() -> None:
    millions = sample(7_999_999, 1000)
    assert millions.fields["freq"] < 1_000_000
    assert len({sample(n, PHOTOMETERS).payload for n in range(1000)}) == 1000
    payload = json.loads(sample(5, PHOTOMETERS, T + 7).payload)
    assert payload["name"] == "stars2"
    assert payload["freq"] == 5 / 8
    assert payload["tstamp"] == "2027-01-15T08:00:00.007+00:00"
    assert "tstamp" not in json.loads(sample(5, PHOTOMETERS).payload)
