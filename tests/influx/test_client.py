"""What is sent to InfluxDB byte by byte, and the verdict on every way in which an answer may come or not."""

import gzip
import re
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.ssl import Certificate, PrivateCertificate, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure

from tessflux.config import InfluxConfig, Secret
from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent, explain_loss
from tessflux.influx.http import Http
from tessflux.influx.verdict import BadLines, Busy, Delivered, Unauthorised, Unreachable
from tessflux.limits import ANSWER_BYTES, HEADER_BYTES
from tests.certificates import authority, issued, self_signed
from tests.influx.answers import BEYOND, error, message, named, unparsable
from tests.influx.site import KNOWN, ClientCase, HttpServer

HEADER = f"{KNOWN}\r\n".encode()
QUESTDB = message("failed to parse line protocol:errors encountered on line(s):\nerror in line 1")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionDone(), "the server hung up without an answer"),
        (ConnectionLost(), "Connection to the other side was lost in a non-clean fashion"),
        (ConnectionAborted(), "more than 131072 bytes without an end"),
        (
            SSL.Error([("SSL routines", "", "wrong version number")]),
            "TLS: wrong version number;"
            " no TLS is spoken at this port, so [influxdb] url must begin with http://",
        ),
        (SSL.SysCallError(-1, "Unexpected EOF"), "TLS: (-1, 'Unexpected EOF')"),
        (ValueError("b'" + "x" * 16_000), "the answer is not HTTP"),
    ],
)
def test_why_a_connection_was_lost_is_told_in_words(error: Exception, words: str) -> None:
    assert explain_loss(Failure(error)) == words


class ClientTest(ClientCase):
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

    async def test_a_connection_that_was_closed_between_two_requests_costs_nothing(self) -> None:
        """After HTTP/1.0, or a `Close` that Twisted does not recognise."""
        for answer in (
            b"HTTP/1.0 204 No Content\r\n" + HEADER + b"\r\n",
            b"HTTP/1.1 204 No Content\r\n" + HEADER + b"Connection: Close\r\n\r\n",
        ):
            self.react = lambda server, answer=answer: server.raw(answer, hang_up=True)  # type: ignore[misc]
            for number in range(5):
                assert await self.write(f"x {number}") == Delivered()

    async def test_to_a_server_that_hangs_up_the_request_is_repeated_once(self) -> None:
        self.react = lambda server: server.raw(b"", hang_up=True)
        tls = "if it speaks TLS there, the url must begin with https://"
        assert await self.write("x") == Unreachable(
            f"the server hung up without an answer; {tls}", cut_off=True
        )
        assert len(self.requests) == 2

    async def test_it_knows_which_databases_store_twice_what_they_get_twice(self) -> None:
        flags = '-dedup.minScrapeInterval="{}"\n-retentionPeriod="1"\n'
        victoria = "VictoriaMetrics needs -dedup.minScrapeInterval=1ms"
        cluster = (
            "a VictoriaMetrics cluster does not show it; give -dedup.minScrapeInterval=1ms"
            " to vmselect and vmstorage, and set deduplicates = yes"
        )
        questdb = 'QuestDB needs ALTER TABLE "{}" DEDUP ENABLE UPSERT KEYS(timestamp, name)'
        for path, body, needed in (
            ("/flags", "", victoria),
            ("/flags", '-storageNode="a:8400"', cluster),
            ("/flags", flags.format("0s"), victoria),
            ("/flags", flags.format("0"), victoria),
            ("/flags", flags.format("1ms"), ""),
            ("/exec", '{"query":"SELECT dedup","dataset":[[false]],"count":1}', questdb.format("readings")),
            ("/exec", '{"query":"SELECT dedup","dataset":[[true]],"count":1}', ""),
            ("/exec", '{"query":"SELECT dedup","dataset":[],"count":0}', ""),
            ("/", "<html>a page</html>", ""),
        ):

            def answer(server: HttpServer, path: str = path, body: str = body) -> None:
                known = self.requests[-1][0].split()[1].startswith(path)
                header = ["X-Server-Hostname: a"] if path == "/flags" else []
                server.answer("200 OK" if known else "404 Not Found", body.encode(), *header)

            self.react = answer
            with self.subTest(body):
                assert await self.client().stores_twice() == needed

    async def test_of_questdb_both_tables_are_asked_for(self) -> None:
        def answer(server: HttpServer) -> None:
            path = self.requests[-1][0].split()[1]
            dedup = "false" if "photometers" in path else "true"
            known = "200 OK" if path.startswith("/exec") else "404 Not Found"
            server.answer(known, f'{{"dataset":[[{dedup}]]}}'.encode())

        self.react = answer
        statement = 'ALTER TABLE "photometers" DEDUP ENABLE UPSERT KEYS(timestamp, name)'
        assert await self.client().stores_twice() == f"QuestDB needs {statement}"

    async def test_one_that_hides_its_flags_may_store_twice_what_it_gets_twice(self) -> None:
        for status in ("401 Unauthorized", "400 Bad Request"):
            body = b"The provided authKey doesn't match -flagsAuthKey"
            self.react = lambda server, status=status, body=body: server.answer(  # type: ignore[misc]
                status, body, "X-Server-Hostname: a"
            )
            with self.subTest(status):
                assert await self.client().stores_twice() == (
                    "VictoriaMetrics does not show its flags; give it -dedup.minScrapeInterval=1ms,"
                    " and set deduplicates = yes"
                )

    async def test_one_of_which_the_operator_says_that_it_deduplicates_is_not_asked(self) -> None:
        self.react = lambda server: server.answer("401 Unauthorized", b"", "X-Server-Hostname: a")
        assert await self.client(deduplicates=True).stores_twice() == ""
        assert self.requests == []

    async def test_the_login_is_in_a_header_and_nowhere_else(self) -> None:
        client = self.client(username="wríter", password=Secret("sésame:1"))
        await client.write(["x"])
        first, headers, _ = self.requests[0]
        login = b64encode("wríter:sésame:1".encode()).decode()
        assert headers["authorization"] == f"Basic {login}"
        for shown in (first, repr(client), str(client)):
            assert "same" not in shown
            assert login not in shown

    async def test_the_login_is_hidden_in_the_text_of_an_answer(self) -> None:
        self.react = lambda server: server.answer("500 No", b"Basic YTpi, Basic Og==")
        secret = Secret("b")
        assert await self.write("x", username="a", password=secret) == Unreachable(
            "500 Basic ***, Basic Og=="
        )
        assert await self.write("x") == Unreachable("500 Basic YTpi, Basic Og==")
        self.react = lambda server: server.answer("500 No", b'{"error": "Basic \\u0059Tpi"}')
        assert await self.write("x", username="a", password=secret) == Unreachable("500 Basic ***")

    async def test_a_request_without_lines_has_an_empty_body(self) -> None:
        assert await self.write() == Delivered()
        assert self.requests[0][2] == b""

    async def test_lines_are_compressed_unless_the_server_is_on_this_machine(self) -> None:
        # Every address of 127.0.0.0/8 is this machine, but only one of them counts as it.
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

    async def test_the_verdict_depends_on_body_and_headers_of_the_answer(self) -> None:
        self.react = lambda server: server.answer("503 Service Unavailable", error("later"), "Retry-After: 7")
        assert await self.write("x") == Busy("503 later", 7.0)
        self.react = lambda server: server.answer("400 Bad Request", error(unparsable("x")))
        assert await self.write("x") == BadLines("400 unable to parse 'x': invalid number", named("x"))

    async def test_a_header_that_is_not_text_does_no_harm(self) -> None:
        self.react = lambda server: server.raw(
            b"HTTP/1.1 503 No\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n"
        )
        assert isinstance(await self.write("x"), Busy | Unreachable)

    async def test_a_redirection_is_not_followed(self) -> None:
        self.react = lambda server: server.answer("302 Found", b"", "Location: http://127.0.0.1:1/login")
        assert await self.write("x") == Unreachable("302")
        assert len(self.requests) == 1

    async def test_without_a_server_the_reason_tells_that_the_connection_was_refused(self) -> None:
        port = self.listen()
        number = port.getHost().port
        await port.stopListening()
        verdict = await self.write("x", url=f"http://127.0.0.1:{number}")
        assert isinstance(verdict, Unreachable)
        assert "refused" in verdict.reason
        assert not verdict.connected

    async def test_only_a_valid_certificate_of_our_authority_for_this_host_is_trusted(
        self,
    ) -> None:
        ours = trustRootFromCertificates([Certificate.loadPEM(authority())])
        expired = "it has expired, or [influxdb] tls_ca does not have the authority that signed it"
        another = "[influxdb] url must name the server as its certificate does"
        for certificate, trust_root, said in (
            (issued(), ours, ""),
            (issued("elsewhere.example"), ours, another),
            (issued(expired=True), ours, expired),
            (self_signed(), ours, expired),
            (issued(), None, expired),
        ):
            context = PrivateCertificate.loadPEM(certificate).options()
            port = self.reactor.listenSSL(0, self.port.factory, context, interface="127.0.0.1")
            self.trusted = trust_root or platformTrust()
            self.agent = agent(self.reactor, lambda: self.trusted, 30.0)
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

    async def test_tls_spoken_to_a_plain_port_and_plain_http_to_a_tls_port_are_said_as_such(self) -> None:
        plain = self.port.getHost().port
        # What InfluxDB answers to something that is not HTTP; others hang up.
        for answer, said in (
            (b"HTTP/1.1 400 Bad Request\r\n\r\n400 Bad Request", "no TLS is spoken at this port"),
            (b"", "if it speaks no TLS there"),
        ):
            self.patch(HttpServer, "dataReceived", lambda me, data, raw=answer: me.raw(raw, hang_up=True))
            verdict = await self.write("x", url=f"https://127.0.0.1:{plain}")
            assert isinstance(verdict, Unreachable)
            assert said in verdict.reason
            assert verdict.reason.endswith("url must begin with http://")
        context = PrivateCertificate.loadPEM(issued()).options()
        port = self.reactor.listenSSL(0, self.port.factory, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        verdict = await self.write("x", url=f"http://127.0.0.1:{port.getHost().port}")
        assert isinstance(verdict, Unreachable)
        assert verdict.reason.endswith("; if it speaks TLS there, the url must begin with https://")

    async def test_a_corrected_file_of_authorities_counts_for_the_next_connection(self) -> None:
        context = PrivateCertificate.loadPEM(self_signed()).options()
        port = self.reactor.listenSSL(0, self.port.factory, context, interface="127.0.0.1")
        self.trusted = platformTrust()
        self.agent = agent(self.reactor, lambda: self.trusted, 30.0)
        url = f"https://localhost:{port.getHost().port}"
        assert isinstance(await self.write("x", url=url), Unreachable)
        self.trusted = trustRootFromCertificates([Certificate.loadPEM(self_signed())])
        assert await self.write("x", url=url) == Delivered()
        await self.agent._pool.closeCachedConnections()
        await port.stopListening()

    async def test_an_answer_that_ends_with_its_connection_is_about_the_lines_only_if_it_is_whole(
        self,
    ) -> None:
        """Half of an error may look like another; without a length an empty answer may be half of one."""
        head = b"HTTP/1.1 %d No\r\nContent-Length: 100\r\n\r\n"
        for sent, verdict in (
            (head % 500 + b"half of", Unreachable("500 half of")),
            *(
                (head % code + half, Unreachable(f"{code}, but the answer broke off"))
                for code, half in ((200, b""), (400, b""), (400, BEYOND.encode()), (422, b"unable"))
            ),
            (b"HTTP/1.1 200 OK\r\n\r\n", Unreachable("200, but the answer may be incomplete")),
            (
                b"HTTP/1.0 400 No\r\n\r\n" + error(unparsable("x")),
                BadLines("400 unable to parse 'x': invalid number", named("x")),
            ),
        ):
            self.react = lambda server, sent=sent: server.raw(sent, hang_up=True)  # type: ignore[misc]
            with self.subTest(sent):
                assert await self.write("x") == verdict

    async def test_however_an_answer_is_framed_it_has_its_verdict_and_the_next_request_its_own(self) -> None:
        """On the same connection or on another; the second answer is always that of a healthy server."""
        body = error(unparsable("x"))
        bad = BadLines("400 unable to parse 'x': invalid number", named("x"))
        gone = None
        for answer, expected in (
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n" + HEADER + b"\r\n", Delivered()),
            (
                b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3
                + b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
                Unauthorised("401"),
            ),
            (b"HTTP/1.0 204 No Content\r\n" + HEADER + b"\r\n", Delivered()),
            (b"HTTP/1.1 204\r\n" + HEADER + b"\r\n", Delivered()),
            (b"HTTP/1.1 204 No Content\nX-Influxdb-Build: OSS\n\n", Delivered()),
            (b"HTTP/1.0 400 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body, bad),
            (
                b"HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
                bad,
            ),
            (
                b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
                % (len(body), body),
                bad,
            ),
            # A body where none may be, and one that is longer than it says.
            (b"HTTP/1.1 204 No Content\r\n" + HEADER + b"Content-Length: 5\r\n\r\nhello", Delivered()),
            (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nhello", Unreachable("500 he")),
            (
                b"HTTP/1.1 204 No Content\r\n" + HEADER + b"\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
                Delivered(),
            ),
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
            (b"SSH-2.0-OpenSSH\r\n\r\n", gone),
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

    async def test_what_comes_without_a_request_is_no_answer_to_the_next(self) -> None:
        """Such as the 408 of a proxy that has waited long enough."""
        client = self.client()
        assert await client.write(["x"]) == Delivered()
        self.connections[0].answer("408 Request Timeout")
        await self.connections[0].ended
        assert await client.write(["y"]) == Delivered()
        assert len(self.connections) == 2
        assert self.flushLoggedErrors() == []

    async def test_after_a_cut_the_next_request_has_a_connection_of_its_own(self) -> None:
        for cut in (b"", b"HTTP/1.1 204", b"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\nhalf"):
            client = self.client()
            self.react = lambda server: server.answer("204 No Content")
            with self.subTest(cut):
                assert await client.write(["x"]) == Delivered()
                self.react = lambda server, cut=cut: server.raw(cut, hang_up=True)  # type: ignore[misc]
                assert isinstance(await client.write(["y"]), Unreachable)
                self.react = lambda server: server.answer("204 No Content")
                assert await client.write(["y"]) == Delivered()

    async def test_an_answer_that_is_too_long_is_cut_and_its_connection_closed(self) -> None:
        self.react = lambda server: server.raw(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * (ANSWER_BYTES + 1))
        assert await self.write("x") == Unreachable("500 " + "x" * 500)
        await self.connections[0].ended

    async def test_lines_that_the_server_did_not_see_are_not_delivered(self) -> None:
        """Something between us drops them, and the server finds that there were none."""
        self.react = lambda server: server.answer("400 Bad Request", message("writing requires points"))
        assert await self.write("x") == Unreachable("400, but our lines did not arrive there")
        assert await self.write() == Delivered()

    async def test_a_connection_on_which_an_answer_never_begins_is_closed(self) -> None:
        """Whether many headers come, an endless one, or 1xx after 1xx, and however little at a time."""
        for start, part in (
            (b"HTTP/1.1 204 No Content\r\n", b"X-More: and more\r\n" * 50),
            (b"HTTP/1.1 204 No Content\r\nX-Long: ", b"x\r\n " * 200),
            (b"HTTP/1.1 204 No Content\r\nX-Long: ", b"x" * 1_000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 900 + b"\r\nx\r\n"),
        ):
            sent: list[int] = []

            def drip(
                server: HttpServer, data: bytes = start, part: bytes = part, sent: list[int] = sent
            ) -> None:
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

    async def test_an_answer_that_is_not_complete_in_time_is_a_timeout(self) -> None:
        for start in (
            b"",
            b"HTTP/1.1 204 No Content\r\n",
            b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf",
        ):

            def begin(server: HttpServer, start: bytes = start) -> None:
                server.raw(start)
                self.reactor.callLater(0.01, self.clock.advance, 30)

            self.react = begin
            with self.subTest(start):
                assert await self.write("x") == Unreachable("no answer within 30 s", slow=True)
                await self.connections[-1].ended

    async def test_a_connection_that_is_not_made_in_time_is_a_timeout(self) -> None:
        class Deaf:
            """An agent that is still connecting."""

            def request(self, *arguments: Any) -> Deferred[Any]:
                return Deferred()

        config = InfluxConfig(url="http://127.0.0.1:1", timeout=5.0)
        http = Http(config, Deaf(), self.clock)  # type: ignore[arg-type]
        verdict = Deferred.fromCoroutine(InfluxClient(config, http).write(["x"]))
        self.clock.advance(5)
        assert await verdict == Unreachable("no answer within 5 s", slow=True)

    async def test_when_a_request_is_cancelled_its_connection_is_closed(self) -> None:
        for start in (b"", b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf"):
            asked: Deferred[None] = Deferred()

            def keep(server: HttpServer, start: bytes = start, asked: Deferred[None] = asked) -> None:
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


class StrangerTest(ClientCase):
    """A server is believed only when it has shown that it is a database."""

    def answer_all(self, *answers: tuple[str, bytes, str]) -> None:
        """Answer the next requests so (status, body, header); the last answer is for all that follow."""
        script = list(answers)

        def react(server: HttpServer) -> None:
            status, body, header = script.pop(0) if len(script) > 1 else script[0]
            server.answer(status, body, known_by=header)

        self.react = react

    async def test_a_web_server_that_takes_whatever_comes_gets_no_line_delivered(self) -> None:
        doubt = "but nothing shows that it is a database: does a proxy answer for it?"
        for status, body, header, shown in (
            ("204 No Content", b"", "Server: nginx/1.22.1", "204 from nginx/1.22.1"),
            ("200 OK", b"", "Server: Apache", "200 from Apache"),
            ("200 OK", b"{}", "", "200 from a server without a name"),
            ("204 No Content", b"", f"Server: {'x' * 1_000}", f"204 from {'x' * 100}"),
            ("204 No Content", b"", "X-Influxdb-Error: none", "204 from a server without a name"),
        ):
            self.answer_all((status, body, header))
            for lines in ([], ["x"], ["x"]):
                with self.subTest(shown, lines=lines):
                    assert await self.write(*lines) == Unreachable(f"{shown}, {doubt}")

    async def test_a_server_of_any_name_does_no_harm(self) -> None:
        self.react = lambda server: server.raw(b"HTTP/1.1 204 No\r\nServer: \xff Basic YTpi\r\n\r\n")
        verdict = await self.write("x", username="a", password=Secret("b"))
        assert isinstance(verdict, Unreachable)
        assert verdict.reason.startswith("204 from \ufffd Basic ***, but")

    async def test_every_database_is_known_by_a_header_of_its_answer(self) -> None:
        for header in (
            "X-Influxdb-Version: 1.6.7~rc0",
            "X-Influxdb-Build: OSS",
            "x-influxdb-version: 1.8.0",
            "X-Geminidb-Version: v1.4.3",
        ):
            self.answer_all(("204 No Content", b"", header))
            with self.subTest(header):
                self.requests.clear()
                assert await self.write("x") == Delivered()
                assert len(self.requests) == 1

    async def test_a_database_without_headers_refuses_what_is_no_line_once_a_connection(self) -> None:
        """As QuestDB does; it is asked at the first answer, and no more while the connection lasts."""
        good, refused = ("204 No Content", b"", ""), ("400 Bad Request", QUESTDB, "")
        client = self.client()
        self.answer_all(good, refused, good)
        for _ in range(3):
            assert await client.write(["x 1"]) == Delivered()
        assert [body for _, _, body in self.requests] == [b"x 1", b"tessflux", b"x 1", b"x 1"]
        await self.agent._pool.closeCachedConnections()
        self.answer_all(good)
        assert isinstance(await client.write(["x 1"]), Unreachable)
        assert len(self.connections) == 2

    async def test_after_trouble_a_database_without_headers_shows_again_that_it_is_one(self) -> None:
        good, refused = ("204 No Content", b"", ""), ("400 Bad Request", QUESTDB, "")
        client = self.client()
        self.answer_all(good, refused, ("502 Bad Gateway", b"", ""), good)
        assert await client.write(["x"]) == Delivered()
        assert await client.write(["x"]) == Unreachable("502", cut_off=True)
        assert isinstance(await client.write(["x"]), Unreachable)
        assert len(self.connections) == 1

    async def test_a_server_that_cannot_show_now_what_it_is_is_no_stranger(self) -> None:
        for status, verdict in (
            ("503 Service Unavailable", Busy("503")),
            ("401 Unauthorized", Unauthorised("401")),
            ("502 Bad Gateway", Unreachable("502", cut_off=True)),
        ):
            with self.subTest(status):
                self.answer_all(("204 No Content", b"", ""), (status, b"", ""))
                assert await self.write("x") == verdict

    async def test_a_refusal_shows_a_database_only_by_its_header_or_in_its_words(self) -> None:
        """Any service that wants JSON refuses a line."""
        for body, header, known in (
            (b"<html>Bad Request</html>", "", False),
            (b'{"error":"invalid JSON"}', "", False),
            (b'{"error":"unable to parse JSON"}', "", False),
            (b"", "", False),
            # Telegraf, which has its header in a refusal only.
            (error("metric parse error: expected field at 1:9"), KNOWN, True),
            # influxdb-relay; InfluxDB 1 and 2, and InfluxDB 3, behind a proxy that takes their headers away.
            (error("unable to parse points"), "", True),
            (error(unparsable("tessflux")), "", True),
            (error("partial write of line protocol occurred"), "", True),
            (error("parsing failed for write_lp endpoint"), "", True),
        ):
            for status, empty in ("204 No Content", b""), ("200 OK", b"{}"):
                with self.subTest(body, status=status):
                    self.answer_all((status, empty, ""), ("400 Bad Request", body, header))
                    assert isinstance(await self.write("x"), Delivered if known else Unreachable)

    async def test_a_service_that_takes_only_an_empty_request_refuses_no_reading(self) -> None:
        """Its refusals would put every reading into quarantine."""

        def react(server: HttpServer) -> None:
            status, body = ("400 Bad Request", b"invalid JSON") if self.requests[-1][2] else good
            server.answer(status, body, known_by="Server: api")

        self.react = react
        doubt = "but nothing shows that it is a database: does a proxy answer for it?"
        for good in ("204 No Content", b""), ("200 OK", b"{}"):
            with self.subTest(good):
                assert await self.write() == Unreachable(f"{good[0][:3]} from api, {doubt}")
                assert await self.write("x") == Unreachable(f"400 invalid JSON from api, {doubt}")

    async def test_a_refusal_in_no_words_of_a_database_counts_when_the_server_has_shown_that_it_is_one(
        self,
    ) -> None:
        for refused in (b"too strange", b""):
            with self.subTest(refused):
                self.answer_all(("400 Bad Request", refused, ""), ("400 Bad Request", QUESTDB, ""))
                assert await self.write("x") == BadLines(f"400 {refused.decode()}".rstrip())

    async def test_a_refusal_by_another_server_shows_nothing(self) -> None:
        """A balancer before a database and something else: the refusal of one is no proof for the other."""
        refused = ("400 Bad Request", error("unable to parse 'tessflux': missing fields"), KNOWN)
        self.answer_all(("204 No Content", b"", "Server: nginx"), refused)
        assert isinstance(await self.write("x"), Unreachable)

    async def test_what_influxdb_says_to_a_request_without_lines_shows_what_it_is(self) -> None:
        self.answer_all(("400 Bad Request", b"incoming write was empty", ""))
        assert await self.write() == Delivered()
        assert len(self.requests) == 1
