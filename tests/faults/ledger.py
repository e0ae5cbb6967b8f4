"""What was published, against what is in a database: lost, doubled, altered, misplaced in time. Pure.

A reading has a number; everything in it follows from the number and the time of its own that it may have, so
the ledger remembers a few bytes of each and can hold millions. `freq` tells the number, and only that.
"""

import json
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tessflux.limits import SHIFT_MS

NO_TSTAMP = -1
LONG_AGO = 1_000
"""What a photometer has counted since its boot, when the first reading is published."""

_STEPS = 8
"""Numbers a Hz: eighths are exact as floats, and 8 million of them are plausible frequencies."""

ROUNDED = 1.5e-12
"""By how much of itself VictoriaMetrics changes a value; eighths it keeps."""


class Sample(NamedTuple):
    """What one reading says; `tstamp` in milliseconds since 1970 UTC, or NO_TSTAMP."""

    name: str
    fields: Mapping[str, float]
    tstamp: int

    @property
    def topic(self) -> str:
        return f"STARS4ALL/{self.name}/reading"

    @property
    def payload(self) -> bytes:
        """As a photometer publishes it."""
        row: dict[str, object] = {"rev": 2, "name": self.name, **self.fields}
        if self.tstamp != NO_TSTAMP:
            row["tstamp"] = datetime.fromtimestamp(self.tstamp / 1000, UTC).isoformat(timespec="milliseconds")
        return json.dumps(row).encode()


def sample(number: int, photometers: int, tstamp: int = NO_TSTAMP) -> Sample:
    """The reading with this number, of one of so many photometers in their turn."""
    fields = {
        "seq": float(LONG_AGO + number // photometers),
        "freq": number / _STEPS,
        "mag": 10 + number % 1201 / 100,
        "tamb": number % 4001 / 100 - 10,
        "tsky": number % 5003 / 100 - 40,
        "wdBm": -30.0 - number % 61,
    }
    return Sample(f"stars{number % photometers}", fields, tstamp)


@dataclass
class Differences:
    """What is wrong with the database: numbers of readings, or whole rows. True when anything is."""

    rows: int = 0
    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.lost, self.doubled, self.altered, self.misplaced, self.unknown))

    def __str__(self) -> str:
        parts = [f"{self.rows} rows"]
        for kind in ("lost", "doubled", "altered", "misplaced", "unknown"):
            wrong = getattr(self, kind)
            parts.append(f"{kind} {len(wrong)}" + (f": {wrong[:5]}" if wrong else ""))
        return ", ".join(parts)


class Ledger:
    """Times are in milliseconds since 1970 UTC."""

    def __init__(self, photometers: int = 20, early: int = 0) -> None:
        """`early` is by how much a time that is reckoned from `seq` may be before the publication."""
        self.photometers, self.early = photometers, early
        self.published_at = array("q")
        """When the publication of each number began."""
        self.qos = bytearray()
        self._tstamps = array("q")

    def __len__(self) -> int:
        return len(self.published_at)

    def publish(self, now: int, qos: int = 0, tstamp: int = NO_TSTAMP) -> Sample:
        """Enter one more reading; returns what is to be published."""
        self.published_at.append(now)
        self.qos.append(qos)
        self._tstamps.append(tstamp)
        return self.sample(len(self) - 1)

    def sample(self, number: int) -> Sample:
        """The reading with this number once more."""
        return sample(number, self.photometers, self._tstamps[number])

    def number(self, freq: object) -> int | None:
        """Which reading has this frequency; None if none that was published."""
        if not isinstance(freq, float | int) or freq * _STEPS != int(freq * _STEPS):
            return None
        number = int(freq * _STEPS)
        return number if 0 <= number < len(self) else None


class Comparison:
    """One database beside the ledger. `rounded` is by how much of itself a value in it may differ."""

    def __init__(self, ledger: Ledger, rounded: float = 0.0) -> None:
        self._ledger, self._rounded = ledger, rounded
        self.errors = array("q")
        """By how much the time of each row without one of its own is after its publication."""
        self._stored = bytearray()
        self._differences = Differences()

    def check(self, rows: Iterable[Mapping[str, Any]], until: int) -> None:
        """Compare some rows of the database, each once, which were all stored before `until`."""
        self._stored.extend(bytes(len(self._ledger) - len(self._stored)))
        for row in rows:
            self._differences.rows += 1
            self._check(row, until)

    def differences(self) -> Differences:
        """What is wrong, once all rows were checked."""
        self._stored.extend(bytes(len(self._ledger) - len(self._stored)))
        self._differences.lost = [number for number, stored in enumerate(self._stored) if not stored]
        return self._differences

    def _check(self, row: Mapping[str, Any], until: int) -> None:
        ledger, differences = self._ledger, self._differences
        number = ledger.number(row.get("freq"))
        if number is None:
            differences.unknown.append(str(row))
            return
        if self._stored[number]:
            differences.doubled.append(number)
        self._stored[number] = 1
        expected = ledger.sample(number)
        found = {key: value for key, value in row.items() if value is not None and key != "time"}
        if not self._alike(found, {"name": expected.name, **expected.fields}):
            differences.altered.append(f"{number} is {row}, not {expected}")
        first, last = ledger.published_at[number] - ledger.early, until
        if expected.tstamp == NO_TSTAMP:
            self.errors.append(row["time"] - ledger.published_at[number])
        else:
            first, last = expected.tstamp, expected.tstamp + SHIFT_MS
        if not first <= row["time"] <= last:
            differences.misplaced.append(f"{number} has {row['time']}, not one from {first} to {last}")

    def _alike(self, found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
        if not self._rounded or found == expected:
            return found == expected
        return found.keys() == expected.keys() and all(
            found[key] == value
            or (isinstance(value, float) and math.isclose(found[key], value, rel_tol=self._rounded))
            for key, value in expected.items()
        )
