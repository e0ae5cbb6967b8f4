"""The table of fields decides alone what is stored of a reading, and the documents say the same."""

import json
import re
from math import inf, nextafter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.config.sections import KEYS
from tessflux.readings.fields import CHANNELS, EXTRA_FIELDS, FIELDS, Field, Kind, of
from tessflux.readings.reading import IMPLAUSIBLE, INCOMPLETE, Reading, parse
from tests.readings.samples import ABSENT, good, refused, row

ROOT = Path(__file__).parents[2]
USUAL = of(Kind.REQUIRED, Kind.LIGHT, Kind.OPTIONAL)
MEASURES = {field.key: max(field.plausible[0], 1.5) for field in FIELDS}
ALL: dict[str, Any] = {"name": "stars1", **MEASURES}
"""A payload with every field of the table."""


def each(*fields: Field) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("field", fields, ids=lambda field: field.key)


def only(*fields: Field) -> dict[str, float]:
    return {field.key: MEASURES[field.key] for field in fields}


def long_way(payload: dict[str, Any]) -> bytes:
    """The payload in a form that is not read in the short way for plain readings."""
    return json.dumps({**payload, "ñ": 1}, ensure_ascii=False).encode()


def test_a_plain_reading_stores_the_usual_fields_in_the_order_of_the_table() -> None:
    for payload in (row(ALL), long_way(ALL)):
        assert list(good(payload).fields.items()) == list(only(*USUAL).items())


def test_an_extra_field_is_stored_only_where_the_config_names_it() -> None:
    for field in EXTRA_FIELDS.values():
        assert good(row(ALL), extra_fields=(field.key,)).fields == only(*USUAL, field)


@each(*of(Kind.REQUIRED, Kind.LIGHT))
def test_a_reading_without_a_required_field_is_refused(field: Field) -> None:
    for value in (ABSENT, None):
        assert refused(row(ALL, **{field.key: value})).cause == INCOMPLETE


@each(*of(Kind.OPTIONAL, Kind.EXTRA, Kind.LIGHT_EXTRA))
@pytest.mark.parametrize("value", [ABSENT, None, True, "warm", float("nan")])
def test_any_other_field_is_left_out_when_there_is_no_number(field: Field, value: object) -> None:
    fields = good(row(ALL, **{field.key: value}), extra_fields=tuple(EXTRA_FIELDS)).fields
    assert fields == only(*(other for other in FIELDS if other is not field))


@each(*(field for field in FIELDS if field.aliases))
def test_an_alias_counts_where_the_key_itself_has_no_value(field: Field) -> None:
    for alias in field.aliases:
        for own, stored in ((ABSENT, "2.5"), (None, "2.5"), (0, 0), (1.5, 1.5)):
            payload = row(ALL, **{field.key: own, alias: "2.5"})
            assert good(payload, extra_fields=tuple(EXTRA_FIELDS)).fields[field.key] == float(stored)


@each(*(field for field in FIELDS if field.no_measure))
@pytest.mark.parametrize("validation", [True, False])
def test_a_number_that_says_there_is_no_measure_is_left_out(field: Field, validation: bool) -> None:
    for number in field.no_measure:
        fields = good(row(ALL, **{field.key: str(number)}), validation=validation).fields
        assert fields == only(*(other for other in USUAL if other is not field))


def test_zero_and_what_says_no_measure_in_another_field_are_measures() -> None:
    for field in (*of(Kind.OPTIONAL), *EXTRA_FIELDS.values()):
        for number in {0.0, *(number for other in FIELDS for number in other.no_measure)}:
            low, high = field.plausible
            if low <= number <= high and number not in field.no_measure:
                fields = good(row(ALL, **{field.key: number}), extra_fields=tuple(EXTRA_FIELDS)).fields
                assert fields[field.key] == number


@each(*(field for field in FIELDS if field.plausible != (-inf, inf)))
def test_an_implausible_number_refuses_the_reading_unless_validation_is_off(field: Field) -> None:
    for bound, beyond in zip(field.plausible, (-inf, inf), strict=True):
        assert good(row(ALL, **{field.key: bound})).fields[field.key] == bound
        outside = row(ALL, **{field.key: nextafter(bound, beyond)})
        assert refused(outside).cause == IMPLAUSIBLE
        assert good(outside, validation=False).fields[field.key] == nextafter(bound, beyond)


EDGES = sorted({
    neighbour
    for field in FIELDS
    for edge in (0.0, *field.plausible, *field.no_measure)
    for neighbour in (nextafter(edge, -inf), edge, nextafter(edge, inf))
})  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from([name for field in FIELDS for name in (field.key, *field.aliases)]),
        st.sampled_from(EDGES) | st.floats() | st.sampled_from([None, True, "1.5", "-99", [], {}]),
        max_size=4,
    ),
    st.sampled_from([{}, *({channel: value} for channel in CHANNELS for value in (None, "", {}, ALL))]),
    st.text(max_size=3).map("stars".__add__) | st.text(st.characters(categories=["L", "N"]), max_size=66),
)
def test_the_short_way_for_plain_readings_leads_to_what_the_long_way_does(
    changes: dict[str, object], channel: dict[str, object], name: str
) -> None:
    payload = {**ALL, **changes, **channel, "name": name}
    short, long = parse(json.dumps(payload).encode()), parse(long_way(payload))
    assert short == long
    if isinstance(short, Reading) and isinstance(long, Reading):
        assert list(short.fields) == list(long.fields)


# The documents


def of_document(field: Field) -> str:
    """The row of a field in docs/readings.md."""
    low, high = field.plausible
    cells = (
        f"`{field.key}`",
        field.what,
        field.unit,
        "" if low == -inf else f"{low:,.0f} … {high:,.0f}",
        ", ".join(f"{number:g}" for number in field.no_measure),
        ", ".join(f"`{alias}`" for alias in field.aliases),
        field.kind.value,
    )
    return "|" + "|".join(f" {cell} ".replace("  ", " ") for cell in cells) + "|"


def tables_of_fields(document: Path) -> list[list[str]]:
    """The rows of each table whose first column is the field."""
    tables = re.findall(r"\| field \|.*\n\|[-|]+\n((?:\|.*\n)+)", document.read_text())
    return [rows.splitlines() for rows in tables]


def test_docs_readings_has_the_table_row_by_row() -> None:
    assert tables_of_fields(ROOT / "docs/readings.md") == [[of_document(field) for field in FIELDS]]


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_a_table_of_fields_in_a_document_has_them_all_and_no_other(document: Path) -> None:
    channels = {field.key + channel[1] for field in of(Kind.LIGHT, Kind.LIGHT_EXTRA) for channel in CHANNELS}
    for rows in tables_of_fields(document):
        named = {name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
        assert named - channels == {field.key for field in FIELDS}


def test_the_example_config_names_the_extra_fields() -> None:
    text = (ROOT / "etc/tessflux/config.example").read_text()
    (listed,) = re.findall(r"as a list\. There are\n# ([a-z ]+);", text)
    assert listed.split() == list(EXTRA_FIELDS)


def test_the_config_takes_every_extra_field_and_its_aliases_in_any_case() -> None:
    convert = KEYS["influxdb"]["extra_fields"]
    for field in EXTRA_FIELDS.values():
        assert convert(field.key.upper()) == (field.key,)
        assert convert(",".join((field.key, *field.aliases))) == (field.key,)
    for field in USUAL:
        with pytest.raises(ValueError, match="must name only"):
            convert(field.key)
