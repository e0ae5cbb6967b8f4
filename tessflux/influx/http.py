"""One request to a server that [influxdb] url names -> its answer. The login, the time limit and the TLS
policy are the same for readings, statements and pings.

If no connection to a server can be made, the same request goes to the next one of the list. One that is lost
later, or too slow, is asked no more while another answers, but that request is not repeated: it may have been
carried out.

Nothing is read without a bound, no redirection is followed, and no proxy or password is taken from the
environment.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any

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
from tessflux.errors import ServerError, in_words
from tessflux.influx.connection import BoundedAgent, explain_loss
from tessflux.influx.dialect import dialect
from tessflux.limits import ANSWER_BYTES

LONGEST_NAME = 100
"""Characters of a server's name that are shown."""


class NoAnswer(ServerError):
    """No answer, or none that is HTTP: it took too long (`slow`), or there was no connection
    (`connected`)."""

    def __init__(self, reason: str, *, slow: bool, connected: bool) -> None:
        super().__init__(reason)
        self.slow, self.connected = slow, connected


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


class Answer(Protocol):
    """Collects the beginning of a body, and closes the connection if the body is too long."""

    def __init__(self, response: IResponse) -> None:
        self.code: int = response.code
        self.headers: Headers = response.headers
        self.body = b""
        self.broken_off = False
        """Whether the connection ended before the body was complete, and it was not us who closed it."""
        self.without_length = False
        """Whether the end of the connection was the end of the body, so that it may be incomplete."""
        self.done: Deferred[None] = Deferred(lambda _: self._abort())

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        # As bytes: a header that is not UTF-8 raises otherwise.
        [value] = self.headers.getRawHeaders(name.encode(), [None])[:1]
        return value.decode("utf-8", "replace") if value is not None else None

    @property
    def _is_full(self) -> bool:
        return len(self.body) >= ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        self.body += data[: ANSWER_BYTES - len(self.body)]
        if self._is_full:
            self._abort()

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.without_length = bool(reason.check(PotentialDataLoss))
        self.broken_off = not self._is_full and not reason.check(ResponseDone, PotentialDataLoss)
        if not self.done.called:
            self.done.callback(None)


class Http:
    """Asks the server of a config, whichever of its urls answers."""

    def __init__(self, config: InfluxConfig, agent: BoundedAgent, clock: IReactorTime) -> None:
        self._urls, self._timeout = deque(config.urls), config.timeout
        self._away = False
        """Whether the first of the urls did not answer."""
        self._agent, self._clock = agent, clock
        self._headers = {"User-Agent": f"tessflux/{__version__}"}
        spoken = dialect(config)
        if login := spoken.authorization(config):
            self._headers["Authorization"] = login
        self.hide = partial(spoken.hide, config)
        """Takes the login out of a text of the server."""

    @property
    def url(self) -> str:
        """The one that was asked last."""
        return self._urls[0]

    @property
    def connections(self) -> int:
        """How many were made: each may lead to another server."""
        return self._agent.connections

    async def get(self, path: str) -> Answer:
        """Ask for what is at `path` below the url. Raises NoAnswer and CancelledError."""
        return await self._request(b"GET", path, {}, None)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post to `path` below the url. Raises NoAnswer and CancelledError."""
        return await self._request(b"POST", path, headers, _Body(body))

    async def close(self) -> None:
        """Close the connection that is kept open."""
        await self._agent.close()

    def name(self, answer: Answer) -> str:
        """How the server calls itself, or nothing."""
        return self.hide(answer.header("Server") or "")[:LONGEST_NAME]

    async def _request(
        self, method: bytes, path: str, headers: Mapping[str, str], body: _Body | None
    ) -> Answer:
        for others in reversed(range(len(self._urls))):
            if self._away:
                self._urls.rotate(-1)
            try:
                answer = await self._request_once(method, path, headers, body)
            except NoAnswer as error:
                self._away = True
                if error.connected or len(self._urls) == 1:
                    raise
                if not others:
                    reason = f"{error}; no other url can be reached either"
                    raise NoAnswer(reason, slow=False, connected=False) from None
            else:
                self._away = False
                return answer
        raise AssertionError("the config has no url")

    async def _request_once(
        self, method: bytes, path: str, headers: Mapping[str, str], body: _Body | None
    ) -> Answer:
        fields = Headers({name: [value] for name, value in {**self._headers, **headers}.items()})
        ask = partial(self._agent.request, method, f"{self.url}{path}".encode(), fields, body)
        answer = Deferred.fromCoroutine(_ask(ask))
        try:
            return await answer.addTimeout(self._timeout, self._clock, _time_out)
        except Exception as error:
            if _is_cancelled(error):
                raise CancelledError() from None
            slow = isinstance(error, DeferredTimeout)
            connected = slow or isinstance(error, ResponseFailed)
            raise NoAnswer(self._explain(error), slow=slow, connected=connected) from None

    def _explain(self, error: Exception) -> str:
        """One line about a request that got no answer."""
        if isinstance(error, DeferredTimeout):
            return f"no answer within {self._timeout:g} s"
        if not isinstance(error, ResponseFailed):
            return in_words(error)
        reason = "; ".join(explain_loss(failure) for failure in error.reasons)
        if not _hung_up(error):
            return reason
        # Few servers answer at all to who speaks TLS and should not, or should and does not.
        tls, scheme = ("no TLS", "http") if self.url.startswith("https:") else ("TLS", "https")
        return f"{reason}; if it speaks {tls} there, the url must begin with {scheme}://"


async def _ask(ask: Any) -> Answer:
    try:
        response = await ask()
    except ResponseFailed as error:
        if not _hung_up(error):
            raise
        # The server may have closed an idle connection just when it was used again.
        response = await ask()
    answer = Answer(response)
    response.deliverBody(answer)
    await answer.done
    return answer


def _time_out(result: Answer | Failure, timeout: float) -> Answer | Failure:
    return Failure(DeferredTimeout()) if isinstance(result, Failure) else result


def _is_cancelled(error: Exception) -> bool:
    """Whether we cancelled the request: the agent has an error for each state that it may be in."""
    reasons = error.reasons if isinstance(error, ResponseFailed) else [Failure(error)]
    return any(reason.check(CancelledError, ConnectingCancelledError) for reason in reasons)


def _hung_up(error: ResponseFailed) -> bool:
    """Whether the connection ended before the first byte of an answer."""
    lost = all(reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons)
    return lost and isinstance(error, ResponseNeverReceived)
