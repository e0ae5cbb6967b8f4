"""Payload bytes -> the values of a reading, or the reason why they are not one."""

from typing import Any

import pytest

from tessflux.readings.reading import (
    BAD_NAME,
    IMPLAUSIBLE,
    INCOMPLETE,
    NOT_A_NUMBER,
    NOT_JSON,
    REGISTER,
    Reading,
    Refused,
    parse,
)
from tests.readings.samples import ABSENT, FOUR, LIGHT, PLAIN, good, literal, refused, row


def test_a_plain_reading_has_its_fields_in_the_order_of_the_line() -> None:
    reading = good(row(PLAIN))
    fields = {"seq": 7.0, "mag": 21.19, "freq": 0.5, "tamb": 7.1, "tsky": -18.4, "wdBm": -61.0}
    values = "seq=7.0,mag=21.19,freq=0.5,tamb=7.1,tsky=-18.4,wdBm=-61.0"
    assert reading == Reading("stars1", 7.0, values, None)
    assert list(reading.fields.items()) == list(fields.items())


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


@pytest.mark.parametrize(
    "text",
    [
        *("true", "false", "[]", "[1]", "{}"),
        *(
            "1e400",
            "-1e400",
            "1" + "0" * 400,
            "1" * 5_000,
        ),
        *('"nan"', '"inf"', '"-Infinity"', '"1e400"', '"1_0"', '"1,5"', '"0x10"', '"12 mag"', '""', '"abc"'),
        *('"\u0661\u0662.\u0665"', '"\uff11\uff12"', '"1\u00a0"'),
    ],
)
def test_what_is_not_a_finite_number_is_as_good_as_none(text: str) -> None:
    for key in ("mag", "freq"):
        problem = Refused(NOT_A_NUMBER, f"{key} is not a finite number", "stars1")
        assert refused(literal(key, text)) == problem
        assert refused(literal(key, text), validation=False) == problem
    assert refused(literal("seq", text)).cause == INCOMPLETE
    assert good(literal("tamb", text)) == good(row(PLAIN, tamb=ABSENT))


@pytest.mark.parametrize(
    "text", ["Nan", "nano", "+nan", "--inf", "nan 1", "+1", ".5", "01", "0x10", "1_0", "'1'", "stars"]
)
def test_what_json_cannot_say_makes_the_payload_no_json(text: str) -> None:
    assert refused(literal("mag", text)).cause == NOT_JSON


TOKENS = ("nan", "inf", "ovf", "-nan", "-inf", "NaN", "Infinity", "-Infinity")


@pytest.mark.parametrize(
    "with_null",
    [
        *(literal(key, "null") for key in ("mag", "freq", "seq", "tamb", "tstamp", "name")),
        literal("tamb", 'null, "tbox": 5'),
        literal("seq", 'null, "udp": 5'),
        *(literal("other", text) for text in ("[null]", "[1,null]", "[null , 1]", "[\t null,null\n]")),
        row(FOUR, F2={"freq": None, "mag": 21}),
        row(FOUR, F1={"freq": None, "mag": None}, F2=None),
    ],
)
def test_a_bare_token_that_stands_for_no_number_is_null(with_null: bytes) -> None:
    payloads = [with_null, *(with_null.replace(b"null", token.encode()) for token in TOKENS)]
    assert [parse(payload) for payload in payloads] == [parse(with_null)] * len(payloads)


def test_what_arduino_prints_for_a_broken_float_stays_as_it_is_within_a_name() -> None:
    name = 'a: nan, "b": inf}'
    reading = good(row(PLAIN, name=name, tamb="@").replace(b'"@"', b"nan"))
    assert reading == good(row(PLAIN, name=name, tamb=ABSENT))
    assert reading.name == name


# Keys


def test_the_reason_names_the_key_that_is_missing() -> None:
    for key in ("mag", "freq"):
        assert refused(row(PLAIN, **{key: None})) == Refused(INCOMPLETE, f"no {key}", "stars1")
    no_counter = "no number under seq, nor under udp"
    assert refused(row(PLAIN, seq=ABSENT)) == Refused(INCOMPLETE, no_counter, "stars1")
    assert refused(row(FOUR, seq=ABSENT)) == Refused(INCOMPLETE, no_counter, "stars701")


def test_the_reason_shows_the_number_that_is_implausible() -> None:
    assert refused(row(PLAIN, freq=-1)) == Refused(IMPLAUSIBLE, "freq = -1.0", "stars1")


def test_a_missing_number_is_the_reason_before_an_implausible_one() -> None:
    assert refused(row(PLAIN, mag=50, freq=ABSENT)) == Refused(INCOMPLETE, "no freq", "stars1")


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert good(row(PLAIN).replace(b"{", b'{"seq": 1, ')).fields["seq"] == 7.0


def test_unknown_keys_are_ignored() -> None:
    assert good(row(PLAIN, tdie=31.2, SN="TW-1", nested={"a": [1, 2]}, hash=5)) == good(row(PLAIN))


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
    assert refused(row(FOUR, **broken)) == Refused(INCOMPLETE, "F1 is not an object", "stars701")
    assert refused(row({"seq": 1, "name": "a"}, F3={"freq": -1, "mag": 3})).cause == IMPLAUSIBLE


def test_a_channel_without_a_magnitude_keeps_its_frequency() -> None:
    fields = good(row(FOUR, F2={"freq": 0, "mag": -99})).fields
    assert "mag2" not in fields
    assert fields["freq2"] == 0.0


def test_a_field_of_the_light_that_the_config_names_is_stored_by_channel_too() -> None:
    fields = good(
        row({**FOUR, "F1": {**LIGHT, "zp": 19.96}, "F2": {**LIGHT, "zp": None}}), extra_fields=("zp",)
    ).fields
    assert {key: fields[key] for key in fields if key.startswith("zp")} == {
        "zp1": 19.96,
        "zp3": 20.5,
        "zp4": 20.5,
    }
    assert (
        good(row(FOUR, F3={"freq": 1, "mag": 2, "ci": "20.44"}), extra_fields=("zp",)).fields["zp3"] == 20.44
    )
    assert "zp4" not in good(row(FOUR, F4={"zp": 20.5}), extra_fields=("zp",)).fields, "the channel is broken"
    assert good(row(FOUR, ZP=20.1), extra_fields=("zp",)).fields["zp"] == 20.1
    assert not {"zp", "zp1"} & good(row(FOUR), extra_fields=("vbat",)).fields.keys()


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
