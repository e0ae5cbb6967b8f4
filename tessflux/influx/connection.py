"""Connections to InfluxDB for Twisted's HTTP client: verified if the url says https, and bounded.

Without a bound the client would keep headers and skip 1xx answers for as long as they come.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from tessflux.errors import in_words
from tessflux.hosts import HostEndpoint
from tessflux.limits import ANSWER_BYTES, HEADER_BYTES
from tessflux.tls import VerifiedTLS, tls_problem


class BoundedAgent(Agent):
    """An HTTP client that counts its connections: each may lead to another server."""

    connections = 0

    async def close(self) -> None:
        """Close the connection that is kept open."""
        await self._pool.closeCachedConnections()


def agent(reactor: Any, trust: Callable[[], Any], timeout: float) -> BoundedAgent:
    """An HTTP client that keeps one connection open; making it may take `timeout` seconds. Each connection
    asks `trust` for the authorities anew, so that a corrected file counts without a restart."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 1

    def count() -> None:
        made.connections += 1

    endpoints = _Endpoints(reactor, trust, timeout, count)
    made: BoundedAgent = BoundedAgent.usingEndpointFactory(reactor, endpoints, pool)  # type: ignore[no-untyped-call]
    return made


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(
        self, reactor: Any, trust: Callable[[], Any], timeout: float, count: Callable[[], None]
    ) -> None:
        self._reactor, self._trust, self._timeout, self._count = reactor, trust, timeout, count

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint: IStreamClientEndpoint = HostEndpoint(self._reactor, host, uri.port, self._timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(VerifiedTLS(host, self._trust()), endpoint)
        return _BoundedEndpoint(endpoint, self._count)


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, count: Callable[[], None]) -> None:
        self._endpoint, self._count = endpoint, count

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        self._count()
        bounded = WrappingFactory(factory)
        bounded.protocol = _Bounded
        connected: Deferred[Any] = self._endpoint.connect(bounded)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


def explain_loss(failure: Failure) -> str:
    """Why a connection was lost before the answer was complete, in words for the operator."""
    if problem := tls_problem(failure.value, "influxdb", "url", plain="http://"):
        return problem
    match failure.value:
        case ConnectionAborted():
            return f"more than {HEADER_BYTES + ANSWER_BYTES} bytes without an end"
        case ConnectionDone():
            return "the server hung up without an answer"
        case ConnectionLost() | ConnectError():
            return in_words(failure.value)
        case _:
            return "the answer is not HTTP"


class _Bounded(ProtocolWrapper):
    """Aborts the connection when the answer to one request is longer than what is read of it."""

    _received = 0

    def write(self, data: bytes) -> None:
        self._received = 0
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > HEADER_BYTES + ANSWER_BYTES:
            self.transport.abortConnection()  # type: ignore[union-attr]
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
