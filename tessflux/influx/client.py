"""One write request to InfluxDB, and the one verdict on it, also when there is no answer."""

import gzip
from collections.abc import Sequence
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
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from tessflux import __version__
from tessflux.config import InfluxConfig
from tessflux.influx.connection import why
from tessflux.influx.verdict import BadLines, Delivered, Expired, Unreachable, Verdict, judge, saw_no_lines
from tessflux.limits import ANSWER_BYTES
from tessflux.readings import lineprotocol

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
GZIP_LEVEL = 1
"""Lines shrink to a sixth at this level already; the higher ones cost CPU for little more."""


@implementer(IBodyProducer)
class _Body:
    """The bytes of a request, given to the transport at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """All is written already."""

    resumeProducing = stopProducing = pauseProducing


class _Answer(Protocol):
    """Collects the beginning of a body, and closes the connection of one that does not end."""

    def __init__(self) -> None:
        self.received = b""
        self.broken_off = False
        """Whether it ended before its end, and not by us."""
        self.endless = False
        """Whether it had no length, so that nobody knows if this was its end."""
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
        # An answer without a length ends with its connection.
        self.endless = bool(reason.check(PotentialDataLoss))
        self.broken_off = not self._is_full and not reason.check(ResponseDone, PotentialDataLoss)
        if not self.done.called:
            self.done.callback(self.received)


class InfluxClient:
    """Writes lines into the database that `config` names."""

    def __init__(self, config: InfluxConfig, agent: IAgent, clock: IReactorTime) -> None:
        self._agent, self._clock, self._timeout = agent, clock, config.timeout
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
        """Post the lines; no lines at all ask whether the database is there.

        Raises nothing but CancelledError.
        """
        body = lineprotocol.text(lines).encode()
        if self._compress:
            body = gzip.compress(body, GZIP_LEVEL)
        again = True
        while True:
            request = Deferred.fromCoroutine(self._post(body, lines))
            try:
                return await request.addTimeout(self._timeout, self._clock, _too_late)
            except Exception as error:
                if _is_cancelled(error):
                    raise CancelledError() from None
                if again and _hung_up(error):
                    # It may have been a kept connection whose end was under way, said or not.
                    again = False
                    continue
                slow = isinstance(error, DeferredTimeout)
                return Unreachable(_explain(error, self._timeout), slow=slow)

    async def _post(self, body: bytes, lines: Sequence[str]) -> Verdict:
        response: IResponse = await self._agent.request(b"POST", self._url, self._headers, _Body(body))
        answer = _Answer()
        response.deliverBody(answer)
        text = await answer.done
        retry_after = response.headers.getRawHeaders("Retry-After", [None])[0]
        # Some proxies show the whole request in their errors, which go into the log and the quarantine.
        verdict = judge(response.code, text, retry_after, datetime.now(UTC), self._hide_login)
        if lines and response.code != 204 and saw_no_lines(text):
            return Unreachable(f"{response.code}, our lines did not arrive there")
        if answer.broken_off and isinstance(verdict, Delivered | Expired | BadLines):
            return Unreachable(f"{response.code}, and then the answer broke off")
        if answer.endless and isinstance(verdict, Delivered):
            return Unreachable(f"{response.code}, and nobody knows whether more was to come")
        return verdict


def _too_late(result: Verdict | Failure, timeout: float) -> Verdict | Failure:
    return Failure(DeferredTimeout()) if isinstance(result, Failure) else result


def _is_cancelled(error: Exception) -> bool:
    """Whether a request was broken off by us: the agent has an error for each of its states."""
    reasons = error.reasons if isinstance(error, ResponseFailed) else [Failure(error)]
    return any(reason.check(CancelledError, ConnectingCancelledError) for reason in reasons)


def _hung_up(error: Exception) -> bool:
    """Whether the connection ended before the first byte of an answer."""
    return isinstance(error, ResponseNeverReceived) and all(
        reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons
    )


def _explain(error: Exception, timeout: float) -> str:
    """One line about a request that got no answer."""
    if isinstance(error, DeferredTimeout):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ResponseFailed):
        return "; ".join(why(failure) for failure in error.reasons)
    return str(error) or type(error).__name__
