"""A writer between a queue in memory and a database that the test plays; a client before an HTTP server."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import platformTrust
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tessflux.config import InfluxConfig, Secret
from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent
from tessflux.influx.definition import Ran
from tessflux.influx.http import Http
from tessflux.influx.server import Server, log
from tessflux.influx.verdict import Busy, Delivered, Missing, Unauthorised, Unreachable, Verdict
from tessflux.influx.writer import Writer
from tessflux.logs import Reports
from tessflux.readings import Quarantined
from tessflux.spool.journal import Batch
from tessflux.stats import InfluxStats
from tests.log_lines import record

CONFIG = InfluxConfig(url="http://db:8086", batch=3, flush_interval=5.0)
KNOWN = "X-Influxdb-Version: 1.6.7~rc0"
"""With it a database shows what it is."""
DOWN = Unreachable("connection refused", connected=False)
FAILING: dict[str, Verdict] = {
    "missing": Missing("404 database not found"),
    "unauthorised": Unauthorised("401 authorization failed"),
    "busy": Busy("503 timeout"),
    "busy for a while": Busy("429", 40.0),
    "unreachable": DOWN,
}


def line(number: int, name: str = "") -> str:
    return f"readings,name={name or f'stars{number}'} mag=18.0 {number}"


def wait_for(work: Coroutine[Deferred[Any], Any, Any]) -> Any:
    """Let the real reactor run until the work is done, as trial does."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    outcome: list[Any] = []
    done = Deferred.fromCoroutine(work).addBoth(outcome.append)
    if not outcome:
        done.addCallback(lambda _: reactor.crash())
        reactor.run(installSignalHandlers=False)
        # Its thread, which looks up names, would outlive the tests.
        if reactor.threadpool is not None:
            reactor._stopThreadPool()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


class Memory:
    """A queue without a disk: the lines that wait, and the quarantine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lines: list[str] = []
        self.quarantine: list[Quarantined] = []
        self.oldest: float | None = None
        self.broken: Exception | None = None
        self.retired = 0
        self.rewound = 0
        self.once: bool | None = None
        self.gives_following = False
        self._given: dict[int, Batch] = {}

    @property
    def waiting(self) -> int:
        return len(self.lines)

    def rewind(self) -> None:
        self.rewound += 1

    def send_once(self, once: bool) -> None:
        self.once = once

    def add(self, *lines: str) -> None:
        self.lines += lines
        if self.oldest is None:
            self.oldest = self._clock.seconds()

    async def head(self, limit: int) -> Batch:
        if self.broken:
            error, self.broken = self.broken, None
            raise error
        self.oldest = None
        lines = self.lines[:limit]
        if len(lines) < self.waiting:
            self.oldest = self._clock.seconds() - CONFIG.flush_interval
        return self._given.pop(self.retired, None) or Batch(self.retired + len(lines), lines)

    async def following(self, batch: Batch, limit: int) -> Batch | None:
        begin = batch.last - self.retired
        lines = self.lines[begin : begin + limit]
        if not self.gives_following or len(lines) < limit:
            return None
        return self._given.setdefault(batch.last, Batch(batch.last + limit, lines))

    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> bool:
        del self.lines[: batch.last - self.retired]
        self.retired = batch.last
        self.quarantine += refused
        return True


class Database:
    """A client of a database that answers as it is told: by `answer`, or when the test says so."""

    def __init__(self, config: InfluxConfig) -> None:
        self.config = config
        self.requests: list[list[str]] = []
        self.answer: Callable[[Sequence[str]], Verdict] | None = None
        self.waiting: list[Deferred[Verdict]] = []
        self.cancelled = 0
        self.connections, self.url = 1, config.url
        self.twice = ""

    async def write(self, lines: Sequence[str]) -> Verdict:
        assert not self.waiting, "there must be one request at a time"
        self.requests.append(list(lines))
        if self.answer:
            return self.answer(lines)
        waiting: Deferred[Verdict] = Deferred(self._cancel)
        self.waiting.append(waiting)
        return await waiting

    async def stores_twice(self) -> str:
        return self.twice

    def _cancel(self, waiting: Deferred[Verdict]) -> None:
        self.cancelled += 1
        self.waiting.remove(waiting)

    def reply(self, verdict: Verdict) -> None:
        """Answer the one request that is under way."""
        [waiting], self.waiting = self.waiting, []
        waiting.callback(verdict)


class Case(SynchronousTestCase):
    """Every test ends with a stop, and nothing left on the clock."""

    def setUp(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        """Begin anew, for the next row of a table."""
        self.clock = Clock()
        self.log = record(self, "influxdb")
        self.stats = InfluxStats()
        self.queue = Memory(self.clock)
        self.databases: list[Database] = []
        self.defined: list[str] = []
        self.ran: Ran | Exception = Ran()
        self.secret_on_disk: Secret | Deferred[Secret] | None = None
        self.answer: Callable[[Sequence[str]], Verdict] | None = None
        self.client_error: Exception | None = None

    @property
    def database(self) -> Database:
        return self.databases[-1]

    @property
    def requests(self) -> list[list[str]]:
        """Of all databases, without the probes."""
        return [lines for database in self.databases for lines in database.requests if lines]

    def make(self, config: InfluxConfig) -> Database:
        if self.client_error:
            raise self.client_error
        database = Database(config)
        database.answer = self.answer
        self.databases.append(database)
        return database

    async def define(self, config: InfluxConfig) -> Ran:
        self.defined.append(config.schema)
        if isinstance(self.ran, Exception):
            raise self.ran
        return self.ran

    async def read_secret(self, secret: Secret) -> Secret:
        if isinstance(self.secret_on_disk, Deferred):
            return await self.secret_on_disk
        return self.secret_on_disk or secret

    def start(self, config: InfluxConfig = CONFIG, queue: Any = None, *, known: bool = True) -> Writer:
        """A writer; unless told otherwise its database is there, and answers when the test says so."""
        server = Server(
            config,
            self.stats,
            client=self.make,
            define=self.define,
            read_secret=self.read_secret,
            resending=queue or self.queue,
            clock=self.clock,
            backoff=lambda attempt: float(min(2**attempt, 60)),
        )
        writer = Writer(
            server,
            queue or self.queue,
            self.stats,
            Reports(log, self.clock),
            clock=self.clock,
            now=lambda: 1_700_000_000.5,
        )
        writer.startService()
        self.addCleanup(self.end, writer, self.clock, self.databases)
        if known and not self.answer and config.url:
            self.database.reply(Delivered())
        return writer

    def end(self, writer: Writer, clock: Clock, databases: list[Database]) -> None:
        if writer.running:
            self.successResultOf(writer.stopService())
        assert clock.getDelayedCalls() == []
        assert all(not database.waiting for database in databases)

    def add(self, writer: Writer, *numbers: int) -> list[str]:
        lines = [line(number) for number in numbers]
        self.queue.add(*lines)
        writer.wake()
        return lines

    def reply(self, *verdicts: Verdict, after: float = 0.0) -> None:
        """Answer each request so, and let so many seconds pass."""
        for verdict in verdicts:
            self.database.reply(verdict)
            self.clock.advance(after)

    @property
    def quarantined(self) -> list[str]:
        """The lines in quarantine."""
        return [row.payload.decode() for row in self.queue.quarantine]

    def assert_waits(self, seconds: float) -> None:
        """The next request comes after so many seconds and no sooner."""
        self.clock.advance(seconds - 0.1)
        assert self.database.waiting == []
        self.clock.advance(0.1)
        assert len(self.database.waiting) == 1


class HttpServer(Protocol):
    """Reads one request after the other, and lets the test decide on the answer."""

    def __init__(self, case: "ClientCase") -> None:
        self._case = case
        self._data = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            first, *headers = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)}
            length = int(fields.get("content-length", 0))
            if len(rest) < length:
                return
            self._data = rest[length:]
            self._case.requested(self, first, fields, rest[:length])

    def connectionMade(self) -> None:
        self._case.connections.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(None)

    def answer(self, status: str, body: bytes = b"", *headers: str, known_by: str = KNOWN) -> None:
        """Answer as a database, which is known by a header; or as a stranger, without one."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, *filter(None, [known_by])]
        lines += ["", ""]
        self.raw("\r\n".join(lines).encode() + body)

    def raw(self, data: bytes, *, hang_up: bool = False) -> None:
        assert self.transport is not None
        self.transport.write(data)
        if hang_up:
            self.transport.loseConnection()


class ClientCase(TestCase):
    """The real HTTP client against a server of this process."""

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clock = Clock()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: list[HttpServer] = []
        self.react: Callable[[HttpServer], object] = lambda server: server.answer("204 No Content")
        self.port = self.listen()
        self.agent = agent(self.reactor, platformTrust, 30.0)
        self.addCleanup(self.end)

    def listen(self) -> Any:
        factory = Factory.forProtocol(lambda: HttpServer(self))
        return self.reactor.listenTCP(0, factory, interface="127.0.0.1")

    async def end(self) -> None:
        await self.agent._pool.closeCachedConnections()
        await self.port.stopListening()
        for server in self.connections:
            if not server.ended.called:
                server.transport.abortConnection()  # type: ignore[union-attr]
            await server.ended
        assert self.clock.getDelayedCalls() == []

    def requested(self, server: HttpServer, first: str, headers: dict[str, str], body: bytes) -> None:
        self.requests.append((first, headers, body))
        self.react(server)

    def client(self, host: str = "127.0.0.1", **changes: Any) -> InfluxClient:
        config = InfluxConfig(**{"url": f"http://{host}:{self.port.getHost().port}", **changes})
        return InfluxClient(config, Http(config, self.agent, self.clock))

    async def write(self, *lines: str, **changes: Any) -> Verdict:
        return await self.client(**changes).write(lines)
