"""One InfluxDB, and how to live with it: it is asked until it says something about the lines.

missing           run the data definition file, if there is one; else park
unauthorised      park: one error, the secret is read anew, another attempt every PARKED seconds
busy              as long as the server asks for, else back off
all else          back off: exponentially with jitter
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import InfluxConfig
from tessflux.errors import ServerError
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
)
from tessflux.stats import InfluxStats

log = Logger(namespace="influxdb")

PARKED = 30.0
"""Seconds between two attempts at a server that needs its operator."""

IDLE = 60.0
"""Seconds between two looks around while nothing happens; whatever does happen ends them."""

COMPLAINTS, PERIOD = 10, 600.0
"""At most so many complaints are said in so many seconds, should the server come and go."""

LONGEST_WAIT = 300.0
"""Seconds that a server may ask us to wait; it may not mean a year."""

LinesVerdict = Delivered | Expired | BadLines | TooLarge
"""What a server can say about lines; everything else it says about itself."""


class WriteClient(Protocol):
    """Where lines are written."""

    async def write(self, lines: Sequence[str]) -> Verdict: ...


class NoServer(Exception):
    """The config names no server any more."""


class Rest:
    """A wait that can be ended when something happens that makes it worth while to look again."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._over: Deferred[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Wait so many seconds, or until `end` is called."""
        self._over = Deferred()
        timer = self._clock.callLater(seconds, self.end)
        try:
            await self._over
        finally:
            self._over = None
            if timer.active():
                timer.cancel()

    def end(self) -> None:
        """End the wait, if there is one."""
        if self._over is not None:
            self._over.callback(None)


class Server:
    """`client` makes the client for a config; `define` runs its data definition file and `refresh` reads its
    secret anew, both in a thread."""

    def __init__(
        self,
        config: InfluxConfig,
        stats: InfluxStats,
        *,
        client: Callable[[InfluxConfig], WriteClient],
        define: Callable[[InfluxConfig], Awaitable[list[str]]],
        refresh: Callable[[InfluxConfig], Awaitable[InfluxConfig]],
        clock: IReactorTime,
        backoff: Callable[[int], float],
    ) -> None:
        self._stats, self._clock, self._backoff = stats, clock, backoff
        self._make_client, self._define, self._refresh = client, define, refresh
        self._rest = Rest(clock)
        self._said_at: deque[float] = deque(maxlen=COMPLAINTS)
        self.paused = False
        self.use(config)

    def use(self, config: InfluxConfig) -> None:
        """Ask the server of another config, from the next request on, which is made at once."""
        self._connect(config)
        self.known = False
        """Whether it has been asked."""
        self._complaint = self._said = ""
        self._rest.end()

    def _connect(self, config: InfluxConfig) -> None:
        # Should that fail, the former config goes on being used, and a reload sees a change.
        self._client = self._make_client(config)
        self.config = config

    def pause(self) -> None:
        """Ask nothing more after the request that is under way."""
        self.paused = True

    def resume(self) -> None:
        """Ask again, at once."""
        self.paused = False
        self._rest.end()

    @property
    def takes_lines(self) -> bool:
        """Whether it did when it was asked last."""
        return self.known and not self._complaint

    async def is_well(self) -> bool:
        """Post no lines until the server takes that; False if it did not at once."""
        _, attempt = await self._insist([])
        return attempt == 0

    async def answer(self, lines: Sequence[str]) -> LinesVerdict:
        """Post lines until the server says something about them, and not about itself. Raises NoServer.

        A line alone is never TooLarge: it has a few hundred bytes, and a server that does not take those
        speaks about itself.
        """
        verdict, _ = await self._insist(lines)
        return verdict

    async def _insist(self, lines: Sequence[str]) -> tuple[LinesVerdict, int]:
        """As `answer`; returns also how many attempts came to nothing."""
        attempt, ran_file, slow = 0, False, 0
        client = self._client
        while True:
            while self.paused:
                await self._rest.wait(IDLE)
            if not self.config.url:
                raise NoServer
            if client is not self._client:
                client, ran_file, slow = self._client, False, 0
            verdict = await self._ask(lines)
            if isinstance(verdict, Delivered | Expired):
                if client is self._client:
                    self._recovered()
                return verdict, attempt
            # With a new config in the meantime, its server may see things differently.
            if client is self._client:
                if (lines and isinstance(verdict, BadLines)) or (
                    len(lines) > 1 and isinstance(verdict, TooLarge)
                ):
                    return verdict, attempt
                slow = slow + 1 if isinstance(verdict, Unreachable) and verdict.slow else 0
                if slow > 1 and len(lines) > 1:
                    # A slow way may have the time for fewer.
                    return TooLarge(verdict.reason), attempt
                ran_file = await self._endure(verdict, attempt, ran_file)
            attempt += 1

    async def _ask(self, lines: Sequence[str]) -> Verdict:
        """One request, counted."""
        self._stats.requested += 1
        verdict = await self._client.write(lines)
        match verdict:
            case Delivered() | Expired():
                self._stats.ok += 1
            case Busy() | Unreachable():
                self._stats.failed += 1
            case _:
                self._stats.rejected += 1
        return verdict

    async def _endure(
        self,
        verdict: BadLines | TooLarge | Missing | Unauthorised | Busy | Unreachable,
        attempt: int,
        ran_file: bool,
    ) -> bool:
        """Wait until it is worth asking again; returns whether the data definition file was run by now."""
        match verdict:
            case Missing(reason):
                return await self._provide(reason, attempt, ran_file)
            case Unauthorised(reason):
                self._complain(reason, "check username, password and the user's rights")
                await self._rest.wait(PARKED)
                await self._renew()
            case Busy(reason, seconds):
                self._complain(reason, "it is busy")
                # A server that asks for no pause at all gets one all the same.
                await self._rest.wait(min(seconds or self._backoff(attempt), LONGEST_WAIT))
            case TooLarge(reason):
                self._complain(reason, "it must take larger requests; InfluxDB: max-body-size in [http]")
                await self._rest.wait(self._backoff(attempt))
            case Unreachable(reason) | BadLines(reason):
                self._complain(reason, "is it running, and is the url right?")
                await self._rest.wait(self._backoff(attempt))
        return ran_file

    async def _provide(self, reason: str, attempt: int, ran_file: bool) -> bool:
        """Create what is missing, and wait if that does not help; returns whether the file was run."""
        config = self.config
        problems: list[str] = []
        if not config.schema:
            self._complain(reason, "create it, or name a data definition file in [influxdb] schema")
        else:
            try:
                problems = await self._define(config)
            except ServerError as error:
                self._complain(str(error), "is it running, and is the url right?")
                await self._rest.wait(self._backoff(attempt))
                return ran_file
            except OSError as error:
                problems = [str(error)]
            if self.config != config:
                return False
            if problems:
                self._complain(
                    f"{config.schema}: {'; '.join(problems)}",
                    "mend the file, or have an administrator run it",
                )
            elif ran_file:
                self._complain(reason, f"{config.schema} does not create it")
            else:
                log.info("Ran the data definition file {file}", file=config.schema)
                return True
        await self._rest.wait(PARKED)
        return ran_file

    async def _renew(self) -> None:
        """Read the secret again: somebody may have changed it."""
        config = self.config
        renewed = await self._refresh(config)
        if renewed != config and self.config == config:
            self._connect(renewed)

    def _complain(self, reason: str, advice: str) -> None:
        """Say what is wrong with the server, once for as long as it stays the same."""
        text, now = f"{reason} ({advice})", self._clock.seconds()
        self._complaint = text
        many = len(self._said_at) == COMPLAINTS and now - self._said_at[0] < PERIOD
        if text != self._said and not many:
            self._said = text
            self._said_at.append(now)
            log.error(
                "InfluxDB at {url} takes no readings: {text}; they wait in the spool",
                url=self.config.url,
                text=text,
            )

    def _recovered(self) -> None:
        if self._said or not self.known:
            log.info(
                "InfluxDB at {url} takes readings into {dbname}",
                url=self.config.url,
                dbname=self.config.dbname,
            )
        self.known, self._complaint, self._said = True, "", ""
