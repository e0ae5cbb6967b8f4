"""A broker's address -> a Twisted endpoint. TLS always verifies the broker's name and certificate."""

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure

from tessflux.config import MqttConfig
from tessflux.tls import VerifiedTLS, tls_problem, trust

CONNECT_TIMEOUT = 30
"""Seconds for a TCP connection, and again for what follows: the TLS handshake, or that of a WebSocket."""


def client_certificate(config: MqttConfig) -> PrivateCertificate | None:
    """Our certificate, if one is configured."""
    if not config.tls_cert:
        return None
    key = Path(config.tls_key or config.tls_cert).read_bytes()
    certificate = Path(config.tls_cert).read_bytes()
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(key + b"\n" + certificate)
    return loaded


def loss_reason(failure: Failure) -> str:
    """Why a connection was lost, in words for the operator."""
    return tls_problem(failure.value, "mqtt", "broker") or failure.getErrorMessage()


def broker_endpoint(reactor: Any, config: MqttConfig) -> IStreamClientEndpoint:
    """Where to connect. Reads the TLS files each time, so a renewed certificate is used from now on."""
    address = config.broker
    if address.transport == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=CONNECT_TIMEOUT)
    tcp = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_TIMEOUT)
    endpoint: IStreamClientEndpoint = tcp
    if address.tls:
        options = VerifiedTLS(address.host, trust(config.tls_ca), client_certificate(config))
        endpoint = wrapClientTLS(options, tcp)
    if address.websocket:
        # Not at the top: few brokers need it.
        from tessflux.mqtt.websocket import WebSocketEndpoint

        endpoint = WebSocketEndpoint(endpoint, address, reactor, CONNECT_TIMEOUT)
    return endpoint
