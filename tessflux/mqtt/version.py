"""Which version of MQTT to speak to a broker. Pure.

MQTT 5 is tried when the config says so. A broker that does not know it may say so, or just close: then the
other version is tried, at once or after the second loss in a row, because a single one may have any cause.
Should the broker close on that too, the version was not the reason, and it goes on in turns.
"""

from tessflux.config import Version

AGAIN = 3600.0
"""Seconds after which a connection is tried by MQTT 5 again: brokers are upgraded, and guesses are wrong."""

LOSSES = 2
"""Losses in a row before the broker's first answer, after which the other version is tried."""


class Choice:
    """`next` gives the version for a connection; the others tell how its handshake went."""

    def __init__(self, wanted: Version) -> None:
        self._wanted = self._version = wanted
        self._losses = 0
        self._since = 0.0

    def next(self, now: float) -> Version:
        """For a connection that is begun now (seconds)."""
        if self._version != self._wanted and now - self._since >= AGAIN:
            self._change(now)
        return self._version

    def accepted(self) -> None:
        """The broker has answered, if only with a refusal for another reason."""
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
