"""A host is found by whatever name the system knows it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import platformTrust
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from tessflux.config import MqttConfig
from tessflux.config.addresses import broker, http_urls
from tessflux.influx import agent
from tessflux.mqtt import broker_endpoint
from tests import names

NAMES = {
    "localhost": "localhost",
    # Usual between containers.
    "my_host": "my_host",
    "_a.MY_Host.": "_a.my_host.",
    # Twisted by itself takes no hyphens there.
    "db--1.example": "db--1.example",
    "-a": "-a",
    "123": "123",
    "MÜNCHEN.de": "xn--mnchen-3ya.de",
    # By IDNA 2003 that was strasse.de, which belongs to somebody else.
    "straße.de": "xn--strae-oqa.de",
}


class HostTest(TestCase):
    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor as installed

        reactor: Any = installed
        self.reactor = reactor
        self.resolver = names.install(self, self.reactor)
        self.called: list[str] = []
        port = self.reactor.listenTCP(
            0, Factory.forProtocol(lambda: Server(self.called)), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        self.port: int = port.getHost().port

    async def test_a_broker_and_a_database_are_found_by_any_name(self) -> None:
        for name, asked in NAMES.items():
            with self.subTest(name):
                self.resolver.asked.clear()
                self.called.clear()
                client = Client()
                config = MqttConfig(broker(f"tcp:{name}:{self.port}"))
                await connectProtocol(broker_endpoint(self.reactor, config), client)
                await client.lost
                connections = agent(self.reactor, platformTrust, 10.0)
                url = http_urls(f"http://{name}:{self.port}")
                response = await connections.request(b"GET", url.encode(), Headers())
                await connections.close()
                assert response.code == 204
                assert self.resolver.asked == [asked] * 2
                assert self.called[-1] == f"host: {asked}:{self.port}"


class Server(Protocol):
    """Answers as an HTTP server, and hangs up."""

    def __init__(self, called: list[str]) -> None:
        self._called = called

    def dataReceived(self, data: bytes) -> None:
        self._called += [
            line.lower() for line in data.decode().splitlines() if line.lower().startswith("host:")
        ]
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        self.transport.loseConnection()


class Client(Protocol):
    """Says something, and waits for the end."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)
