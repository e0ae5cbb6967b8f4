"""What becomes of a message: it is stored (a reading) or registered (what a photometer says of itself),
filtered or quarantined, or held until its time is known. Pure values."""

from typing import ClassVar, NamedTuple

import msgspec

from tessflux.limits import MAX_NAME, MAX_PAYLOAD
from tessflux.readings.message import Message
from tessflux.readings.reading import Reading

INTERNAL_ERROR = "internal error"

LONGEST_DETAIL = 500
"""Characters of the text of an exception that are kept: it may show all of a payload."""


class Remark(NamedTuple):
    """Something about a photometer that its operator should look into."""

    photometer: str
    cause: str
    detail: str


class Admitted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reading to store: its identity, and its time in milliseconds since 1970 UTC. `seq` is that of a
    reading without a time of its own, since it tells when the next one is due."""

    name: str
    time: int
    identity: int
    seq: float | None = None


class Late(msgspec.Struct, frozen=True, gc=False):
    """A reading that is to be stored, but did not come when it was published; `connection` tells those that
    came over one connection from others."""

    name: str
    seq: float
    identity: int
    connection: int = 0


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A reading, and its line for the database."""

    line: str
    admitted: Admitted
    reading: Reading
    remark: Remark | None = None


class Said(msgspec.Struct, frozen=True, gc=False):
    """What was written of a photometer in a line of this `time` (ms since 1970 UTC), and until then. Both are
    JSON, since there may be many of them that nobody looks at; empty for nothing."""

    time: int
    fields: bytes
    before: bytes = b""

    @property
    def decoded(self) -> dict[str, str | float]:
        """The fields by their names in the database."""
        return _decode_fields(self.fields) if self.fields else {}


_decode_fields = msgspec.json.Decoder(dict[str, str | float]).decode


class Registered(msgspec.Struct, frozen=True, gc=False):
    """What a photometer says of itself, and its line for the database. `before` is what was known of it,
    `moved` the mac that it had before if it has another one now."""

    name: str
    line: str
    said: Said
    before: Said | None = None
    moved: str = ""
    remark: Remark | None = None


class Filtered(msgspec.Struct, frozen=True, gc=False):
    """Nothing is wrong with the message, or not enough to refuse it, but it is not to be stored."""

    cause: str
    remark: Remark | None = None


class Quarantined(NamedTuple):
    """A payload that was refused, or (`topic` is empty then) a line that the database of an output refused.

    `time` is that of its arrival, in milliseconds since 1970 UTC.
    """

    time: int
    topic: str
    photometer: str
    cause: str
    detail: str
    payload: bytes
    retained: bool = False
    output: str = ""

    @property
    def size(self) -> int:
        """Characters and bytes that count against the bound of the quarantine."""
        return len(self.payload) + len(self.topic) + len(self.detail)

    @property
    def remark(self) -> Remark:
        """Every refusal deserves one; without a name, the topic says whose it is."""
        return Remark(self.photometer or self.topic[:MAX_NAME], self.cause, self.detail)


class Held(msgspec.Struct, frozen=True, gc=False):
    """A message whose time is not known yet: it waits on disk as it came, and is judged again then.

    `message` has the arrival that our clock showed. `late` is the reading in it; None if the clock itself was
    not known. Then the arrival was `passed` milliseconds after the computer's `boot`.
    """

    message: Message
    late: Late | None = None
    boot: str = ""
    passed: int = 0
    remark: ClassVar[None] = None
    """Nobody needs to look into it."""

    @property
    def size(self) -> int:
        """Characters and bytes that count against the bound of what waits in memory."""
        return len(self.message.payload) + len(self.message.topic)


Outcome = Stored | Registered | Filtered | Quarantined | Held


def internal_error(message: Message, error: Exception) -> Quarantined:
    """The outcome of a message that could not be judged, because of a bug. Raises nothing, whatever the
    error is."""
    try:
        # SQLite stores no half of a surrogate pair.
        text = str(error).encode(errors="backslashreplace").decode()
    except Exception:
        text = "without a text"
    detail = f"{type(error).__name__}: {text}"[:LONGEST_DETAIL]
    payload = message.payload[:MAX_PAYLOAD]
    return Quarantined(
        message.received_at, message.topic, "", INTERNAL_ERROR, detail, payload, message.retained
    )
