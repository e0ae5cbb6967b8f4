"""What is known of one photometer. Frozen: when it is heard, another `Photometer` takes the place of the one
before, so whoever has one may keep it, in any thread. Pure.

There may be 100,000 of them, so numbers that nobody looks at are packed.
"""

import struct
from collections.abc import Mapping
from math import isnan, nan

import msgspec

from tessflux.limits import CAUSES

HOURS = 24
HOUR_MS = 3_600_000

STRANGER = -1

ALWAYS = ("seq", "tamb", "tsky", "wdBm")
ONE_SENSOR = (*ALWAYS, "mag", "freq")
FOUR_SENSORS = (*ALWAYS, *(f"{key}{channel}" for channel in "1234" for key in ("mag", "freq")))
"""The last values that are kept, of a TESS-W and of a TESS4C."""

_MOST = 65_535
"""An hour in the past counts no more: eighteen a second."""


class Day(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many came in the last 24 hours: `count` in `hour` (hours since 1970 UTC), and the hours before it,
    the newest first, in `past`. Times are in milliseconds since 1970 UTC."""

    hour: int = 0
    count: int = 0
    past: bytes = b""

    def add(self, time: int, count: int) -> "Day":
        """That many more at this time. If the clock was set back, they count in the newest hour, unless that
        is a day ahead: then the time of what was counted was wrong."""
        hour = time // HOUR_MS
        if self._is_ahead(hour):
            return Day(hour, count)
        if hour <= self.hour:
            return Day(self.hour, self.count + count, self.past)
        return Day(hour, count, self._past(hour))

    def total(self, now: int) -> int:
        """All in the hour of this time and the 23 before it."""
        hour = now // HOUR_MS
        if self._is_ahead(hour):
            return 0
        if hour <= self.hour:
            return self.count + sum(_unpack_hours(self.past))
        return sum(_unpack_hours(self._past(hour)))

    def _is_ahead(self, hour: int) -> bool:
        """Whether all of it is more than a day ahead of this hour, by a clock that was wrong."""
        return hour <= self.hour - HOURS

    def _past(self, hour: int) -> bytes:
        """The 23 hours before a later one."""
        gap = hour - self.hour - 1
        if gap >= HOURS - 1 or not (self.count or self.past):
            return b""
        newest = bytes(2 * gap) + min(self.count, _MOST).to_bytes(2, "little")
        return (newest + self.past)[: 2 * (HOURS - 1)]


NONE = Day()


def _unpack_hours(past: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(past) // 2}H", past)


class Photometer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One photometer. Times are in milliseconds since 1970 UTC."""

    name: str
    number: int
    """Its place in the history; no other photometer ever gets it. A stranger has none: it is -1."""
    first: int
    """When it was heard first."""
    heard: int
    """When it was heard last: a message came as it was published, or a reading that it made then came later.
    What a broker has retained, and what is repeated, tells nothing new."""
    listened: float
    """For how many seconds we had listened in all when it was heard last."""
    silent: bool = False
    """Whether its silence was an event, and its end not yet."""
    last: bytes = b""
    stored: Day = NONE
    """Readings, in the last 24 hours."""
    filtered: Day = NONE
    """Messages with which nothing is wrong: duplicates, retained ones, register messages."""
    refused: Day = NONE
    """Messages that went to the quarantine."""
    causes: tuple[tuple[str, int], ...] = ()
    """Why messages were filtered or refused, the newest cause first, and when the last one for it came."""
    place: tuple[float, float] | None = None
    """Latitude and longitude in degrees, if its readings say where it is."""

    @property
    def values(self) -> dict[str, float]:
        """What the last reading measured, as far as it did, under the names in the database: `seq`, `tamb`
        and `tsky` (°C), `wdBm` (dBm), `mag` (mag/arcsec²) and `freq` (Hz), or with channels `mag1` to `mag4`
        and `freq1` to `freq4`. Empty if no reading was stored yet."""
        keys = ONE_SENSOR if len(self.last) <= 8 * len(ONE_SENSOR) else FOUR_SENSORS
        numbers = struct.unpack(f"<{len(self.last) // 8}d", self.last)
        return {key: number for key, number in zip(keys, numbers, strict=False) if not isnan(number)}


_ONE, _FOUR = (struct.Struct(f"<{len(keys)}d").pack for keys in (ONE_SENSOR, FOUR_SENSORS))


def pack(fields: Mapping[str, float]) -> bytes:
    """`Photometer.last` of a reading with these fields."""
    get = fields.get
    if "freq" in fields or "mag" in fields:
        # Nearly all are such, and written out it takes half the time.
        return _ONE(
            get("seq", nan),
            get("tamb", nan),
            get("tsky", nan),
            get("wdBm", nan),
            get("mag", nan),
            get("freq", nan),
        )
    return _FOUR(*[get(key, nan) for key in FOUR_SENSORS])


def with_cause(causes: tuple[tuple[str, int], ...], cause: str, at: int) -> tuple[tuple[str, int], ...]:
    """The causes after one more message was filtered or refused."""
    return ((cause, at), *(each for each in causes if each[0] != cause))[:CAUSES]


class _Said(msgspec.Struct, gc=False):
    name: str = ""
    lat: float | None = None
    long: float | None = None


_decode = msgspec.json.Decoder(_Said, strict=False).decode


def name_in(payload: bytes) -> str:
    """The name in a payload that was judged already; "" if it cannot be read at a glance."""
    try:
        return _decode(payload).name.strip().lower()
    except (ValueError, RecursionError):
        return ""


def place_in(payload: bytes) -> tuple[float, float] | None:
    """Where a reading says that its photometer is; None if it does not, or no place on Earth. A receiver of
    GPS that has found nothing yet says 0, 0."""
    if b'"lat"' not in payload:
        return None
    try:
        said = _decode(payload)
    except (ValueError, RecursionError):
        return None
    if said.lat is None or said.long is None or said.lat == said.long == 0:
        return None
    return (said.lat, said.long) if abs(said.lat) <= 90 and abs(said.long) <= 180 else None
