"""The time at which a message was sent is found among its properties, and nothing else is taken for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.mqtt.properties import sent_at
from tests.mqtt.wire import user_property

AT = 1_772_323_214_000
SENT = user_property("timestamp", "2026-03-01T00:00:14Z")
OTHERS = {
    "payload format": b"\x01\x01",
    "expiry": b"\x02\x00\x00\x0e\x10",
    "content type": b"\x03\x00\x04json",
    "response topic": b"\x08\x00\x01r",
    "correlation data": b"\x09\x00\x03\x26\x00\x00",
    "subscription identifier": b"\x0b\x80\x80\x01",
    "topic alias": b"\x23\x00\x01",
    "user property": user_property("client", "stars1"),
}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01T00:00:14Z", AT),
        ("2026-03-01 01:00:14+01:00", AT),
        ("2026-03-01T00:00:14.250999Z", AT + 250),
        ("20260301T000014Z", AT),
        ("1772323214", AT),
        ("1772323214.25", AT + 250),
        ("1772323214000", AT),
        ("1772323214000.9", AT),
        # The last second, and the first millisecond, that a number is taken for.
        ("99999999999", 99_999_999_999_000),
        ("100000000000", 100_000_000_000),
    ],
)
def test_a_time_is_iso_8601_with_a_zone_or_counts_from_1970(text: str, time: int) -> None:
    assert sent_at(user_property("timestamp", text)) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2026-03-01T00:00:14",
        "2026-03-01",
        "2026-03-01T00:00:60Z",
        "2026-13-01T00:00:00Z",
        "-1772323214",
        "1_772_323_214",
        " 1772323214",
        "1772323214\n",
        "1.7e9",
        "nan",
        "inf",
        "\u0661\u0667\u0667",
        # Microseconds.
        "1772323214000000",
        "1" * 5_000,
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert sent_at(user_property("timestamp", text)) is None
    assert sent_at(SENT + user_property("timestamp", text)) == AT


@pytest.mark.parametrize("name", ["timestamp", "Timestamp", "$TIMESTAMP"])
def test_its_name_may_be_written_as_brokers_write_it(name: str) -> None:
    assert sent_at(user_property(name, "1772323214000")) == AT


@pytest.mark.parametrize("name", ["", "time", "timestamps", "tst\u00e4mp"])
def test_another_name_is_something_else(name: str) -> None:
    assert sent_at(user_property(name, "1772323214000")) is None


def test_the_last_of_several_counts() -> None:
    assert sent_at(user_property("timestamp", "1") + user_property("$TIMESTAMP", "2") + SENT) == AT
    assert sent_at(SENT + user_property("timestamp", "1")) == 1_000


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_it_is_found_before_and_behind_every_other_property(other: bytes) -> None:
    assert sent_at(other + SENT + other) == AT
    assert sent_at(other) is None


@pytest.mark.parametrize("other", [*OTHERS.values(), SENT], ids=[*OTHERS, "sent"])
def test_properties_that_end_too_early_tell_nothing(other: bytes) -> None:
    for end in range(1, len(other)):
        assert sent_at(SENT + other[:end]) is None, end


@pytest.mark.parametrize("kind", [0x00, 0x11, 0x27, 0xFF])
def test_a_property_that_no_publication_has_makes_all_of_them_unreadable(kind: int) -> None:
    assert sent_at(SENT + bytes([kind])) is None


@given(st.binary(max_size=40))
def test_no_bytes_make_it_raise(tail: bytes) -> None:
    for properties in (tail, SENT + tail, b"\x26\x00\x09timestamp\x00" + bytes([len(tail)]) + tail):
        found = sent_at(properties)
        assert found is None or isinstance(found, int)
