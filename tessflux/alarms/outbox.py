"""What is still to be told to the operator's command, and when. Pure: the time is an argument, in seconds.

One notice is told after the other, and never more than so many in an hour. One that the command fails to take
is told again later: when the network is away, so is the mail. What waits too long, or is too much, is not
told but counted, and the next notice says how many these were. After an hour that was used up, only the
newest is of interest.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from tessflux.alarms.notice import Notice
from tessflux.limits import ALARM_NOTICES

HOUR = 3_600.0

RETRY = 60.0
"""Seconds until the command is tried again; each time twice as many as before."""

TRIES = 6
"""How often a notice is told at most: within half an hour."""


class Outbox:
    """`put` what is to be told. `take` one when `delay` is 0, then say how it went: `told`, `failed` or
    `interrupted`."""

    def __init__(self) -> None:
        self._waiting: deque[Notice] = deque()
        self._now_told: Notice | None = None
        self._runs: deque[float] = deque()
        """When the command was run in the last hour."""
        self._more = self._failures = 0
        self._not_before = float("-inf")
        self._hour_used_up = False

    @property
    def untold(self) -> list[Notice]:
        """What is not told yet, also what is being told."""
        return [*([self._now_told] if self._now_told else ()), *self._waiting]

    def restore(self, untold: Sequence[Notice]) -> None:
        """What an earlier process did not tell."""
        for notice in untold:
            self.put(notice)

    def put(self, notice: Notice) -> None:
        """Have this told."""
        self._waiting.append(notice)
        if len(self._waiting) > ALARM_NOTICES:
            self._drop(self._waiting.popleft())

    def _drop(self, notice: Notice) -> None:
        self._more += 1 + notice.more

    def delay(self, now: float, per_hour: int) -> float | None:
        """Seconds until the next one may be told; None if there is none, or one is being told."""
        if not self._waiting or self._now_told:
            return None
        while self._runs and now - self._runs[0] >= HOUR:
            self._runs.popleft()
        free = float("-inf")
        if len(self._runs) >= per_hour:
            self._hour_used_up = True
            free = self._runs[-per_hour] + HOUR
        return max(0.0, free - now, self._not_before - now)

    def take(self, now: float) -> Notice:
        """The next one."""
        if self._hour_used_up:
            self._hour_used_up = False
            while len(self._waiting) > 1:
                self._drop(self._waiting.popleft())
        notice = self._waiting.popleft()
        self._runs.append(now)
        self._now_told = notice = replace(notice, more=notice.more + self._more)
        self._more = 0
        return notice

    def told(self) -> None:
        """The command has taken it."""
        self._now_told = None
        self._failures, self._not_before = 0, float("-inf")

    def failed(self, now: float) -> bool:
        """The command did not take it; whether it is tried again."""
        notice = self._end()
        self._failures += 1
        if self._failures < TRIES and len(self._waiting) < ALARM_NOTICES:
            self._waiting.appendleft(notice)
            self._not_before = now + RETRY * 2 ** (self._failures - 1)
            return True
        self._drop(notice)
        self._failures, self._not_before = 0, float("-inf")
        return False

    def interrupted(self) -> None:
        """We stop: whoever restores it tells it."""
        self._waiting.appendleft(self._end())

    def _end(self) -> Notice:
        notice, self._now_told = self._now_told, None
        assert notice is not None
        return notice
