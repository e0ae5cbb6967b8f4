"""How far each output has come in the one queue. Pure: times are arguments (clock seconds).

Lines are numbered as they are committed. A database may acknowledge lines before they are safe, and lose
them when it crashes. So lines stay until the output takes others `resend` seconds after it took them, and
when it was away they are sent once more, before what waits.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

MARKS = 60
"""In how many steps lines are let go: one a second, if they stay for a minute."""

REWINDS = 10
"""How often the same line is sent again. An output that is away every few seconds would get nothing else."""

AT_RISK = 15.0
"""Seconds for which lines stay even if the spool is full: VictoriaMetrics loses those of the last ten in a
crash."""


@dataclass(frozen=True)
class Keeping:
    """What an output asks of the queue: for how many seconds delivered lines stay for it; whether lines stay
    for it when the spool is full; and whether it begins with the oldest line, or with the next one."""

    resend: float = 0.0
    required: bool = True
    begins_at_oldest: bool = False


@dataclass
class Position:
    """An output has dealt with all lines up to number `retired`, and with those up to `settled` for so long
    that they are not sent again. Once, it had dealt with all up to `answered`."""

    settled: int
    answered: int
    keeping: Keeping = field(default_factory=Keeping)
    retired: int = field(init=False)
    generation: int = 0
    """Changes when lines are to be sent again: a batch that was taken before it retires nothing."""
    missed: int = 0
    """Lines that went before the output had them, because the spool was full."""
    _alive: float = float("-inf")
    """When the output took lines last."""
    _marks: deque[tuple[float, int]] = field(default_factory=deque)
    """Until when lines up to a number were delivered, oldest first."""
    _rewound: list[int] = field(default_factory=list)
    """Up to which lines each rewind went, those that are settled left out; in order. So the first of ten is
    up to where lines were sent again ten times."""

    def __post_init__(self) -> None:
        self.retired = self.settled

    @property
    def delivered(self) -> int:
        """The output has had all lines up to this number, though some may be sent to it again."""
        return max(self.retired, self.answered)

    def keep(self, keeping: Keeping) -> None:
        """Keep lines as the output asks for it now."""
        self.keeping = keeping
        if not keeping.resend:
            self.settle_all()

    def retire(self, last: int, generation: int, now: float) -> None:
        """The output has dealt with all lines up to this number, in a batch of this generation."""
        self.answered = max(self.answered, last)
        if generation != self.generation or last <= self.retired:
            # Lines before it are to be sent again; it comes after them once more.
            return
        self.retired, self._alive = last, now
        if not self.keeping.resend:
            self.settle_all()
            return
        if self._marks and now < self._marks[-1][0]:
            self._marks[-1] = self._marks[-1][0], self.retired
        else:
            self._marks.append((now + self.keeping.resend / MARKS, self.retired))
        while self._marks and now - self._marks[0][0] >= self.keeping.resend:
            self.let_go_oldest()

    def may_let_go(self, last: int, now: float) -> bool:
        """Whether the oldest lines that stay for the output are hardly at risk; `last` is the newest of all.

        While some wait, they are if it has taken none since. When none waits, it cannot show that it lives.
        """
        until = now if self.retired >= last else self._alive
        return bool(self._marks) and until - self._marks[0][0] >= AT_RISK

    def let_go_oldest(self) -> None:
        """Let go of the lines that were delivered first."""
        self._settle(self._marks[0][1])

    def settle_all(self) -> None:
        """Let go of all that was delivered."""
        self._settle(self.retired)

    def _settle(self, number: int) -> None:
        self.settled = max(self.settled, number)
        self._rewound = [rewound for rewound in self._rewound if rewound > self.settled]
        while self._marks and self._marks[0][1] <= self.settled:
            self._marks.popleft()

    def rewind(self) -> int:
        """The output was away: what it may have lost is to be sent again. Returns how many lines that is."""
        if self.retired > self.settled:
            insort(self._rewound, self.retired)
        if len(self._rewound) > REWINDS:
            self._settle(self._rewound[0])
        again = self.retired - self.settled
        if again:
            self.retired = self.settled
            self.generation += 1
            self._marks.clear()
        return again

    def begin_anew(self, number: int) -> None:
        """All lines up to this number are gone, with the file that had them."""
        self.generation += 1
        self.answered = self.retired = number
        self.settle_all()

    def skip(self, number: int) -> int:
        """Go on after this line, whatever was delivered; returns how many lines the output never had."""
        missed = max(0, number - self.delivered)
        self.missed += missed
        self._settle(number)
        if self.retired < self.settled:
            self.retired = self.settled
            self.generation += 1
        self.answered = max(self.answered, self.settled)
        return missed
