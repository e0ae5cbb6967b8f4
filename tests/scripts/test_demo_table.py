"""What the demo makes of the answers of InfluxDB."""

from datetime import UTC, datetime
from typing import Any

import demo_table
from demo_table import Row

AT = datetime(2026, 3, 1, 22, 5, 7, tzinfo=UTC)
TESS_W = {"mag": 21.049, "freq": 0.567, "tamb": 5.0, "tsky": -20.04}
TESS4C = {"freq1": 1.0, "mag1": 20.5, "freq4": 2.0, "mag4": 19.5}


def series(name: str, columns: list[str], values: list[Any]) -> dict[str, Any]:
    return {"name": "readings", "tags": {"name": name}, "columns": columns, "values": [values]}


def row(name: str) -> Row:
    return Row(name, AT, TESS_W, 3)


def test_a_row_is_the_last_reading_and_the_number_of_all() -> None:
    columns = ["time", *TESS_W, "freq1"]
    latest = [series("stars1", columns, [AT.timestamp() * 1000 + 999, *TESS_W.values(), None])]
    stored = [series("stars1", ["time", "count"], [0, 3])]
    assert demo_table.rows(latest, stored) == [Row("stars1", AT.replace(microsecond=999_000), TESS_W, 3)]


def test_a_photometer_whose_first_reading_came_between_the_questions_has_none_yet() -> None:
    (found,) = demo_table.rows([series("stars1", ["time", "mag"], [0, 1.0])], [])
    assert found.stored == 0


def test_names_are_ordered_as_people_count() -> None:
    names = ["stars10", "stars2", "7", "azores", "stars2b", "²"]
    latest = [series(name, ["time"], [0]) for name in names]
    found = [found.name for found in demo_table.rows(latest, [])]
    assert found == ["7", "azores", "stars2", "stars2b", "stars10", "²"]


def test_columns_are_aligned_and_a_missing_value_is_a_dash() -> None:
    found = [row("stars1"), Row("stars2", AT, {"freq": 65000.0}, 12345), Row("tess4c", AT, TESS4C, 1)]
    assert demo_table.table(found, 10) == [
        "photometer          last reading (UTC)   mag/arcsec2        Hz  tamb °C  tsky °C  stored",
        "stars1              2026-03-01 22:05:07        21.05      0.57      5.0    -20.0       3",
        "stars2              2026-03-01 22:05:07            -  65000.00        -        -   12345",
        "tess4c (channel 1)  2026-03-01 22:05:07        20.50      1.00        -        -       1",
    ]


def test_a_table_that_is_too_long_says_how_much_is_missing() -> None:
    found = [row(f"stars{number}") for number in range(1, 6)]
    assert len(demo_table.table(found, 5)) == 6
    first, second, rest = demo_table.table(found, 2)[1:]
    assert (first.split()[0], second.split()[0], rest) == ("stars1", "stars2", "and 3 more")


def test_an_empty_table_says_so() -> None:
    assert demo_table.table([], 10)[1:] == ["no reading yet"]


def test_the_summary_counts_readings_and_photometers() -> None:
    assert demo_table.summary([row("stars1"), row("stars2")]) == "6 readings of 2 photometers"
