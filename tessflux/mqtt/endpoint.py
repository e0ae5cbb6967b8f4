"""A broker's address -> a Twisted endpoint. TLS verifies the broker's name and certificate, always."""

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from tessflux.config import MqttConfig

TIMEOUT = 30
"""Seconds for a TCP connection, and again for the TLS handshake behind it."""


def trust(ca_file: str) -> Any:
    """Whose certificates are believed: the authorities in a PEM file, or without one those of the system.

    Raises OSError or OpenSSL.crypto.Error when the file cannot be used.
    """
    if not ca_file:
        return platformTrust()
    text = Path(ca_file).read_bytes()
    end = b"-----END CERTIFICATE-----"
    certificates = [Certificate.loadPEM(part + end) for part in text.split(end)[:-1]]
    if not certificates:
        raise OSError(f"{ca_file} holds no certificate")
    return trustRootFromCertificates(certificates)


def client_certificate(config: MqttConfig) -> PrivateCertificate | None:
    """The certificate by which the broker knows us, if one is configured."""
    if not config.tls_cert:
        return None
    key = Path(config.tls_key or config.tls_cert).read_bytes()
    certificate = Path(config.tls_cert).read_bytes()
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(key + b"\n" + certificate)
    return loaded


def endpoint(reactor: Any, config: MqttConfig) -> IStreamClientEndpoint:
    """Where to connect. Reads the TLS files anew, so that a renewed certificate counts from now on."""
    address = config.broker
    if address.transport == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=TIMEOUT)
    tcp = HostnameEndpoint(reactor, address.host, address.port, timeout=TIMEOUT)
    if address.transport == "tcp":
        return tcp
    options = optionsForClientTLS(
        address.host, trustRoot=trust(config.tls_ca), clientCertificate=client_certificate(config)
    )
    return wrapClientTLS(options, tcp)
