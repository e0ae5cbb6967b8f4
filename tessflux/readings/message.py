"""A message as the broker delivers it. Pure."""

from collections.abc import Callable, Sequence

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """One publication; `received_at` in milliseconds since 1970 UTC."""

    topic: str
    payload: bytes
    retained: bool
    received_at: int
    mid: int | None = None
    """Its packet identifier, by which it is acknowledged; None at QoS 0."""
    sent_at: int | None = None
    """When it was published, in milliseconds since 1970 UTC, if the broker says so (MQTT 5 only)."""
    dup: bool = False
    """Whether the broker has sent it before, as far as it knows."""


Acknowledge = Callable[[Sequence[int]], None]
"""Acknowledges messages by their packet identifiers: the broker need not keep them any more."""

Deliver = Callable[[Sequence[Message], Acknowledge], None]
"""Takes messages in the order in which they came, and what acknowledges those above QoS 0."""
