"""One write request to InfluxDB -> one verdict, even if there is no answer.

Nothing is delivered to a stranger: a web server or proxy may answer 204 to whatever comes. A database shows
what it is in its answer (`_is_from_database`), or refuses a line that is none. The latter is asked once a
connection, and again after trouble.
"""

import gzip
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from tessflux import __version__
from tessflux.config import InfluxConfig
from tessflux.influx.connection import BoundedAgent, explain_loss
from tessflux.influx.verdict import (
    BadLines,
    Delivered,
    Expired,
    LinesVerdict,
    Unreachable,
    Verdict,
    classify,
    saw_no_lines,
)
from tessflux.limits import ANSWER_BYTES
from tessflux.readings import lineprotocol

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
GZIP_LEVEL = 1
"""Lines shrink to a sixth at this level already; a higher one costs CPU and gains little."""

DATABASE_HEADERS = tuple(
    f"X-{name}-{what}" for name in ("Influxdb", "Geminidb") for what in ("Version", "Build")
)
"""InfluxDB 1 and 2 send two of them with every answer, VictoriaMetrics one, openGemini its own."""

LONGEST_NAME = 100
"""Characters of a server's name that are shown."""

NO_LINE = b"tessflux"
"""A measurement without a field: a database refuses it, so it leaves nothing behind."""


@implementer(IBodyProducer)
class _Body:
    """The bytes of a request, written to the transport at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """Everything is written already."""

    resumeProducing = stopProducing = pauseProducing


class _Answer(Protocol):
    """Collects the beginning of a body, and closes the connection if the body is too long."""

    def __init__(self, response: IResponse) -> None:
        self.code: int = response.code
        self.headers: Headers = response.headers
        self.received = b""
        self.broken_off = False
        """Whether the connection ended before the body was complete, and it was not us who closed it."""
        self.without_length = False
        """Whether the end of the connection was the end of the body, so that it may be incomplete."""
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())

    @property
    def _is_full(self) -> bool:
        return len(self.received) >= ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        self.received += data[: ANSWER_BYTES - len(self.received)]
        if self._is_full:
            self._abort()

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.without_length = bool(reason.check(PotentialDataLoss))
        self.broken_off = not self._is_full and not reason.check(ResponseDone, PotentialDataLoss)
        if not self.done.called:
            self.done.callback(self.received)


class InfluxClient:
    """Writes lines into the database that `config` names."""

    def __init__(self, config: InfluxConfig, agent: BoundedAgent, clock: IReactorTime) -> None:
        self._agent, self._clock, self._timeout = agent, clock, config.timeout
        self._proven = 0
        """The connection on which a server refused NO_LINE, as the agent counts them."""
        parameters = {"db": config.dbname, "precision": "ms"}
        if config.retpol:
            parameters["rp"] = config.retpol
        self._url = f"{config.url}/write?{urlencode(parameters)}".encode()
        headers = {"User-Agent": [f"tessflux/{__version__}"], "Content-Type": ["text/plain; charset=utf-8"]}
        self._hide_login = partial(config.password.hide, config.username)
        if config.username:
            headers["Authorization"] = [f"Basic {config.password.basic(config.username)}"]
        self._compress = urlsplit(config.url).hostname not in LOCAL_HOSTS
        if self._compress:
            headers["Content-Encoding"] = ["gzip"]
        self._headers = Headers(headers)

    async def write(self, lines: Sequence[str]) -> Verdict:
        """Post the lines. A request without lines asks whether the database is there.

        Raises nothing but CancelledError.
        """
        post = Deferred.fromCoroutine(self._post(lineprotocol.text(lines).encode(), lines))
        try:
            return await post.addTimeout(self._timeout, self._clock, _time_out)
        except Exception as error:
            if _is_cancelled(error):
                raise CancelledError() from None
            slow = isinstance(error, DeferredTimeout)
            connected = slow or isinstance(error, ResponseFailed)
            return Unreachable(_explain(error, self._timeout), slow=slow, connected=connected)

    async def _post(self, body: bytes, lines: Sequence[str]) -> Verdict:
        verdict, answer = await self._request(body)
        if not isinstance(verdict, LinesVerdict):
            self._proven = 0
        if lines and answer.code != 204 and saw_no_lines(answer.received):
            return Unreachable(f"{answer.code}, but our lines did not arrive there")
        if answer.broken_off and isinstance(verdict, Delivered | Expired | BadLines):
            return Unreachable(f"{answer.code}, but the answer broke off")
        if answer.without_length and isinstance(verdict, Delivered):
            return Unreachable(f"{answer.code}, but the answer may be incomplete")
        if isinstance(verdict, Delivered) and not _is_from_database(answer):
            return await self._prove(verdict, answer)
        return verdict

    async def _request(self, body: bytes) -> tuple[Verdict, _Answer]:
        """The verdict on an answer, and the answer itself."""
        if self._compress:
            body = gzip.compress(body, GZIP_LEVEL)
        try:
            response = await self._send(body)
        except ResponseNeverReceived as error:
            if not _hung_up(error):
                raise
            # The server may have closed an idle connection just when it was used again.
            response = await self._send(body)
        answer = _Answer(response)
        response.deliverBody(answer)
        text = await answer.done
        retry_after = response.headers.getRawHeaders("Retry-After", [None])[0]
        # Some proxies quote the whole request in their errors, which go into the log and the quarantine.
        return classify(response.code, text, retry_after, datetime.now(UTC), self._hide_login), answer

    def _send(self, body: bytes) -> Deferred[IResponse]:
        sent: Deferred[IResponse] = self._agent.request(b"POST", self._url, self._headers, _Body(body))
        return sent

    async def _prove(self, verdict: Delivered, answer: _Answer) -> Verdict:
        """The verdict, if the server at the other end of this connection can tell a line from something
        else."""
        if self._proven == self._agent.connections:
            return verdict
        doubt, _ = await self._request(NO_LINE)
        if isinstance(doubt, BadLines):
            self._proven = self._agent.connections
            return verdict
        if isinstance(doubt, LinesVerdict):
            return Unreachable(_describe_stranger(answer, self._hide_login))
        # It is busy, or lets us in no more: that is the trouble, not who it is.
        return doubt


def _is_from_database(answer: _Answer) -> bool:
    return any(map(answer.headers.hasHeader, DATABASE_HEADERS)) or saw_no_lines(answer.received)


def _describe_stranger(answer: _Answer, hide: Callable[[str], str]) -> str:
    [name] = answer.headers.getRawHeaders(b"Server", [b"a server without a name"])[:1]
    shown = hide(name.decode("utf-8", "replace"))[:LONGEST_NAME]
    return f"{answer.code} from {shown}, but nothing shows that it is a database: does a proxy answer for it?"


def _time_out(result: Verdict | Failure, timeout: float) -> Verdict | Failure:
    return Failure(DeferredTimeout()) if isinstance(result, Failure) else result


def _is_cancelled(error: Exception) -> bool:
    """Whether we cancelled the request: the agent has an error for each state that it may be in."""
    reasons = error.reasons if isinstance(error, ResponseFailed) else [Failure(error)]
    return any(reason.check(CancelledError, ConnectingCancelledError) for reason in reasons)


def _hung_up(error: ResponseNeverReceived) -> bool:
    """Whether the connection ended before the first byte of an answer."""
    return all(reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons)


def _explain(error: Exception, timeout: float) -> str:
    """One line about a request that got no answer."""
    if isinstance(error, DeferredTimeout):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ResponseFailed):
        return "; ".join(explain_loss(failure) for failure in error.reasons)
    return str(error) or type(error).__name__
