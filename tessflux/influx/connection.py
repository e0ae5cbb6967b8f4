"""Connections to InfluxDB for Twisted's HTTP client: verified where the url says https, and bounded.

The client by itself would keep all headers and skip all 1xx answers for as long as they come.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from tessflux.limits import ANSWER_BYTES, HEADER_BYTES
from tessflux.tls import tls_problem


def agent(reactor: Any, trust_root: Any, timeout: float) -> Agent:
    """A client that keeps one connection open; `timeout` seconds may pass until it is there."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 1
    endpoints = _Endpoints(reactor, trust_root, timeout)
    made: Agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    return made


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, trust_root: Any, timeout: float) -> None:
        self._reactor, self._trust_root, self._timeout = reactor, trust_root, timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, host, uri.port, self._timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust_root), endpoint)
        return _BoundedEndpoint(endpoint)


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        bounded = WrappingFactory(factory)
        bounded.protocol = _Bounded
        connected: Deferred[Any] = self._endpoint.connect(bounded)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


def why(failure: Failure) -> str:
    """Why a connection ended before its answer did, in words for the operator."""
    if problem := tls_problem(failure.value, "influxdb", "url"):
        return problem
    match failure.value:
        case ConnectionAborted():
            return f"more than {HEADER_BYTES + ANSWER_BYTES} bytes without an end"
        case ConnectionDone():
            return "it hung up without an answer"
        case ConnectionLost() | ConnectError():
            return failure.getErrorMessage()
        case _:
            return "its answer is no HTTP"


class _Bounded(ProtocolWrapper):
    """Hangs up when more comes for one request than anybody reads."""

    _came = 0

    def write(self, data: bytes) -> None:
        self._came = 0
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def dataReceived(self, data: bytes) -> None:
        self._came += len(data)
        if self._came > HEADER_BYTES + ANSWER_BYTES:
            self.transport.abortConnection()  # type: ignore[union-attr]
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
