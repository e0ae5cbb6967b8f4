"""What torture finds wrong: at QoS 1 nothing may be wrong, at QoS 0 each loss needs an excuse. Pure.

A reading at QoS 0 may be lost if it was published while no daemon was connected and subscribed, within the
commit interval before a kill, or while the daemon logged that it could store nothing. The logs of the daemon,
to the second, and the record of the faults tell when that was. What one database has was stored, so that the
others have no excuse. Times are in ms since 1970 UTC.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.faults.chaos import BROKER, DAEMON, DISK, FREEZES, RESTART, Fault
from tests.faults.ledger import Differences, Ledger
from tests.faults.world import FLUSH_INTERVAL, Run

LATENCY = 2_000
"""How long a reading takes from the publisher to the daemon, on a machine that runs all of them."""

BACKLOG = 5_000
"""How long after the end of a fault what it held back may still be on its way."""

COMMIT = int(FLUSH_INTERVAL * 1000)
RETRY = 2_000
"""The daemon tries a full disk again every second."""

_EVENT = re.compile(
    r"^(\S+) \[\w+#\w+\] (Subscribed to|Lost the connection|Cannot use the broker|Reconnecting"
    r"|Cannot store readings)",
    re.MULTILINE,
)

Window = tuple[int, int]


class Excuses:
    """Windows of time by what happened in them."""

    def __init__(self, windows: Iterable[tuple[str, int, int]]) -> None:
        by_reason: dict[str, list[Window]] = {}
        for reason, start, end in sorted(windows, key=lambda window: window[1]):
            merged = by_reason.setdefault(reason, [])
            if merged and start <= merged[-1][1]:
                start, end = merged[-1][0], max(end, merged[-1][1])
                merged.pop()
            merged.append((start, end))
        self._windows = by_reason
        self._starts = {reason: [start for start, _ in each] for reason, each in by_reason.items()}

    def of(self, time: int) -> str:
        """A reason why a reading that was published then may be lost; "" if there is none."""
        for reason, starts in self._starts.items():
            index = bisect_right(starts, time) - 1
            if index >= 0 and time <= self._windows[reason][index][1]:
                return reason
        return ""


def excuses(runs: Sequence[Run], faults: Sequence[Fault], end: int) -> Excuses:
    """When the daemon could not help losing readings: from its runs, and the faults."""
    held_back = [
        fault
        for fault in faults
        if fault.sufferer == BROKER or (fault.sufferer == DAEMON and fault.name == FREEZES)
    ]
    restarts = [fault for fault in held_back if fault.name == RESTART]
    full = [fault for fault in faults if fault.sufferer == DISK]

    def since(time: int) -> int:
        # What a fault has held back is lost with the connection.
        return min([time, *(each.began for each in held_back if each.began <= time <= each.ended + BACKLOG)])

    windows = [("broker restarted", fault.began - LATENCY, fault.ended) for fault in restarts]
    deaf_since, reason = 0, "not yet subscribed"
    for run in runs:
        could_not_store = False
        for time, event in _events(run):
            if event == "Subscribed to":
                if deaf_since >= 0:
                    windows.append((reason, deaf_since, time + 1_000))
                deaf_since = -1
            elif event == "Cannot store readings":
                could_not_store = True
            elif deaf_since < 0:
                deaf_since, reason = since(time) - LATENCY, "not connected"
        ended = run.ended or end
        if deaf_since < 0:
            deaf_since, reason = since(ended) - LATENCY - (COMMIT if run.end == "killed" else 0), run.end
        if could_not_store:
            windows += [
                ("nothing could be stored", fault.began - LATENCY - COMMIT, fault.ended + RETRY + LATENCY)
                for fault in full
                if fault.began < ended and fault.ended > run.started
            ]
    if deaf_since >= 0:
        windows.append((reason, deaf_since, end))
    return Excuses(windows)


def _events(run: Run) -> Iterable[tuple[int, str]]:
    for when, event in _EVENT.findall(run.text()):
        yield int(datetime.fromisoformat(when).timestamp() * 1000), event


@dataclass
class Findings:
    """`excused` counts lost readings at QoS 0 by their excuse; `problems` is all that must not be."""

    published: Counter[int] = field(default_factory=Counter)
    """By QoS."""
    unsent: int = 0
    had_to_arrive: int = 0
    """Readings at QoS 0 for whose loss there would be no excuse."""
    excused: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def findings(
    ledger: Ledger, databases: Mapping[str, Differences], unsent: Collection[int], excuses: Excuses
) -> Findings:
    """What is lost without an excuse, and what else is wrong, in databases by their names."""
    found = Findings(unsent=len(unsent))
    lost = {name: set(differences.lost) for name, differences in databases.items()}
    lost_everywhere = set.intersection(*lost.values())
    excused = set()
    for number in range(len(ledger)):
        qos = ledger.qos[number]
        found.published[qos] += 1
        excuse = excuses.of(ledger.published_at[number]) if qos == 0 else ""
        found.had_to_arrive += qos == 0 and not excuse
        if number not in lost_everywhere:
            continue
        if number in unsent:
            excused.add(number)
        elif excuse:
            excused.add(number)
            found.excused[excuse] += 1
    for name, differences in databases.items():
        for qos in 0, 1:
            numbers = sorted(number for number in lost[name] - excused if ledger.qos[number] == qos)
            if numbers:
                when = [(number, ledger.published_at[number]) for number in numbers[:5]]
                found.problems.append(
                    f"{name}, QoS {qos}: lost {len(numbers)}: (number, published at) {when}"
                )
        for kind in ("doubled", "altered", "misplaced", "unknown"):
            if wrong := getattr(differences, kind):
                found.problems.append(f"{name}: {kind} {len(wrong)}: {wrong[:5]}")
    return found
