"""Payload bytes -> the values of a reading, or the reason why they are none."""

from typing import Any

import pytest

from tessflux.readings.reading import (
    BAD_NAME,
    EXTRA_FIELDS,
    IMPLAUSIBLE,
    INCOMPLETE,
    NOT_A_NUMBER,
    NOT_JSON,
    REGISTER,
    Reading,
    Refused,
)
from tests.readings.samples import ABSENT, FOUR, PLAIN, good, literal, refused, row


def test_a_plain_reading_has_its_fields_in_the_order_of_the_line() -> None:
    reading = good(row(PLAIN))
    assert reading == Reading(
        "stars1", {"seq": 7.0, "mag": 21.19, "freq": 0.5, "tamb": 7.1, "tsky": -18.4, "wdBm": -61.0}, None
    )
    assert list(reading.fields) == ["seq", "mag", "freq", "tamb", "tsky", "wdBm"]


# Numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0),
        ("-0.00", 0.0),
        ("12", 12.0),
        ("12.0", 12.0),
        ("1.5e1", 15.0),
        ("15E0", 15.0),
        ('"0.50"', 0.5),
        ('"12"', 12.0),
        ('" 12 "', 12.0),
        ('"-1e1"', -10.0),
    ],
)
def test_a_number_may_be_whole_or_in_quotes_and_becomes_a_float(text: str, number: float) -> None:
    mag = good(literal("mag", text)).fields["mag"]
    assert mag == number
    assert type(mag) is float


NO_NUMBERS = [
    "true",
    "false",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1" + "0" * 400,
    '"nan"',
    '"inf"',
    '"-Infinity"',
    '"1e400"',
    '"1_0"',
    '"1,5"',
    '"0x10"',
    '"12 mag"',
    '""',
    '"abc"',
    "[]",
    "[1]",
    "{}",
]


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("key", ["mag", "freq"])
def test_what_is_no_finite_number_is_refused_as_a_required_value(key: str, text: str) -> None:
    assert refused(literal(key, text)) == Refused(NOT_A_NUMBER, f"{key} is no finite number", "stars1")
    assert refused(literal(key, text), validation=False).cause == NOT_A_NUMBER


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("key", ["tamb", "tsky", "wdBm"])
def test_what_is_no_finite_number_leaves_an_optional_value_out(key: str, text: str) -> None:
    fields = good(literal(key, text)).fields
    assert key not in fields
    assert len(fields) == 5


@pytest.mark.parametrize("text", [*NO_NUMBERS, "null"])
def test_what_is_no_finite_number_is_no_counter(text: str) -> None:
    assert refused(literal("seq", text)).cause == INCOMPLETE


@pytest.mark.parametrize(
    "text", ["nan", "inf", "ovf", "-nan", "+1", ".5", "01", "0x10", "1_0", "'1'", "stars"]
)
def test_what_json_cannot_say_makes_the_payload_no_json(text: str) -> None:
    assert refused(literal("mag", text)).cause == NOT_JSON


def test_an_integer_of_more_digits_than_python_converts_is_no_finite_number() -> None:
    assert refused(literal("mag", "1" * 5_000)).cause == NOT_A_NUMBER


# Which values there must be


@pytest.mark.parametrize("key", ["mag", "freq"])
@pytest.mark.parametrize("value", [ABSENT, None])
def test_magnitude_and_frequency_are_required(key: str, value: object) -> None:
    assert refused(row(PLAIN, **{key: value})) == Refused(INCOMPLETE, f"no {key}", "stars1")


@pytest.mark.parametrize("key", ["tamb", "tsky", "wdBm", "rev"])
@pytest.mark.parametrize("value", [ABSENT, None])
def test_all_else_may_be_missing(key: str, value: object) -> None:
    assert set(good(row(PLAIN, **{key: value})).fields) == {
        "seq", "mag", "freq", "tamb", "tsky", "wdBm"
    } - {key}  # fmt: skip


def test_udp_is_the_counter_where_there_is_no_seq() -> None:
    assert good(row(PLAIN, seq=ABSENT, udp=9)).fields["seq"] == 9.0
    assert good(row(PLAIN, seq=None, udp=9)).fields["seq"] == 9.0
    assert good(row(PLAIN, seq=0, udp=9)).fields["seq"] == 0.0
    assert good(row(PLAIN, udp=9)).fields["seq"] == 7.0


def test_a_reading_without_a_counter_is_refused() -> None:
    detail = "no number under seq, nor under udp"
    assert refused(row(PLAIN, seq=ABSENT)) == Refused(INCOMPLETE, detail, "stars1")
    assert refused(row(FOUR, seq=ABSENT)) == Refused(INCOMPLETE, detail, "stars701")


def test_tbox_is_another_word_for_tamb() -> None:
    assert good(row(PLAIN, tamb=ABSENT, tbox=29.87)).fields["tamb"] == 29.87
    assert good(row(PLAIN, tbox=29.87)).fields["tamb"] == 7.1


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert good(row(PLAIN).replace(b"{", b'{"seq": 1, ')).fields["seq"] == 7.0


def test_unknown_keys_are_ignored() -> None:
    assert good(row(PLAIN, tdie=31.2, SN="TW-1", nested={"a": [1, 2]}, hash=5)) == good(row(PLAIN))


def test_extra_fields_are_stored_only_where_they_are_named() -> None:
    extra: dict[str, Any] = {
        **dict.fromkeys(EXTRA_FIELDS - {"az", "zp"}, 1), "azi": 2, "ZP": "20.4"
    }  # fmt: skip
    payload = row(PLAIN, **extra)
    assert good(payload) == good(row(PLAIN))
    named = tuple(sorted(EXTRA_FIELDS))
    assert good(payload, extra_fields=named).fields == {
        **good(row(PLAIN)).fields,
        **dict.fromkeys(EXTRA_FIELDS, 1.0),
        "az": 2.0,
        "zp": 20.4,
    }
    assert good(row(PLAIN, ci=20.2, vbat=True), extra_fields=("zp", "vbat")).fields["zp"] == 20.2
    assert "vbat" not in good(row(PLAIN, vbat=True), extra_fields=("vbat",)).fields


# Sentinels and plausible ranges


@pytest.mark.parametrize("mag", [-99, 99, -99.0, "99.00"])
@pytest.mark.parametrize("validation", [True, False])
def test_a_magnitude_of_99_either_way_says_that_there_is_none(mag: object, validation: bool) -> None:
    fields = good(row(PLAIN, mag=mag, freq=0), validation=validation).fields
    assert "mag" not in fields
    assert fields["freq"] == 0.0


@pytest.mark.parametrize(("key", "value"), [("tamb", -273.15), ("tsky", -273.15), ("wdBm", 99)])
def test_fillers_for_a_missing_measure_are_left_out(key: str, value: float) -> None:
    assert key not in good(row(PLAIN, **{key: value})).fields


@pytest.mark.parametrize(
    ("key", "value"), [("tamb", 0), ("tsky", 0), ("wdBm", 0), ("wdBm", -273.15), ("tamb", 99), ("mag", 0)]
)
def test_zeros_and_the_fillers_of_other_values_are_values(key: str, value: float) -> None:
    assert good(row(PLAIN, **{key: value})).fields[key] == value


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [
        ("freq", 0, -0.01),
        ("freq", 1_000_000, 1_000_000.1),
        ("mag", -10, -10.01),
        ("mag", 27, 27.01),
        ("mag", 24, 98.99),
    ],
)
def test_implausible_values_are_refused_unless_validation_is_off(
    key: str, inside: float, outside: float
) -> None:
    assert good(row(PLAIN, **{key: inside})).fields[key] == inside
    assert refused(row(PLAIN, **{key: outside})).cause == IMPLAUSIBLE
    assert good(row(PLAIN, **{key: outside}), validation=False).fields[key] == outside


# TESS4C


def test_four_channels_have_fields_with_their_numbers() -> None:
    channels = {f"F{n}": {"freq": n, "mag": 20 + n} for n in range(1, 5)}
    assert good(row({**FOUR, **channels}, tamb=9, wdBm=-60)).fields == {
        "seq": 20.0,
        "mag1": 21.0, "freq1": 1.0,
        "mag2": 22.0, "freq2": 2.0,
        "mag3": 23.0, "freq3": 3.0,
        "mag4": 24.0, "freq4": 4.0,
        "tamb": 9.0,
        "wdBm": -60.0,
    }  # fmt: skip


@pytest.mark.parametrize("channel", ["F1", "F2", "F3", "F4"])
@pytest.mark.parametrize(
    "value",
    [
        ABSENT,
        None,
        [0.5, 21.3, 20.5],
        5,
        "F2",
        {},
        {"freq": 1},
        {"mag": 21},
        {"freq": 1, "mag": float("nan")},
        {"freq": -1, "mag": 21},
        {"freq": 1, "mag": True},
        {"freq": 1, "mag": 40},
    ],
)
def test_a_broken_channel_does_not_spoil_the_others(channel: str, value: object) -> None:
    fields = good(row(FOUR, **{channel: value})).fields
    others = {"1", "2", "3", "4"} - {channel[1]}
    assert set(fields) == {"seq"} | {f"{key}{n}" for key in ("mag", "freq") for n in others}


def test_one_channel_is_enough_and_any_will_do() -> None:
    for n in "1234":
        only = {"seq": 1, "name": "a", f"F{n}": {"freq": "1", "mag": 2}}
        assert good(row(only)).fields == {"seq": 1.0, f"mag{n}": 2.0, f"freq{n}": 1.0}


def test_without_a_usable_channel_the_first_problem_is_the_reason() -> None:
    broken: dict[str, Any] = {"F1": None, "F2": {"freq": -1, "mag": 3}, "F3": [], "F4": {}}
    assert refused(row(FOUR, **broken)) == Refused(INCOMPLETE, "F1 is no object", "stars701")
    assert refused(row({"seq": 1, "name": "a"}, F3={"freq": -1, "mag": 3})).cause == IMPLAUSIBLE


def test_a_channel_without_a_magnitude_keeps_its_frequency() -> None:
    fields = good(row(FOUR, F2={"freq": 0, "mag": -99})).fields
    assert "mag2" not in fields
    assert fields["freq2"] == 0.0


def test_channels_come_before_a_flat_frequency_and_magnitude() -> None:
    assert good(row(FOUR, freq=1, mag=2)) == good(row(FOUR))


# Register messages


@pytest.mark.parametrize(
    "message",
    [
        {"name": "stars90", "rev": 2, "mac": "5C:CF:7F:8:A:1", "chan": "pruebas", "calib": 20.5, "wdBm": -67},
        {"name": "stars90", "mac": None, "calib": None, "rev": None},
        {"name": "stars90", "calib": 20},
        {
            "name": "stars90",
            "rev": 3,
            "mac": "AA:BB:CC:DD:EE:FF",
            "firmware": "Mar  4 2024",
            **{f"F{n}": {"band": "R", "calib": 20.1} for n in range(1, 5)},
        },
    ],
)
def test_a_register_message_is_known_by_its_keys(message: dict[str, Any]) -> None:
    assert refused(row(message)) == Refused(REGISTER, "a photometer says who it is", "stars90")


def test_a_reading_with_a_mac_is_a_reading() -> None:
    assert good(row(PLAIN, mac="AA:BB:CC:DD:EE:FF", calib=20.5)) == good(row(PLAIN))


def test_a_register_message_without_a_name_has_a_bad_name() -> None:
    assert refused(b'{"mac": "AA:BB:CC:DD:EE:FF", "calib": 20.5}').cause == BAD_NAME
