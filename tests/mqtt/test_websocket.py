"""MQTT through a WebSocket: a real session on a wire on which the test plays the other side, with wsproto."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason

from tessflux.config.addresses import BrokerAddress
from tessflux.config.secret import Secret
from tessflux.errors import ServerError
from tessflux.mqtt.session import CLOSE_TIMEOUT, Session
from tessflux.mqtt.websocket import WebSocketEndpoint
from tests.mqtt.site import CONFIG, Case, Network
from tests.mqtt.wire import CONNECT, DISCONNECT, PUBACK, Wire, connack, packets, publish

ADDRESS = BrokerAddress("ws", "::1", 8080, "/mqtt")
SECONDS = 30.0


class Broker:
    """The other side of a WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._websocket = WSConnection(ConnectionType.SERVER)

    def events(self) -> Iterator[Event]:
        """What has come since the last look."""
        data = self.wire.value()
        self.wire.clear()
        self._websocket.receive_data(data)
        yield from self._websocket.events()

    def frames(self, *events: Event) -> bytes:
        return b"".join(self._websocket.send(event) for event in events)

    def send(self, *events: Event) -> None:
        self.wire.bring(self.frames(*events))

    def packets(self) -> list[int]:
        """The kinds of the MQTT packets that came."""
        data = b"".join(event.data for event in self.events() if isinstance(event, BytesMessage))
        return [kind for kind, _ in packets(data)]


class WebSocketCase(Case):
    def connect(self) -> tuple[Session, "Deferred[Any]", Broker]:
        """A connection on which a WebSocket was asked for."""
        network = Network(self.clock)
        config = replace(CONFIG, broker=ADDRESS, username="me", password=Secret("s3cret"))
        session = Session(config, self.intake.take, self.intake.when_idle, self.clock, self.now)
        self.reasons: list[str] = []
        session.accepted.addErrback(lambda failure: self.reasons.append(failure.getErrorMessage()))
        endpoint = WebSocketEndpoint(network.endpoint(config), config, self.clock, SECONDS)
        opened = connectProtocol(endpoint, session)
        wire = network.accept()
        self.wires.append(wire)
        return session, opened, Broker(wire)

    def accepted(self) -> tuple[Session, Broker]:
        """A session that the broker has accepted."""
        session, opened, broker = self.connect()
        list(broker.events())
        broker.send(AcceptConnection(subprotocol="mqtt"))
        assert self.successResultOf(opened) is session
        assert broker.packets() == [CONNECT]
        broker.send(BytesMessage(connack()))
        self.successResultOf(session.accepted)
        return session, broker

    def refusal(self, opened: "Deferred[Any]") -> str:
        return str(self.failureResultOf(opened, ServerError).value)


class HandshakeTest(WebSocketCase):
    def test_mqtt_is_asked_for_at_the_path_of_the_address(self) -> None:
        session, opened, broker = self.connect()
        opened.addErrback(lambda _: None)
        [request] = broker.events()
        assert isinstance(request, Request)
        assert (request.host, request.target, request.subprotocols) == ("[::1]:8080", "/mqtt", ["mqtt"])
        # The session hears of no connection before the broker has agreed.
        self.assertNoResult(opened)
        assert session.transport is None

    def test_connack_may_come_with_the_agreement(self) -> None:
        session, opened, broker = self.connect()
        list(broker.events())
        broker.send(AcceptConnection(subprotocol="mqtt"), BytesMessage(connack()))
        self.successResultOf(opened)
        self.successResultOf(session.accepted)

    def test_a_broker_that_names_no_protocol_is_used_and_one_that_names_another_is_not(self) -> None:
        _, opened, broker = self.connect()
        list(broker.events())
        broker.send(AcceptConnection())
        self.successResultOf(opened)
        for other in (b"soap", b"mq\xe9t"):
            _, opened, broker = self.connect()
            list(broker.events())
            agreed = broker.frames(AcceptConnection(subprotocol="mqtt"))
            broker.wire.bring(agreed.replace(b"rotocol: mqtt", b"rotocol: " + other))
            assert self.refusal(opened).startswith("the broker speaks no WebSocket: ")
            assert broker.wire.aborted

    def test_an_http_server_says_in_words_what_is_wrong(self) -> None:
        for status, words in ((404, "HTTP 404 Not Found"), (401, "HTTP 401 Unauthorized"), (499, "HTTP 499")):
            session, opened, broker = self.connect()
            list(broker.events())
            broker.send(RejectConnection(status_code=status))
            expected = f"{words} instead of a WebSocket at /mqtt; check port and path in [mqtt] broker"
            assert self.refusal(opened) == expected
            assert broker.wire.aborted
            assert session.transport is None

    def test_what_is_no_http_at_all_is_no_websocket(self) -> None:
        for data in (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", connack() * 9, b"HTTP/1.1 101 \r\n\r\n", b"x" * 100_000):
            _, opened, broker = self.connect()
            broker.wire.bring(data)
            broker.wire.bring(data)
            assert "no WebSocket" in self.refusal(opened)

    def test_a_broker_that_closes_without_an_answer(self) -> None:
        _, opened, broker = self.connect()
        broker.wire.close()
        assert self.refusal(opened).endswith("if the port wants TLS, write wss:// in [mqtt] broker")

    def test_a_broker_that_speaks_tls_is_told_from_one_that_speaks_no_websocket(self) -> None:
        _, opened, broker = self.connect()
        broker.wire.bring(b"\x15\x03\x03\0\2\2\x0a")
        broker.wire.bring(b"\r\n\r\n")
        assert "the broker speaks TLS at this port" in self.refusal(opened)

    def test_a_broker_that_does_not_answer_is_given_up(self) -> None:
        _, opened, broker = self.connect()
        self.clock.advance(SECONDS)
        self.failureResultOf(opened, DeferredTimeout)
        assert broker.wire.aborted

    def test_who_waits_may_give_up(self) -> None:
        _, opened, broker = self.connect()
        opened.cancel()
        self.failureResultOf(opened, CancelledError)
        assert broker.wire.aborted

    @given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
    def test_no_bytes_at_all_raise_anything(self, pieces: list[bytes], agreed: bool) -> None:
        _, opened, broker = self.connect()
        opened.addErrback(lambda _: None)
        if agreed:
            list(broker.events())
            broker.send(AcceptConnection(subprotocol="mqtt"))
        for piece in pieces:
            broker.wire.bring(piece)
        self.end()
        assert self.flushLoggedErrors() == []


class FrameTest(WebSocketCase):
    def test_packets_need_not_begin_where_frames_do(self) -> None:
        _, broker = self.accepted()
        data = publish("a", b"1", mid=1) + publish("a", b"2")
        self.intake.idle = 0
        broker.send(
            BytesMessage(data[:3], message_finished=False),
            BytesMessage(b"", message_finished=False),
            BytesMessage(data[3:9]),
            BytesMessage(data[9:]),
        )
        assert self.intake.payloads == [b"1", b"2"]
        # What came together is one reading from the transport.
        assert self.intake.idle == 1
        self.intake.commit()
        self.clock.advance(0)
        assert broker.packets() == [PUBACK]

    def test_however_the_bytes_arrive_the_messages_are_the_same(self) -> None:
        _, broker = self.accepted()
        frames = broker.frames(*(BytesMessage(publish("a", b"%d" % n * 200)) for n in range(5)))
        for position in range(len(frames)):
            broker.wire.bring(frames[position : position + 1])
        assert self.intake.payloads == [b"%d" % n * 200 for n in range(5)]

    def test_a_ping_is_answered_unless_the_broker_does_not_read(self) -> None:
        _, broker = self.accepted()
        broker.send(Ping(b"there?"))
        assert list(broker.events()) == [Pong(b"there?")]
        producer: Any = broker.wire.producer
        producer.pauseProducing()
        broker.send(Ping(b"there?"))
        assert list(broker.events()) == []
        producer.resumeProducing()
        broker.send(Ping(b"there?"), Pong(b"whatever"))
        assert list(broker.events()) == [Pong(b"there?")]

    def test_a_frame_of_any_length_takes_no_memory(self) -> None:
        _, broker = self.accepted()
        # A publication of 256 MB, in a frame that is longer.
        head = b"\x82\x7f" + (2**40).to_bytes(8) + b"\x30\xff\xff\xff\x7f\0\1a"
        tracemalloc.start()
        broker.wire.bring(head)
        for _ in range(100):
            broker.wire.bring(bytes(65_536))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2_000_000
        assert not broker.wire.closed

    def test_backpressure_reaches_the_transport(self) -> None:
        session, broker = self.accepted()
        session.backpressure(True)
        assert broker.wire.producerState == "paused"
        broker.send(BytesMessage(publish("a", b"1")))
        assert self.intake.messages == []
        session.backpressure(False)
        assert broker.wire.producerState == "producing"
        assert self.intake.payloads == [b"1"]


class EndTest(WebSocketCase):
    def lost(self, session: Session) -> str:
        self.clock.advance(0)
        reason: str = self.successResultOf(session.lost)
        return reason

    def test_a_broker_that_closes_is_answered_and_its_reason_is_told(self) -> None:
        session, broker = self.accepted()
        broker.send(
            BytesMessage(publish("a", b"last")), CloseConnection(CloseReason.POLICY_VIOLATION, "too long")
        )
        assert self.intake.payloads == [b"last"]
        [answer] = broker.events()
        assert isinstance(answer, CloseConnection)
        assert self.lost(session) == "the broker closed the WebSocket: 1008 too long"
        assert not broker.wire.aborted

    def test_a_broker_that_closes_the_websocket_and_no_more_is_left_soon(self) -> None:
        """Over TLS, the connection ends only when both sides have closed it."""
        session, broker = self.accepted()
        broker.wire._stuck = True
        broker.send(CloseConnection(CloseReason.GOING_AWAY))
        assert broker.wire.producer is None
        self.clock.advance(CLOSE_TIMEOUT)
        assert broker.wire.aborted
        assert self.lost(session) == "the broker closed the WebSocket: 1001"

    def test_a_loss_after_the_agreement_brings_no_advice_about_the_address(self) -> None:
        session, opened, broker = self.connect()
        list(broker.events())
        broker.send(AcceptConnection(subprotocol="mqtt"))
        self.successResultOf(opened)
        broker.wire.close()
        assert self.lost(session) == "Connection was closed cleanly"
        assert self.reasons == ["the connection was lost: Connection was closed cleanly"]

    def test_a_broker_that_repeats_our_password_is_not_quoted_with_it(self) -> None:
        session, broker = self.accepted()
        broker.send(CloseConnection(CloseReason.POLICY_VIOLATION, "s3cret is wrong"))
        assert self.lost(session) == "the broker closed the WebSocket: 1008 *** is wrong"
        _, opened, broker = self.connect()
        list(broker.events())
        agreed = broker.frames(AcceptConnection(subprotocol="mqtt"))
        broker.wire.bring(agreed.replace(b"rotocol: mqtt", b"rotocol: s3cret"))
        assert self.refusal(opened) == "the broker speaks no WebSocket: unrecognized subprotocol ***"

    def test_text_and_broken_frames_end_the_connection(self) -> None:
        session, broker = self.accepted()
        broker.send(TextMessage("hello"), BytesMessage(publish("a", b"1")))
        assert "sends text through the WebSocket" in self.lost(session)
        session, broker = self.accepted()
        broker.wire.bring(b"\xf2\x00" * 20)
        assert self.lost(session).startswith("the broker sends what is no WebSocket: 1002 ")
        assert self.intake.messages == []

    def test_we_say_that_we_close(self) -> None:
        session, broker = self.accepted()
        late = broker.frames(BytesMessage(publish("a", b"late")))
        session.disconnect()
        data, closing = broker.events()
        assert isinstance(data, BytesMessage)
        assert data.data == bytes([DISCONNECT, 0])
        assert closing == CloseConnection(CloseReason.NORMAL_CLOSURE, "")
        broker.wire.bring(late)
        assert self.lost(session) == "tessflux disconnected"
        assert self.intake.messages == []

    def test_an_aborted_connection_is_cut_at_once(self) -> None:
        session, broker = self.accepted()
        session.abort("enough")
        assert broker.wire.aborted
        assert self.lost(session) == "enough"
