"""Payloads to begin with, and what `parse` makes of them."""

import json
from typing import Any

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
