"""The way of one message through a project: from the bytes that arrive to those that are written for it.

    python scripts/ways.py tessflux

Prints two numbers: how many of the project's own functions are entered on the way, and how many calls of
them are open at the same time at most. What a library does, such as WebSocket frames, does not count.

Each way runs the real project in memory, with a clock that goes no further than the message needs and
threads that work at once.
Another message goes the same way before the one that counts, so that nothing is done for the first time.
"""

import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any
from unittest import mock


def count(package: ModuleType, deliver: Callable[[], object]) -> tuple[int, int]:
    """How many functions of a package `deliver` enters, and how many are open at the same time at most."""
    assert package.__file__
    home = str(Path(package.__file__).parent)
    entered: set[CodeType] = set()
    deepest = 0

    def own(frame: FrameType | None) -> int:
        found = 0
        while frame is not None:
            found += is_own(frame.f_code)
            frame = frame.f_back
        return found

    def is_own(code: CodeType) -> bool:
        return code.co_filename.startswith(home) and not code.co_name.startswith("<")

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal deepest
        if event == "call" and is_own(frame.f_code):
            entered.add(frame.f_code)
            deepest = max(deepest, own(frame))

    sys.setprofile(profile)
    try:
        deliver()
    finally:
        sys.setprofile(None)
    return len(entered), deepest


def tessflux() -> tuple[int, int]:
    """One publication at QoS 1, from its bytes to the row in SQLite and the acknowledgement."""
    from twisted.internet.defer import Deferred, execute
    from twisted.internet.error import ConnectionDone
    from twisted.internet.testing import MemoryReactorClock, StringTransport
    from twisted.python.failure import Failure

    import tessflux
    from tessflux.app import App
    from tessflux.config import load
    from tessflux.logs import Logs
    from tessflux.spool.committer import HOLD
    from tessflux.thread import Thread

    def at_once(_: Thread, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        return execute(call, *args, **kwargs)

    mock.patch.multiple(Thread, start=lambda _: None, __call__=at_once).start()

    def publication(number: int) -> bytes:
        topic = b"STARS4ALL/stars1/reading"
        payload = b'{"seq":%d,"rev":2,"name":"stars1","freq":1.5,"mag":20.1,"tamb":5,"tsky":-9,"wdBm":-61}'
        body = len(topic).to_bytes(2) + topic + number.to_bytes(2) + payload % number
        return b"\x32" + bytes([0x80 | len(body) % 128, len(body) // 128]) + body

    with tempfile.TemporaryDirectory() as place:
        config = Path(place, "config")
        config.write_text(f"[mqtt]\nbroker = unix:{place}/broker\n[spool]\ndirectory = {place}\n")
        reactor = MemoryReactorClock()
        app = App(load(str(config), {}), Logs(console=False, path=""), reactor, tell=lambda state: None)
        Deferred.fromCoroutine(app.start())
        reactor.advance(0)
        session = reactor.unixClients[0][1].buildProtocol(None)
        broker = StringTransport()
        session.makeConnection(broker)
        session.dataReceived(b"\x20\x02\x00\x00")
        reactor.advance(0)
        mid = broker.value().rpartition(b"\x82")[2][1:3]
        session.dataReceived(b"\x90\x03" + mid + b"\x01")
        for number in (1, 2):
            reactor.advance(1)
            broker.clear()

            def deliver() -> None:
                session.dataReceived(publication(number))  # noqa: B023
                reactor.advance(HOLD)

            found = count(tessflux, deliver)
            assert broker.value() == b"\x40\x02" + number.to_bytes(2)
        Deferred.fromCoroutine(app.stop())
        session.connectionLost(Failure(ConnectionDone()))
        reactor.pump([1.0] * 60)
    return found


def h11() -> tuple[int, int]:
    """An HTTP server: one request, from its bytes to those of the answer."""
    h11 = import_module("h11")
    connection = h11.Connection(h11.SERVER)

    def exchange() -> None:
        connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            continue
        answer = h11.Response(status_code=200, headers=[("content-length", "2")])
        for event in (answer, h11.Data(b"ok"), h11.EndOfMessage()):
            connection.send(event)

    exchange()
    connection.start_next_cycle()
    return count(h11, exchange)


def wormhole_mailbox_server() -> tuple[int, int]:
    """A message for a mailbox, from its bytes to the row in SQLite and to the client that listens."""
    package = import_module("wormhole_mailbox_server")
    database, server, websocket = (
        import_module(f"wormhole_mailbox_server.{name}")
        for name in ("database", "server", "server_websocket")
    )
    in_memory = server.make_server(database.create_or_upgrade_channel_db(":memory:"))
    factory = websocket.WebSocketServerFactory(None, in_memory)
    sent: list[bytes] = []
    client = websocket.WebSocketServer()
    client.factory = factory
    client.sendMessage = lambda payload, binary: sent.append(payload)

    def add() -> None:
        client.onMessage(b'{"type":"add","id":"1","phase":"p","body":"00"}', False)

    for message in (b'{"type":"bind","appid":"a","side":"s"}', b'{"type":"open","mailbox":"m"}'):
        client.onMessage(message, False)
    add()
    sent.clear()
    found = count(package, add)
    assert any(b'"type": "message"' in payload for payload in sent), sent
    return found


WAYS = {way.__name__: way for way in (tessflux, h11, wormhole_mailbox_server)}

if __name__ == "__main__":
    print(*WAYS[sys.argv[1]]())
