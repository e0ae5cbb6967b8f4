"""A broker's address -> a Twisted endpoint, and what may be wrong there. TLS always verifies the name and
certificate of a broker."""

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from zope.interface import implementer

from tessflux.config import BrokerAddress, MqttConfig
from tessflux.hosts import HostEndpoint
from tessflux.tls import VerifiedTLS, tls_problem, trust

TLS_ALERT = b"\x15\x03"
"""How the complaint of a TLS server begins about whatever is no TLS (RFC 8446, section 5.1)."""

CONNECT_TIMEOUT = 30
"""Seconds for a TCP connection, and again for the handshake of a WebSocket. That of TLS has none of its own:
whoever waits for the first answer (CONNACK_TIMEOUT, or the WebSocket) waits for it too."""


def client_certificate(config: MqttConfig) -> PrivateCertificate | None:
    """Our certificate, if one is configured."""
    if not config.tls_cert:
        return None
    key = Path(config.tls_key or config.tls_cert).read_bytes()
    certificate = Path(config.tls_cert).read_bytes()
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(key + b"\n" + certificate)
    return loaded


def tls_failure(failure: Failure) -> str | None:
    """Why TLS ended a connection, in words for the operator; None if it did not."""
    return tls_problem(failure.value, "mqtt", "broker", plain="tcp: or ws://")


def loss_reason(failure: Failure) -> str:
    """Why a connection was lost, in words for the operator."""
    return tls_failure(failure) or failure.getErrorMessage().rstrip(".")


@implementer(IHandshakeListener)
class BrokerProtocol(Protocol):
    """A connection to a broker that can say who answered in its place. It keeps the `first` bytes."""

    first = b""
    _tls_agreed = False

    def handshakeCompleted(self) -> None:
        """TLS is agreed."""
        self._tls_agreed = True

    def who_answered(self, address: BrokerAddress, failure: Failure) -> str:
        """What may listen at the address, now that the connection was lost; "" if nothing tells."""
        if not self.first and failure.check(ConnectionDone, ConnectionLost):
            plain, tls = ("ws://", "wss://") if address.websocket else ("tcp:", "tls:")
            if not address.tls:
                return f"nothing came before: if the port wants TLS, write {tls} in [mqtt] broker"
            if not self._tls_agreed:
                return f"TLS was not agreed: if the port has none, write {plain} in [mqtt] broker"
        return self.other_server(address)

    def other_server(self, address: BrokerAddress) -> str:
        """What has answered in place of a broker, by its first bytes; "" if they do not show it."""
        if not address.tls and self.first.startswith(TLS_ALERT):
            return "the broker speaks TLS at this port: write tls:HOST:PORT, or wss://, in [mqtt] broker"
        if not address.websocket and self.first.startswith(b"HTTP/"):
            return "an HTTP server answers; if it has MQTT, write ws://HOST:PORT/PATH in [mqtt] broker"
        return ""


def broker_endpoint(reactor: Any, config: MqttConfig) -> IStreamClientEndpoint:
    """Where to connect. Reads the TLS files each time, so a renewed certificate is used from now on."""
    address = config.broker
    if address.transport == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=CONNECT_TIMEOUT)
    tcp = HostEndpoint(reactor, address.host, address.port, timeout=CONNECT_TIMEOUT)
    endpoint: IStreamClientEndpoint = tcp
    if address.tls:
        options = VerifiedTLS(address.host, trust(config.tls_ca), client_certificate(config))
        endpoint = wrapClientTLS(options, tcp)
    if address.websocket:
        # Not at the top: few brokers need it.
        from tessflux.mqtt.websocket import WebSocketEndpoint

        endpoint = WebSocketEndpoint(endpoint, config, reactor, CONNECT_TIMEOUT)
    return endpoint
