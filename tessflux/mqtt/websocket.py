"""MQTT through a WebSocket (RFC 6455; MQTT 5, section 6): what stands between a transport and a session.

wsproto reads and makes the frames, and does no I/O. It hands on the parts of a frame as they arrive, and
takes no long header, so nothing here grows with what a broker sends. Frames do not say where MQTT packets
begin.
"""

from http import HTTPStatus
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError
from zope.interface import implementer

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.mqtt.endpoint import BrokerProtocol, loss_reason

SUBPROTOCOL = "mqtt"

NORMAL_CLOSURE = 1000
"""We close because we have no more to say (RFC 6455, section 7.4.1)."""


@implementer(IStreamClientEndpoint)
class WebSocketEndpoint:
    """Connects through `endpoint` and asks for a WebSocket there, which may take `timeout` seconds."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, config: MqttConfig, clock: IReactorTime, timeout: float
    ) -> None:
        self._endpoint, self._config = endpoint, config
        self._clock, self._timeout = clock, timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires with a protocol of the factory, whose transport is the WebSocket, or with a ServerError."""

        def opened(websocket: Any) -> Deferred[IProtocol]:
            waiting: Deferred[IProtocol] = websocket.opened
            return waiting.addTimeout(self._timeout, self._clock)

        connected: Deferred[Any] = self._endpoint.connect(_Factory(protocolFactory, self._config))
        return connected.addCallback(opened)


class _Factory(Factory):
    noisy = False

    def __init__(self, factory: IProtocolFactory, config: MqttConfig) -> None:
        self._factory, self._config = factory, config

    def buildProtocol(self, addr: Any) -> "WebSocket":
        return WebSocket(self._factory.buildProtocol(addr), self._config)


@implementer(IPushProducer)
class _Producer:
    """Hands on to the producer of the session when the broker does not read, and knows whether it does."""

    def __init__(self, producer: IPushProducer) -> None:
        self._producer = producer
        self.paused = False

    def pauseProducing(self) -> None:
        self.paused = True
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self._producer.stopProducing()


class WebSocket(BrokerProtocol):
    """The protocol of a transport, and the transport of `session`, which hears of it when the broker has
    agreed. Then `opened` fires with the session."""

    def __init__(self, session: Any, config: MqttConfig) -> None:
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._fail(CancelledError()))
        self._session, self._address, self._hide = session, config.broker, config.hide
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._agreed = False
        self._ended: Exception | None = None
        self._closed: Exception | None = None
        """That the broker has closed the WebSocket, and why."""
        self._producer: _Producer | None = None

    def connectionMade(self) -> None:
        """The transport is there: ask for the WebSocket."""
        self._send(Request(self._address.netloc, self._address.path, subprotocols=[SUBPROTOCOL]))

    def dataReceived(self, data: bytes) -> None:
        """Hand on what the frames hold, all that came together at once."""
        if self._ended:
            return
        self.first = self.first or data[:16]
        parts: list[bytes] = []
        try:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                if isinstance(event, BytesMessage):
                    parts.append(bytes(event.data))
                elif not self._take(event):
                    break
        except (ProtocolError, ValueError) as error:
            # ValueError: wsproto decodes some headers as ASCII.
            who = self.who_answered(self._address, Failure(error))
            self._fail(ServerError(f"the broker speaks no WebSocket: {who or self._hide(str(error))}"))
        if parts:
            self._session.dataReceived(b"".join(parts))
        if self._closed:
            self._session.peer_closes(str(self._closed))

    def _take(self, event: Event) -> bool:
        """Do what an event asks for; returns whether the connection goes on."""
        match event:
            case AcceptConnection():
                self._agreed = True
                self._session.makeConnection(self)
                self.opened.callback(self._session)
            case Ping():
                # A broker that does not read gets no answers, which would wait in memory.
                if self._producer is None or not self._producer.paused:
                    self._send(event.response())
            case TextMessage():
                self._fail(ServerError("the broker sends text through the WebSocket, which MQTT never does"))
            case RejectConnection(status_code=status):
                self._fail(ServerError(_refusal(status, self._address.path)))
            case CloseConnection(code=code, reason=reason):
                who = "the broker closed the WebSocket"
                if self._websocket.state is ConnectionState.OPEN:
                    who = "the broker sends what is no WebSocket"
                self._send(event.response())
                self._ended = self._closed = ServerError(
                    f"{who}: {int(code)} {self._hide(reason or '')}".rstrip()
                )
        return self._ended is None

    def _fail(self, error: Exception) -> None:
        """The connection is of no use: end it, and say why to whoever waits for it or uses it."""
        self._ended = error
        if self.transport is not None:
            self.abortConnection()
        if not self.opened.called:
            self.opened.errback(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        if self._agreed:
            # The session has nothing to guess: the port speaks what it should.
            self._session.connectionLost(Failure(self._ended or ServerError(loss_reason(reason))))
        elif not self.opened.called:
            who = self.who_answered(self._address, reason)
            why = f"no WebSocket: {loss_reason(reason)}; {who or 'check the port in [mqtt] broker'}"
            self.opened.errback(ServerError(why))
        self._ended = self._ended or ServerError("the connection was lost")

    def _send(self, event: Event) -> None:
        assert self.transport is not None
        self.transport.write(self._websocket.send(event))

    # What follows makes it a transport.

    def write(self, data: bytes) -> None:
        """Send bytes of the session in a frame."""
        if self._ended is None:
            self._send(BytesMessage(data))

    def loseConnection(self) -> None:
        """Close when all has left."""
        assert self.transport is not None
        if self._ended is None:
            self._send(CloseConnection(NORMAL_CLOSURE))
            self._ended = ServerError("tessflux closed the WebSocket")
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """`producer` hears when the broker does not read, and when it does again."""
        self._producer = _Producer(producer)
        self.transport.registerProducer(self._producer, streaming)  # type: ignore[union-attr]

    def unregisterProducer(self) -> None:
        """Nobody needs to hear it any more."""
        self._producer = None
        self.transport.unregisterProducer()  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        """Read no more."""
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def resumeProducing(self) -> None:
        """Read again."""
        self.transport.resumeProducing()  # type: ignore[union-attr]


def _refusal(status: int, path: str) -> str:
    """In words, why there is no WebSocket. Those of the server itself could be anything."""
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    return f"HTTP {status}{phrase} instead of a WebSocket at {path}; check port and path in [mqtt] broker"
