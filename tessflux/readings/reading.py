"""Payload bytes -> a Reading, or the reason why they are none. Pure; whatever the bytes, it raises nothing.

What a message is, its keys say, not its topic. A TESS-W (TAS, TESS-P, a gateway's variant of them) sends
`freq` and `mag`; a TESS4C sends an object of these for each of its channels `F1` to `F4`. Arduino prints
a broken float as `nan`, which is no JSON; Python would read `NaN`, which is no number here either.

Every value is a float, because a field of InfluxDB keeps the type of its first value for ever.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Annotated, Any

import msgspec

from tessflux.limits import MAX_NAME, MAX_PAYLOAD

FREQ_RANGE = (0.0, 1_000_000.0)
"""Hz. A TESS-W saturates at 65,000, a TESS4C at 125,000, an SQM behind a gateway at 211,313."""

MAG_RANGE = (-10.0, 27.0)
"""mag/arcsec2. The darkest sky is below 24; a photometer that lost its zero point comes down to -10."""

OPTIONAL = ("tamb", "tsky", "wdBm")
EXTRA_FIELDS = frozenset({"az", "alt", "lat", "long", "height", "text", "hrel", "pres", "ain", "vbat", "zp"})
"""Further values that photometers are known to send; stored where the operator names them."""

_CHANNEL_KEYS = ("F1", "F2", "F3", "F4")
_ALIASES = {"seq": ("udp",), "tamb": ("tbox",), "az": ("azi",), "zp": ("ZP", "ci")}
_NO_MAGNITUDE = (-99.0, 99.0)
_NO_MEASURE = {"tamb": -273.15, "tsky": -273.15, "wdBm": 99.0}

_TSTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one photometer measured at one time.

    `name` is stripped and lower-cased, 1 to 64 printable characters. `fields` are finite floats by
    their InfluxDB name, in the order in which they are written. `tstamp` is the publisher's own
    time in milliseconds since 1970 UTC, or None when it gave none.
    """

    name: str
    fields: Mapping[str, float]
    tstamp: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a payload is no reading: `cause` is counted, `detail` is for people, `name` if there is one."""

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


_NEVER = Annotated[str, msgspec.Meta(pattern="(?!)")]


class _Plain(msgspec.Struct, gc=False):
    """What nearly every reading is: a TESS-W's, complete and plausible.

    msgspec reads it in a third of the time of a dictionary, and refuses all that is in any way special.
    """

    name: str
    seq: float
    mag: Annotated[float, msgspec.Meta(ge=MAG_RANGE[0], le=MAG_RANGE[1])]
    freq: Annotated[float, msgspec.Meta(ge=FREQ_RANGE[0], le=FREQ_RANGE[1])]
    tamb: Annotated[float, msgspec.Meta(gt=_NO_MEASURE["tamb"])]
    tsky: Annotated[float, msgspec.Meta(gt=_NO_MEASURE["tsky"])]
    wdBm: Annotated[float, msgspec.Meta(lt=_NO_MEASURE["wdBm"])]
    tstamp: str | None = None
    F1: _NEVER = ""
    F2: _NEVER = ""
    F3: _NEVER = ""
    F4: _NEVER = ""


_plain = msgspec.json.Decoder(_Plain).decode


class _Malformed(Exception):
    """Carries the Refused from where it was found to `parse`, its only handler."""

    def __init__(self, cause: str, detail: str) -> None:
        self.cause, self.detail = cause, detail


def parse(
    payload: bytes, *, extra_fields: tuple[str, ...] = (), validation: bool = True
) -> Reading | Refused:
    """Read one payload; `extra_fields` are of EXTRA_FIELDS; without `validation` any finite number does."""
    if len(payload) > MAX_PAYLOAD:
        return Refused(TOO_LONG, f"over {MAX_PAYLOAD} bytes")
    # msgspec does not look whether what it passes over is UTF-8.
    if not extra_fields and payload.isascii():
        try:
            plain = _plain(payload)
            name = plain.name
            # What nearly every name is.
            if not (name.isalnum() and name.isascii() and name.islower() and len(name) <= MAX_NAME):
                name = _name(name)
            fields = {
                "seq": plain.seq,
                "mag": plain.mag,
                "freq": plain.freq,
                "tamb": plain.tamb,
                "tsky": plain.tsky,
                "wdBm": plain.wdBm,
            }
            return Reading(name, fields, None if plain.tstamp is None else _tstamp(plain.tstamp))
        except (ValueError, RecursionError, _Malformed):
            pass  # It is no plain reading: what it is instead, or what is wrong with it, takes longer to say.
    try:
        row = _decode(payload)
    except (ValueError, RecursionError) as error:
        return Refused(NOT_JSON, str(error))
    if type(row) is not dict:
        return Refused(NOT_JSON, f"an object was expected, not {type(row).__name__}")
    name = ""
    try:
        name = _name(row.get("name"))
        return Reading(name, _fields(row, extra_fields, validation), _tstamp(row.get("tstamp")))
    except _Malformed as problem:
        if problem.cause == INCOMPLETE and ("mac" in row or "calib" in row):
            return Refused(REGISTER, "a photometer says who it is", name)
        return Refused(problem.cause, problem.detail, name)


def _decode(payload: bytes) -> object:
    """Raises ValueError for what is no JSON or no UTF-8, RecursionError for brackets nested too deep."""
    try:
        return msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        # `json` is slower, but reads NaN and Infinity too, so that they spoil one channel of a TESS4C and not
        # all, and it says where a payload is broken. An integer may have any number of digits.
        return json.loads(payload.decode(), parse_int=float)


def _name(value: object) -> str:
    if type(value) is not str:
        raise _Malformed(BAD_NAME, "no name" if value is None else "the name is no string")
    name = value.strip().lower()
    if not name:
        raise _Malformed(BAD_NAME, "the name is blank")
    if len(name) > MAX_NAME:
        raise _Malformed(BAD_NAME, f"the name has {len(name)} characters, at most {MAX_NAME}")
    if not name.isprintable():
        raise _Malformed(BAD_NAME, "the name has control characters")
    if name.endswith("\\"):
        raise _Malformed(BAD_NAME, "the name ends in a backslash, which InfluxDB cannot store")
    return name


def _fields(row: dict[str, Any], extra_fields: tuple[str, ...], validation: bool) -> dict[str, float]:
    seq = _number(_lookup(row, "seq"))
    # The sequence comes first in a line.
    fields: dict[str, float] = {} if seq is None else {"seq": seq}
    if row.keys().isdisjoint(_CHANNEL_KEYS):
        _add_light(fields, row, "", validation)
    else:
        _add_channels(fields, row, validation)
    if seq is None:
        raise _Malformed(INCOMPLETE, "no number under seq, nor under udp")
    for key in OPTIONAL + extra_fields:
        value = _number(_lookup(row, key))
        if value is not None and value != _NO_MEASURE.get(key):
            fields[key] = value
    return fields


def _add_channels(fields: dict[str, float], row: dict[str, Any], validation: bool) -> None:
    """Add what every usable channel measured; one that is broken does not spoil the others."""
    broken: _Malformed | None = None
    before = len(fields)
    for key in _CHANNEL_KEYS:
        if key not in row:
            continue
        light, channel = row[key], key[1]
        try:
            if type(light) is not dict:
                raise _Malformed(INCOMPLETE, f"{key} is no object")
            _add_light(fields, light, channel, validation)
        except _Malformed as problem:
            broken = broken or problem
    if broken and len(fields) == before:
        raise broken


def _add_light(fields: dict[str, float], row: dict[str, Any], channel: str, validation: bool) -> None:
    """Add frequency (Hz) and magnitude (mag/arcsec2), or neither; a magnitude of +-99 says there is none."""
    mag, freq = _required(row, "mag"), _required(row, "freq")
    measured = mag not in _NO_MAGNITUDE
    if validation:
        if not FREQ_RANGE[0] <= freq <= FREQ_RANGE[1]:
            raise _Malformed(IMPLAUSIBLE, f"freq = {freq} Hz")
        if measured and not MAG_RANGE[0] <= mag <= MAG_RANGE[1]:
            raise _Malformed(IMPLAUSIBLE, f"mag = {mag}")
    if measured:
        fields["mag" + channel] = mag
    fields["freq" + channel] = freq


def _required(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    number = _number(value)
    if number is None:
        if value is None:
            raise _Malformed(INCOMPLETE, f"no {key}")
        raise _Malformed(NOT_A_NUMBER, f"{key} is no finite number")
    return number


def _lookup(row: dict[str, Any], key: str) -> object:
    value = row.get(key)
    if value is None and key in _ALIASES:
        return next((row[alias] for alias in _ALIASES[key] if alias in row), None)
    return value


def _number(value: object) -> float | None:
    """A finite float out of a JSON number or a numeric string; a boolean is no number."""
    kind = type(value)
    if kind is not float:
        if kind is not int and (kind is not str or "_" in value):  # type: ignore[operator]
            return None
        try:
            value = float(value)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            return None
    return value if isfinite(value) else None  # type: ignore[arg-type,return-value]


def _tstamp(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not str or not _TSTAMP.fullmatch(value):
        raise _Malformed(BAD_TIME, "tstamp is no time like 2025-11-30T21:15:04Z")
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise _Malformed(BAD_TIME, f"tstamp {value}: {error}") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MILLISECOND
