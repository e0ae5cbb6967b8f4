"""Payloads to begin with, and what `parse` makes of them."""

import json
from typing import Any

from tessflux.readings import Message
from tessflux.readings.reading import Reading, Refused, parse

PLAIN = {
    "seq": 7,
    "rev": 2,
    "name": "stars1",
    "freq": 0.5,
    "mag": 21.19,
    "tamb": 7.1,
    "tsky": -18.4,
    "wdBm": -61,
}
LIGHT = {"freq": 0.4, "mag": 21.5, "zp": 20.5}
FOUR = {"seq": 20, "rev": 3, "name": "stars701", "F1": LIGHT, "F2": LIGHT, "F3": LIGHT, "F4": LIGHT}
ABSENT = object()


def row(base: dict[str, Any], **changes: Any) -> bytes:
    """A payload: `base` with these keys changed, or without those that are ABSENT."""
    changed = {**base, **changes}
    return json.dumps({key: value for key, value in changed.items() if value is not ABSENT}).encode()


def literal(key: str, text: str) -> bytes:
    """A payload in which the value of one key is written just so."""
    return row(PLAIN, **{key: "@"}).replace(b'"@"', text.encode())


def good(payload: bytes, **options: Any) -> Reading:
    reading = parse(payload, **options)
    assert isinstance(reading, Reading), reading
    return reading


def refused(payload: bytes, **options: Any) -> Refused:
    reading = parse(payload, **options)
    assert isinstance(reading, Refused), reading
    return reading


NOW = 1_772_323_214_000
TOPIC = "STARS4ALL/stars1/reading"
REGISTER = b'{"name": "stars1", "rev": 2, "mac": "5C:CF:7F:8:A:1", "calib": 20.5}'


def payload(seq: int, name: str = "stars1", more: str = "") -> bytes:
    return f'{{"seq": {seq}, "name": "{name}", "freq": 0.5, "mag": 21.19{more}}}'.encode()


def message(
    payload: bytes,
    topic: str = TOPIC,
    *,
    retained: bool = False,
    received_at: int = NOW,
    sent_at: int | None = None,
    mid: int | None = None,
) -> Message:
    return Message(topic, payload, retained, received_at, mid, sent_at)
