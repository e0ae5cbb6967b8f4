"""A TCP proxy that plays faults: client <-> relay <-> server. A program; `proxy` starts and steers it.

    python relay.py PORT SERVER_PORT CONTROL_PORT [--closes]

On the control port it takes one JSON object a line, {"mode": ..., and the other fields of Fault}, plays that
fault from then on, and answers with one object: what is open now and what was counted so far. It drops no
bytes unless the fault says so: what a silence held back is passed on when it is over. With --closes the
server's end of a connection is never reset, but closed.
"""

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

reactor: Any = _reactor

HELD = 1024 * 1024
"""Bytes that one direction holds back before its source has to wait, as in a network."""

TO_SERVER, TO_CLIENT, BOTH = "to_server", "to_client", "both"


@dataclass(frozen=True)
class Fault:
    """What happens to bytes of one direction or both; `size` in bytes, `times` 0 for ever.

    pass     they go on
    refuse   nobody listens, and what was open is reset
    reset    connections are accepted and reset at once, and what was open too
    silence  they are held back
    delay    each chunk goes on after `seconds`
    trickle  `size` of them go on every `seconds`
    cut      after `size` of them a connection is reset, so `times` times; then all passes
    garbage  others come in their place; what a client says to that goes nowhere, and the connection is
             reset when it is over
    """

    mode: str = "pass"
    direction: str = BOTH
    size: int = 0
    seconds: float = 0.0
    times: int = 0

    def of(self, direction: str) -> str:
        """The mode of one direction."""
        return self.mode if self.direction in (direction, BOTH) else "pass"


class Pipe:
    """One direction of one connection."""

    def __init__(self, hub: "Hub", direction: str, cut: Callable[..., None]) -> None:
        self._hub, self._direction, self._cut = hub, direction, cut
        self.source: Any = None
        self.sink: Any = None
        self.back: Pipe
        """The other direction."""
        self.spoilt = False
        self._held = bytearray()
        self._passed = 0
        self._ended = False
        self._timer: Any = None

    def received(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD:
            self.source.pauseProducing()
        self.pump()

    def source_ended(self) -> None:
        """Nothing more comes; the sink hears of it after what is held."""
        self._ended = True
        self.pump()

    def changed(self) -> None:
        """There is another fault: count anew."""
        self._passed = 0
        self.stop()
        if self.spoilt and self._hub.fault.of(self._direction) != "garbage":
            self._cut()
        else:
            self.pump()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Let nothing more through."""
        self.stop()
        self.sink = None

    def pump(self) -> None:
        """Let go on what may."""
        if self.sink is None or self._timer is not None:
            return
        fault = self._hub.fault
        mode = fault.of(self._direction)
        if mode == "silence" or (self._direction == TO_SERVER and self.back.spoilt):
            return
        if not self._held:
            if self._ended:
                self.sink.loseConnection()
        elif mode in ("delay", "trickle"):
            size = fault.size if mode == "trickle" else len(self._held)
            self._timer = reactor.callLater(fault.seconds, self._later, size)
        elif mode == "cut":
            self._write(fault.size - self._passed)
            if self._passed >= fault.size:
                sink = self.sink
                self._cut(sink)
                # A reset would overtake what was just written.
                sink.loseConnection()
                self._hub.was_cut()
        else:
            self.spoilt = self.spoilt or mode == "garbage"
            self._write(len(self._held))
            self.pump()

    def _later(self, size: int) -> None:
        self._timer = None
        self._write(size)
        self.pump()

    def _write(self, size: int) -> None:
        data = bytes(self._held[:size])
        del self._held[:size]
        self._passed += len(data)
        if self._hub.fault.of(self._direction) == "garbage":
            data = self._hub.random.randbytes(len(data))
        self.sink.write(data)
        if len(self._held) <= HELD and not self._ended:
            self.source.resumeProducing()


class End(Protocol):
    """The client's or the server's end of a connection."""

    def __init__(self, link: "Link", away: Pipe, towards: Pipe) -> None:
        self._link, self._away, self._towards = link, away, towards

    def connectionMade(self) -> None:
        if self._link.is_cut:
            self._link.cut()
            return
        self._away.source = self._towards.sink = self.transport
        self._towards.pump()

    def dataReceived(self, data: bytes) -> None:
        self._away.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._towards.close()
        self._link.lost(self)
        self._away.source_ended()


class Link:
    """A connection of a client, and ours to the server for it."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.is_cut = False
        to_server = Pipe(hub, TO_SERVER, self.cut)
        to_client = Pipe(hub, TO_CLIENT, self.cut)
        to_server.back, to_client.back = to_client, to_server
        self._pipes = (to_server, to_client)
        self.client = End(self, away=to_server, towards=to_client)
        self.server = End(self, away=to_client, towards=to_server)
        self._open = {self.client, self.server}

    def connect(self, port: int) -> None:
        """Reach the server; a client whose server does not listen is reset."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5)
        connectProtocol(endpoint, self.server).addErrback(lambda _: self.cut())

    def changed(self) -> None:
        for pipe in self._pipes:
            pipe.changed()

    def cut(self, but: object = None) -> None:
        """Reset both ends, or all but one that closes by itself."""
        self._hub.links.discard(self)
        self.is_cut = True
        for pipe in self._pipes:
            pipe.close()
        for end in (self.client, self.server):
            if end.transport in (None, but):
                continue
            if end is self.server and self._hub.closes:
                end.transport.loseConnection()
            else:
                end.transport.abortConnection()  # type: ignore[attr-defined]

    def lost(self, end: End) -> None:
        self._open.discard(end)
        if not self._open:
            self._hub.links.discard(self)


class Hub(Factory):
    """All connections, and the fault that they suffer."""

    def __init__(self, port: int, server_port: int, *, closes: bool) -> None:
        self._port, self._server_port, self.closes = port, server_port, closes
        self.fault = Fault()
        self.random = random.Random(1)
        self.links: set[Link] = set()
        self._accepted = self._cuts = 0
        self._listener = reactor.listenTCP(port, self, interface="127.0.0.1")

    def buildProtocol(self, addr: "IAddress | None") -> Protocol:
        self._accepted += 1
        link = Link(self)
        if self.fault.mode == "reset":
            reactor.callLater(0, link.cut)
        else:
            self.links.add(link)
            link.connect(self._server_port)
        return link.client

    def was_cut(self) -> None:
        """Called at each cut."""
        self._cuts += 1
        if self.fault.times == 1:
            self.play(Fault())
        elif self.fault.times:
            self.fault = Fault(**{**vars(self.fault), "times": self.fault.times - 1})

    def play(self, fault: Fault) -> None:
        """Suffer this one from now on."""
        self.fault = fault
        if fault.mode == "refuse" and self._listener is not None:
            self._listener.stopListening()
            self._listener = None
        elif fault.mode != "refuse" and self._listener is None:
            self._listener = reactor.listenTCP(self._port, self, interface="127.0.0.1")
        if fault.mode in ("refuse", "reset"):
            self.cut()
        for link in list(self.links):
            link.changed()

    def cut(self) -> None:
        """Reset all that is open."""
        for link in list(self.links):
            link.cut()

    def state(self) -> dict[str, object]:
        return {
            "mode": self.fault.mode,
            "open": len(self.links),
            "accepted": self._accepted,
            "cuts": self._cuts,
        }


class Control(LineReceiver):
    """Where faults are ordered."""

    delimiter = b"\n"

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def lineReceived(self, line: bytes) -> None:
        order = json.loads(line)
        if order == "cut":
            self._hub.cut()
        elif order != "state":
            self._hub.play(Fault(**order))
        self.sendLine(json.dumps(self._hub.state()).encode())


def main(port: int, server_port: int, control_port: int, *, closes: bool) -> None:
    """Relay until the process is ended."""
    hub = Hub(port, server_port, closes=closes)
    control = Factory.forProtocol(lambda: Control(hub))
    reactor.listenTCP(control_port, control, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), closes="--closes" in sys.argv[4:])
