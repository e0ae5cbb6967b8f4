"""Payload bytes -> a Reading, or the reason why they are not one. Pure; no payload makes it raise.

Payloads that came together are read together: what nearly every one of them needs is done for all at once.

The keys of a message say what it is, not its topic. A TESS-W (or a TAS, a TESS-P, a gateway's variant of
them) sends `freq` and `mag`; a TESS4C sends an object with both for each of its channels `F1` to `F4`.
Arduino prints a broken float as `nan`, `inf` or `ovf`, and Python as `NaN` or `Infinity`, which is not JSON:
it counts as null.

Every value is a float, because a field in InfluxDB keeps the type of its first value for ever.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from math import isfinite
from typing import Annotated, Any

import msgspec

from tessflux.limits import MAX_NAME, MAX_PAYLOAD
from tessflux.readings import lineprotocol
from tessflux.readings.fields import CHANNELS, EXTRA_FIELDS, Field, Kind, of

_TSTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?[0-5]\d)?", re.ASCII)
# A string that does not end is taken to the end too: to look for its end again from each quote takes seconds.
_STRING_OR_NO_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*+"?|(?<=[:,[\s])-?(?:nan|inf|ovf)(?=\s*[],}])')
"""A string, of which nothing is changed, or what Arduino prints for a float that it cannot print as a
number."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one photometer measured at one time.

    `name` is stripped and lower-cased, and has 1 to 64 printable characters. `seq` is its counter. `values`
    are all finite floats that it measured, `seq` among them, as they stand in a line. `tstamp` is the
    publisher's own time in milliseconds since 1970 UTC, None if it sent none.
    """

    name: str
    seq: float
    values: str
    tstamp: int | None

    @property
    def fields(self) -> dict[str, float]:
        """The values by their names in InfluxDB. Few look at them, so they are read only then."""
        return lineprotocol.fields(self.values)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a payload is not a reading: a `cause` to count, a `detail` for people, the `name` if it has one."""

    cause: str
    detail: str
    name: str = ""


NOT_JSON = "not JSON"
TOO_LONG = "too long"
BAD_NAME = "bad name"
INCOMPLETE = "incomplete"
NOT_A_NUMBER = "not a number"
IMPLAUSIBLE = "implausible"
BAD_TIME = "bad time"
REGISTER = "register message"


_REQUIRED, _LIGHT, _OPTIONAL = of(Kind.REQUIRED), of(Kind.LIGHT), of(Kind.OPTIONAL)


def _measure(field: Field) -> Any:
    """The type of a number that is a plausible measure."""
    # msgspec takes no infinite bounds.
    above, below = (bound if isfinite(bound) else None for bound in (field.above, field.below))
    return Annotated[float, msgspec.Meta(gt=above, lt=below)]


_NEVER = Annotated[str, msgspec.Meta(pattern="(?!)")]
_NOT_PLAIN = (*CHANNELS, *(alias for field in _OPTIONAL for alias in field.aliases))

_Plain = msgspec.defstruct(
    "_Plain",
    [
        *((field.key, _measure(field)) for field in _REQUIRED + _LIGHT),
        *((field.key, _measure(field) | None, None) for field in _OPTIONAL),
        ("name", str, ""),
        ("tstamp", str | None, None),
        *((key, _NEVER, "") for key in _NOT_PLAIN),
    ],
    kw_only=True,
    omit_defaults=True,
    gc=False,
)
"""Nearly every reading: a TESS-W's, plausible and under the usual keys. msgspec reads it in a third of the
time that a dictionary takes, refuses everything else, and writes what is not the default."""

_plain: Callable[[bytes], Any] = msgspec.json.Decoder(_Plain).decode


class Malformed(Exception):
    """Raised where a problem is found; whoever reads a whole payload catches it, and makes a Refused of
    it."""

    def __init__(self, cause: str, detail: str) -> None:
        self.cause, self.detail = cause, detail


def parse(
    payload: bytes, *, extra_fields: tuple[str, ...] = (), validation: bool = True
) -> Reading | Refused:
    """Read one payload. `extra_fields` are keys of EXTRA_FIELDS; `validation` refuses implausible values."""
    [reading] = parse_all([payload], extra_fields=extra_fields, validation=validation)
    return reading


def parse_all(
    payloads: Iterable[bytes], *, extra_fields: tuple[str, ...] = (), validation: bool = True
) -> list[Reading | Refused]:
    """Read payloads as `parse` does: together they take a quarter less time."""
    parsed: list[Reading | Refused | None] = []
    plains: list[Any] = []
    names: list[str] = []
    times: list[int | None] = []
    for payload in payloads:
        # msgspec does not check that what it skips is UTF-8.
        if not extra_fields and payload.isascii() and len(payload) <= MAX_PAYLOAD:
            try:
                plain = _plain(payload)
                name, tstamp = plain.name, plain.tstamp
                # True of nearly every name.
                if not (name.isalnum() and name.islower() and len(name) <= MAX_NAME):
                    name = _name(name)
                times.append(tstamp if tstamp is None else timestamp(tstamp))
            except (ValueError, RecursionError, Malformed):
                pass  # Not a plain reading: what it is, or what is wrong, takes longer to find out.
            else:
                # The rest are its values.
                plain.name, plain.tstamp = "", None
                plains.append(plain)
                names.append(name)
                parsed.append(None)
                continue
        parsed.append(_parse(payload, extra_fields, validation))
    values = lineprotocol.values_of_all(plains)
    readings = map(Reading, names, [plain.seq for plain in plains], values, times)
    return [next(readings) if each is None else each for each in parsed]


def _parse(payload: bytes, extra_fields: tuple[str, ...], validation: bool) -> Reading | Refused:
    """Read any payload."""
    if len(payload) > MAX_PAYLOAD:
        return Refused(TOO_LONG, f"over {MAX_PAYLOAD} bytes")
    try:
        row = decode(payload)
    except (ValueError, RecursionError) as error:
        return Refused(NOT_JSON, str(error))
    if type(row) is not dict:
        return Refused(NOT_JSON, f"an object was expected, not {type(row).__name__}")
    name = ""
    try:
        name = _name(row.get("name"))
        fields = _fields(row, extra_fields, validation)
        return Reading(name, fields["seq"], lineprotocol.values(fields), timestamp(row.get("tstamp")))
    except Malformed as problem:
        if problem.cause == INCOMPLETE and ("mac" in row or "calib" in row):
            return Refused(REGISTER, "a photometer says who it is", name)
        return Refused(problem.cause, problem.detail, name)


def decode(payload: bytes) -> object:
    """What is in a payload. Raises ValueError if it is not JSON in UTF-8, RecursionError if brackets are
    nested too deep."""
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        # `json` is slower, but also reads NaN and Infinity, so that one spoils a single value and not all of
        # them, and says where a payload is broken. An integer may have any number of digits.
        text = _STRING_OR_NO_NUMBER.sub(_as_null, payload.decode())
        return json.loads(text, parse_int=float, parse_constant=_null)


def _as_null(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else "null"


def _null(constant: str) -> None:
    """NaN, Infinity or -Infinity."""


def _name(value: object) -> str:
    if type(value) is not str:
        raise Malformed(BAD_NAME, "no name" if value is None else "the name is not a string")
    name = value.strip().lower()
    if not name:
        raise Malformed(BAD_NAME, "the name is blank")
    if len(name) > MAX_NAME:
        raise Malformed(BAD_NAME, f"the name has {len(name)} characters, at most {MAX_NAME}")
    if not name.isprintable():
        raise Malformed(BAD_NAME, "the name has control characters")
    if name.endswith("\\"):
        raise Malformed(BAD_NAME, "the name ends in a backslash, which InfluxDB cannot store")
    return name


def _fields(row: dict[str, Any], extra_fields: tuple[str, ...], validation: bool) -> dict[str, float]:
    fields: dict[str, float] = {}
    missing = _add_present(fields, row, _REQUIRED, validation)
    if row.keys().isdisjoint(CHANNELS):
        _add_light(fields, row, "", validation)
    else:
        _add_channels(fields, row, _wanted_by_channel(extra_fields), validation)
    if missing:
        names = ", nor under ".join((missing[0].key, *missing[0].aliases))
        raise Malformed(INCOMPLETE, f"no number under {names}")
    _add_present(fields, row, _wanted(extra_fields), validation)
    return fields


@cache
def _wanted(extra_fields: tuple[str, ...]) -> tuple[Field, ...]:
    return _OPTIONAL + tuple(EXTRA_FIELDS[key] for key in extra_fields)


@cache
def _wanted_by_channel(extra_fields: tuple[str, ...]) -> tuple[Field, ...]:
    return tuple(field for field in _wanted(extra_fields) if field.kind is Kind.LIGHT_EXTRA)


def _add_present(
    fields: dict[str, float],
    row: dict[str, Any],
    wanted: tuple[Field, ...],
    validation: bool,
    channel: str = "",
) -> list[Field]:
    """Add what was measured of the `wanted` fields; return those for which there is no number."""
    missing = []
    for field in wanted:
        value = row.get(field.key)
        if value is None and field.aliases:
            value = next((row[alias] for alias in field.aliases if alias in row), None)
        number = finite(value)
        if number is None:
            missing.append(field)
        elif field.above < number < field.below or _measured(field, number, validation):
            fields[field.key + channel] = number
    return missing


def _add_channels(
    fields: dict[str, float], row: dict[str, Any], wanted: tuple[Field, ...], validation: bool
) -> None:
    """Add what each channel measured, and what else is `wanted` of it; a broken one does not spoil the
    others."""
    broken: Malformed | None = None
    before = len(fields)
    for key in CHANNELS:
        if key not in row:
            continue
        light, channel = row[key], key[1]
        try:
            if type(light) is not dict:
                raise Malformed(INCOMPLETE, f"{key} is not an object")
            _add_light(fields, light, channel, validation)
            _add_present(fields, light, wanted, validation, channel)
        except Malformed as problem:
            broken = broken or problem
    if broken and len(fields) == before:
        raise broken


def _add_light(fields: dict[str, float], row: dict[str, Any], channel: str, validation: bool) -> None:
    """Add what one sensor of light measured, or nothing if a number of it is missing or implausible."""
    numbers = {}
    usual = True
    for field in _LIGHT:
        number = numbers[field.key + channel] = _required(row, field.key)
        usual = usual and field.above < number < field.below
    if not usual:
        for field in _LIGHT:
            key = field.key + channel
            if not _measured(field, numbers[key], validation):
                del numbers[key]
    fields |= numbers


def _required(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    number = finite(value)
    if number is None:
        if value is None:
            raise Malformed(INCOMPLETE, f"no {key}")
        raise Malformed(NOT_A_NUMBER, f"{key} is not a finite number")
    return number


def _measured(field: Field, number: float, validation: bool) -> bool:
    """Whether it is a measure. Raises Malformed if it is not plausible."""
    if number in field.no_measure:
        return False
    low, high = field.plausible
    if validation and not low <= number <= high:
        raise Malformed(IMPLAUSIBLE, f"{field.key} = {number}")
    return True


def finite(value: object) -> float | None:
    """A JSON number or a numeric string as a finite float, None for anything else, such as a boolean."""
    kind = type(value)
    if kind is not float:
        # Python's float takes more: 1_000, and the digits of every script.
        if kind is not int and not (isinstance(value, str) and value.isascii() and "_" not in value):
            return None
        try:
            value = float(value)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            return None
    return value if isfinite(value) else None  # type: ignore[arg-type,return-value]


def timestamp(value: object) -> int | None:
    """A publisher's own time in milliseconds since 1970 UTC, None if it sent none. Raises Malformed."""
    if value is None:
        return None
    if type(value) is not str or not _TSTAMP.fullmatch(value):
        raise Malformed(BAD_TIME, "tstamp is not a time like 2025-11-30T21:15:04Z")
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise Malformed(BAD_TIME, f"tstamp {value}: {error}") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MILLISECOND
