"""Messages as they come from photometers, and a register that hears them."""

from typing import Any

from tessflux.photometers.register import Register
from tessflux.readings import Admission, Admit, Judge, Outcome
from tests.readings.samples import FOUR, NOW, PLAIN, message, row


class Hearing:
    """A register, and the judge whose outcomes it gets. Each reading has the next `seq`."""

    def __init__(
        self, *, history: bool = True, blacklist: frozenset[str] = frozenset(), registers: bool = False
    ) -> None:
        self.register = Register(history=history)
        self.judge = Judge(Admission())
        self.judge.configure(
            measurement="readings", extra_fields=(), validation=True, registers=registers, places={}
        )
        self.judge.admission.choose(frozenset(), blacklist)
        self.seq = 0

    def hears(
        self,
        name: str = "stars1",
        at: int = NOW,
        *,
        topic: str = "",
        retained: bool = False,
        admit: Admit | None = None,
        base: dict[str, Any] = PLAIN,
        **changes: Any,
    ) -> Outcome:
        """A reading comes at this time (ms); returns its outcome."""
        self.seq += 1
        payload = row(base, **{"name": name, "seq": self.seq, **changes})
        return self.comes(
            payload, at, topic=topic or f"STARS4ALL/{name}/reading", retained=retained, admit=admit
        )

    def comes(
        self,
        payload: bytes,
        at: int = NOW,
        *,
        topic: str = "STARS4ALL/stars1/reading",
        retained: bool = False,
        admit: Admit | None = None,
    ) -> Outcome:
        """Anything comes, and is digested."""
        judged = message(payload, topic, retained=retained, received_at=at)
        outcome = self.judge.judge(judged, admit)
        self.register.take([judged], [outcome], admit)
        self.digest(at)
        return outcome

    def digest(self, at: int) -> None:
        while not self.register.digest(at):
            pass


__all__ = ["FOUR", "NOW", "PLAIN", "Hearing"]
