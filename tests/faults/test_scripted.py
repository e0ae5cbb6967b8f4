"""The scripted server answers what its script says."""

import http.client
import itertools
import socket

import pytest

from tests.faults.scripted import Answer, ScriptedServer
from tests.real.site import DEADLINE, wait_until


def ask(server: ScriptedServer, body: bytes = b"x") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    connection.request("POST", "/write?db=d", body)
    return connection.getresponse()


def test_answers_come_in_their_order_and_requests_are_recorded(scripted: ScriptedServer) -> None:
    scripted.then(Answer(503, b"busy", {"Retry-After": "7"}), Answer(400, b"bad"))
    first = ask(scripted, b"line 1")
    assert (first.status, first.read(), first.getheader("Retry-After")) == (503, b"busy", "7")
    assert ask(scripted, b"line 2").status == 400
    assert ask(scripted, b"line 3").status == 204
    assert [request.body for request in scripted.requests] == [b"line 1", b"line 2", b"line 3"]
    assert (scripted.requests[0].method, scripted.requests[0].path) == ("POST", "/write?db=d")
    assert scripted.requests[0].headers["content-length"] == "6"


def test_a_connection_is_kept_for_the_next_request(scripted: ScriptedServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=DEADLINE)
    for _ in range(2):
        connection.request("POST", "/", b"x")
        assert connection.getresponse().read() == b""
    assert scripted.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"abc", length=10, close=True),
        Answer(200, b"x" * 1000, cut=300),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"),
    ],
)
def test_an_answer_may_be_shorter_than_it_says(scripted: ScriptedServer, answer: Answer) -> None:
    scripted.then(answer)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(scripted).read()


def test_an_answer_may_drip_and_may_be_long(scripted: ScriptedServer) -> None:
    scripted.then(Answer(200, b"abcdef", size=3, seconds=0.001), Answer(200, b"x" * 65_536, repeat=32))
    assert ask(scripted).read() == b"abcdef"
    assert len(ask(scripted).read()) == 2 * 1024 * 1024


def test_headers_may_never_end(scripted: ScriptedServer) -> None:
    scripted.then(Answer(endless_headers=True))
    with socket.create_connection(("127.0.0.1", scripted.port), DEADLINE) as client:
        client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        with client.makefile("rb") as stream:
            lines = list(itertools.islice(stream, 10_000))
    assert b"\r\n" not in lines


def test_it_may_stay_silent_and_ends_all_the_same() -> None:
    with ScriptedServer([Answer(silent=True)]) as server:
        client = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        wait_until(lambda: server.requests, "it has heard")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
    client.close()
