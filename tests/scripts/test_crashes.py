"""What scripts/crashes plans, counts and prints; tests/real/test_crashes.py runs it."""

from pathlib import Path

import pytest
from crashes import FIELDS, Case, Found, Schedule, cases, compare, report
from databases import CLUSTER
from flood import Readings
from servers import Sample

READINGS = Readings(4, 1, 2)


def stored(number: int, when: int, *without: str) -> list[Sample]:
    """The fields of a row."""
    values = {**dict.fromkeys(FIELDS, 1.0), "seq": float(number)}
    return [
        (READINGS.name(number), when, field, value) for field, value in values.items() if field not in without
    ]


def test_each_database_is_tried_with_each_resend_and_plain_only_where_that_differs() -> None:
    found = cases(["victoria-metrics", "influxd"], [0, 60], plain=True)
    assert found == [
        Case("victoria-metrics", True, 0),
        Case("victoria-metrics", True, 60),
        Case("victoria-metrics", False, 0),
        Case("victoria-metrics", False, 60),
        Case("influxd", True, 0),
        Case("influxd", True, 60),
    ]
    assert [case.is_recommended for case in found] == [False, True, False, False, False, True]


def test_readings_go_on_for_a_while_after_the_last_kill() -> None:
    assert Schedule(kills=5, every=10, rate=1000).count == 60_000


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([], Found(0, 0, 0)),
        (stored(2, 20), Found(0, 1, 0)),
        (stored(2, 21), Found(0, 1, 0)),
        (stored(2, 20)[:1], Found(0, 1, 0)),
    ],
)
def test_what_is_stored_twice_is_found(samples: list[Sample], found: Found) -> None:
    """Under the same time or another one, all of it or one field."""
    all_of_it = [sample for number in range(1, 5) for sample in stored(number, 10 * number)]
    assert compare(READINGS, all_of_it + samples) == found


def test_what_is_missing_is_found() -> None:
    """A row without one of its fields, also without that which tells which one it is, and no row."""
    samples = stored(1, 10) + stored(2, 20, "tsky") + stored(3, 30, "seq")
    assert compare(READINGS, samples) == Found(lost=3, doubled=0, half=2)


def test_a_table_has_a_row_for_each_case() -> None:
    found = {
        Case("influxd", True, 0): Found(0, 0, 0),
        Case("victoria-metrics", False, 60): Found(49_000, 1, 2),
    }
    assert report(found, 60_000).splitlines() == [
        "| database | stores once | `resend` | published | lost | doubled | half |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| influxd | yes | 0 | 60,000 | 0 | 0 | 0 |",
        "| victoria-metrics | no | 60 | 60,000 | 49,000 | 1 | 2 |",
    ]


def test_the_cluster_that_is_killed_is_the_one_that_the_documents_recommend() -> None:
    network = (Path(__file__).parents[2] / "docs/network.md").read_text().splitlines()
    for program, flags in CLUSTER.items():
        [command] = [line for line in network if line.startswith(f"{program} ")]
        assert set(flags) <= set(command.split()), command
