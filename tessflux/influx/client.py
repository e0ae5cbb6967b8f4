"""One write request to InfluxDB, and the one verdict on its answer.

A verdict is not an exception: whatever happens to the request, it comes to one of the verdicts below, and
the writer decides what to do about it. The texts of the answers are those of InfluxDB 1.x.
"""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from tessflux import __version__
from tessflux.config import InfluxConfig
from tessflux.limits import ANSWER_BYTES

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
GZIP_LEVEL = 1
"""Lines shrink to a sixth at this level already; the higher ones cost CPU for little more."""

LONGEST_REASON = 500
"""Characters of what the server says that go into logs, and into the quarantine with every line."""

NO_LINES = "writing requires points"
"""What InfluxDB 2 answers to a request without lines, when it has found the database."""


@dataclass(frozen=True)
class Delivered:
    """Every line is in the database."""


@dataclass(frozen=True)
class Expired:
    """Every line is in, but for `dropped` ones that are older than the retention policy keeps."""

    dropped: int
    reason: str


@dataclass(frozen=True)
class BadLines:
    """Some lines are wrong; `quoted` are those that the answer shows. The others may be in or not."""

    reason: str
    quoted: tuple[str, ...] = ()


@dataclass(frozen=True)
class TooLarge:
    """The request as a whole was too large."""

    reason: str


@dataclass(frozen=True)
class Missing:
    """There is no such database or retention policy."""

    reason: str


@dataclass(frozen=True)
class Unauthorised:
    """The username, the password or the rights are wrong."""

    reason: str


@dataclass(frozen=True)
class Busy:
    """The server is there but takes nothing now; `retry_after` seconds are its own wish."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Unreachable:
    """No answer, or none that makes sense: connection, timeout, 5xx, redirection."""

    reason: str


Verdict = Delivered | Expired | BadLines | TooLarge | Missing | Unauthorised | Busy | Unreachable

_UNPARSABLE = re.compile(r"unable to parse '(.*?)': ", re.DOTALL)
_BEYOND_RETENTION = re.compile(r"^(?:partial write: )?points beyond retention policy dropped=(\d+)$")
"""The whole of the text, since a photometer's name may stand in another error and say the same."""


def judge(code: int, body: bytes, retry_after: str | None, now: datetime) -> Verdict:
    """The verdict on one answer. Pure."""
    text = _error_text(body)
    reason = f"{code} {text[:LONGEST_REASON]}".rstrip()
    if code in (200, 204, 400, 422) and text.startswith("<"):
        # A page of somebody between us and the database: it says nothing about lines.
        return Unreachable(reason)
    if code == 204 or (code == 200 and not text) or text == NO_LINES:
        return Delivered()
    if code in (400, 422):
        if dropped := _BEYOND_RETENTION.search(text):
            return Expired(int(dropped[1]), reason)
        return BadLines(reason, tuple(_UNPARSABLE.findall(text)))
    if code in (401, 403):
        return Unauthorised(reason)
    if code == 404 or "retention policy not found" in text:
        return Missing(reason)
    if code == 413:
        return TooLarge(reason)
    if code in (429, 503):
        return Busy(reason, _seconds(retry_after, now))
    return Unreachable(reason)


def _error_text(body: bytes) -> str:
    """What the server says is wrong: the "error" of its JSON, or whatever it sent."""
    text = _error_of(body.decode("utf-8", "replace").strip())
    # JSON may hold half a character, which nobody can store.
    return text.encode(errors="backslashreplace").decode()


def _error_of(text: str) -> str:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(answer, dict):
        return str(answer.get("error") or answer.get("message") or "")
    return text


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """What Retry-After asks for, given in seconds or as a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except (ValueError, OverflowError):
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


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
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        self.received += data[: ANSWER_BYTES - len(self.received)]
        if len(self.received) >= ANSWER_BYTES:
            self._abort()

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
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
        if config.username:
            login = b64encode(f"{config.username}:{config.password.reveal()}".encode()).decode()
            headers["Authorization"] = [f"Basic {login}"]
        self._compress = urlsplit(config.url).hostname not in LOCAL_HOSTS
        if self._compress:
            headers["Content-Encoding"] = ["gzip"]
        self._headers = Headers(headers)

    async def write(self, lines: Sequence[str]) -> Verdict:
        """Post the lines; no lines at all ask whether the database is there.

        Raises nothing but CancelledError.
        """
        body = "\n".join(lines).encode()
        if self._compress:
            body = gzip.compress(body, GZIP_LEVEL)
        request = Deferred.fromCoroutine(self._post(body))
        try:
            return await request.addTimeout(self._timeout, self._clock, _too_late)
        except Exception as error:
            if _is_cancelled(error):
                raise CancelledError() from None
            return Unreachable(_explain(error, self._timeout))

    async def _post(self, body: bytes) -> Verdict:
        response: IResponse = await self._agent.request(b"POST", self._url, self._headers, _Body(body))
        answer = _Answer()
        response.deliverBody(answer)
        text = await answer.done
        retry_after = response.headers.getRawHeaders("Retry-After", [None])[0]
        return judge(response.code, text, retry_after, datetime.now(UTC))


def _too_late(result: Verdict | Failure, timeout: float) -> Verdict | Failure:
    return Failure(DeferredTimeout()) if isinstance(result, Failure) else result


def _is_cancelled(error: Exception) -> bool:
    """Whether a request was broken off by us: the agent has an error for each of its states."""
    reasons = error.reasons if isinstance(error, ResponseFailed) else [Failure(error)]
    return any(reason.check(CancelledError, ConnectingCancelledError) for reason in reasons)


def _explain(error: Exception, timeout: float) -> str:
    """One line about a request that got no answer."""
    if isinstance(error, DeferredTimeout):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ResponseFailed):
        return "; ".join(failure.getErrorMessage() for failure in error.reasons)
    return str(error) or type(error).__name__
