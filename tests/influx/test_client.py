"""What is sent to InfluxDB byte by byte, and the verdict on everything that can come back."""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, platformTrust, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tessflux.config.secret import Secret
from tessflux.config.sections import InfluxConfig
from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent, explain_loss
from tessflux.influx.verdict import (
    BadLines,
    Busy,
    Delivered,
    Expired,
    Missing,
    TooLarge,
    Unauthorised,
    Unreachable,
    Verdict,
    classify,
)
from tessflux.limits import ANSWER_BYTES, HEADER_BYTES
from tests.certificates import authority, issued, self_signed

NOW = datetime(2024, 3, 20, 12, 0, 0, tzinfo=UTC)
LINE = 'r,name=o\'neil mag="x" 1'
CONFLICT = (
    'partial write: field type conflict: input field "mag" on measurement "r" is type integer,'
    " already exists as type float dropped=1"
)
BEYOND = "partial write: points beyond retention policy"
BEYOND_2 = (
    "failure writing points to database: partial write: dropped 550 points outside retention policy of"
    " duration 8760h0m0s - oldest point r,name=a at 2022-05-09T10:22:00Z dropped because it violates a"
    " Retention Policy Lower Bound at 2025-03-05T16:34:57.686Z, newest point r,name=b at 2025-02-23T14:44:00Z"
    " dropped because it violates a Retention Policy Lower Bound at 2025-03-05T16:34:57.686Z dropped=550"
    " for database: 91040e1bf6671dfd for retention policy: autogen"
)
PAGE = b"<html><body><h1>400 Bad Request</h1></body></html>"


def error(text: str) -> bytes:
    return json.dumps({"error": text}).encode() + b"\n"


def message(text: str) -> bytes:
    return json.dumps({"code": "internal error", "message": text}).encode()


def said(code: int, text: str) -> str:
    return f"{code} {text}"


VERDICTS: list[tuple[int, bytes, Verdict]] = [
    (204, b"", Delivered()),
    (200, b"", Delivered()),
    (200, b"{}", Delivered()),
    (404, error('database not found: "nope"'), Missing('404 database not found: "nope"')),
    (404, error('bucket "nope" not found'), Missing('404 bucket "nope" not found')),
    # InfluxDB 2 at /write, when no mapping leads to a bucket.
    (404, message("unable to find DBRP"), Missing("404 unable to find DBRP")),
    (404, b"404 page not found\n", Unreachable("404 404 page not found")),
    (
        404,
        b"<html>no such database; not found</html>",
        Unreachable("404 <html>no such database; not found</html>"),
    ),
    (404, error("no"), Unreachable("404 no")),
    (500, error("retention policy not found: zzz"), Missing("500 retention policy not found: zzz")),
    (400, error(CONFLICT), BadLines(said(400, CONFLICT), dropped=1, field="mag")),
    (400, error("field type conflict"), BadLines("400 field type conflict")),
    (
        400,
        error(f"partial write: unable to parse '{LINE}': invalid number dropped=0"),
        BadLines(f"400 partial write: unable to parse '{LINE}': invalid number dropped=0", (LINE,)),
    ),
    (
        400,
        error("unable to parse 'a': missing fields\nunable to parse 'b\\ c': invalid tag format"),
        BadLines(
            "400 unable to parse 'a': missing fields\nunable to parse 'b\\ c': invalid tag format",
            ("a", "b\\ c"),
        ),
    ),
    (
        400,
        error("partial write: points beyond retention policy dropped=2"),
        Expired(2, "400 partial write: points beyond retention policy dropped=2"),
    ),
    # InfluxDB 2, before and since 2.7.
    (
        500,
        message(f"unexpected error writing points to database: {BEYOND} dropped=1"),
        Expired(1, f"500 unexpected error writing points to database: {BEYOND} dropped=1"),
    ),
    (422, message(BEYOND_2), Expired(550, f"422 {BEYOND_2}")),
    (
        422,
        message(f"failure writing points to database: {CONFLICT} for database: a for retention policy: b"),
        BadLines(
            f"422 failure writing points to database: {CONFLICT} for database: a for retention policy: b",
            dropped=1,
            field="mag",
        ),
    ),
    (
        500,
        message("unexpected error writing points to database: timeout"),
        Unreachable("500 unexpected error writing points to database: timeout"),
    ),
    (
        400,
        error("partial write: points beyond retention policy"),
        BadLines("400 partial write: points beyond retention policy"),
    ),
    (
        400,
        error("points beyond retention policy; field type conflict dropped=2"),
        BadLines("400 points beyond retention policy; field type conflict dropped=2"),
    ),
    (400, b"", BadLines("400")),
    (400, b"plain text", BadLines("400 plain text")),
    (
        422,
        b'{"code":"unprocessable entity","message":"unable to parse"}',
        BadLines("422 unable to parse"),
    ),
    # What InfluxDB 2 and 3 say to the empty request that asks whether the database is there.
    (400, b"incoming write was empty", Delivered()),
    (400, b'{"code":"invalid","message":"writing requires points"}', Delivered()),
    (413, b'{"error":"Request Entity Too Large"}', TooLarge("413 Request Entity Too Large")),
    (413, PAGE, TooLarge("413 " + PAGE.decode())),
    (401, error("authorization failed"), Unauthorised("401 authorization failed")),
    (403, b'{"code":"forbidden","message":"no rights"}', Unauthorised("403 no rights")),
    (429, b"", Busy("429")),
    (503, error("timeout"), Busy("503 timeout")),
    (500, error("timeout"), Unreachable("500 timeout")),
    (502, b"<html>Bad Gateway</html>", Unreachable("502 <html>Bad Gateway</html>")),
    (504, b"\xff\xfe gone", Unreachable("504 \ufffd\ufffd gone")),
    (302, b"", Unreachable("302")),
    (301, b"Moved", Unreachable("301 Moved")),
    (418, b"[1, 2]", Unreachable("418 [1, 2]")),
    (500, b'{"error": null}', Unreachable("500")),
    (500, b'{"error": {"deep": 1}}', Unreachable("500 {'deep': 1}")),
    (500, b"[" * 50_000, Unreachable("500 " + "[" * 500)),
    # A page is never a database's answer: somebody in between speaks.
    (200, PAGE, Unreachable("200 " + PAGE.decode())),
    (400, b"\n" + PAGE, Unreachable("400 " + PAGE.decode())),
]


@pytest.mark.parametrize(("code", "body", "verdict"), VERDICTS)
def test_every_answer_has_its_verdict(code: int, body: bytes, verdict: Verdict) -> None:
    assert classify(code, body, None, NOW) == verdict


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("Wed, 20 Mar 2024 12:01:30 GMT", 90.0),
        ("Wed, 20 Mar 2024 12:01:30", 90.0),
        ("Wed, 20 Mar 2024 14:01:30 +0200", 90.0),
        ("Wed, 20 Mar 2024 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("nan", None),
        ("Wed, 20 Mar 2024 12:01:30 +9999999999999999", None),
        ("9" * 400, None),
        ("9" * 5_000, None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_read_in_seconds_or_as_a_date(
    code: int, header: str | None, seconds: float | None
) -> None:
    assert classify(code, b"", header, NOW) == Busy(str(code), seconds)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionDone(), "the server hung up without an answer"),
        (ConnectionLost(), "Connection to the other side was lost in a non-clean fashion."),
        (ConnectionAborted(), "more than 131072 bytes without an end"),
        (SSL.Error([("SSL routines", "", "wrong version number")]), "TLS: wrong version number"),
        (SSL.SysCallError(-1, "Unexpected EOF"), "TLS: (-1, 'Unexpected EOF')"),
        (ValueError("b'" + "x" * 16_000), "the answer is not HTTP"),
    ],
)
def test_what_ended_a_connection_is_said_in_words(error: Exception, said: str) -> None:
    assert explain_loss(Failure(error)) == said


@given(st.integers(100, 599), st.binary(), st.none() | st.text())
def test_no_answer_is_without_a_verdict(code: int, body: bytes, retry_after: str | None) -> None:
    assert classify(code, body, retry_after, NOW) is not None


@given(st.text())
def test_any_text_of_an_error_is_read(text: str) -> None:
    assert isinstance(classify(500, error(text), None, NOW), Unreachable | Missing)


def test_a_reason_is_short_however_much_the_server_says_and_every_quoted_line_is_found() -> None:
    lines = [f"r,name=n{number} bad" for number in range(2_000)]
    text = "\n".join(f"unable to parse '{line}': invalid field format" for line in lines)
    verdict = classify(400, error(text), None, NOW)
    assert isinstance(verdict, BadLines)
    assert verdict.quoted == tuple(lines)
    assert len(verdict.reason) < 600


def test_an_error_full_of_beginnings_of_quotes_is_read_quickly() -> None:
    """A search that began anew at each of them would take minutes, while nothing else happens."""
    text = "unable to parse '" * 200_000
    verdict = classify(400, text.encode(), None, NOW)
    assert isinstance(verdict, BadLines)
    assert verdict.quoted == ()


def test_a_name_in_an_error_does_not_pass_for_another_error() -> None:
    name = "points beyond retention policy dropped=1"
    said = f"partial write: max-values-per-tag limit exceeded (5/5): measurement=r tag=name value={name}"
    assert isinstance(classify(400, error(said), None, NOW), BadLines)
    said = f"partial write: unable to parse 'r,name=partial\\ write:\\ {name}': invalid number dropped=0"
    assert isinstance(classify(400, error(said), None, NOW), BadLines)
    said = f"limit exceeded: name=partial write: {name}"
    assert isinstance(classify(400, error(said), None, NOW), BadLines)
    assert isinstance(classify(500, error(said), None, NOW), Unreachable)


def test_half_a_character_in_an_error_can_be_stored() -> None:
    verdict = classify(400, b'{"error": "bad \\ud800 name"}', None, NOW)
    assert verdict == BadLines("400 bad \\ud800 name")


def test_a_200_with_a_text_is_no_delivery() -> None:
    for body in (b'{"error":"timeout"}', b"Please log in", b'{"results":[]}x', b'{"page":"log in"}', b"[]"):
        assert isinstance(classify(200, body, None, NOW), Unreachable)


class Server(Protocol):
    """Reads one request after the other, and lets the test decide on the answer."""

    def __init__(self, case: "ClientTest") -> None:
        self._case = case
        self._data = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            first, *headers = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)}
            length = int(fields["content-length"])
            if len(rest) < length:
                return
            self._data = rest[length:]
            self._case.requested(self, first, fields, rest[:length])

    def connectionMade(self) -> None:
        self._case.connections.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(None)

    def answer(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.raw("\r\n".join(lines).encode() + body)

    def raw(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class ClientTest(TestCase):
    """The real HTTP client against a server of this process."""

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clock = Clock()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: list[Server] = []
        self.react: Callable[[Server], object] = lambda server: server.answer("204 No Content")
        self.port = self.listen()
        self.agent = agent(self.reactor, None, 30.0)
        self.addCleanup(self.end)

    def listen(self) -> Any:
        factory = Factory.forProtocol(lambda: Server(self))
        return self.reactor.listenTCP(0, factory, interface="127.0.0.1")

    async def end(self) -> None:
        await self.agent._pool.closeCachedConnections()
        await self.port.stopListening()
        for server in self.connections:
            if not server.ended.called:
                server.transport.abortConnection()  # type: ignore[union-attr]
            await server.ended
        assert self.clock.getDelayedCalls() == []

    def requested(self, server: Server, first: str, headers: dict[str, str], body: bytes) -> None:
        self.requests.append((first, headers, body))
        self.react(server)

    def client(self, host: str = "127.0.0.1", **changes: Any) -> InfluxClient:
        config = InfluxConfig(**{"url": f"http://{host}:{self.port.getHost().port}", **changes})
        return InfluxClient(config, self.agent, self.clock)

    async def write(self, *lines: str, **changes: Any) -> Verdict:
        return await self.client(**changes).write(lines)

    async def test_lines_are_posted_as_they_are(self) -> None:
        lines = ["r,name=a mag=1.0 1", "r,name=año mag=2.0 2"]
        assert await self.write(*lines) == Delivered()
        [(first, headers, body)] = self.requests
        method, target, _ = first.split(" ")
        assert method == "POST"
        assert urlsplit(target).path == "/write"
        assert parse_qs(urlsplit(target).query) == {"db": ["tessdb"], "precision": ["ms"]}
        assert body.decode() == "\n".join(lines)
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert re.search("^tessflux/", headers["user-agent"])
        assert "authorization" not in headers
        assert "content-encoding" not in headers

    async def test_names_in_the_url_are_escaped_and_the_path_of_a_proxy_is_kept(self) -> None:
        port = self.port.getHost().port
        await self.write("x", url=f"http://127.0.0.1:{port}/influx", dbname="a&b c", retpol="dos días")
        target = self.requests[0][0].split(" ")[1]
        assert urlsplit(target).path == "/influx/write"
        query = parse_qs(urlsplit(target).query)
        assert (query["db"], query["rp"]) == (["a&b c"], ["dos días"])

    async def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(self) -> None:
        """By HTTP/1.0, or where nobody says `close` in the way that Twisted's client looks for."""
        for answer in (
            b"HTTP/1.0 204 No Content\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n",
        ):

            def once(server: Server, answer: bytes = answer) -> None:
                server.raw(answer)
                assert server.transport is not None
                server.transport.loseConnection()

            self.react = once
            for number in range(5):
                assert await self.write(f"x {number}") == Delivered()

    async def test_a_server_that_hangs_up_is_asked_twice_and_no_more(self) -> None:
        def hang_up(server: Server) -> None:
            assert server.transport is not None
            server.transport.loseConnection()

        self.react = hang_up
        assert await self.write("x") == Unreachable("the server hung up without an answer")
        assert len(self.requests) == 2

    async def test_the_login_is_in_a_header_and_nowhere_else(self) -> None:
        client = self.client(username="wríter", password=Secret("sésame:1"))
        await client.write(["x"])
        first, headers, _ = self.requests[0]
        login = b64encode("wríter:sésame:1".encode()).decode()
        assert headers["authorization"] == f"Basic {login}"
        for shown in (first, repr(client), str(client)):
            assert "same" not in shown
            assert login not in shown

    async def test_the_login_is_hidden_in_an_answer_and_without_one_nothing_is(self) -> None:
        self.react = lambda server: server.answer("500 No", b"Basic YTpi, Basic Og==")
        secret = Secret("b")
        assert await self.write("x", username="a", password=secret) == Unreachable(
            "500 Basic ***, Basic Og=="
        )
        assert await self.write("x") == Unreachable("500 Basic YTpi, Basic Og==")
        self.react = lambda server: server.answer("500 No", b'{"error": "Basic \\u0059Tpi"}')
        assert await self.write("x", username="a", password=secret) == Unreachable("500 Basic ***")

    async def test_a_probe_has_an_empty_body(self) -> None:
        assert await self.write() == Delivered()
        assert self.requests[0][2] == b""

    async def test_only_a_server_elsewhere_gets_its_lines_compressed(self) -> None:
        # Any address of 127.0.0.0/8 is this machine, but only one is taken for it.
        port = self.reactor.listenTCP(0, self.port.factory, interface="127.0.0.2")
        self.addCleanup(port.stopListening)
        await self.write("r a=1.0 1" * 100, url=f"http://127.0.0.2:{port.getHost().port}")
        await self.write("r a=1.0 1", host="localhost")
        (_, headers, body), (_, plain, _) = self.requests
        assert headers["content-encoding"] == "gzip"
        assert len(body) < 100
        assert gzip.decompress(body).decode() == "r a=1.0 1" * 100
        assert "content-encoding" not in plain

    async def test_one_connection_serves_many_requests(self) -> None:
        client = self.client()
        for _ in range(5):
            assert await client.write(["x"]) == Delivered()
        assert (len(self.requests), len(self.connections)) == (5, 1)

    async def test_the_answer_is_judged_with_its_body_and_headers(self) -> None:
        self.react = lambda server: server.answer("503 Service Unavailable", error("later"), "Retry-After: 7")
        assert await self.write("x") == Busy("503 later", 7.0)
        self.react = lambda server: server.answer("400 Bad Request", error("unable to parse 'x': why"))
        assert await self.write("x") == BadLines("400 unable to parse 'x': why", ("x",))

    async def test_a_header_that_is_no_text_does_no_harm(self) -> None:
        self.react = lambda server: server.raw(
            b"HTTP/1.1 503 No\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n"
        )
        assert isinstance(await self.write("x"), Busy | Unreachable)

    async def test_a_redirection_is_not_followed(self) -> None:
        self.react = lambda server: server.answer("302 Found", b"", "Location: http://127.0.0.1:1/login")
        assert await self.write("x") == Unreachable("302")
        assert len(self.requests) == 1

    async def test_a_server_that_is_not_there(self) -> None:
        port = self.listen()
        number = port.getHost().port
        await port.stopListening()
        verdict = await self.write("x", url=f"http://127.0.0.1:{number}")
        assert isinstance(verdict, Unreachable)
        assert "refused" in verdict.reason

    async def test_a_certificate_counts_from_our_authority_for_this_host_and_in_its_time(
        self,
    ) -> None:
        ours = trustRootFromCertificates([Certificate.loadPEM(authority())])
        expired = "it has expired, or [influxdb] tls_ca does not have the authority that signed it"
        another = "[influxdb] url must name it as the certificate does"
        for certificate, trust_root, said in (
            (issued(), ours, ""),
            (issued("elsewhere.example"), ours, another),
            (issued(expired=True), ours, expired),
            (self_signed(), ours, expired),
            (issued(), None, expired),
        ):
            context = PrivateCertificate.loadPEM(certificate).options()
            port = self.reactor.listenSSL(0, self.port.factory, context, interface="127.0.0.1")
            self.agent = agent(self.reactor, trust_root or platformTrust(), 30.0)
            with self.subTest(said):
                verdict = await self.write("x", url=f"https://localhost:{port.getHost().port}")
                if said:
                    assert isinstance(verdict, Unreachable)
                    assert said in verdict.reason
                else:
                    assert verdict == Delivered()
            await self.agent._pool.closeCachedConnections()
            await port.stopListening()
        assert len(self.requests) == 1

    async def test_a_server_that_hangs_up_before_its_answer(self) -> None:
        self.react = lambda server: server.transport.loseConnection()  # type: ignore[union-attr]
        verdict = await self.write("x")
        assert isinstance(verdict, Unreachable)
        assert verdict.reason != ""

    async def test_an_answer_that_breaks_off_is_judged_by_what_came(self) -> None:
        def half(server: Server) -> None:
            server.raw(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf of")
            server.transport.loseConnection()  # type: ignore[union-attr]

        self.react = half
        assert await self.write("x") == Unreachable("500 half of")

    async def test_an_answer_that_breaks_off_says_nothing_about_lines(self) -> None:
        """Half of an error may be all of another one."""
        for code, half in ((200, b""), (400, b""), (400, b"partial write: points beyond"), (422, b"unable")):

            def cut(server: Server, code: int = code, half: bytes = half) -> None:
                server.raw(b"HTTP/1.1 %d No\r\nContent-Length: 100\r\n\r\n" % code + half)
                server.transport.loseConnection()  # type: ignore[union-attr]

            self.react = cut
            with self.subTest(code=code, half=half):
                assert await self.write("x") == Unreachable(f"{code}, but the answer broke off")

    async def test_an_answer_without_a_length_ends_with_its_connection(self) -> None:
        def old(server: Server) -> None:
            server.raw(b"HTTP/1.0 400 No\r\n\r\n" + error("unable to parse 'x': why"))
            server.transport.loseConnection()  # type: ignore[union-attr]

        self.react = old
        assert await self.write("x") == BadLines("400 unable to parse 'x': why", ("x",))

    async def test_an_empty_answer_that_nobody_knows_to_be_whole_says_nothing(self) -> None:
        """A proxy that dies behind its headers: what it would have said is not known."""

        def dies(server: Server) -> None:
            server.raw(b"HTTP/1.1 200 OK\r\n\r\n")
            server.transport.loseConnection()  # type: ignore[union-attr]

        self.react = dies
        assert await self.write("x") == Unreachable("200, but the answer may be incomplete")

    async def test_however_an_answer_is_framed_it_has_its_verdict_and_the_next_request_its_own(self) -> None:
        """On the same connection or on another; the second answer is always that of a healthy server."""
        unparsable = error("unable to parse 'x': why")
        bad = BadLines("400 unable to parse 'x': why", ("x",))
        gone = None
        for answer, expected in (
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Delivered()),
            (
                b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3
                + b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
                Unauthorised("401"),
            ),
            (b"HTTP/1.0 204 No Content\r\n\r\n", Delivered()),
            (b"HTTP/1.1 204\r\n\r\n", Delivered()),
            (b"HTTP/1.1 204 No Content\nX: y\n\n", Delivered()),
            (b"HTTP/1.0 400 No\r\nContent-Length: %d\r\n\r\n" % len(unparsable) + unparsable, bad),
            (
                b"HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(unparsable)
                + unparsable,
                bad,
            ),
            (
                b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
                % (len(unparsable), unparsable),
                bad,
            ),
            # A body where none may be, and one that is longer than it says.
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Delivered()),
            (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nhello", Unreachable("500 he")),
            (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", Delivered()),
            (b"HTTP/1.1 500 No\r\nContent-Length: -1\r\n\r\n", gone),
            (b"HTTP/1.1 400 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", gone),
            (b"HTTP/1.1 400 No\r\nContent-Length: many\r\n\r\nxx", gone),
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: magic\r\n\r\nxx", gone),
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n", gone),
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", gone),
            (b"HTTP/1.1 abc No\r\n\r\n", gone),
            (b"HTTP/1.1\r\n\r\n", gone),
            (b"HTTP/1.1 204 No Content\r\nno colon\r\n\r\n", gone),
            (b"\r\n\r\n", gone),
        ):
            self.react = lambda server, answer=answer: server.raw(answer)  # type: ignore[misc]
            client = self.client()
            with self.subTest(answer):
                verdict = await client.write(["x"])
                if expected is gone:
                    assert isinstance(verdict, Unreachable)
                else:
                    assert verdict == expected
                self.react = lambda server: server.answer("204 No Content")
                assert await client.write(["y"]) == Delivered()
                assert self.requests[-1][2] == b"y"
        assert self.flushLoggedErrors() == []

    async def test_what_comes_without_a_request_answers_none(self) -> None:
        """Such as the 408 of a proxy that has waited long enough."""

        def twice(server: Server) -> None:
            server.answer("204 No Content")
            self.reactor.callLater(0.01, server.answer, "408 Request Timeout")

        self.react = twice
        client = self.client()
        assert await client.write(["x"]) == Delivered()
        await self.connections[0].ended
        self.react = lambda server: server.answer("204 No Content")
        assert await client.write(["y"]) == Delivered()
        assert len(self.connections) == 2
        assert self.flushLoggedErrors() == []

    async def test_after_a_cut_the_next_request_has_a_connection_of_its_own(self) -> None:
        for cut in (b"", b"HTTP/1.1 204", b"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\nhalf"):

            def hang_up(server: Server, cut: bytes = cut) -> None:
                server.raw(cut)
                server.transport.loseConnection()  # type: ignore[union-attr]

            client = self.client()
            self.react = lambda server: server.answer("204 No Content")
            with self.subTest(cut):
                assert await client.write(["x"]) == Delivered()
                self.react = hang_up
                assert isinstance(await client.write(["y"]), Unreachable)
                self.react = lambda server: server.answer("204 No Content")
                assert await client.write(["y"]) == Delivered()

    async def test_what_is_no_http_is_no_answer(self) -> None:
        def nonsense(server: Server) -> None:
            server.raw(b"SSH-2.0-OpenSSH\r\n\r\n")

        self.react = nonsense
        verdict = await self.write("x")
        assert isinstance(verdict, Unreachable)
        assert verdict.reason != ""

    async def test_an_answer_without_end_is_cut_and_its_connection_closed(self) -> None:
        def endless(server: Server) -> None:
            server.raw(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * (ANSWER_BYTES + 1))

        self.react = endless
        assert await self.write("x") == Unreachable("500 " + "x" * 500)
        await self.connections[0].ended

    async def test_lines_that_do_not_arrive_are_not_delivered(self) -> None:
        """Something in between drops them, and the server says that there were none."""
        body = b'{"code":"invalid","message":"writing requires points"}'
        self.react = lambda server: server.raw(
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert await self.write("x") == Unreachable("400, but our lines did not arrive there")
        assert await self.write() == Delivered()

    async def test_a_server_that_never_comes_to_its_answer_is_hung_up_on(self) -> None:
        """However little of it at a time, in many headers or a single one, or as one 1xx after the other."""
        for start, part in (
            (b"HTTP/1.1 204 No Content\r\n", b"X-More: and more\r\n" * 50),
            (b"HTTP/1.1 204 No Content\r\nX-Long: ", b"x\r\n " * 200),
            (b"HTTP/1.1 204 No Content\r\nX-Long: ", b"x" * 1_000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 900 + b"\r\nx\r\n"),
        ):
            sent: list[int] = []

            def drip(server: Server, data: bytes = start, part: bytes = part, sent: list[int] = sent) -> None:
                sent.append(len(data))
                server.raw(data)
                if not server.ended.called and sum(sent) < 10_000_000:
                    self.reactor.callLater(0, drip, server, part)

            self.react = drip
            with self.subTest(start):
                verdict = await self.write("x")
                await self.connections[-1].ended
                assert isinstance(verdict, Unreachable)
                # What is on its way when we hang up counts too.
                assert sum(sent) < 5 * (HEADER_BYTES + ANSWER_BYTES)

    async def test_many_answers_on_one_connection_are_not_too_long_together(self) -> None:
        long = b"x" * (ANSWER_BYTES // 2)
        self.react = lambda server: server.answer("500 No", long)
        client = self.client()
        for _ in range(10):
            assert await client.write(["x"]) == Unreachable("500 " + "x" * 500)
        assert len(self.connections) == 1

    async def test_a_server_that_does_not_answer_in_time(self) -> None:
        for start in (
            b"",
            b"HTTP/1.1 204 No Content\r\n",
            b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf",
        ):

            def begin(server: Server, start: bytes = start) -> None:
                server.raw(start)
                self.reactor.callLater(0.01, self.clock.advance, 30)

            self.react = begin
            with self.subTest(start):
                assert await self.write("x") == Unreachable("no answer within 30 s", slow=True)
                await self.connections[-1].ended

    async def test_a_server_that_does_not_take_the_connection_in_time(self) -> None:
        class Deaf:
            """An agent that is still connecting."""

            def request(self, *arguments: Any) -> Deferred[Any]:
                return Deferred()

        config = InfluxConfig(url="http://127.0.0.1:1", timeout=5.0)
        verdict = Deferred.fromCoroutine(InfluxClient(config, Deaf(), self.clock).write(["x"]))  # type: ignore[arg-type]
        self.clock.advance(5)
        assert await verdict == Unreachable("no answer within 5 s", slow=True)

    async def test_a_request_that_is_cancelled_is_broken_off_and_its_connection_closed(self) -> None:
        for start in (b"", b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf"):
            asked: Deferred[None] = Deferred()

            def keep(server: Server, start: bytes = start, asked: Deferred[None] = asked) -> None:
                server.raw(start)
                # Once round the reactor, so that the beginning of the answer is there.
                self.reactor.callLater(0.01, asked.callback, None)

            self.react = keep
            verdict = Deferred.fromCoroutine(self.write("x"))
            await asked
            verdict.cancel()
            with pytest.raises(CancelledError):
                await verdict
            await self.connections[-1].ended
