"""A reading -> one line, and back: a parser that follows the rules of InfluxDB 1.x finds what was put in."""

import re
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tessflux.readings import lineprotocol
from tessflux.readings.lineprotocol import (
    Lines,
    measurement,
    photometer,
    series,
    text,
    time,
    values,
)

NAMES = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" ,=\\\"'#/"), min_size=1, max_size=64
).filter(lambda name: not name.endswith("\\"))
FIELDS = st.dictionaries(
    st.from_regex(r"[A-Za-z]+[1-4]?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
    max_size=10,
)


class Point(NamedTuple):
    """What InfluxDB makes of a line."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float]
    time: int


def until(text: str, start: int, stops: str) -> int:
    """Where the first of `stops` is that has no backslash right before it."""
    for at in range(start, len(text)):
        if text[at] in stops and text[at - 1] != "\\":
            return at
    raise ValueError(f"none of {stops!r} in {text[start:]!r}")


def unescaped(text: str, escapable: str) -> str:
    """A backslash goes only from before one of these characters."""
    return re.sub(rf"\\([{re.escape(escapable)}])", r"\1", text)


def read(line: str) -> Point:
    """Read a line as InfluxDB 1.x does: it looks at one character before a separator, at no more."""
    assert "\n" not in line
    at = until(line, 0, ", ")
    measurement = unescaped(line[:at], ", ")
    tags = {}
    while line[at] == ",":
        equals = until(line, at + 1, "=")
        end = until(line, equals + 1, ", =")
        assert line[end] != "="
        assert end > equals + 1, "a tag without a value"
        tags[unescaped(line[at + 1 : equals], ", =")] = unescaped(line[equals + 1 : end], ", =")
        at = end
    fields_end = until(line, at + 1, " ")
    fields = dict(pair.split("=") for pair in line[at + 1 : fields_end].split(","))
    number = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
    assert all(number.fullmatch(value) for value in fields.values())
    return Point(
        measurement, tags, {key: float(value) for key, value in fields.items()}, int(line[fields_end + 1 :])
    )


def test_a_line_as_tessflux_has_always_written_it_with_floats_only() -> None:
    fields = {"seq": 7.0, "mag": 21.19, "freq": 0.5, "wdBm": -61.0}
    line = f"{series('readings', 'stars1')} {values(fields)} 1772323214000"
    assert line == "readings,name=stars1 seq=7.0,mag=21.19,freq=0.5,wdBm=-61.0 1772323214000"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stars 12", r"m,name=stars\ 12"),
        ("a,b", r"m,name=a\,b"),
        ("a=b", r"m,name=a\=b"),
        ("a\\b", r"m,name=a\b"),
        ("a\\,b", r"m,name=a\\,b"),
        ("\\ =", r"m,name=\\ \="),
        ('q"uote', 'm,name=q"uote'),
        ("ñuñoa-β", "m,name=ñuñoa-β"),
    ],
)
def test_only_commas_blanks_and_equals_signs_are_escaped(name: str, text: str) -> None:
    assert series("m", name) == text
    assert read(f"{text} a=1.0 0").tags == {"name": name}


def test_a_measurement_escapes_commas_and_blanks_but_no_equals_sign() -> None:
    assert series(measurement("my own,a=b"), "x") == r"my\ own\,a=b,name=x"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e16, "1e16"),
        (5e-324, "5e-324"),
        (4294967295.0, "4294967295.0"),
    ],
)
def test_a_value_is_the_shortest_exact_float(number: float, text: str) -> None:
    assert values({"a": number}) == f"a={text}"


@given(NAMES, NAMES, FIELDS, st.integers(-(2**63), 2**63 - 1))
def test_influxdb_finds_in_a_line_what_was_put_in(
    place: str, name: str, fields: dict[str, float], time: int
) -> None:
    line = f"{series(measurement(place), name)} {values(fields)} {time}"
    assert read(line) == Point(place, {"name": name}, fields, time)


@given(FIELDS)
def test_the_values_of_a_line_are_read_back_exactly(fields: dict[str, float]) -> None:
    assert list(lineprotocol.fields(values(fields)).items()) == list(fields.items())


@given(NAMES, NAMES, FIELDS)
def test_a_line_says_whose_reading_it_is(place: str, name: str, fields: dict[str, float]) -> None:
    assert photometer(f"{series(measurement(place), name)} {values(fields)} 0") == name


def test_a_measurement_that_looks_like_a_name_is_not_taken_for_one() -> None:
    assert photometer(f"{series(measurement('a,name=b c'), 'stars1')} seq=1.0 0") == "stars1"


@given(NAMES, NAMES)
def test_two_names_never_share_a_series(one: str, other: str) -> None:
    assume(one != other)
    assert series("m", one) != series("m", other)


@pytest.mark.parametrize("line", ["", "readings", "weather,place=x t=1.0 0", "name=x"])
def test_a_line_of_another_kind_belongs_to_nobody(line: str) -> None:
    assert photometer(line) == ""


@given(st.integers())
def test_the_time_of_a_line(milliseconds: int) -> None:
    assert time(f"readings,name=a\\ 1 mag=1.0 {milliseconds}") == milliseconds


@pytest.mark.parametrize("line", ["", "x", "readings,name=a mag=1.0", "readings,name=a mag=1.0 now"])
def test_a_line_of_another_kind_has_no_time(line: str) -> None:
    assert time(line) == 0


def test_lines_are_their_text_until_one_of_them_is_wanted() -> None:
    one, two, three = (f"r,name={name} mag=1.0 1" for name in "abc")
    all_three = f"{one}\n{two}\n{three}"
    lines = Lines(all_three, 3)
    assert text(lines) is all_three
    assert (len(lines), lines[1], lines[1:]) == (3, two, [two, three])
    assert lines == [one, two, three]
    assert lines != [one, two]
    assert text(list(lines)) == all_three
    assert Lines("", 0) == []
