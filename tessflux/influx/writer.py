"""What is sent to InfluxDB and when: the oldest lines first, one request at a time, until it has answered.

A request goes when `batch` lines wait or the oldest is `flush_interval` old, and carries all that waits, up
to BATCH_LINES. Only an answer retires lines; everything else keeps them and tries again, for ever:

    wrong, too large  the lines are placed in parts, see `placing`
    missing           run the data definition file, if there is one; else park
    unauthorised      park: one error, the secret is read anew, another attempt every PARKED seconds
    busy              as long as the server asks for, else back off
    unreachable       back off: exponentially with jitter
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.config import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.client import (
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
from tessflux.influx.placing import LinesVerdict, Placing
from tessflux.journal import Batch, Quarantined
from tessflux.limits import BATCH_LINES
from tessflux.stats import InfluxStats, Reports

log = Logger(namespace="influxdb")

PARKED = 30.0
"""Seconds between two attempts at a server that needs its operator."""

IDLE = 60.0
"""Seconds between two looks around while nothing happens; whatever does happen ends them."""

LONGEST_WAIT = 300.0
"""Seconds that a server may ask us to wait; it may not mean a year."""


class WriteClient(Protocol):
    """Where lines are written."""

    async def write(self, lines: Sequence[str]) -> Verdict: ...


class Source(Protocol):
    """Where the lines wait: the spool."""

    @property
    def waiting(self) -> int: ...
    @property
    def oldest(self) -> float | None: ...
    async def head(self, limit: int) -> Batch: ...
    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> None: ...


class _NoServer(Exception):
    """The config names no server any more."""


class Writer(Service):
    """`client` makes the client for a config; `define` runs its data definition file and `refresh` reads its
    secret anew, both in a thread. Call `wake` when lines have come."""

    def __init__(
        self,
        config: InfluxConfig,
        spool: Source,
        stats: InfluxStats,
        *,
        client: Callable[[InfluxConfig], WriteClient],
        define: Callable[[InfluxConfig], Awaitable[list[str]]],
        refresh: Callable[[InfluxConfig], Awaitable[InfluxConfig]],
        clock: IReactorTime,
        now: Callable[[], float],
        backoff: Callable[[int], float],
    ) -> None:
        self._spool, self._stats = spool, stats
        self._make_client, self._define, self._refresh = client, define, refresh
        self._clock, self._backoff = clock, backoff
        self.reports = Reports(log)
        self._placing = Placing(self._answer, stats, self.reports, now)
        self._loop: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._idle = self._paused = self._draining = self._stopping = False
        self._use(config)

    def _use(self, config: InfluxConfig) -> None:
        self._client = self._make_client(config)
        self._config = config
        self._placing.limit = BATCH_LINES
        self._known = False
        self._complaint = ""

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Break off what is under way; what InfluxDB has not answered for goes on waiting in the spool."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        if self._loop is not None:
            self._loop.cancel()
            await self._loop

    async def drain(self, seconds: float) -> None:
        """Send what waits, without regard to `batch`, as long as the server takes it, for so long at most."""
        end = self._clock.seconds() + seconds
        self._draining = True
        self.wake()
        while self._due() is not None and self._known and not self._complaint:
            if self._clock.seconds() >= end:
                break
            await deferLater(self._clock, 0.02)

    def pause(self) -> None:
        """Send nothing more after the request that is under way; readings go on into the spool."""
        self._paused = True

    def resume(self) -> None:
        """Send again."""
        self._paused = False
        self._interrupt()

    def reconfigure(self, config: InfluxConfig) -> None:
        """Use another server, database or policy from the next request on."""
        if config != self._config:
            self._use(config)
            self._interrupt()

    def wake(self) -> None:
        """Lines have come."""
        if self._idle:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._pause is not None:
            self._pause.cancel()

    async def _wait(self, seconds: float) -> None:
        """Wait, but not if something happens meanwhile that makes it worth while to look again."""
        self._pause = deferLater(self._clock, seconds)
        try:
            await self._pause
        except CancelledError:
            if self._stopping:
                raise
        finally:
            self._pause = None

    async def _run(self) -> None:
        failed = False
        while not self._stopping:
            try:
                if failed:
                    failed = False
                    await self._wait(PARKED)
                await self._turn()
            except _NoServer:
                continue
            except Exception as error:
                if self._stopping and isinstance(error, CancelledError):
                    break
                log.failure("A delivery went wrong; its readings stay in the spool")
                failed = True

    def _due(self) -> float | None:
        """Seconds until a request is due, None when there is nothing to send or nobody to take it."""
        if not self._config.url or self._paused:
            return None
        if not self._known:
            return 0.0
        if not self._spool.waiting:
            return None
        oldest = self._spool.oldest
        if self._draining or self._spool.waiting >= self._config.batch or oldest is None:
            return 0.0
        return max(0.0, oldest + self._config.flush_interval - self._clock.seconds())

    async def _turn(self) -> None:
        due = self._due()
        if due != 0.0:
            self._idle = True
            try:
                await self._wait(IDLE if due is None else due)
            finally:
                self._idle = False
        elif not self._known:
            await self._answer([])
        else:
            batch = await self._spool.head(self._placing.limit)
            if not batch.lines:
                await self._wait(1.0)
                return
            refused = await self._placing.place(batch.lines)
            await self._spool.retire(batch, refused)

    async def _answer(self, lines: Sequence[str]) -> LinesVerdict:
        """Ask until the server says something about the lines, and not about itself."""
        attempt, created = 0, False
        while True:
            while self._paused:
                await self._wait(IDLE)
            if not self._config.url:
                raise _NoServer
            client = self._client
            self._stats.requested += 1
            verdict = await client.write(lines)
            if isinstance(verdict, Delivered | Expired):
                self._stats.ok += 1
                if client is self._client:
                    self._recovered()
                return verdict
            if isinstance(verdict, Busy | Unreachable):
                self._stats.failed += 1
            else:
                self._stats.rejected += 1
            if client is not self._client:
                continue  # There is a new config, and its server may see things differently.
            if lines and isinstance(verdict, BadLines | TooLarge):
                return verdict
            created = await self._endure(verdict, attempt, created)
            attempt += 1

    async def _endure(
        self,
        verdict: BadLines | TooLarge | Missing | Unauthorised | Busy | Unreachable,
        attempt: int,
        created: bool,
    ) -> bool:
        """Wait until it is worth asking again; returns whether the data definition file was run by now."""
        match verdict:
            case Missing(reason):
                return await self._provide(reason, again=created)
            case Unauthorised(reason):
                self._complain(reason, "check username, password and the user's rights")
                await self._wait(PARKED)
                await self._renew()
            case Busy(reason, seconds):
                self._complain(reason, "it is busy")
                # A server that asks for no pause at all gets one all the same.
                await self._wait(min(seconds or self._backoff(attempt), LONGEST_WAIT))
            case Unreachable(reason) | BadLines(reason) | TooLarge(reason):
                self._complain(reason, "is it running, and is the url right?")
                await self._wait(self._backoff(attempt))
        return created

    async def _provide(self, reason: str, *, again: bool) -> bool:
        """Create what is missing, and park if that does not help; returns whether the file was run."""
        config = self._config
        problems: list[str] = []
        if not config.schema:
            self._complain(reason, "create it, or name a data definition file in [influxdb] schema")
        else:
            try:
                problems = await self._define(config)
            except (ServerError, OSError) as error:
                problems = [str(error)]
            if problems:
                self._complain(
                    f"{config.schema}: {'; '.join(problems)}",
                    "mend the file, or have an administrator run it",
                )
            elif again:
                self._complain(reason, f"{config.schema} does not create it")
            else:
                log.info("Ran the data definition file {file}", file=config.schema)
                return True
        await self._wait(PARKED)
        return again

    async def _renew(self) -> None:
        """Read the secret again: somebody may have changed it."""
        config = self._config
        renewed = await self._refresh(config)
        if renewed != config and self._config == config:
            complaint = self._complaint
            self._use(renewed)
            self._complaint = complaint

    def _complain(self, reason: str, advice: str) -> None:
        """Say what is wrong with the server, once for as long as it stays the same."""
        text = f"{reason} ({advice})"
        if text != self._complaint:
            self._complaint = text
            log.error(
                "InfluxDB at {url} takes no readings: {text}; they wait in the spool",
                url=self._config.url,
                text=text,
            )

    def _recovered(self) -> None:
        if not self._known or self._complaint:
            self._known, self._complaint = True, ""
            log.info(
                "InfluxDB at {url} takes readings into {dbname}",
                url=self._config.url,
                dbname=self._config.dbname,
            )
