"""Whatever a server answers to a request, right or wrong: no line is lost, and every line is counted once.

The real writer, spool and client against a server that answers from a script; only waiting goes faster.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from twisted.internet.ssl import platformTrust
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tessflux.config import InfluxConfig, Secret, SpoolConfig
from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent
from tessflux.influx.definition import Ran
from tessflux.influx.http import Http
from tessflux.influx.server import LONGEST_RETRY_AFTER, PARK_SECONDS, Server, log
from tessflux.influx.verdict import Busy, Missing, Unauthorised, Unreachable
from tessflux.influx.writer import Writer
from tessflux.logs import Reports
from tessflux.readings import Admitted, Reading, Stored
from tessflux.spool import Queue, Spool
from tessflux.spool.journal import second_look
from tessflux.spool.positions import Keeping
from tessflux.stats import InfluxStats
from tests.faults.scripted import GOOD, KNOWN, Answer, ScriptedServer
from tests.influx.answers import ANSWERS, BEYOND, BEYOND_2_7, error, message, unparsable
from tests.log_lines import record
from tests.spool.site import OUTPUT, make_spool

LINES = [f"readings,name=stars{number} mag=18.0 {number}" for number in range(6)]
FASTER = 1_000
ABOUT_SERVER = Missing | Unauthorised | Busy | Unreachable
SILENCE = 0.3
"""The timeout of a request (s)."""


class Faster:
    """A clock on which all waits are short, and that remembers how long they were to be."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.waits: list[float] = []

    def callLater(self, seconds: float, call: Callable[..., Any], *args: Any) -> Any:
        self.waits.append(seconds)
        return self._reactor.callLater(seconds / FASTER, call, *args)

    def seconds(self) -> float:
        return float(self._reactor.seconds()) * FASTER


@dataclass(frozen=True)
class Result:
    """What is known when all has been delivered."""

    refused: Sequence[str]
    stats: InfluxStats
    waits: Sequence[float]
    logged: str
    requests: int
    """How many reached the server."""


class AnswerTest(TestCase):
    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.log = record(self, "influxdb")

    async def deliver(
        self,
        *answers: Answer,
        otherwise: Answer = GOOD,
        timeout: float = 30.0,
        poison: str = "",
        most: int = 100_000,
    ) -> Result:
        """Deliver LINES to a server that answers so after it took the empty request, and later `otherwise`.

        Fails unless each line is in a request that was answered well, or in quarantine, or expired.
        """
        clock, stats, logged = Faster(self.reactor), InfluxStats(), len(self.log())
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        await self.store(directory.name, clock)
        spool = self.spool(directory.name, clock)
        await spool.open({OUTPUT: Keeping()})
        poisoned = poison.encode() or None
        with ScriptedServer([GOOD, *answers], otherwise, poison=poisoned, most=most) as server:
            writer = self.writer(
                InfluxConfig(url=server.url, timeout=timeout), spool.queues[OUTPUT], stats, clock
            )
            while spool.queues[OUTPUT].waiting:
                await deferLater(self.reactor, 0.002)
            await writer.stopService()
            await self.agent._pool.closeCachedConnections()
        await spool.close()
        with second_look(directory.name) as db:
            refused = [row[0].decode() for row in db.execute("SELECT payload FROM quarantine ORDER BY id")]
        script = [GOOD, *answers, *[otherwise] * len(server.requests)]
        taken: set[str] = set()
        for request, answer in zip(server.requests, script, strict=False):
            if answer == GOOD and not (poisoned and poisoned in request.body):
                taken.update(request.body.decode().split("\n"))
        assert len(refused) == stats.quarantined
        assert stats.delivered + stats.expired + stats.quarantined == len(LINES)
        assert stats.requested == stats.ok + stats.rejected + stats.failed
        # Without an answer the client repeats a request once, which is counted as one. On a busy computer the
        # time for one may be over before it has left.
        repeated = len(server.requests) - stats.requested
        assert most < 1_000 or -stats.failed <= repeated <= len(answers) // 2
        assert len(set(LINES) - taken - set(refused)) == stats.expired
        return Result(refused, stats, clock.waits, "\n".join(self.log()[logged:]), len(server.requests))

    def spool(self, directory: str, clock: Faster) -> Spool:
        return make_spool(SpoolConfig(directory), clock=clock, flush_interval=1.0)

    async def store(self, directory: str, clock: Faster) -> None:
        spool = self.spool(directory, clock)
        await spool.open({OUTPUT: Keeping()})
        for number, line in enumerate(LINES):
            name = f"stars{number}"
            stored = Stored(line, Admitted(name, number, number), Reading(name, 0.0, "", None))
            spool.committer.take([stored], [], lambda mids: None)
        await spool.stop()
        await spool.close()

    def writer(self, config: InfluxConfig, queue: Queue, stats: InfluxStats, clock: Faster) -> Writer:
        async def read_secret(secret: Secret) -> Secret:
            return secret

        async def define(config: InfluxConfig) -> Ran:
            raise AssertionError("there is no data definition file")

        self.agent = agent(self.reactor, platformTrust, config.timeout)
        server = Server(
            config,
            stats,
            client=lambda config: InfluxClient(config, Http(config, self.agent, self.reactor)),
            define=define,
            read_secret=read_secret,
            resending=queue,
            clock=clock,  # type: ignore[arg-type]
            backoff=lambda attempt: 1.0 + attempt,
        )
        writer = Writer(server, queue, stats, Reports(log, clock), clock=clock, now=lambda: 1.0)  # type: ignore[arg-type]
        writer.startService()
        return writer

    async def test_after_every_answer_about_the_server_the_lines_are_posted_until_it_takes_them(self) -> None:
        for fault in (
            *(Answer(code, body) for code, body, verdict in ANSWERS if isinstance(verdict, ABOUT_SERVER)),
            *(Answer(status, headers={"Location": "/"}) for status in (301, 302, 303, 304, 307, 308)),
            # Half an answer, and what is none.
            Answer(200, length=10, close=True),
            Answer(400, b'{"error":"partial write: points beyond retention policy dropped=6"}', cut=60),
            Answer(raw=b""),
            Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
            Answer(raw=b"HTTP/1.1 204"),
            Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n"),
            # Without end.
            Answer(endless_headers=True),
            Answer(500, b"x" * 1_000_000, repeat=100),
            Answer(200, b" x" * 500_000, repeat=100),
        ):
            with self.subTest(fault):
                result = await self.deliver(fault, fault)
                assert result.refused == []
                assert (result.stats.delivered, result.requests) == (len(LINES), 4)
                assert result.stats.requested in (3, 4)
                assert "takes no readings" in result.logged

    async def test_a_stranger_that_takes_whatever_comes_gets_nothing_delivered(self) -> None:
        for stranger in (
            Answer(204, headers={"Server": "nginx/1.22.1"}),
            Answer(200),
            Answer(200, b"{}", close=True),
        ):
            with self.subTest(stranger):
                result = await self.deliver(*[stranger] * 12)
                assert (result.refused, result.stats.delivered) == ([], len(LINES))
                assert "nothing shows that it is a database" in result.logged

    async def test_after_every_timeout_the_lines_are_posted_again(self) -> None:
        for fault in (
            Answer(silent=True),
            Answer(400, b"half of it", length=100),
            Answer(500, b"x" * 1_000, size=1, seconds=0.01),
            Answer(204, size=1, seconds=SILENCE / 10),
            Answer(raw=None, status=400, body=b'{"error":"x"}', size=1, seconds=SILENCE / 10),
        ):
            with self.subTest(fault):
                result = await self.deliver(fault, timeout=SILENCE)
                assert (result.refused, result.stats.delivered) == ([], len(LINES))
                assert "no answer within" in result.logged

    async def test_it_waits_for_as_long_as_the_server_asks(self) -> None:
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        for asked, least, most in (
            ("7", 7.0, 7.0),
            (soon, 80.0, 90.0),
            ("86400", LONGEST_RETRY_AFTER, LONGEST_RETRY_AFTER),
            ("0", 1.0, 1.0),
            ("soon", 1.0, 1.0),
        ):
            for status in (429, 503):
                with self.subTest(asked, status=status):
                    result = await self.deliver(Answer(status, headers={"Retry-After": asked}))
                    assert [wait for wait in result.waits if least <= wait <= most]
        result = await self.deliver(Answer(401, error("authorization failed")))
        assert PARK_SECONDS in result.waits

    async def test_lines_that_the_answer_quotes_go_into_quarantine(self) -> None:
        shown = unparsable(LINES[1], LINES[4])
        for answer in (
            Answer(400, error(f"partial write: {shown} dropped=0")),
            Answer(400, error(shown)),
            Answer(400, message(shown)),
            Answer(422, message(f"failure writing points to database: partial write: {shown} dropped=0")),
        ):
            with self.subTest(answer):
                result = await self.deliver(answer)
                assert result.refused == [LINES[1], LINES[4]]
                assert result.stats.requested == 3

    async def test_lines_that_the_answer_only_counts_are_found_by_bisecting(self) -> None:
        conflict = 'partial write: field type conflict: input field "mag" on measurement "readings" is type'
        for answer in (
            Answer(400, error(f"{conflict} float, already exists as type integer dropped=1")),
            Answer(422, message(f"failure writing points to database: {conflict} float dropped=1")),
            Answer(400, message(f"unexpected error writing points to database: {conflict} float dropped=1")),
        ):
            with self.subTest(answer):
                # All, the first three, the others: the first of them alone, the two behind it.
                result = await self.deliver(answer, GOOD, answer, answer, GOOD)
                assert result.refused == LINES[3:4]
        everything = Answer(400, error(f"{conflict} float, already exists as type integer dropped=6"))
        result = await self.deliver(everything)
        assert (result.refused, result.stats.requested) == (LINES, 2)

    async def test_behind_an_error_that_tells_nothing_the_bad_line_is_found_by_bisecting(self) -> None:
        for answer in (
            Answer(400, b'remoteAddr: "127.0.0.1:1"; cannot parse Influx line'),
            Answer(422, b"", KNOWN),
            Answer(
                400,
                json.dumps(
                    {
                        "error": "partial write of line protocol occurred",
                        "data": [{"original_line": "cut", "line_number": 4, "error_message": "why"}],
                    }
                ).encode(),
            ),
        ):
            with self.subTest(answer):
                # As above; before a line is blamed, the server is asked without one, and with it once more.
                result = await self.deliver(answer, GOOD, answer, answer, GOOD, answer, GOOD)
                assert result.refused == LINES[3:4]

    async def test_lines_beyond_the_retention_policy_are_counted_and_hide_no_other_error(self) -> None:
        unreadable = Answer(400, error(unparsable(LINES[3])))
        since_2_7 = BEYOND_2_7.replace("dropped 550 points", "dropped 2 points").replace("=550", "=2")
        for beyond in (
            Answer(400, error(f"{BEYOND} dropped=2")),
            Answer(500, message(f"unexpected error writing points to database: {BEYOND} dropped=2")),
            Answer(422, message(since_2_7)),
        ):
            with self.subTest(beyond):
                result = await self.deliver(beyond, beyond, unreadable)
                assert result.refused == [LINES[3]]
                assert (result.stats.expired, result.stats.delivered) == (2, 3)

    async def test_what_is_too_large_is_sent_in_parts(self) -> None:
        large = Answer(413, error("Request Entity Too Large"))
        result = await self.deliver(large, large)
        assert (result.refused, result.stats.requested) == ([], 7)

    async def test_a_line_that_a_server_answers_with_500_for_ever_holds_up_no_other(self) -> None:
        for line in (LINES[0], LINES[3], LINES[5]):
            with self.subTest(line):
                result = await self.deliver(poison=line)
                assert (result.refused, result.stats.delivered) == ([line], len(LINES) - 1)
                assert "500 internal error" in result.logged

    async def test_a_server_that_resets_the_connection_on_a_large_body_gets_smaller_ones(self) -> None:
        result = await self.deliver(most=2 * len(LINES[0]) + 1)
        assert (result.refused, result.stats.delivered, result.stats.failed) == ([], len(LINES), 4)

    async def test_a_server_that_refuses_everything_gets_no_line_into_quarantine(self) -> None:
        for refusal in (Answer(400, b"Bad Request"), Answer(413), Answer(422, b"no"), Answer(400)):
            with self.subTest(refusal):
                result = await self.deliver(*[refusal] * 12)
                assert (result.refused, result.stats.delivered) == ([], len(LINES))
                assert "takes no readings" in result.logged
