"""Requests of strangers: each is answered or refused within seconds, and nothing grows by it."""

from typing import Any
from unittest.mock import Mock, call

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tessflux.limits import STATUS_CONNECTIONS, STATUS_REQUEST
from tessflux.status import is_ours
from tessflux.status.http import A_SECOND, HEADERS, SECONDS
from tests.log_lines import record
from tests.status.site import Visitor, World, ask


class SiteCase(SynchronousTestCase):
    """A world in which no timer is left in the end."""

    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.end)

    def end(self) -> None:
        assert self.world.clock.getDelayedCalls() == []


class RequestTest(SiteCase):
    """One at a time."""

    def test_every_answer_has_the_headers_that_keep_a_browser_safe_and_none_that_names_the_server(
        self,
    ) -> None:
        for site in (self.world.tcp, self.world.unix):
            for path in ("/healthz", "/v1/status", "/metrics", "/nothing"):
                headers = ask(site, path).headers
                assert {
                    name.decode(): value.decode() for name, value in HEADERS.items()
                }.items() <= headers.items()
                assert "Server" not in headers

    def test_a_connection_carries_one_request_and_ends(self) -> None:
        visitor = Visitor(self.world.tcp)
        visitor.send(2 * b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert visitor.received.count(b"HTTP/1.1") == 1
        assert not visitor.connected

    def test_head_is_get_without_the_body(self) -> None:
        got, headed = ask(self.world.tcp, "/v1/status"), ask(self.world.tcp, "/v1/status", "HEAD")
        assert (headed.code, headed.body, headed.headers) == (200, b"", got.headers)

    def test_other_methods_and_paths_are_refused(self) -> None:
        tcp, unix = self.world.tcp, self.world.unix
        assert ask(tcp, "/nothing").code == 404
        assert ask(tcp, "/healthz/below").code == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "CONNECT"):
            answer = ask(tcp, "/healthz", method)
            assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")
        answer = ask(unix, "/v1/pause")
        assert (answer.code, answer.headers["Allow"]) == (405, "POST")
        assert self.world.control.done == []

    def test_nothing_can_be_changed_over_tcp(self) -> None:
        for path in ("/v1/pause", "/v1/resume", "/v1/reload"):
            assert ask(self.world.tcp, path, "POST").code == 404
        assert self.world.control.done == []

    def test_a_host_that_is_not_ours_is_refused_over_tcp(self) -> None:
        for host in ("evil.example", "", "127.0.0.1.evil.example", "localhost:9273.evil.example"):
            assert ask(self.world.tcp, "/v1/status", host=host).code == 403
        assert ask(self.world.unix, "/v1/status", host="evil.example").code == 200
        twice = ask(self.world.tcp, "/v1/status", more="Host: evil.example\r\n")
        assert (twice.code, twice.body) == (400, b"")

    def test_a_bug_is_answered_without_its_traceback_and_logged_once(self) -> None:
        said = record(self, "status")
        self.world.snapshot = RuntimeError("secret")
        for _ in range(3):
            answer = ask(self.world.tcp, "/v1/status")
            assert answer.code == 500
            assert b"secret" not in answer.received
            assert b"Traceback" not in answer.received
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        assert said() == ["A page could not be made"]

    def test_http_1_0_is_answered_too(self) -> None:
        visitor = Visitor(self.world.unix)
        visitor.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (visitor.code, visitor.body, visitor.connected) == (200, b"ok\n", False)

    def test_whoever_hangs_up_before_the_answer_gets_none(self) -> None:
        self.world.waiting = Deferred()
        visitor = ask(self.world.tcp, "/v1/status")
        visitor.transport.loseConnection()
        self.world.waiting.callback(self.world.snapshot)  # type: ignore[arg-type]
        assert visitor.received == b""


class BoundsTest(SiteCase):
    """What is too much is refused before it is kept."""

    def test_a_request_with_a_body_is_refused_at_its_header(self) -> None:
        for header in ("Content-Length: 10000000", "Content-Length: 1", "Transfer-Encoding: chunked"):
            for site in (self.world.tcp, self.world.unix):
                visitor = ask(site, "/v1/pause", "POST", more=f"{header}\r\n")
                assert (visitor.code, visitor.connected) == (413, False)
        assert ask(self.world.unix, "/v1/pause", "POST", more="Content-Length: 0\r\n").code == 200

    def test_what_is_sent_behind_a_refusal_is_not_read(self) -> None:
        visitor = Visitor(self.world.tcp)
        visitor.send(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nGET / HTTP/1.1\r\n\r\n"
        )
        assert visitor.received.count(b"HTTP/1.1") == 1

    def test_a_path_and_headers_without_end_are_refused(self) -> None:
        for data in (b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 99):
            visitor = Visitor(self.world.tcp)
            visitor.send(data)
            sent = 0
            while visitor.connected:
                visitor.send(b"X: a\r\n" if data.endswith(b"\n") else b"a" * 100)
                sent += 100
                assert sent < 3 * STATUS_REQUEST
            assert visitor.code in (400, 414)

    def test_whoever_sends_slowly_is_ended(self) -> None:
        visitor = Visitor(self.world.tcp)
        for _ in range(int(SECONDS) - 1):
            visitor.send(b"G")
            self.world.clock.advance(1)
        assert visitor.connected
        self.world.clock.advance(1)
        assert not visitor.connected

    def test_whoever_reads_slowly_is_ended(self) -> None:
        visitor = Visitor(self.world.tcp)
        # As a transport does whose buffer is full.
        visitor.transport.loseConnection = lambda: None  # type: ignore[method-assign]
        aborted: list[bool] = []
        visitor.transport.abortConnection = lambda: aborted.append(True)  # type: ignore[method-assign]
        visitor.send(b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.world.clock.advance(SECONDS)
        assert aborted == [True]

    def test_after_many_connections_in_a_second_the_others_wait_for_the_next(self) -> None:
        """The time of the reactor belongs to the readings."""
        port, tcp = Mock(), self.world.tcp
        tcp.listens(port)
        for second in range(3):
            for _ in range(A_SECOND):
                assert port.mock_calls == second * [call.stopReading(), call.startReading()]
                ask(tcp, "/healthz")
            assert port.mock_calls[-1] == call.stopReading()
            # Those that the reactor has taken already.
            assert ask(tcp, "/healthz").code == 200
            self.world.clock.advance(1)
        for _ in range(3 * A_SECOND):
            ask(tcp, "/healthz")
            self.world.clock.advance(1.5 / A_SECOND)
        assert port.mock_calls == 3 * [call.stopReading(), call.startReading()]
        for _ in range(A_SECOND):
            ask(tcp, "/healthz")
        tcp.end()

    def test_of_too_many_connections_the_oldest_ends(self) -> None:
        slow = [Visitor(self.world.tcp) for _ in range(STATUS_CONNECTIONS)]
        assert ask(self.world.tcp, "/healthz").code == 200
        assert [visitor.connected for visitor in slow] == [False] + [True] * (STATUS_CONNECTIONS - 1)
        # One that is being ended does not count, though it is still there.
        abort = Mock()
        for visitor in slow[1:3]:
            visitor.transport.abortConnection = abort  # type: ignore[method-assign]
        slow += [Visitor(self.world.tcp) for _ in range(4)]
        assert (abort.call_count, slow[3].connected, slow[4].connected) == (2, False, True)
        for visitor in slow[1:3]:
            visitor.transport.loseConnection()
        # Those of the Unix socket are others.
        assert ask(self.world.unix, "/healthz").code == 200
        for _ in range(1_000):
            Visitor(self.world.tcp)
        assert len(self.world.clock.getDelayedCalls()) == STATUS_CONNECTIONS
        self.world.tcp.end()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:9273",
        "[::1]:9273",
        "[::1]",
        "localhost",
        "LocalHost:80",
        "pi",
        "pi.local:9273",
    ],
)
def test_an_address_and_a_name_of_this_computer_are_ours(host: str) -> None:
    assert is_ours(host, frozenset({"pi", "pi.local"}))


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "example.org", "pi.example.org", "localhost.example.org", "127.0.0.1.example.org"),
        *(
            "example.org@127.0.0.1",
            "127.0.0.1/",
            "127.0.0.1#",
            "127.0.0.1?",
            "[::1",
            "::1",
            "127.0.0.1:99999",
        ),
        *("0x7f000001", "2130706433", "127.1", "127.0.0.1 example.org", "\u2460", "127.0.0.1:x", "\0"),
    ],
)
def test_any_other_host_is_not_ours(host: str) -> None:
    assert not is_ours(host, frozenset({"pi", "pi.local"}))


def test_the_sites_of_a_daemon_share_no_connections() -> None:
    world: Any = World()
    assert world.tcp._open is not world.unix._open
