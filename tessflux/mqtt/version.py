"""Which version of MQTT to speak to a broker. Pure.

The version of the config is tried first. A broker that does not know it says so, or says nothing, or just
closes the connection. Then the other version is tried: at once if the broker said so or was silent, else
after the second loss in a row, because a single loss can have any cause. A version by which the broker has
let us in is left only when it says so, or after five times. If the broker fails the other version too, the
version was not the reason, and both are tried in turns.
"""

from tessflux.config import Version

RETRY_CONFIGURED = 3600.0
"""Seconds after which the configured version is tried again: brokers are upgraded, guesses can be wrong."""

LOSSES = 2
"""After so many losses in a row without any answer from the broker the other version is tried."""

LOSSES_OF_ACCEPTED = 5
"""The same, with silence, of a version that has let us in: the broker, or the way to it, may be ill."""


def other_than(version: Version) -> Version:
    """There are two."""
    return "3.1.1" if version == "5" else "5"


class Choice:
    """`next` gives the version for a connection; the other methods take how its handshake went."""

    def __init__(self, wanted: Version) -> None:
        self._wanted = self._version = wanted
        self._losses = 0
        self._refused: set[Version] = set()
        self.since = 0.0
        """When the version was changed last."""
        self._known = wanted, self.since
        """By which version the broker let us in the last time, and since when that was spoken."""
        self._let_in_by: Version | None = None

    @property
    def takes_neither(self) -> bool:
        """Whether the broker has said of both versions that it does not speak them."""
        return len(self._refused) == 2

    def recall(self, since: float) -> None:
        """An earlier process was let in by the other version, which it had taken to then."""
        self._version = self._let_in_by = other_than(self._wanted)
        self.since = since
        self._known = self._version, since

    def next(self, now: float) -> Version:
        """The version for a connection that begins now (seconds)."""
        if self._version != self._wanted and now - self.since >= RETRY_CONFIGURED:
            self._change(now)
        return self._version

    def answered(self) -> None:
        """The broker has answered with a refusal for another reason."""
        self._losses = 0

    def accepted(self) -> bool:
        """The broker has let us in. Returns whether that is news: by another version than the last time, or
        by one that was left since."""
        self._losses = 0
        self._refused.clear()
        self._let_in_by = self._version
        known, self._known = self._known, (self._version, self.since)
        return known != self._known

    def refused(self, now: float) -> None:
        """The broker says that it does not speak this version."""
        self._refused.add(self._version)
        self._change(now)

    def lost(self, now: float, *, silent: bool) -> None:
        """The connection was lost before any answer, or the broker was silent until we gave it up."""
        self._losses += 1
        needed = 1 if silent else LOSSES
        if self._version == self._let_in_by:
            needed = LOSSES_OF_ACCEPTED
        if self._losses >= needed:
            self._change(now)

    def _change(self, now: float) -> None:
        self._version = other_than(self._version)
        self._losses, self.since = 0, now
