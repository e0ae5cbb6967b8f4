"""Bytes become the same packets however they arrive, and publications are read as paho reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.limits import MAX_PACKET, MAX_PAYLOAD
from tessflux.mqtt.packets import Malformed, Packet, Splitter, publication
from tessflux.readings.message import Message
from tests.mqtt.wire import packet, publish, user_property

TOPIC = "STARS4ALL/stars1/reading"
NOW = 1_700_000_000_250


def packets(splitter: Splitter) -> list[Packet]:
    return list(splitter.packets())


@given(st.lists(st.integers(0, 300) | st.sampled_from([127, 128, 16_383, 16_384])), st.data())
def test_packets_are_the_same_however_their_bytes_arrive(sizes: list[int], data: st.DataObject) -> None:
    sent = [packet(0x30, bytes(size)) for size in sizes]
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter, found = Splitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        splitter.feed(stream[start:end])
        found += packets(splitter)
    assert [data for _, _, data in found] == sent
    assert [len(data) - body for _, body, data in found] == sizes


def test_a_stream_may_come_byte_by_byte() -> None:
    stream = publish(TOPIC, b"x" * 200, mid=7) + packet(0xD0)
    splitter, found = Splitter(), []
    for byte in stream:
        splitter.feed(bytes([byte]))
        found += packets(splitter)
    assert b"".join(data for _, _, data in found) == stream


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("mid", [None, 1, 65_535])
@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize("payload", [b"", b"{}", b"\x00" * 300])
def test_a_publication_is_read_whole(version: str, mid: int | None, retained: bool, payload: bytes) -> None:
    splitter = Splitter()
    splitter.feed(publish(TOPIC, payload, mid=mid or 0, retained=retained, version=version))
    (found,) = packets(splitter)
    assert publication(found, NOW, version5=version == "5") == Message(TOPIC, payload, retained, NOW, mid)


@pytest.mark.parametrize(
    ("properties", "sent_at"),
    [
        (user_property("key", "v" * 200), None),
        (user_property("timestamp", "2026-03-01T00:00:14Z"), 1_772_323_214_000),
        (b"no property", None),
    ],
)
@pytest.mark.parametrize("retained", [False, True])
def test_of_the_properties_of_mqtt_5_the_time_of_the_message_is_read(
    properties: bytes, sent_at: int | None, retained: bool
) -> None:
    splitter = Splitter()
    splitter.feed(publish("a", b"payload", mid=7, retained=retained, version="5", properties=properties))
    (found,) = packets(splitter)
    expected = Message("a", b"payload", retained, NOW, 7, sent_at)
    assert publication(found, NOW, version5=True) == expected


def test_a_topic_that_is_no_utf_8_does_not_hide_its_payload() -> None:
    splitter = Splitter()
    splitter.feed(packet(0x30, b"\x00\x02\xff\xfe{}"))
    (found,) = packets(splitter)
    assert publication(found, NOW, version5=False).payload == b"{}"


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\xff\x80\x01",
        b"\x90\x80\x80\x80\x01",
    ],
)
def test_a_length_that_no_broker_sends_is_malformed(stream: bytes) -> None:
    splitter = Splitter()
    splitter.feed(stream)
    with pytest.raises(Malformed):
        packets(splitter)


@pytest.mark.parametrize("cut", [1, 1_000, MAX_PACKET, MAX_PACKET + 10])
def test_of_a_very_long_publication_the_beginning_is_read_and_the_rest_passed_over(cut: int) -> None:
    """A broker would deliver it again and again to a subscriber that gives up."""
    stream = publish(TOPIC, b"x" * (MAX_PACKET + 500_000), mid=7) + publish(TOPIC, b"next", mid=8)
    splitter, found = Splitter(), []
    for start in range(0, len(stream), cut) if cut > 1 else [0]:
        splitter.feed(stream[start : start + cut] if cut > 1 else stream)
        found += packets(splitter)
    long, following = (publication(each, NOW, version5=False) for each in found)
    assert (long.topic, long.mid) == (TOPIC, 7)
    assert MAX_PAYLOAD < len(long.payload) < MAX_PACKET
    assert (following.payload, following.mid) == (b"next", 8)


def test_a_publication_whose_properties_alone_are_too_long_is_taken_and_the_next_one_too() -> None:
    """A broker would deliver it again and again to a subscriber that gives up."""
    length = MAX_PACKET + 1_000
    digits = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
    body = b"\x00\x01a" + b"\x00\x07" + digits + bytes(length) + b"payload"
    splitter = Splitter()
    splitter.feed(packet(0x32, body) + publish(TOPIC, b"next", mid=8, version="5"))
    long, following = (publication(each, NOW, version5=True) for each in packets(splitter))
    assert (long.topic, long.mid, len(long.payload) > MAX_PAYLOAD) == ("a", 7, True)
    assert (following.payload, following.mid) == (b"next", 8)


@given(st.integers(0, 1), st.binary(max_size=40), st.booleans())
def test_any_bytes_are_a_publication_or_malformed(qos: int, body: bytes, version5: bool) -> None:
    """And what is read was in the packet."""
    splitter = Splitter()
    splitter.feed(packet(0x30 | qos << 1, body))
    (found,) = packets(splitter)
    try:
        read = publication(found, NOW, version5=version5)
    except Malformed:
        return
    assert body.endswith(read.payload)
    assert (read.mid is None) == (qos == 0)
