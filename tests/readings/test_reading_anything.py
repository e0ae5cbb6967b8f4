"""Whatever the bytes of a payload are, they are a reading or are refused."""

import json
import random
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessflux.limits import MAX_NAME, MAX_PAYLOAD
from tessflux.readings.fields import CHANNELS, EXTRA_FIELDS, FIELDS, Kind, of
from tessflux.readings.reading import (
    NOT_JSON,
    TOO_LONG,
    Reading,
    Refused,
    parse,
)
from tests.readings.payloads import cases
from tests.readings.samples import PLAIN, good, literal, refused, row

# Payloads as a whole


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"5",
        b"null",
        b"true",
        b'"stars1"',
        b"[]",
        b"<WaitBrok>",
        b"<fH 04714><tA +2737><tO +2073><mZ -0000>",
        b"r, 06.53m,0000211313Hz,0000000000c,0000000.000s, 027.0C",
        row(PLAIN)[:-1],
        row(PLAIN) + row(PLAIN),
        row(PLAIN) + b"\0",
        b"\xef\xbb\xbf" + row(PLAIN),
        row(PLAIN).decode().encode("utf-16"),
        row(PLAIN).replace(b"stars1", b"\xf1u\xf1oa"),
        row(PLAIN).replace(b"stars1", b"\xed\xa0\x80"),
        row(PLAIN).replace(b"stars1", b"tab\there"),
        row(PLAIN).replace(b"}", b",}"),
        b"[" * MAX_PAYLOAD,
        b'{"a":' * 13_000,
    ],
)
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    assert refused(payload).cause == NOT_JSON


def test_blanks_and_line_ends_around_the_object_do_no_harm() -> None:
    assert good(b"\r\n " + row(PLAIN) + b"\r\n") == good(row(PLAIN))


def test_deep_nesting_under_an_unknown_key_does_no_harm() -> None:
    assert good(literal("rev", "[" * 500 + "]" * 500)) == good(row(PLAIN))


@pytest.mark.parametrize("extra_fields", [(), ("zp",)])
def test_an_integer_under_an_unknown_key_may_have_any_number_of_digits(extra_fields: tuple[str, ...]) -> None:
    assert good(literal("rev", "8" * 5_000), extra_fields=extra_fields) == good(row(PLAIN))


def test_a_payload_is_read_up_to_its_limit_and_not_past_it() -> None:
    longest = row(PLAIN).ljust(MAX_PAYLOAD)
    assert good(longest) == good(row(PLAIN))
    problem = refused(longest + b" ")
    assert problem == Refused(TOO_LONG, "over 65536 bytes")


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * MAX_PAYLOAD,
        b"[" * MAX_PAYLOAD,
        b'"' + b"a" * 65_000 + b'"',
        row(PLAIN, name="x" * 65_000),
        row(PLAIN, tstamp="2026-13-01T00:00:00." + "1" * 60_000),
        row(PLAIN, tstamp="x" * 60_000),
        literal("mag", "1" * 60_000),
        literal("mag", "1" * 4_000),
        literal("mag", '"' + "1" * 60_000 + '"'),
    ],
)
def test_the_reason_is_short_however_long_the_payload(payload: bytes) -> None:
    assert len(refused(payload).detail) < 200


# Anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = [name for field in FIELDS for name in (field.key, *field.aliases)]
KEYS += ["name", "tstamp", "mac", *CHANNELS]
STORED = {field.key for field in FIELDS}
STORED |= {field.key + channel[1] for field in of(Kind.LIGHT, Kind.LIGHT_EXTRA) for channel in CHANNELS}
NEARLY = st.dictionaries(
    st.sampled_from(KEYS),
    st.floats() | st.sampled_from(["stars1", "1.5", -99, 99, -273.15, {"freq": 1, "mag": 2}]) | JSON,
)


def check(reading: Reading | Refused) -> None:
    """What holds for whatever `parse` returns."""
    if isinstance(reading, Refused):
        assert reading.cause
        assert len(reading.detail) < 200
    else:
        assert all(type(value) is float and isfinite(value) for value in reading.fields.values())
        assert "seq" in reading.fields
        assert any(key.startswith("freq") for key in reading.fields)
        assert reading.fields.keys() <= STORED
        name = reading.name
        assert 1 <= len(name) <= MAX_NAME
        assert name.isprintable()
        assert name == name.strip().lower()
        assert not name.endswith("\\")
        assert reading.tstamp is None or type(reading.tstamp) is int


@settings(max_examples=500)
@given(JSON | NEARLY | NEARLY.map(lambda keys: {**PLAIN, **keys}), st.booleans())
def test_any_json_is_a_reading_or_is_refused(value: object, validation: bool) -> None:
    check(parse(json.dumps(value).encode(), extra_fields=tuple(EXTRA_FIELDS), validation=validation))


def check_short_way(payload: bytes) -> None:
    """What is read in the short way for plain readings is what the long way makes of it, in its order too."""
    # Whoever asks for extra fields takes the long way.
    short, long = parse(payload), parse(payload, extra_fields=("height",))
    assert short == long
    if isinstance(short, Reading) and isinstance(long, Reading):
        assert list(short.fields) == list(long.fields)


@settings(max_examples=500)
@given(st.lists(NEARLY.map(lambda keys: {**PLAIN, **keys, "height": None}), min_size=1, max_size=3))
def test_a_plain_reading_is_read_as_any_other(values: list[dict[str, object]]) -> None:
    """Keys may also come twice, and in any order."""
    members = [f"{json.dumps(key)}: {json.dumps(value)}" for each in values for key, value in each.items()]
    check_short_way(f"{{{','.join(members)}}}".encode())


@given(st.binary())
def test_any_bytes_are_a_reading_or_are_refused(payload: bytes) -> None:
    check(parse(payload))


INSERTS = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"null",
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"-",
    b"99",
]


def mutated(payload: bytes, rng: random.Random) -> bytes:
    """The payload with one or two bytes changed, pieces cut out or doubled, or something put in."""
    result = bytearray(payload)
    for _ in range(rng.randint(1, 2)):
        at = rng.randint(0, len(result))
        match rng.randrange(9):
            case 0:
                result[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del result[at : at + rng.randint(1, 8)]
            case 2:
                result[at:at] = result[at : at + rng.randint(1, 8)]
            case 3:
                result[at:at] = rng.choice(INSERTS)
            case _:
                result[at : at + 1] = rng.choice(b"0123456789eE.+-").to_bytes()
    return bytes(result)


def test_20_000_mutations_of_real_payloads_are_readings_or_are_refused() -> None:
    rng = random.Random(20260301)
    originals = [case.payload for case in cases() if case.payload]
    seen = {Reading: 0, Refused: 0}
    for _ in range(20_000):
        payload = mutated(rng.choice(originals), rng)
        reading = parse(payload)
        check(reading)
        if b"height" not in payload:
            check_short_way(payload)
        seen[type(reading)] += 1
    # Were the mutations too mild or too wild, they would test nothing.
    assert min(seen.values()) > 2_000
