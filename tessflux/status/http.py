"""HTTP for the site: one request a connection, which is answered within seconds or ends.

Whoever asks is a stranger, over TCP at least. So nothing here grows with what is sent: requests have no body,
few headers, no second one behind them; a connection lives SECONDS at most, however slowly it sends or reads;
and beyond STATUS_CONNECTIONS the oldest ends, since those who behave are gone by then. Nor do they take the
time that readings need: after A_SECOND connections in a second the others wait for the next one.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from tessflux.limits import STATUS_CONNECTIONS, STATUS_REQUEST, TRACEBACKS
from tessflux.logs import RateLimit

log = Logger(namespace="status")

SECONDS = 20.0
"""That a connection lives at most, in which a phone far away can load a page of 300 kB."""

A_SECOND = 100
"""Connections that are taken in a second: at 0.5 ms each, a twentieth of the time. Ten open pages and a
Prometheus make five."""

BUG_PERIOD = 3600.0
"""Seconds between two log lines about the same bug."""

HEADERS = {
    b"Cache-Control": b"no-store",
    b"Connection": b"close",
    b"Content-Security-Policy": (
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
}
"""Of every answer: no browser runs or loads what is not ours, or shows it within something else."""


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    body: bytes
    code: int = 200
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""
    """The methods that a path has, if the one that was asked for is not among them."""


Query = Mapping[str, str]
"""The parameters behind the `?` of a path; of those with one name the last."""

Page = Callable[[str, Query], Awaitable[Answer]]
"""Answers for what follows its path, which is nothing unless that ends with a slash."""

Pages = Mapping[str, Page]
"""By their paths. One that ends with a slash answers for all below it that have no page of their own."""


def text(code: int, line: str) -> Answer:
    """One line, for people."""
    return Answer(f"{line}\n".encode(), code)


class Site(ServerFactory):
    """Shows `pages` to GET and HEAD, and does `actions` by POST. Over TCP there should be none of these, and
    `knows_host` says which Host headers it answers to: a name that somebody else leads to us would let his
    pages read ours (DNS rebinding)."""

    noisy = False

    def __init__(
        self,
        pages: Pages,
        actions: Pages,
        *,
        knows_host: Callable[[str], bool],
        clock: IReactorTime,
    ) -> None:
        self._pages, self._actions = pages, actions
        self.knows_host, self.clock = knows_host, clock
        self._open: dict[_Channel, None] = {}
        self._port: Any = None
        self._second, self._taken = clock.seconds(), 0
        self._waits: IDelayedCall | None = None
        self._bugs = RateLimit(clock, period=BUG_PERIOD, lines=TRACEBACKS)

    def listens(self, port: Any) -> None:
        """Connections come from this port of the reactor."""
        self._port = port

    def buildProtocol(self, addr: "IAddress | None") -> "_Channel":
        self._spare_readings()
        if len(self._open) >= STATUS_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest)
            oldest.abort()
        channel = _Channel(self)
        self._open[channel] = None
        return channel

    def _spare_readings(self) -> None:
        """Take no more connections in this second if there were many. The kernel has some wait."""
        now = self.clock.seconds()
        if now - self._second >= 1:
            self._second, self._taken = now, 0
        self._taken += 1
        if self._taken >= A_SECOND and self._waits is None and self._port is not None:
            self._port.stopReading()
            self._waits = self.clock.callLater(self._second + 1 - now, self._go_on)

    def _go_on(self) -> None:
        self._waits = None
        self._port.startReading()

    def closed(self, channel: "_Channel") -> None:
        """A connection has ended."""
        self._open.pop(channel, None)

    def end(self) -> None:
        """End all connections, and take no more."""
        self._port = None
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None
        for channel in list(self._open):
            channel.abort()

    async def answer(self, method: str, path: str, query: Query) -> Answer:
        """What a request is answered. Raises nothing."""
        pages = self._actions if method == "POST" else self._pages
        page, rest = _find(pages, path)
        if method not in ("GET", "HEAD", "POST") or page is None:
            has = {"GET, HEAD": self._pages, "POST": self._actions}
            allow = ", ".join(methods for methods, among in has.items() if _find(among, path)[0])
            if not allow:
                return text(404, "404 no such page")
            return Answer(b"405 this path has other methods\n", 405, allow=allow)
        try:
            return await page(_decoded(rest), query)
        except Exception:
            failure = Failure()
            if self._bugs.admits((failure.type, path if path in pages else "")):
                log.failure("A page could not be made", failure)
            return text(500, "500 the page could not be made; the log has the reason")


def _find(pages: Pages, path: str) -> tuple[Page | None, str]:
    if path in pages:
        return pages[path], ""
    place, slash, rest = path.rpartition("/")
    return pages.get(place + slash) if rest and place else None, rest


def is_ours(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header is one that nobody else's pages can have: an address, `localhost`, or one of the
    `names`."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.netloc != host or "@" in host:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Channel(HTTPChannel):
    """One connection."""

    transport: Any  # One of TCP's or a Unix socket's, which have abortConnection.
    totalHeadersSize = MAX_LENGTH = STATUS_REQUEST
    maxHeaders = 100

    def __init__(self, site: Site) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.site = site
        # Its own time limit would begin anew with each byte.
        self.timeOut = None
        self.requestFactory = _Request
        self._limit: IDelayedCall | None = None
        self._refused = False

    def connectionMade(self) -> None:
        self._limit = self.site.clock.callLater(SECONDS, self.abort)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self.site.closed(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """End the connection now."""
        self._refused = True
        if self.transport is not None:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        # Twisted goes on with the next header after one that is wrong.
        if not self._refused:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        # There is no body, and what follows the request is not read.
        pass

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(414, b"Request too long")

    def allHeadersReceived(self) -> None:
        if self.length != 0:
            self._refuse(413, b"Requests have no body here")
        elif len(self.requests[-1].requestHeaders.getRawHeaders(b"Host") or ()) > 1:
            self._refuse(400, b"Bad Request")
        else:
            # Not that of HTTPChannel, which parses cookies and asks for the body of which there is none.
            self.persistent = False
            self.requests[-1].gotLength(0)

    def allContentReceived(self) -> None:
        if not self._refused:
            super().allContentReceived()  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(400, b"Bad Request")

    def _refuse(self, code: int, reason: bytes) -> None:
        if self._refused:
            return
        self._refused = True
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % (code, reason)
        )
        self.loseConnection()  # type: ignore[no-untyped-call]


class _Request(Request):
    """Hands a request to the site, and sends what that answers."""

    channel: _Channel
    _gone = False

    def connectionLost(self, reason: Failure) -> None:
        self._gone = True
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # Not that of Request, which parses forms and cookies.
        self.method, self.uri = command, path
        self.clientproto = version if version == b"HTTP/1.0" else b"HTTP/1.1"
        Deferred.fromCoroutine(self._answer())

    async def _answer(self) -> None:
        # Whoever is gone has no channel any more.
        site = self.channel.site
        self._send(await self._ask(site), site)

    async def _ask(self, site: Site) -> Answer:
        # As bytes: what is not UTF-8 could not be had as text.
        host = self.requestHeaders.getRawHeaders(b"Host") or [b""]
        if not site.knows_host(host[0].decode("latin-1")):
            return text(403, "403 ask by an address, or by the name of this computer: the Host is unknown")
        path, _, query = self.uri.decode("latin-1").partition("?")
        return await site.answer(self.method.decode("latin-1"), path, _parameters(query))

    def _send(self, answer: Answer, site: Site) -> None:
        if self._gone:
            return
        self.setResponseCode(answer.code)
        headers = self.responseHeaders
        for name, value in HEADERS.items():
            headers.setRawHeaders(name, [value])
        headers.setRawHeaders("Content-Type", [answer.content_type])
        headers.setRawHeaders("Content-Length", [str(len(answer.body))])
        if answer.allow:
            headers.setRawHeaders("Allow", [answer.allow])
        self.write(answer.body)  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "replace")


def _parameters(query: str) -> Query:
    pairs = (each.partition("=") for each in query.split("&") if each)
    return {_decoded(name): _decoded(value.replace("+", " ")) for name, _, value in pairs}


def everyone(_host: str) -> bool:
    """Over a Unix socket there is no name that could lead elsewhere."""
    return True
