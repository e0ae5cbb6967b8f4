"""What the operator is told: an alarm is raised, or over. Pure.

Whatever a photometer or a server has written into it is data: printable, on one line, of bounded length.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from tessflux.limits import ALARM_TEXT
from tessflux.logs import escape

State = Literal["raised", "cleared"]
RAISED: State = "raised"
CLEARED: State = "cleared"


@dataclass(frozen=True)
class Notice:
    """`event` is the kind of the alarm, `subject` what it is of, if there are several. `time` is now, and
    `since` when it was raised, both in seconds since 1970. `more` notices before this one were not said."""

    event: str
    state: State
    subject: str
    text: str
    time: float
    since: float
    more: int = 0

    def fields(self, host: str) -> dict[str, str | int]:
        """What a program gets, by name."""
        more = f" (and {self.more} more: see tessflux status)" if self.more else ""
        return asdict(self) | {
            "subject": one_line(self.subject),
            "text": f"{one_line(self.text)}{more}",
            "time": _iso(self.time),
            "since": _iso(self.since),
            "host": host,
        }

    def environment(self, host: str) -> dict[str, str]:
        """The same as variables: TESSFLUX_EVENT and so on."""
        return {f"TESSFLUX_{name.upper()}": str(value) for name, value in self.fields(host).items()}

    def as_json(self, host: str) -> bytes:
        """The same as one JSON object, on a line."""
        return json.dumps(self.fields(host)).encode() + b"\n"


def a_test(now: float) -> Notice:
    """One that an operator has asked for."""
    return Notice("test", RAISED, "", "this is a test: alarms of tessflux come this way", now, now)


def one_line(text: str) -> str:
    """As much of a text as fits, without what is not printable."""
    shown = escape(" ".join(text.split()))
    return shown if len(shown) <= ALARM_TEXT else f"{shown[: ALARM_TEXT - 3]}..."


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
