"""What a photometer says of itself in a register message, and when that is worth a line. Pure.

The firmware says it two or three times after each boot, and it is mostly the same as ever. So a line is
written only when something changed since the line before. What a message leaves out stays as it was; but with
another mac it is another photometer, of which nothing else is known.

A message that comes as it is published is newer than all before it. One that a broker has retained, or that
is judged once more, may be older than what is known: it counts only if its own time says that it is newer, or
if nothing is known. What a broker delivers a second time and what held until the last change was written
before that change.

Each line is later than the one before it, so the newest point of a photometer says what holds now.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tessflux.limits import REGISTRATIONS
from tessflux.readings import lineprotocol
from tessflux.readings.admission import AHEAD_MS, time_given
from tessflux.readings.fields import CHANNELS
from tessflux.readings.message import Message
from tessflux.readings.outcome import Filtered, Registered, Remark, Said
from tessflux.readings.reading import REGISTER, Malformed, Refused, decode, finite, timestamp

REGISTRATIONS_MEASUREMENT = "photometers"
"""It has the same name in every database, whatever the one of the readings is called."""

MOVED = "moved"

LOWEST_ZERO_POINT, HIGHEST_ZERO_POINT = 10.0, 30.0
"""Calibrated photometers have 19 to 21; some firmware sends 2 for a zero point that it has lost."""

LONGEST_TEXT = 64
"""Characters of a mac, a model or a firmware. Those that are known have up to 20."""

REGISTRATION_TEXTS = ("mac", "firmware", "model")
"""The fields that are texts; the others are floats."""

ZERO_POINTS = ("zp", *(f"zp{channel[1]}" for channel in CHANNELS))
"""Of a TESS-W, or of each channel of a TESS4C."""

_PLACE = ("latitude", "longitude")
_ORDER = (*REGISTRATION_TEXTS, *ZERO_POINTS, "offsethz", *_PLACE)

_MAC = re.compile(r"[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}", re.IGNORECASE | re.ASCII)

Fields = Mapping[str, str | float]
Places = Mapping[str, Sequence[Any]]
"""By photometer; the first two of each are degrees north and east."""

_encode = msgspec.json.Encoder().encode


class Registration(msgspec.Struct, frozen=True, gc=False):
    """One register message. `fields` are those that it has of mac, firmware and model (texts), of zp or zp1
    to zp4 (mag), and of offsethz (Hz). `refused` says what is wrong with others. `tstamp` as in `Reading`."""

    name: str
    fields: Fields
    refused: tuple[str, ...] = ()
    tstamp: int | None = None


def read(payload: bytes, name: str) -> Registration | Refused:
    """Read a payload that `parse` found to be a register message of this photometer."""
    row = decode(payload)
    assert isinstance(row, dict)
    fields: dict[str, str | float] = {}
    refused: list[str] = []
    for key in REGISTRATION_TEXTS:
        text = row.get(key)
        if isinstance(text, str):
            text = text.strip()
        if text is None or text == "":
            continue
        if isinstance(text, str) and len(text) <= LONGEST_TEXT and text.isprintable():
            fields[key] = _mac(text) if key == "mac" else text
        else:
            refused.append(f"its {key} is no text of at most {LONGEST_TEXT} printable characters")
    # A TESS4C has one in each channel.
    calibs = {
        f"zp{key[1]}": light.get("calib") for key in CHANNELS if isinstance(light := row.get(key), dict)
    }
    for key, calib in (calibs or {"zp": row.get("calib")}).items():
        if calib is None:
            continue
        zero_point = finite(calib)
        if zero_point is not None and LOWEST_ZERO_POINT <= zero_point <= HIGHEST_ZERO_POINT:
            fields[key] = zero_point
        else:
            what = "no number" if zero_point is None else f"{zero_point:g}"
            refused.append(
                f"its zero point {key} is {what}, not from {LOWEST_ZERO_POINT:g} to {HIGHEST_ZERO_POINT:g}"
            )
    if (offset := finite(row.get("offsethz"))) is not None:
        fields["offsethz"] = offset
    try:
        return Registration(name, fields, tuple(refused), timestamp(row.get("tstamp")))
    except Malformed as problem:
        return Refused(problem.cause, problem.detail, name)


def _mac(text: str) -> str:
    """The firmware does not pad the bytes of its address. For an SQM it is a serial number."""
    if not _MAC.fullmatch(text):
        return text
    return ":".join(byte.zfill(2) for byte in re.split("[:-]", text.upper()))


class Registrations:
    """Remembers what was written last of each photometer; `restore` brings back what an earlier process
    committed."""

    def __init__(self) -> None:
        self._said: dict[str, Said] = {}
        """The one that changed longest ago is the first."""
        self._places: Places = {}

    def __contains__(self, name: str) -> bool:
        return name in self._said

    def __len__(self) -> int:
        return len(self._said)

    def get(self, name: str) -> Said | None:
        """What was written last of the photometer of this name (lower case)."""
        return self._said.get(name)

    def place(self, places: Places) -> None:
        """The lines that follow have these places."""
        self._places = places

    def restore(self, said: Iterable[tuple[str, Said]]) -> None:
        """Remember what was committed earlier, the oldest first."""
        self._said.update(said)

    def decide(
        self, registration: Registration, message: Message, *, again: bool
    ) -> Registered | Filtered | Refused:
        """What becomes of a register message; `remember` it if it is to be written. One that is judged
        `again` was kept for a while."""
        name = registration.name
        given = time_given(name, registration.tstamp, message, message.received_at)
        if isinstance(given, Refused):
            return given
        own = given if isinstance(given, int) else None
        known = self._said.get(name)
        before = known.decoded if known else {}
        is_older = (again or message.retained) and known and (own is None or own <= known.time)
        if is_older or (message.dup and known and _was_so(known, registration)):
            return self._unchanged(registration)
        mac = registration.fields.get("mac")
        moved = str(before["mac"]) if mac and before.get("mac", mac) != mac else ""
        fields = self._fields(name, {} if moved else before, registration.fields)
        said = Said(_time(own, message.received_at, known), _encode(fields), known.fields if known else b"")
        if not (registration.fields or known) or (known and known.fields == said.fields):
            return self._unchanged(registration)
        series = lineprotocol.series(REGISTRATIONS_MEASUREMENT, name)
        line = f"{series} {lineprotocol.mixed(fields)} {said.time}"
        return Registered(name, line, said, known, moved, _remark(registration, before, moved))

    def _unchanged(self, registration: Registration) -> Filtered:
        return Filtered(REGISTER, _remark(registration, {}, ""))

    def _fields(self, name: str, before: Fields, now: Fields) -> Fields:
        """In their order."""
        kept = {key: value for key, value in before.items() if key not in _PLACE}
        found = {**kept, **now, **dict(zip(_PLACE, self._places.get(name, ()), strict=False))}
        return {key: found[key] for key in _ORDER if key in found}

    def remember(self, registered: Registered) -> None:
        """It is about to be written."""
        self._said.pop(registered.name, None)
        self._said[registered.name] = registered.said
        if len(self._said) > REGISTRATIONS:
            del self._said[next(iter(self._said))]

    def forget(self, registered: Sequence[Registered]) -> None:
        """These could not be written: what was known before them holds."""
        for each in reversed(registered):
            if self._said.get(each.name) is each.said:
                del self._said[each.name]
                if each.before:
                    self._said[each.name] = each.before


def _was_so(known: Said, registration: Registration) -> bool:
    """Whether all of this held until the last change."""
    before = Said(0, known.before).decoded
    return bool(before) and all(before.get(key) == value for key, value in registration.fields.items())


def _time(own: int | None, received_at: int, known: Said | None) -> int:
    """Later than that of the line before, unless the clock was set back by more than a day."""
    time = received_at if own is None else own
    if known and time <= known.time <= received_at + AHEAD_MS:
        return known.time + 1
    return time


def _remark(registration: Registration, before: Fields, moved: str) -> Remark | None:
    """What the operator of a photometer should know."""
    name, fields = registration.name, registration.fields
    if moved:
        news = [f"its mac is {fields['mac']}, it was {moved}: another photometer has this name"]
    else:
        news = [
            f"its zero point {key} is {fields[key]:g}, it was {before[key]:g}"
            for key in ZERO_POINTS
            if key in fields and key in before and fields[key] != before[key]
        ]
    details = [*news, *registration.refused]
    return Remark(name, MOVED if moved else REGISTER, "; ".join(details)) if details else None
