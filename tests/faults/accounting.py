"""The daemon's own counters (I5): what it has received, every message of it, ended in exactly one way, and so
did every line at each output.

They are read from the lines that a daemon logs every hour and when it stops.
"""

import re
from dataclasses import dataclass

from tessflux.config import FIRST_OUTPUT

_MQTT = re.compile(
    r"MQTT Stats \[Total, Accepted, Filtered\] = \[(\d+), (\d+), (\d+)\], refused (\d+), lost (\d+);"
    r" since the start (\d+) received(?:.*; held until their time is known: (\d+))?"
)
_INFLUX = re.compile(
    r"InfluxDB Write Stats(?: of \[(.+?)\])? \[.*readings delivered (\d+), waiting (\d+);"
    r" since the start (\d+) delivered, beyond retention (\d+), quarantined (\d+)"
)
_WHY_LOST = re.compile(r"\[spool#(?:error|critical)\]")
_BEFORE = re.compile(r" (\d+) readings wait for \[(.+?)\]")


@dataclass(frozen=True)
class Account:
    """One run of the daemon, from its start to its orderly end, and what one output got.

    Messages are received, those that were held before among them; they end as one of stored, filtered,
    refused, lost, or they are held. Lines wait `before` and are stored; they end as delivered, expired or
    quarantined, or they wait `after`.
    """

    received: int
    stored: int
    filtered: int
    refused: int
    lost: int
    held: int
    before: int
    delivered: int
    expired: int
    quarantined: int
    after: int

    def problems(self) -> list[str]:
        """What does not add up."""
        found = []
        if self.received != self.stored + self.filtered + self.refused + self.lost + self.held:
            found.append(f"messages do not add up: {self}")
        if self.before + self.stored != self.delivered + self.expired + self.quarantined + self.after:
            found.append(f"lines do not add up: {self}")
        return found


def accounts(log: str) -> dict[str, Account]:
    """What a daemon logged in one run, by outputs; fails when it did not end in order."""
    messages = [[int(number or 0) for number in found] for found in _MQTT.findall(log)]
    lines = {output or FIRST_OUTPUT: list(map(int, found)) for output, *found in _INFLUX.findall(log)}
    ended = bool(messages and lines) and "tessflux has stopped" in log
    assert ended, f"the daemon did not end in order:\n{log[-2000:]}"
    total, stored, filtered, refused, lost = (sum(row[column] for row in messages) for column in range(5))
    assert total == messages[-1][5], f"the lines give {total} messages, the last one {messages[-1][5]}"
    before: dict[str, int] = {}
    for waiting, output in _BEFORE.findall(log):
        before.setdefault(output, int(waiting))
    return {
        output: Account(
            received=total,
            stored=stored,
            filtered=filtered,
            refused=refused,
            lost=lost,
            held=messages[-1][6],
            before=before.get(output, 0),
            delivered=delivered,
            expired=expired,
            quarantined=quarantined,
            after=after,
        )
        for output, (_, after, delivered, expired, quarantined) in lines.items()
    }


def account(log: str) -> Account:
    """That of the first output."""
    return accounts(log)[FIRST_OUTPUT]


def check_account(log: str) -> Account:
    """The account of a run, which must add up for each output; what it lost must be explained by an error in
    the log."""
    for output, found in accounts(log).items():
        assert not found.problems(), (output, found.problems())
    found = account(log)
    assert not found.lost or _WHY_LOST.search(log), f"{found.lost} lost, and the log does not say why"
    return found
