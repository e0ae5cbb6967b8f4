"""An HTTP server that answers from a script, right or wrong, and records what it was asked."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from tests.real.site import wait_until


@dataclass(frozen=True)
class Request:
    """What somebody asked for; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One answer: with these defaults a good one, which each further field makes worse."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: int = 1
    """How often the body is sent; Content-Length counts them all."""
    length: int | None = None
    """Another Content-Length; a negative one stands for none at all."""
    size: int = 0
    """Bytes that are sent at a time, every `seconds`; 0 sends all at once."""
    seconds: float = 0.0
    cut: int | None = None
    """After so many bytes of the answer, status line included, the connection is reset."""
    close: bool = False
    """Close the connection after the answer."""
    silent: bool = False
    """Send nothing, and leave the connection open."""
    endless_headers: bool = False
    """Header follows header until the client goes."""
    raw: bytes | None = None
    """Bytes in place of all of that."""


KNOWN = {"X-Influxdb-Version": "1.6.7~rc0"}
"""By this header a database shows what it is."""

GOOD = Answer(headers=KNOWN)
NOT_FOUND = Answer(404)

NO_PLACES = ("/flags", "/exec")
"""Where tessflux asks whether a database stores twice what it gets twice: these do not, and the script goes
on."""


class ScriptedServer:
    """Gives each request the next answer; when none is left, `otherwise`.

    A request with a body of more than `most` bytes is not read: its connection is reset. One whose body has
    `poison` in it is answered with a 500. What is at `no_places` is not found, and not part of the script.
    """

    def __init__(
        self,
        answers: Iterable[Answer] = (),
        otherwise: Answer = GOOD,
        *,
        most: int = sys.maxsize,
        poison: bytes | None = None,
        no_places: Sequence[str] = NO_PLACES,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """On port 0 it takes a free one."""
        self.otherwise, self._most, self._poison = otherwise, most, poison
        self._no_places = tuple(no_places)
        self.requests: list[Request] = []
        self._answers = list(answers)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        """How many were accepted."""

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def then(self, *answers: Answer) -> None:
        """Answer like that next."""
        with self._lock:
            self._answers += answers

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many have come in total."""
        wait_until(lambda: len(self.requests) >= count, f"{count} requests")

    def answer(self, request: Request) -> Answer:
        """The answer to a request; the next one waits for it."""
        answer = self._answers.pop(0) if self._answers else self.otherwise
        if self._poison is not None and self._poison in request.body:
            return Answer(500, b"internal error")
        return answer

    def record(self, request: Request) -> None:
        """Remember what was asked."""
        self.requests.append(request)

    def start(self) -> None:
        self._begin(self._accept)

    def stop(self) -> None:
        """Close all that is open, and wait for the threads."""
        self._stopping.set()
        # A shutdown wakes the thread in accept, a close does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads.pop(0).join()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._connections.append(connection)
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # Either side may close at any time.
        with connection, contextlib.suppress(OSError, ValueError), connection.makefile("rb") as stream:
            while not self._stopping.is_set() and (request := _read(stream, self._most)):
                if request.path.startswith(self._no_places):
                    self._reply(connection, NOT_FOUND)
                    continue
                with self._lock:
                    answer = self.answer(request)
                    self.record(request)
                if not self._reply(connection, answer):
                    return

    def _reply(self, connection: socket.socket, answer: Answer) -> bool:
        """Send one answer; returns whether the connection can take another request."""
        if answer.silent:
            self._stopping.wait()
        if answer.endless_headers:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n")
            while not self._stopping.is_set():
                connection.sendall(b"X-More: and more\r\n" * 100)
        left = answer.cut
        for piece in _pieces(answer):
            connection.sendall(piece if left is None else piece[:left])
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return False
            if answer.seconds:
                self._stopping.wait(answer.seconds)
        return not (answer.close or answer.raw is not None)


def _read(stream: BinaryIO, most: int) -> Request | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if (length := int(headers.get("content-length", 0))) > most:
        # To close a connection from which not all was read resets it.
        return None
    body = stream.read(length)
    return Request(first[0], first[1], headers, body)


def _pieces(answer: Answer) -> Iterable[bytes]:
    if answer.raw is not None:
        yield answer.raw
        return
    length = len(answer.body) * answer.repeat if answer.length is None else answer.length
    lines = [f"HTTP/1.1 {answer.status} {'OK' if answer.status < 300 else 'No'}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if length >= 0 and answer.status != 204:
        lines.append(f"Content-Length: {length}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if answer.size:
        whole = head + answer.body * answer.repeat
        for start in range(0, len(whole), answer.size):
            yield whole[start : start + answer.size]
        return
    yield head
    for _ in range(answer.repeat):
        yield answer.body
