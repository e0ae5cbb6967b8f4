"""What the broker delivers. Pure."""

from collections.abc import Callable

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """One publication; `received_at` in milliseconds since 1970 UTC."""

    topic: str
    payload: bytes
    retained: bool
    received_at: int
    mid: int | None = None
    """The number by which it is acknowledged; None at QoS 0."""


Acknowledge = Callable[[], None]
"""Tells the broker that it need not keep a message any more."""

Deliver = Callable[[Message, Acknowledge | None], None]
"""Hands a message on, and how to acknowledge it (None at QoS 0)."""
