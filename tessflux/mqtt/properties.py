"""The properties of a publication of MQTT 5 -> the time at which it was sent. Pure; no bytes make it raise.

MQTT has no property for that time. Brokers add it as a user property: mosquitto's plugin message_timestamp
as `timestamp` in ISO 8601, other plugins of it as `$TIMESTAMP` in milliseconds; EMQX, HiveMQ and NanoMQ under
the name that their operator chooses.
"""

import re
from datetime import UTC, datetime, timedelta

NAMES = (b"timestamp", b"$timestamp")
"""In lower case."""

USER_PROPERTY, SUBSCRIPTION_IDENTIFIER = 0x26, 0x0B
SIZES = {0x01: 1, 0x02: 4, 0x23: 2}
WITH_LENGTH = (0x03, 0x08, 0x09)
"""What a publication may have (MQTT 5, section 3.3.2.3): numbers of so many bytes, and strings."""

SECONDS_BELOW = 100_000_000_000
"""A smaller number counts seconds since 1970, up to the year 5138; any other counts milliseconds."""

_NUMBER = re.compile(r"(\d{1,13})(?:\.(\d{1,9}))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def sent_at(properties: bytes) -> int | None:
    """In milliseconds since 1970 UTC; None if no user property tells it, or the properties cannot be read.

    The last one counts. Properties keep their order on the way, and a broker adds its own behind those of
    the publisher, whose clock may never have been set.
    """
    found = None
    position, end = 0, len(properties)
    try:
        while position < end:
            kind = properties[position]
            position += 1
            if kind == USER_PROPERTY:
                middle = _behind_text(properties, position)
                name, position = properties[position + 2 : middle], _behind_text(properties, middle)
                if name.lower() in NAMES:
                    time = _time(properties[middle + 2 : position])
                    found = found if time is None else time
            elif kind in SIZES:
                position += SIZES[kind]
            elif kind in WITH_LENGTH:
                position = _behind_text(properties, position)
            elif kind == SUBSCRIPTION_IDENTIFIER:
                while properties[position] > 0x7F:
                    position += 1
                position += 1
            else:
                return None
    except IndexError:
        return None
    return found if position == end else None


def _behind_text(data: bytes, position: int) -> int:
    return position + 2 + (data[position] << 8 | data[position + 1])


def _time(value: bytes) -> int | None:
    try:
        text = value.decode()
        if number := _NUMBER.fullmatch(text):
            whole = int(number[1])
            if whole >= SECONDS_BELOW:
                return whole
            return whole * 1_000 + int((number[2] or "0").ljust(3, "0")[:3])
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without a zone nobody knows which time it is: a broker may write that of its place.
    return None if time.tzinfo is None else (time - _EPOCH) // _MILLISECOND
