"""Readings -> means of five minutes, by photometer, and how they are kept on disk. Pure.

On disk the means of 64 photometers in the same five minutes are one block: for each a record of seven numbers
of 16 bits. So little is written, in the order of time, and the record of one photometer is found at once.
What was not measured is missing in the mean, as a gap.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tessflux.limits import UNSAVED_MEANS

SECONDS = 300
"""What a mean is of."""

IN_BLOCK = 64

_ABSENT = -32_768
_LARGEST = 32_767
_MAG, _DEGREE = 1_000, 100
"""Steps in one magnitude, and in one degree."""

_CHANNELS = range(3, 7)
_ONE_SENSOR = ((1, "tamb"), (2, "tsky"), (3, "mag"))
_FOUR_SENSORS = ((1, "tamb"), (2, "tsky"), *((place, f"mag{place - 2}") for place in _CHANNELS))
"""Places in a record; the first one has how many readings there were."""
_SCALES = (1, _DEGREE, _DEGREE, _MAG, _MAG, _MAG, _MAG)

_PLACES = len(_SCALES)
_RECORD = struct.Struct(f"<{_PLACES}h")
_BLOCK = struct.Struct(f"<{IN_BLOCK * _PLACES}h")
_EMPTY = (0, *[_ABSENT] * (_PLACES - 1)) * IN_BLOCK

Sums = dict[int, dict[int, list[float]]]
"""By bucket (which five minutes since 1970 UTC) and number of the photometer: for each place of a record how
many numbers there were, and then the sum of each."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of `count` readings of one photometer in the SECONDS after `start` (milliseconds since 1970
    UTC). `mags` (mag/arcsec²) has one magnitude, or those of the four channels of a TESS4C; `tamb` and `tsky`
    are in °C. None is what was not measured."""

    start: int
    count: int
    mags: tuple[float | None, ...]
    tamb: float | None
    tsky: float | None


def bucket(time: float) -> int:
    """In which five minutes a time (s) is."""
    return int(time // SECONDS)


class Means:
    """Gathers what was not saved yet."""

    def __init__(self) -> None:
        self.sums: Sums = {}
        self.count = 0

    def add(self, time: int, number: int, fields: Mapping[str, float]) -> None:
        """A reading of this photometer, made at this time (ms)."""
        at = time // (SECONDS * 1_000)
        found = self.sums.get(at)
        if found is None:
            found = self.sums[at] = {}
        record = found.get(number)
        if record is None:
            if self.count >= UNSAVED_MEANS:
                return
            self.count += 1
            record = found[number] = [0] * (2 * _PLACES)
        record[0] += 1
        get = fields.get
        for place, key in _ONE_SENSOR if "freq" in fields or "mag" in fields else _FOUR_SENSORS:
            value = get(key)
            if value is not None:
                record[place] += 1
                record[place + _PLACES] += value


def blocks(sums: Mapping[int, list[float]]) -> dict[int, dict[int, tuple[int, ...]]]:
    """The records of one bucket: by block, and by place in it."""
    found: dict[int, dict[int, tuple[int, ...]]] = {}
    for number, record in sums.items():
        block, place = divmod(number, IN_BLOCK)
        found.setdefault(block, {})[place] = _record(record)
    return found


def _record(sums: list[float]) -> tuple[int, ...]:
    means = (
        _scaled(total / count, scale) if count else _ABSENT
        for count, total, scale in zip(sums[1:_PLACES], sums[_PLACES + 1 :], _SCALES[1:], strict=True)
    )
    return (min(int(sums[0]), _LARGEST), *means)


def _scaled(number: float, scale: int) -> int:
    """As it stands on disk. No sky has a brightness or a temperature that does not fit."""
    scaled = number * scale
    return round(scaled) if -_LARGEST <= scaled <= _LARGEST else _ABSENT


def is_block(found: object) -> bool:
    """Whether what a file has in the place of a block is one: a damaged file may have anything there."""
    return isinstance(found, bytes) and len(found) == _BLOCK.size


def merged(block: bytes | None, records: Mapping[int, tuple[int, ...]]) -> bytes:
    """A block with these records added to what it has already; None is a new one."""
    numbers = list(_BLOCK.unpack(block) if block is not None else _EMPTY)
    for place, record in records.items():
        here = slice(place * _PLACES, (place + 1) * _PLACES)
        before = numbers[here]
        numbers[here] = _sum(before, record) if before[0] else record
    return _BLOCK.pack(*numbers)


def _sum(one: list[int], other: tuple[int, ...]) -> list[int]:
    """The record of two parts of the same five minutes."""
    count = one[0] + other[0]
    both = [min(count, _LARGEST)]
    for first, second in zip(one[1:], other[1:], strict=True):
        if _ABSENT in (first, second):
            both.append(max(first, second))
        else:
            both.append(round((first * one[0] + second * other[0]) / count))
    return both


def mean(at: int, number: int, block: bytes) -> Mean | None:
    """That of one photometer, from the block of a bucket; None if it has none."""
    count, tamb, tsky, *mags = _RECORD.unpack_from(block, number % IN_BLOCK * _RECORD.size)
    if not count:
        return None
    channels = 4 if any(each != _ABSENT for each in mags[1:]) else 1
    return Mean(
        at * SECONDS * 1_000,
        count,
        tuple(_number(each, _MAG) for each in mags[:channels]),
        _number(tamb, _DEGREE),
        _number(tsky, _DEGREE),
    )


def first_magnitudes(numbers: Iterable[int], block: bytes) -> list[float | None]:
    """The magnitude, or that of the first channel, of photometers in one block; None is a gap."""
    mags = _BLOCK.unpack(block)[_CHANNELS[0] :: _PLACES]
    return [_number(mags[number % IN_BLOCK], _MAG) for number in numbers]


def _number(scaled: int, scale: int) -> float | None:
    return None if scaled == _ABSENT else scaled / scale
