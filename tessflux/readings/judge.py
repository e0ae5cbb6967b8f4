"""A message -> its outcome: parse, admit, encode. Pure; nothing that a message holds makes it raise."""

from collections.abc import Callable, Sequence

from tessflux.limits import MAX_PAYLOAD
from tessflux.readings import lineprotocol
from tessflux.readings.admission import Admission, Decision
from tessflux.readings.message import Message
from tessflux.readings.outcome import (
    Admitted,
    Filtered,
    Held,
    Late,
    Outcome,
    Quarantined,
    Registered,
    Remark,
    Stored,
)
from tessflux.readings.reading import REGISTER, Reading, Refused, parse, parse_all
from tessflux.readings.registration import Places, Registrations, read

EMPTY = "empty"
MISROUTED = "misrouted"
CLOCK = "clock"

OTHER_KINDS = ("register", "status")
"""Last levels of topics on which photometers publish something other than readings. A reading counts there as
well: one gateway publishes all of its readings on the topic of register messages."""

SKEW_MS = 60_000
"""A publisher's clock that is off by more deserves a remark."""


Admit = Callable[[Reading, Message], Decision]
"""Decides on a reading: see `Admission.admit`."""


class Judge:
    """Judges one message after another; `admission` remembers what was admitted, and `registrations` what
    photometers said of themselves. `configure` it first."""

    def __init__(self, admission: Admission) -> None:
        self.admission, self.registrations = admission, Registrations()

    def configure(
        self,
        *,
        measurement: str,
        extra_fields: tuple[str, ...],
        validation: bool,
        registers: bool,
        places: Places,
    ) -> None:
        """Judge the messages that follow by these: see `parse`, and `lineprotocol` for the measurement.
        `registers` says whether register messages are stored."""
        self._measurement = lineprotocol.measurement(measurement)
        self._extra_fields, self._validation = extra_fields, validation
        self._registers = registers
        self.registrations.place(places)

    def parse(self, messages: Sequence[Message]) -> Sequence[Reading | Refused | None]:
        """What is in messages that came together. If one of them brings a bug about, None for each: then
        `judge` finds out which."""
        payloads = [message.payload for message in messages]
        try:
            return parse_all(payloads, extra_fields=self._extra_fields, validation=self._validation)
        except Exception:
            return [None] * len(messages)

    def judge(
        self, message: Message, admit: Admit | None = None, reading: Reading | Refused | None = None
    ) -> Outcome:
        """What becomes of a message, of which `parse` may have found the reading. One that was kept, and is
        judged again, is admitted by one of the other methods of `admission`."""
        if not message.payload:
            # This is how a retained message is deleted.
            return Filtered(EMPTY)
        if reading is None:
            reading = parse(message.payload, extra_fields=self._extra_fields, validation=self._validation)
        if isinstance(reading, Refused):
            if reading.cause == REGISTER and _kind(message.topic) == "register":
                return self._register(message, reading.name, again=admit is not None)
            return self._refuse(message, reading, reserve=admit is None)
        decision = (admit or self.admission.admit)(reading, message)
        if isinstance(decision, Admitted):
            series = lineprotocol.series(self._measurement, reading.name)
            tstamp = reading.tstamp
            remark = None
            if tstamp is not None and admit is None:
                remark = _skew(reading.name, tstamp - message.received_at)
            if message.topic.endswith(OTHER_KINDS) and _kind(message.topic) in OTHER_KINDS:
                remark = _misrouted(reading.name, message.topic, remark)
            return Stored(f"{series} {reading.values} {decision.time}", decision, reading, remark)
        if isinstance(decision, Filtered):
            return decision
        if isinstance(decision, Late):
            return Held(message, decision)
        return self._refuse(message, decision, reserve=admit is None)

    def _register(self, message: Message, name: str, *, again: bool) -> Outcome:
        if not again:
            self.admission.registered(name, message)
        if not self._registers or self.admission.unwanted(name) is not None:
            return Filtered(REGISTER)
        registration = read(message.payload, name)
        if isinstance(registration, Refused):
            return self._refuse(message, registration, reserve=False)
        decision = self.registrations.decide(registration, message, again=again)
        if isinstance(decision, Registered) and name not in self.registrations:
            decision = self.admission.welcome(name, message.received_at) or decision
        if isinstance(decision, Refused):
            return self._refuse(message, decision, reserve=False)
        if isinstance(decision, Registered):
            self.registrations.remember(decision)
        return decision

    def forget(self, admitted: list[Admitted], late: list[Late], registered: list[Registered]) -> None:
        """Forget these: they could not be stored or held, and may come again."""
        self.admission.forget(admitted, late)
        self.registrations.forget(registered)

    def _refuse(self, message: Message, refused: Refused, *, reserve: bool) -> Quarantined:
        time = message.received_at
        if refused.name and reserve:
            time = self.admission.reserve(refused.name, time)
        return Quarantined(
            time,
            message.topic,
            refused.name,
            refused.cause,
            refused.detail,
            message.payload[:MAX_PAYLOAD],
            message.retained,
        )


def _kind(topic: str) -> str:
    return topic.rpartition("/")[2]


def _misrouted(name: str, topic: str, also: Remark | None) -> Remark:
    """A remark on a reading that came on a topic for something else; there may be one on it already."""
    detail = f"it publishes its readings on {topic}"
    return Remark(name, MISROUTED, f"{detail}; {also.detail}" if also else detail)


def _skew(name: str, off: int) -> Remark | None:
    """A remark on a publisher's clock that is `off` from ours by many milliseconds."""
    if abs(off) <= SKEW_MS:
        return None
    return Remark(name, CLOCK, f"its time is off by {off / 1_000:+.0f} s")
