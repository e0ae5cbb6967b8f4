"""Notices that a server was away, and has it sent again what it may have lost with that.

It was away if it could not be reached, or if another of its addresses answers. A connection that was closed
between two requests may mean a restart that nobody saw; but some proxies close one after each request, so
that counts only now and then.
"""

from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.influx.verdict import Unreachable, Verdict

log = Logger(namespace="influxdb")


class Resending(Protocol):
    """What is sent again: the queue of the spool."""

    def rewind(self) -> None: ...
    def send_once(self, once: bool) -> None: ...


class Answering(Protocol):
    """The client of a server: where that answers, how often a connection to it was made, and why it may store
    twice what it gets twice, "" if it does not."""

    @property
    def connections(self) -> int: ...
    @property
    def url(self) -> str: ...
    async def stores_twice(self) -> str: ...


@dataclass
class Contact:
    """A client, and what is known of its server."""

    client: Answering
    cut_off: bool = False
    """Whether the server could not be reached, and has not answered since; or nobody knows."""
    made: int = 0
    """How many connections to the server had been made when it answered last."""
    url: str = ""
    """Where it answered last."""
    asked: bool = False
    """Whether it has said if it stores twice what it gets twice."""


class Returns:
    """When a server answers again after it was away, `resending` is rewound."""

    def __init__(self, resending: Resending, clock: IReactorTime) -> None:
        self._resending, self._clock = resending, clock
        self._last_guess = float("-inf")
        self.troubles = 0
        """Grows whenever the server may lack what it took, and whenever another one takes its place."""

    def begin(self, client: Answering, *, cut_off: bool) -> Contact:
        """Another client is used; `cut_off` if its server may lack what the former one took."""
        self.troubles += 1
        return Contact(client, cut_off)

    def note_trouble(self, contact: Contact, verdict: Verdict) -> None:
        """A request failed."""
        self.troubles += 1
        if isinstance(verdict, Unreachable):
            contact.cut_off |= verdict.cut_off

    async def note_answer(self, contact: Contact, resend: float, *, took_lines: bool) -> str:
        """The server said something about lines. `resend` is that of the config: for how many seconds back
        lines are sent again.

        Returns where the server answered before, if that was elsewhere, else "".
        """
        client, url = contact.client, contact.client.url
        former = contact.url if contact.url != url else ""
        if resend and (former or not contact.asked):
            needed = await client.stores_twice()
            # QuestDB makes its table with the first line, and before that it shows nothing of it.
            contact.asked = bool(needed or took_lines)
            if needed:
                log.warn(
                    "{url} may store twice what it gets twice, so nothing is sent again after it was away;"
                    " to change that: {needed}",
                    url=url,
                    needed=needed,
                )
            self._resending.send_once(bool(needed))
        now, made = self._clock.seconds(), client.connections
        reconnected = 0 < contact.made != made and now - self._last_guess >= 2 * resend
        if contact.cut_off or former:
            self._resending.rewind()
        elif reconnected:
            self._last_guess = now
            self._resending.rewind()
        contact.cut_off, contact.made, contact.url = False, made, url
        return former
