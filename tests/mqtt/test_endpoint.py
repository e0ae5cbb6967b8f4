"""Where a broker's address leads, over real connections of this machine; TLS believes only what it should."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import MqttConfig
from tessflux.mqtt.endpoint import broker_endpoint, client_certificate
from tessflux.tls import CertificateRefused
from tests.certificates import self_signed

# Each test makes connections of this machine, which takes no time; what takes longer hangs.
SECONDS = 20


class Greeter(Protocol):
    """Greets whoever comes in, with the name in their certificate."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")


class Listener(Protocol):
    """Fires with the first bytes, or fails with the end of the connection."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        if not self.heard.called:
            self.heard.errback(reason)


class EndpointTest(TestCase):
    timeout = SECONDS

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def file(self, name: str, *parts: bytes) -> str:
        path = self.directory / name
        path.write_bytes(b"".join(parts))
        return str(path)

    def serve(self, tls: CertificateOptions | None = None) -> int:
        """A broker of sorts; returns its port."""
        factory = Factory.forProtocol(Greeter)
        if tls is None:
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, factory, tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def hear(self, config: MqttConfig) -> bytes:
        listener = Listener()
        await connectProtocol(broker_endpoint(self.reactor, config), listener)
        try:
            return await listener.heard
        finally:
            assert listener.transport is not None
            listener.transport.abortConnection()  # type: ignore[attr-defined]

    async def hear_tls(self, port: int, host: str = "localhost", **files: str) -> bytes:
        return await self.hear(MqttConfig(BrokerAddress("tls", host, port, ""), **files))  # type: ignore[arg-type]

    async def refused(self, work: Any) -> None:
        """TLS says no, in whichever way this side hears of it."""
        try:
            await work
        except TLSError:
            return
        self.fail("the certificate was believed")

    async def test_tcp(self) -> None:
        port = self.serve()
        assert await self.hear(MqttConfig(BrokerAddress("tcp", "127.0.0.1", port, ""))) == b"hello"
        assert await self.hear(MqttConfig(BrokerAddress("tcp", "localhost", port, ""))) == b"hello"

    async def test_a_port_on_which_nobody_listens(self) -> None:
        port = self.reactor.listenTCP(0, Factory.forProtocol(Greeter), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        with pytest.raises(Refused):
            await self.hear(MqttConfig(BrokerAddress("tcp", "127.0.0.1", number, "")))

    async def test_a_unix_socket(self) -> None:
        path = str(self.directory / "socket")
        port = self.reactor.listenUNIX(path, Factory.forProtocol(Greeter))
        self.addCleanup(port.stopListening)
        config = MqttConfig(BrokerAddress("unix", "", 0, path))
        assert isinstance(broker_endpoint(self.reactor, config), UNIXClientEndpoint)
        assert await self.hear(config) == b"hello"

    async def test_tls_with_the_authority_of_the_config(self) -> None:
        other, right = self_signed("other.example"), self_signed("localhost")
        port = self.serve(PrivateCertificate.loadPEM(right).options())
        # More than one authority may stand in the file, with remarks around them.
        ca = self.file("ca.pem", b"# ours\n", other, b"\n# the broker's\n", right, b"\n")
        assert await self.hear_tls(port, tls_ca=ca) == b"hello"

    async def test_tls_refuses_a_certificate_of_nobody_we_know(self) -> None:
        port = self.serve(PrivateCertificate.loadPEM(self_signed("localhost")).options())
        await self.refused(self.hear_tls(port))
        await self.refused(self.hear_tls(port, tls_ca=self.file("ca.pem", self_signed("other.example"))))

    async def test_tls_refuses_a_certificate_for_another_host(self) -> None:
        wrong = self_signed("other.example")
        port = self.serve(PrivateCertificate.loadPEM(wrong).options())
        with pytest.raises(CertificateRefused):
            await self.hear_tls(port, tls_ca=self.file("ca.pem", wrong))

    async def test_tls_shows_the_broker_who_we_are(self) -> None:
        server, client = self_signed("localhost"), self_signed("tessflux.example")
        port = self.serve(PrivateCertificate.loadPEM(server).options(Certificate.loadPEM(client)))
        ca = self.file("ca.pem", server)
        certificate, _, key = client.partition(b"-----BEGIN PRIVATE KEY-----")
        separate = {
            "tls_cert": self.file("cert.pem", certificate.rstrip()),
            "tls_key": self.file("key.pem", b"-----BEGIN PRIVATE KEY-----", key.rstrip()),
        }
        assert await self.hear_tls(port, tls_ca=ca, **separate) == b"hello"
        both = self.file("both.pem", client)
        assert await self.hear_tls(port, tls_ca=ca, tls_cert=both) == b"hello"
        await self.refused(self.hear_tls(port, tls_ca=ca))

    async def test_a_renewed_certificate_counts_from_the_next_connection_on(self) -> None:
        port = self.serve(PrivateCertificate.loadPEM(self_signed("localhost")).options())
        ca = self.file("ca.pem", self_signed("other.example"))
        await self.refused(self.hear_tls(port, tls_ca=ca))
        self.file("ca.pem", self_signed("localhost"))
        assert await self.hear_tls(port, tls_ca=ca) == b"hello"

    def test_a_tls_file_that_is_missing_is_an_oserror(self) -> None:
        broker = BrokerAddress("tls", "localhost", 8883, "")
        missing = str(self.directory / "missing.pem")
        for config in (MqttConfig(broker, tls_ca=missing), MqttConfig(broker, tls_cert=missing)):
            with pytest.raises(FileNotFoundError):
                broker_endpoint(self.reactor, config)

    def test_a_tls_file_without_a_certificate_is_an_error(self) -> None:
        nonsense = self.file("nonsense.pem", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        empty = self.file("empty.pem", b"# to be filled in\n")
        broker = BrokerAddress("tls", "localhost", 8883, "")
        for file in (nonsense, empty):
            with pytest.raises(OSError, match=rf"{file} holds no certificate"):
                broker_endpoint(self.reactor, MqttConfig(broker, tls_ca=file))

    def test_without_tls_no_file_is_read(self) -> None:
        missing = str(self.directory / "missing.pem")
        config = MqttConfig(BrokerAddress("tcp", "localhost", 1883, ""), tls_ca=missing, tls_cert=missing)
        assert isinstance(broker_endpoint(self.reactor, config), HostnameEndpoint)

    def test_no_certificate_of_ours_unless_it_is_configured(self) -> None:
        assert client_certificate(MqttConfig(BrokerAddress("tls", "localhost", 8883, ""))) is None
