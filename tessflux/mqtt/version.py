"""Which version of MQTT to speak to a broker. Pure.

MQTT 5 is tried when the config asks for it. A broker that does not know it says so, or just closes the
connection. Then the other version is tried: at once if the broker said so, else after the second loss in a
row, because a single loss can have any cause. If the broker closes on the other version too, the version was
not the reason, and both are tried in turns.
"""

from tessflux.config import Version

RETRY_CONFIGURED = 3600.0
"""Seconds after which the configured version is tried again: brokers are upgraded, guesses can be wrong."""

LOSSES = 2
"""After so many losses in a row without any answer from the broker the other version is tried."""


class Choice:
    """`next` gives the version for a connection; the other methods take how its handshake went."""

    def __init__(self, wanted: Version) -> None:
        self._wanted = self._version = wanted
        self._losses = 0
        self._since = 0.0

    def next(self, now: float) -> Version:
        """The version for a connection that begins now (seconds)."""
        if self._version != self._wanted and now - self._since >= RETRY_CONFIGURED:
            self._change(now)
        return self._version

    def accepted(self) -> None:
        """The broker has answered, be it with a refusal for another reason."""
        self._losses = 0

    def refused(self, now: float) -> None:
        """The broker says that it does not speak this version."""
        if self._wanted == "5":
            self._change(now)

    def lost(self, now: float) -> None:
        """The connection was lost before any answer."""
        self._losses += 1
        if self._wanted == "5" and self._losses >= LOSSES:
            self._change(now)

    def _change(self, now: float) -> None:
        self._version = "3.1.1" if self._version == "5" else "5"
        self._losses, self._since = 0, now
