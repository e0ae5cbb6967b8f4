"""A database with several urls: the next one is asked when one cannot be reached, and nothing is lost."""

from dataclasses import replace

from twisted.logger import LogLevel

from tessflux.config import InfluxConfig
from tessflux.influx.client import InfluxClient
from tessflux.influx.http import Http
from tessflux.influx.verdict import BadLines, Busy, Delivered, Unreachable, Verdict
from tests.influx.answers import error, unparsable
from tests.influx.site import CONFIG, DOWN, Case, ClientCase, HttpServer


class UrlsTest(ClientCase):
    """Two servers, either of which may be gone."""

    def setUp(self) -> None:
        super().setUp()
        self.ports = [self.listen(), self.listen()]
        self.urls = [f"http://127.0.0.1:{port.getHost().port}" for port in self.ports]
        self.addCleanup(self.stop, 0)
        self.addCleanup(self.stop, 1)

    async def stop(self, which: int) -> None:
        """End a server with its connections."""
        if port := self.ports[which]:
            self.ports[which] = None
            await port.stopListening()
        for connection in self.connections:
            if not connection.ended.called:
                connection.transport.loseConnection()  # type: ignore[union-attr]
                await connection.ended

    def pair(self) -> InfluxClient:
        config = InfluxConfig(url=",".join(self.urls))
        return InfluxClient(config, Http(config, self.agent, self.clock))

    def asked(self) -> list[int]:
        """Which server each request went to."""
        return [self.urls.index("http://" + headers["host"]) for _, headers, _ in self.requests]

    async def test_while_the_first_answers_the_second_is_not_asked(self) -> None:
        client = self.pair()
        for answer, verdict in (
            ("204 No Content", Delivered()),
            ("503 Busy", Busy("503")),
            ("500 No", Unreachable("500")),
            ("400 No", BadLines("400")),
        ):
            self.react = lambda server, answer=answer: server.answer(answer)  # type: ignore[misc]
            assert await client.write(["x"]) == verdict
        assert self.asked() == [0] * 4
        assert client.url == self.urls[0]

    async def test_when_no_connection_can_be_made_the_same_request_goes_to_the_next(self) -> None:
        client = self.pair()
        await self.stop(0)
        for _ in range(3):
            assert await client.write(["x"]) == Delivered()
            assert client.url == self.urls[1]
        assert [body for _, _, body in self.requests] == [b"x"] * 3
        # Now this one is gone as well, and then the first is back.
        await self.stop(1)
        verdict = await client.write(["x"])
        assert isinstance(verdict, Unreachable)
        assert (verdict.connected, verdict.cut_off) == (False, True)
        assert verdict.reason.endswith("refused; no other url can be reached either")
        number = int(self.urls[0].rpartition(":")[2])
        self.ports[0] = self.reactor.listenTCP(number, self.port.factory, interface="127.0.0.1")
        assert await client.write(["x"]) == Delivered()
        assert client.url == self.urls[0]

    async def test_after_a_loss_or_a_timeout_the_next_request_goes_to_the_next(self) -> None:
        """The same request is not repeated: a server that took it may have stored its lines."""

        def lose(server: HttpServer) -> None:
            server.raw(b"HTTP/1.1 204", hang_up=True)

        def wait(server: HttpServer) -> None:
            self.reactor.callLater(0.01, self.clock.advance, 30)

        for fail, slow in ((lose, False), (wait, True)):
            with self.subTest(slow):
                self.requests.clear()
                client = self.pair()
                self.react = fail
                verdict = await client.write(["x"])
                assert isinstance(verdict, Unreachable)
                assert (verdict.connected, verdict.slow) == (True, slow)
                assert client.url == self.urls[0]
                self.react = lambda server: server.answer("204 No Content")
                assert await client.write(["x"]) == Delivered()
                assert await client.write(["x"]) == Delivered()
                assert self.asked() == [0, 1, 1]

    async def test_each_server_shows_itself_what_it_is(self) -> None:
        """One has no header of a database, but refuses what is no line; the other takes all."""
        client = self.pair()

        def plain(server: HttpServer) -> None:
            if self.asked()[-1] == 1 or self.requests[-1][2] == b"x":
                server.answer("204 No Content", known_by="")
            else:
                server.answer("400 Bad Request", error(unparsable("tessflux")), known_by="")

        self.react = plain
        assert await client.write(["x"]) == Delivered()
        await self.stop(0)
        verdict: Verdict = await client.write(["x"])
        assert isinstance(verdict, Unreachable)
        assert "nothing shows that it is a database" in verdict.reason


class MoveTest(Case):
    """What the writer does when another server answers."""

    def test_what_the_former_may_have_lost_is_sent_again_and_the_log_names_the_one_in_use(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        self.reply(Delivered(), after=1)
        self.database.url = "http://second:8086"
        self.add(writer, 4, 5, 6)
        self.reply(Delivered(), after=1)
        assert self.queue.rewound == 1
        assert self.log(LogLevel.warn) == [
            "http://db:8086 cannot be reached, so readings go to http://second:8086"
        ]
        self.add(writer, 7, 8, 9)
        self.reply(DOWN)
        [logged] = self.log(LogLevel.error)
        assert logged.startswith("InfluxDB at http://second:8086 takes no readings")
        self.clock.advance(1)
        self.reply(Delivered(), after=1)
        assert self.log(LogLevel.info)[-1] == "InfluxDB at http://second:8086 takes readings into tessdb"

    def test_whether_the_other_stores_twice_is_asked_anew(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        self.reply(Delivered(), after=1)
        assert self.queue.once is False
        self.database.url, self.database.twice = "http://second:8086", "a flag"
        self.add(writer, 4, 5, 6)
        self.reply(Delivered(), after=1)
        assert self.queue.once is True

    def test_it_is_asked_again_once_it_has_lines(self) -> None:
        """QuestDB makes its table with the first line, and shows nothing of it before that."""
        writer = self.start()
        assert self.queue.once is False
        self.database.twice = "a statement"
        self.add(writer, 1, 2, 3)
        self.reply(Delivered(), after=1)
        assert self.queue.once is True
        self.database.twice = ""
        self.add(writer, 4, 5, 6)
        self.reply(Delivered(), after=1)
        assert self.queue.once is True

    def test_servers_that_come_and_go_do_not_fill_the_log(self) -> None:
        writer = self.start(replace(CONFIG, resend=0.0))
        for number in range(100):
            self.database.url = f"http://{number % 2}:8086"
            self.add(writer, 1, 2, 3)
            self.reply(Delivered(), after=1)
        assert len(self.log(LogLevel.warn)) <= 10
