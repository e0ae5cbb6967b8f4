"""Hostile payloads by the million, and what must be true of whatever becomes of each.

    python -m tests.faults.hostile_payloads --inputs 1000000 --seed 1

Every payload goes through the pure part of a reading's way: parse, admit, encode. A line that comes out is
read by a parser that is at least as strict as InfluxDB's. The same seed gives the same payloads. The exit
code is 1 at the first payload that breaks a rule.
"""

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from typing import NamedTuple

from tessflux.limits import MAX_NAME
from tessflux.readings import Admitted, Filtered, Message, lineprotocol
from tessflux.readings.admission import Admission
from tessflux.readings.fields import CHANNELS, EXTRA_FIELDS, FIELDS, Kind, of
from tessflux.readings.reading import Reading, Refused, parse
from tests.readings.payloads import cases

NOW = 1_764_536_400_000
"""When the first payload arrives, in milliseconds since 1970 UTC."""

EXTRAS: tuple[tuple[str, ...], ...] = ((), ("zp",), tuple(sorted(EXTRA_FIELDS)))
STORED = {field.key for field in FIELDS}
STORED |= {field.key + channel[1] for field in of(Kind.LIGHT, Kind.LIGHT_EXTRA) for channel in CHANNELS}

# Generating

LITERALS = """
    0 -0 -0.0 7 1e2 1E+2 1.50 -99 99 99.0 -273.15 65535 1000001 -10.5 27.5 5e-324 1e-400
    2.2250738585072014e-308 1.7976931348623157e308 -1.7976931348623157e308 1e308 1e309 -1e999 1e99999999
    9007199254740993 18446744073709551615 18446744073709551616 -9223372036854775809 0.1 0.30000000000000004
    123456789.123456789 +1 01 1. .5 0x10 1_000 NaN nan Infinity -Infinity inf - 1e 1,5
"""
NUMBERS = [*LITERALS.split(), "9" * 309, "1" * 400, "-" + "8" * 5_000, "0." + "3" * 400, "1e-" + "9" * 50]
OTHERS = [
    "null", "true", "[]", "{}", "[1]", '{"freq":1,"mag":2}', "[" * 60 + "]" * 60, "[" * 3_000,
    '{"a":' * 50 + "1" + "}" * 50, '"1.5"', '" 7 "', '"1e5"', '"nan"', '"1_0"', '"\\u0661"', '"\u0663"', '""',
    '"2025-11-30T21:00:00Z"', '"2025-02-30T21:00:00"', '"9999-12-31T23:59:59.999999999+14:00"',
    '"0001-01-01T00:00:00-14:00"', '"2025-11-30 21:00:00.5+0100"', '"\\ud83d\\ude00"', '"\\ud800"',
    '"\\u0000"',
]  # fmt: skip
KEYS = [
    "name", "seq", "udp", "freq", "mag", "tamb", "tbox", "tsky", "wdBm", "tstamp", "mac", "calib", "F1", "F2",
    "F3", "F4", "zp", "ZP", "ci", "az", "azi", "alt", "text", "rev", "", "\\u006eame", "n\\u0061me",
]  # fmt: skip
PRINTABLE = [
    ",", "=", " ", '"', "'", "\\", "\\\\", "\\,", "\\ ", "\\=", "\\n", ",name=", ",tag=x", " mag=1", "#",
    " 1 1\\nr,name=y", ";", "--", "DROP", "$", "%s", "{0}", "{name}", "stars", "STARS1", "ñ", "Ñuñoa", "β",
    "ß", "İ", "\u017f", "é", "e\u0301", "\u05d0", "\u0627", "漢", "🔭", "\ufffd",
]  # fmt: skip
UNPRINTABLE = [
    "\u3000", "\u00a0", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\u2029", "\u0085", "\u009b2J",
    "\x1b[2J", "\x7f", "\n", "\r", "\t", "\0", "\ud800", "\udfff", "\uffff", "\U0010ffff",
]  # fmt: skip
BYTES = [
    b'"', b"\\", b"{", b"}", b"[", b"null", b"NaN", b"1e999", b"\\ud800", b"\\u0000", b"\xff", b"\xc0\x80",
    b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\n", b"\0", b"-", b"99", b"e", b",", b":",
]  # fmt: skip


def names(rng: random.Random, count: int) -> list[str]:
    """Names that try to be more than a name."""
    pieces = PRINTABLE * 20 + UNPRINTABLE
    made = ["".join(rng.choices(pieces, k=rng.randint(1, 6))) for _ in range(count)]
    long = ["n" * MAX_NAME, "n" * (MAX_NAME + 1), "\u0130" * MAX_NAME, "\\" * 63 + "n"]
    return PRINTABLE + UNPRINTABLE + long + made


class Payloads:
    """An endless iterator of payloads."""

    def __init__(self, seed: int) -> None:
        self._rng = rng = random.Random(seed)
        self._real = [case.payload for case in cases() if case.payload]
        # In both ways in which JSON may write it: as it is, and by escapes.
        self._names = [
            json.dumps(name, ensure_ascii=bool(rng.getrandbits(1))).encode("utf-8", "surrogatepass")
            for name in names(rng, 3_000)
        ]
        self._numbers = [number.encode() for number in NUMBERS]
        self._values = self._numbers + [value.encode() for value in OTHERS]
        self._keys = [key.encode() for key in KEYS]

    def __iter__(self) -> Iterator[bytes]:
        makers = [self._reading] * 6 + [self._mutation] * 2 + [self._object, self._four]
        while True:
            yield self._rng.choice(makers)()

    def _reading(self) -> bytes:
        """A whole reading, of which hardly anything is as it should be."""
        choice, random_ = self._rng.choice, self._rng.random
        name = choice(self._names)
        seq, freq, mag = b"%d" % (random_() * 1e6), b"%.2f" % (random_() * 1e4), b"%.2f" % (random_() * 24)
        match int(random_() * 8):
            case 0:
                seq = choice(self._numbers)
            case 1:
                freq = choice(self._values)
            case 2:
                mag = choice(self._numbers)
        more = b',"%b":%b' % (choice(self._keys), choice(self._values)) if random_() < 0.5 else b""
        if random_() < 0.7:
            more += b',"tamb":%b,"tsky":%b,"wdBm":%b' % (
                choice(self._numbers) if random_() < 0.1 else b"7.1",
                choice(self._values) if random_() < 0.1 else b"-18.4",
                choice(self._values) if random_() < 0.1 else b"-61",
            )
        return b'{"seq":%b,"name":%b,"freq":%b,"mag":%b%b}' % (seq, name, freq, mag, more)

    def _four(self) -> bytes:
        choice = self._rng.choice
        light = b'{"freq":%b,"mag":%b}'
        return b'{"udp":%b,"name":%b,"F1":%b,"F%b":%b}' % (
            choice(self._numbers),
            choice(self._names),
            light % (choice(self._numbers), b"20.5"),
            choice((b"1", b"2", b"4")),
            light % (b"0.5", choice(self._numbers)),
        )

    def _object(self) -> bytes:
        """Any keys, some twice, with anything."""
        choice, random_ = self._rng.choice, self._rng.random
        pairs = [
            b'"%b":%b' % (choice(self._keys), choice(self._values)) for _ in range(int(random_() * 8))
        ] + [b'"name":%b' % choice(self._names)]
        text = b"{" + b", ".join(pairs) + b"}"
        match int(random_() * 12):
            case 0:
                return b"\xef\xbb\xbf" + text
            case 1:
                return text.decode("utf-8", "replace").encode("utf-16")
            case 2:
                return text + choice(BYTES)
            case 3:
                return text[: int(random_() * len(text))]
        return text

    def _mutation(self) -> bytes:
        """A real payload with a piece changed, cut out, doubled or put in, up to three times."""
        random_ = self._rng.random
        payload = self._rng.choice(self._real)
        for _ in range(1 + int(random_() * 3)):
            at = int(random_() * (len(payload) + 1))
            before, after = payload[:at], payload[at:]
            match int(random_() * 5):
                case 0:
                    payload = before + bytes((int(random_() * 256),)) + after[1:]
                case 1:
                    payload = before + after[1 + int(random_() * 8) :]
                case 2:
                    payload = before + after[: int(random_() * 9)] + after
                case 3:
                    payload = before + self._rng.choice(BYTES) + after
                case _:
                    payload = before + b"0123456789eE.+-"[int(random_() * 15) :][:1] + after[1:]
        return payload


# Checking

_LINE = re.compile(
    r"(?P<measurement>[a-z]+),name=(?P<name>(?:\\[,= ]|\\(?![,= ])|[^,= \\])+)"
    r" (?P<fields>[a-zA-Z0-9]+=[-+.eE0-9]+(?:,[a-zA-Z0-9]+=[-+.eE0-9]+)*) (?P<time>[0-9]+)"
)
_FLOAT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_ESCAPED = re.compile(r"\\([,= ])")


class Point(NamedTuple):
    """What a line says, read by the letter of line protocol."""

    measurement: str
    name: str
    fields: dict[str, float]
    time: int


def read_line(line: str) -> Point:
    """Read one line with the only tag `name` and floats; anything else is an AssertionError."""
    match = _LINE.fullmatch(line)
    assert match, line
    # A backslash before the blank would take the blank into the name.
    assert not match["name"].endswith("\\"), line
    fields: dict[str, float] = {}
    for part in match["fields"].split(","):
        key, _, value = part.partition("=")
        assert _FLOAT.fullmatch(value), line
        assert key not in fields, line
        fields[key] = float(value)
    return Point(match["measurement"], _ESCAPED.sub(r"\1", match["name"]), fields, int(match["time"]))


class Checker:
    """Parses, admits and encodes payloads, one a millisecond, and counts what became of them."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self._admission = Admission()
        # A payload has any `seq`.
        self._admission.backlog.wait = 0
        self._now = NOW

    def take(self, payload: bytes) -> tuple[str, Point] | None:
        """The line that a payload becomes, and what it says. Raises when a rule is broken."""
        self._now += 1
        extra, validation = EXTRAS[self._now % 3], bool(self._now % 4)
        reading = parse(payload, extra_fields=extra, validation=validation)
        if not extra:
            self._read_twice(payload, reading, validation)
        if isinstance(reading, Refused):
            self._refused(reading)
            return None
        outcome = self._admission.admit(reading, Message("a topic", payload, False, self._now))
        if isinstance(outcome, Refused):
            self._refused(outcome)
            return None
        if isinstance(outcome, Filtered):
            self.ended[outcome.cause] += 1
            return None
        assert isinstance(outcome, Admitted)
        line = f"{lineprotocol.series('readings', reading.name)} {reading.values} {outcome.time}"
        assert line.isprintable(), line
        point = read_line(line)
        assert point == Point("readings", reading.name, reading.fields, outcome.time), line
        assert len(point.name) <= MAX_NAME, line
        assert point.name == point.name.strip().lower(), line
        assert point.fields.keys() <= STORED, line
        assert all(map(isfinite, point.fields.values())), line
        assert lineprotocol.photometer(line) == point.name, line
        self.ended["stored"] += 1
        return line, point

    @staticmethod
    def _read_twice(payload: bytes, reading: Reading | Refused, validation: bool) -> None:
        """A plain reading has a way of its own through the parser, but not if further fields are wanted."""
        again = parse(payload, extra_fields=("zp",), validation=validation)
        if isinstance(again, Reading):
            assert isinstance(reading, Reading), (again, reading)
            # As numbers: one of the ways keeps the sign of a zero.
            fields = {key: value for key, value in again.fields.items() if not key.startswith("zp")}
            assert fields == reading.fields, (again, reading)
            assert (again.name, again.seq, again.tstamp) == (reading.name, reading.seq, reading.tstamp)
        else:
            assert isinstance(reading, Refused), (again, reading)
            assert (again.cause, again.name) == (reading.cause, reading.name), (again, reading)

    def _refused(self, refused: Refused) -> None:
        assert len(refused.detail) < 200, refused
        assert len(refused.name) <= MAX_NAME, refused
        assert refused.name.isprintable(), refused
        self.ended[refused.cause] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Put hostile payloads through the parser.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    checker, began = Checker(), time.monotonic()
    payloads = iter(Payloads(options.seed))
    for number in range(options.inputs):
        payload = next(payloads)
        try:
            checker.take(payload)
        except Exception as error:
            print(f"input {number} of seed {options.seed}: {payload!r}: {error!r}", file=sys.stderr)
            return 1
    took = time.monotonic() - began
    print(f"{options.inputs} inputs, seed {options.seed}, {took:.0f} s: {dict(checker.ended)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
