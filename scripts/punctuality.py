"""How far the times in the database are from those at which simulated photometers published. Pure.

The simulator's ledger says what was published, and when; the rows of the database say what arrived, and which
time it got. Times are in milliseconds since 1970 UTC.
"""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

MOST = 0.95
"""The share of the errors that may be expected to be small."""

IN_FLIGHT_MS = 1_000
"""What left for a broker so shortly before it stopped may never have been read by it."""


class Published(NamedTuple):
    """A line of the ledger: a reading, how often its photometer had booted before, when it left."""

    name: str
    seq: int
    tsky: float
    boot: int
    at: int
    payload: str

    @property
    def key(self) -> tuple[str, int, float]:
        """What its row says. Readings of two boots may share it; then the first row is that of the first."""
        return self.name, self.seq, self.tsky


def ledger(text: str) -> list[Published]:
    """What was published, in the order of time. Of the last line only a part may be there yet."""
    return [Published(**json.loads(line)) for line in text.split("\n")[:-1]]


@dataclass(frozen=True)
class Errors:
    """Of some readings: how far from the truth their times are, in seconds."""

    count: int
    median: float
    most: float
    worst: float
    close: float
    """The share of those that are less than half a period away from the truth."""

    def __str__(self) -> str:
        return (
            f"{self.count} readings: median {self.median:.2f} s, {MOST:.0%} within {self.most:.2f} s, "
            f"worst {self.worst:.2f} s, {self.close:.1%} within half a period"
        )


@dataclass(frozen=True)
class Comparison:
    """What is in the database, against what was published.

    `extra` are rows that nobody published, or that were there already; `misplaced` are readings whose times
    are not later than that of the reading before; `stored` are the times that all others got.
    """

    lost: list[Published]
    extra: list[Mapping[str, Any]]
    misplaced: list[Published]
    stored: dict[Published, int]
    periods: dict[str, float]

    @property
    def wrong(self) -> bool:
        """Whether anything but a time is."""
        return bool(self.lost or self.extra or self.misplaced)

    def __str__(self) -> str:
        return (
            f"{len(self.stored):,} stored, {len(self.lost):,} lost, {len(self.extra):,} too many, "
            f"{len(self.misplaced):,} in the wrong order"
        )

    def errors(self, since: int, until: int) -> Errors:
        """Of those that were published between two times."""
        some = [each for each in self.stored if since <= each.at <= until]
        errors = sorted(abs(self.stored[each] - each.at) / 1000 for each in some) or [math.inf]
        close = sum(abs(self.stored[each] - each.at) < self.periods.get(each.name, 0.0) / 2 for each in some)
        return Errors(
            len(some),
            statistics.median(errors),
            errors[max(math.ceil(MOST * len(errors)) - 1, 0)],
            errors[-1],
            close / max(len(some), 1),
        )


def compare(
    published: Collection[Published], rows: Iterable[Mapping[str, Any]], excused: Collection[range] = ()
) -> Comparison:
    """Find the row of each reading; `rows` have name, seq, tsky and time.

    What was published at an excused time, when there was no broker, may be missing. So may a reading that
    says the same as one of an earlier boot: it cannot be told from a duplicate.
    """
    waiting: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=_time, reverse=True):
        waiting[row["name"], row["seq"], row["tsky"]].append(row)
    first: dict[str, Published] = {}
    for each in published:
        first.setdefault(each.payload, each)
    lost, stored = [], {}
    for each in sorted(published, key=lambda each: first[each.payload] is not each):
        if waiting[each.key]:
            stored[each] = waiting[each.key].pop()["time"]
        elif first[each.payload] is each and not any(each.at in times for times in excused):
            lost.append(each)
    extra = sorted((row for left in waiting.values() for row in left), key=_time)
    misplaced, periods = [], {}
    for name, own in _by_photometer(published).items():
        placed = [each for each in own if each in stored]
        misplaced += [after for before, after in pairwise(placed) if stored[after] <= stored[before]]
        gaps = [after.at - before.at for before, after in pairwise(own) if after.boot == before.boot]
        periods[name] = statistics.median(gaps) if gaps else 0.0
    return Comparison(lost, extra, misplaced, stored, periods)


def _by_photometer(published: Iterable[Published]) -> dict[str, list[Published]]:
    found = defaultdict(list)
    for each in published:
        found[each.name].append(each)
    return found


def _time(row: Mapping[str, Any]) -> int:
    return int(row["time"])
