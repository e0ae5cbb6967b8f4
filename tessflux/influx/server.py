"""One InfluxDB: a request is repeated until the answer is about its lines and not about the server.

Trouble with the server is handled here, trouble with lines in `delivery`; the table in `tessflux.influx` has
both.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import InfluxConfig, Secret
from tessflux.errors import ServerError
from tessflux.influx.definition import Ran
from tessflux.influx.dialect import dialect
from tessflux.influx.returns import Answering, Contact, Resending, Returns
from tessflux.influx.sleeper import Sleeper
from tessflux.influx.verdict import (
    BadLines,
    Busy,
    Delivered,
    Expired,
    LinesVerdict,
    Missing,
    TooLarge,
    Unauthorised,
    Unreachable,
    Verdict,
    about_lines,
    blame_lines,
)
from tessflux.logs import RateLimit
from tessflux.stats import InfluxStats

log = Logger(namespace="influxdb")

PARK_SECONDS = 30.0
"""Between two attempts at a server that needs its operator: soon enough for an operator who watches the log,
and rare enough not to fill the log of the server."""

IDLE_SECONDS = 60.0
"""Between two checks while nothing happens. Every event ends the wait; this is a safety net for a missed
one."""

LONGEST_RETRY_AFTER = 300.0
"""Seconds that a server may ask us to wait. A wrong date must not stop the delivery for a year."""

PROBLEM_PERIOD, PROBLEM_LINES = 600.0, 10
"""A problem that lasts is logged again after PROBLEM_PERIOD seconds. In that time at most PROBLEM_LINES lines
are logged: a server that comes and goes would fill the log."""

FAILURES = 3
"""Of a request in a row before its lines may be to blame. A proxy that fails now and then is not."""

FRUITLESS = 8
"""Attempts at a batch of which the server takes nothing; then what has come meanwhile is added to it."""

GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its multiples, without their whole parts, are spread evenly over 0 to 1, however many are taken."""


class WriteClient(Answering, Protocol):
    """Where lines are written."""

    async def write(self, lines: Sequence[str]) -> Verdict: ...


class NoServer(Exception):
    """The config no longer names a server."""


class Undecided(Exception):
    """The server takes no line of the batch: these may be to blame, or the server. Others would tell."""


@dataclass
class _Connection:
    """A client, and what happened since it last said something about lines."""

    client: WriteClient
    contact: Contact
    timeouts: int = 0
    """Requests in a row that were not answered in time."""
    made_target: bool = False
    """Whether what was missing has been made."""
    taken: str = ""
    """A line of this batch that the server took."""
    others: list[WriteClient] = field(default_factory=list)
    """For requests beside another one; each has one under way at most."""


class Server:
    """`client` makes the client for a config, `define` makes the target of one, and `read_secret` reads a
    secret again, in a thread. When the server answers again after it could not be
    reached, or may have restarted unseen, `resending` is rewound."""

    def __init__(
        self,
        config: InfluxConfig,
        stats: InfluxStats,
        *,
        client: Callable[[InfluxConfig], WriteClient],
        define: Callable[[InfluxConfig], Awaitable[Ran]],
        read_secret: Callable[[Secret], Awaitable[Secret]],
        resending: Resending,
        clock: IReactorTime,
        backoff: Callable[[int], float],
    ) -> None:
        self._stats, self._backoff, self._clock = stats, backoff, clock
        self._returns = Returns(resending, clock)
        self._make_client, self._define, self._read_secret = client, define, read_secret
        self._sleeper = Sleeper(clock)
        self._others_tried = 0
        self._problems = RateLimit(clock, period=PROBLEM_PERIOD, lines=PROBLEM_LINES)
        self.paused = False
        self._use(config)

    def _use(self, config: InfluxConfig, *, cut_off: bool = False) -> None:
        self._connect(config, cut_off=cut_off)
        self.takes_lines = False
        """Whether the server took lines at the last request."""
        self.problem = ""
        """Why it does not, in words; "" if it does, or was not asked yet."""
        self.since = self._clock.seconds()
        """When one of these began (clock seconds)."""
        self._is_new = True
        # A problem with this server is news, even if the former server had the same.
        self._problems.over()

    def _connect(self, config: InfluxConfig, *, cut_off: bool) -> None:
        # If this fails, the former config stays in use, and the next reload sees a change.
        client = self._make_client(config)
        self._connection = _Connection(client, self._returns.begin(client, cut_off=cut_off))
        self.config, self._dialect = config, dialect(config)

    def reconfigure(self, config: InfluxConfig) -> bool:
        """Use another config from the next request on.

        Returns whether that makes a new connection: then all that was learnt about the server is forgotten,
        and the next request is made at once.
        """
        if config.connection == self.config.connection:
            self.config = config
            return False
        self._use(config, cut_off=True)
        self._sleeper.wake()
        return True

    @property
    def url(self) -> str:
        """Where the next request goes."""
        return self._connection.client.url

    @property
    def troubles(self) -> int:
        """Grows whenever the server may lack what it took, and whenever another one takes its place."""
        return self._returns.troubles

    def pause(self) -> None:
        """Post nothing more after the request that is under way."""
        self.paused = True

    def resume(self) -> None:
        """Post again, at once."""
        self.paused = False
        self._sleeper.wake()

    def begin_batch(self) -> None:
        """Forget which lines the server took: only others of the same batch show that it is well. Those of
        yesterday went into another shard."""
        self._connection.taken = ""

    async def post(
        self, lines: Sequence[str], among: Sequence[str] = (), failures: int = FAILURES
    ) -> LinesVerdict:
        """Post lines until the server says something about them, or fails on them so often in a row although
        it takes another line `among` these. Raises NoServer and Undecided."""
        verdict, _ = await self._retry(lines, among or lines, failures)
        return verdict

    async def post_beside(self, lines: Sequence[str]) -> bool:
        """Post lines while another request is under way. False if the server may not have taken them: then
        they are to be posted in their turn."""
        connection = self._connection
        client = connection.others.pop() if connection.others else self._make_client(self.config)
        try:
            verdict = await client.write(lines)
        finally:
            connection.others.append(client)
        if isinstance(verdict, Delivered) and connection is self._connection:
            self._stats.requested += 1
            self._stats.ok += 1
            return True
        self._returns.note_trouble(connection.contact, verdict)
        return False

    async def is_healthy(self) -> bool:
        """Post no lines until the server accepts that; True if it did at the first attempt."""
        _, failed = await self._retry([], (), FAILURES)
        return failed == 0

    async def rest(self, seconds: float) -> None:
        """Wait; a change of the config or `resume` ends it."""
        await self._sleeper.sleep(seconds)

    async def _retry(
        self, lines: Sequence[str], among: Sequence[str], failures: int
    ) -> tuple[LinesVerdict, int]:
        """As `post`; returns also how many attempts failed before."""
        failed = 0
        while True:
            while self.paused:
                await self._sleeper.sleep(IDLE_SECONDS)
            if not self.config.url:
                raise NoServer
            connection = self._connection
            # Who mends something and resumes during the attempt means the next one, at once.
            self._sleeper.forget()
            verdict = await self._post_once(connection, lines)
            answer = about_lines(verdict, len(lines), connection.timeouts)
            blame = blame_lines(verdict, len(lines))
            if answer is None and blame and failed + 1 >= failures:
                answer = blame if await self._takes_another(connection, lines, among) else None
            # If the connection was replaced meanwhile, only success counts: the new server may take what the
            # former refused.
            if connection is self._connection:
                if answer is None:
                    await self._wait_out(verdict, failed)
                else:
                    connection.timeouts, connection.made_target = 0, False
                    if isinstance(answer, Delivered | Expired):
                        self._log_end_of_problem()
                    return answer, failed
            elif isinstance(answer, Delivered | Expired):
                return answer, failed
            failed += 1
            if blame and failed >= FRUITLESS and not self._connection.taken:
                raise Undecided

    async def _takes_another(
        self, connection: _Connection, lines: Sequence[str], among: Sequence[str]
    ) -> bool:
        """Whether the server takes another line right now. To write one again is harmless."""
        if self.paused or connection is not self._connection:
            return False
        another = connection.taken
        if not another:
            # Each time from another place: those beside a bad line may be just as bad.
            self._others_tried += 1
            another = among[int(len(among) * (self._others_tried * GOLDEN_RATIO % 1))]
        if [another] == list(lines):
            return False
        # An expired line proves nothing: it is refused before anything is written.
        return isinstance(await self._post_once(connection, [another]), Delivered)

    async def _post_once(self, connection: _Connection, lines: Sequence[str]) -> Verdict:
        self._stats.requested += 1
        verdict = await connection.client.write(lines)
        match verdict:
            case Delivered() | Expired():
                self._stats.ok += 1
                if lines and isinstance(verdict, Delivered):
                    connection.taken = lines[-1]
            case Busy() | Unreachable():
                self._stats.failed += 1
            case _:
                self._stats.rejected += 1
        if not isinstance(verdict, Delivered | Expired):
            self._returns.note_trouble(connection.contact, verdict)
        timed_out = isinstance(verdict, Unreachable) and verdict.slow
        connection.timeouts = connection.timeouts + 1 if timed_out else 0
        if isinstance(verdict, LinesVerdict):
            former = await self._returns.note_answer(
                connection.contact, self.config.resend, took_lines=bool(connection.taken)
            )
            if former:
                self._log_move(former, connection.contact.url)
        return verdict

    async def _wait_out(self, verdict: Verdict, failed: int) -> None:
        """Do what can be done about a verdict on the server, and wait until another attempt makes sense."""
        match verdict:
            case Missing(reason):
                await self._create_missing(reason, failed)
            case Unauthorised(reason):
                await self._park(reason, f"check {self._dialect.login}")
                await self._reload_secret()
            case Busy(reason, retry_after):
                self._log_problem(reason, "it is busy")
                # Even a server that asks for no pause at all gets one.
                await self._sleeper.sleep(min(retry_after or self._backoff(failed), LONGEST_RETRY_AFTER))
            case TooLarge(reason):
                advice = "it must take larger requests; InfluxDB: max-body-size in [http]"
                await self._back_off(reason, advice, failed)
            case Unreachable(reason) | BadLines(reason):
                await self._back_off(reason, "is it running, and is the url right?", failed)

    async def _back_off(self, reason: str, advice: str, failed: int) -> None:
        self._log_problem(reason, advice)
        await self._sleeper.sleep(self._backoff(failed))

    async def _park(self, reason: str, advice: str) -> None:
        """Wait for the operator."""
        self._log_problem(reason, advice)
        await self._sleeper.sleep(PARK_SECONDS)

    async def _create_missing(self, reason: str, failed: int) -> None:
        """Make what is missing; park if nothing makes it or that does not help."""
        config, connection, target = self.config, self._connection, self._dialect
        if not target.maker:
            await self._park(reason, target.unmade)
            return
        gone, ran = "", Ran()
        try:
            ran = await self._define(config)
        except ServerError as error:
            gone = str(error)
        except OSError as error:
            ran = Ran(problem=str(error))
        if connection is not self._connection:
            return
        self._log_left_out(target.maker, ran)
        if gone:
            await self._back_off(gone, "is it running, and is the url right?", failed)
        elif ran.problem:
            await self._park(f"{target.maker}: {ran.problem}", target.unable)
        elif connection.made_target:
            await self._park(reason, f"{target.maker} does not create it")
        else:
            connection.made_target = True
            log.info("{made}", made=target.made)

    def _log_left_out(self, file: str, ran: Ran) -> None:
        text = "; ".join(ran.left_out)
        if text and self._problems.admits(text):
            log.warn("{file} is not run as it stands: {text}", file=file, text=text)

    async def _reload_secret(self) -> None:
        """Read the secret again: the operator may have changed it."""
        connection = self._connection
        secret = await self._read_secret(self.config.password)
        if connection is self._connection and secret != self.config.password:
            self._connect(replace(self.config, password=secret), cut_off=True)

    def _log_problem(self, reason: str, advice: str) -> None:
        text = f"{reason} ({advice})"
        if not self.problem:
            self.since = self._clock.seconds()
        self.takes_lines, self.problem = False, text
        if self._problems.admits(text):
            log.error(
                "InfluxDB at {url} takes no readings: {text}; they wait in the spool",
                url=self.url,
                text=text,
            )

    def _log_move(self, former: str, url: str) -> None:
        if self.takes_lines and self._problems.admits(former):
            log.warn("{former} cannot be reached, so readings go to {url}", former=former, url=url)

    def _log_end_of_problem(self) -> None:
        if not self.takes_lines:
            self.since = self._clock.seconds()
        self.takes_lines, self.problem = True, ""
        if self._problems.over() or self._is_new:
            self._is_new = False
            log.info(
                "InfluxDB at {url} takes readings into {target}",
                url=self.url,
                target=self._dialect.target,
            )
