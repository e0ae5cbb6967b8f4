"""What is sent to InfluxDB and when: the oldest lines first, one request at a time, until it has answered.

A request goes when `batch` lines wait, but PACE after the one before, or when the oldest is `flush_interval`
old; a full one goes at once. It carries all that waits, up to BATCH_LINES. Only an answer about the lines
retires them; what else may come, see `server`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.config import InfluxConfig
from tessflux.influx.delivery import Placing
from tessflux.influx.server import IDLE, PARKED, NoServer, Rest, Server
from tessflux.logs import Reports
from tessflux.readings import Quarantined
from tessflux.spool import Batch
from tessflux.stats import InfluxStats

log = Logger(namespace="influxdb")

PACE = 0.1
"""Seconds from the beginning of one request to that of the next, unless that is full or `flush_interval`
shorter. Few large requests cost InfluxDB two thirds of what many small ones do."""


class Source(Protocol):
    """Where the lines wait: the spool."""

    @property
    def waiting(self) -> int: ...
    @property
    def oldest(self) -> float | None: ...
    async def head(self, limit: int) -> Batch: ...
    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> bool: ...


class Writer(Service):
    """Call `wake` when lines have come."""

    def __init__(
        self,
        server: Server,
        spool: Source,
        stats: InfluxStats,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._server, self._spool, self._stats, self._clock = server, spool, stats, clock
        self.reports = Reports(log, clock)
        self._idle, self._rest = Rest(clock), Rest(clock)
        self._placing = Placing(server, self.reports, now)
        self._loop: Deferred[None] | None = None
        self._draining = False
        self._began = float("-inf")
        """When the last request was begun (clock seconds)."""

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Break off what is under way; what InfluxDB has not answered for goes on waiting in the spool."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await self._loop

    async def drain(self, seconds: float) -> None:
        """Send what waits, without regard to `batch`, as long as the server takes it, for so long at most."""
        end = self._clock.seconds() + seconds
        self._draining = True
        self.wake()
        while self._due() is not None and self._server.takes_lines:
            if self._clock.seconds() >= end:
                break
            await deferLater(self._clock, 0.02)

    def pause(self) -> None:
        """Send nothing more after the request that is under way; readings go on into the spool."""
        self._server.pause()

    def resume(self) -> None:
        """Send again."""
        self._server.resume()
        self._interrupt()

    def reconfigure(self, config: InfluxConfig) -> None:
        """Use another server, database or policy from the next request on."""
        if config != self._server.config:
            self._placing.begin_anew()
            self._server.use(config)
            self._interrupt()

    def wake(self) -> None:
        """Lines have come."""
        self._idle.end()

    def _interrupt(self) -> None:
        self._idle.end()
        self._rest.end()

    async def _run(self) -> None:
        failed = False
        while self.running:
            try:
                if failed:
                    failed = False
                    await self._rest.wait(PARKED)
                await self._turn()
            except NoServer:
                continue
            except Exception as error:
                if not self.running and isinstance(error, CancelledError):
                    break
                log.failure("A delivery went wrong; its readings stay in the spool")
                failed = True

    def _due(self) -> float | None:
        """Seconds until a request is due, None when there is nothing to send or nobody to take it."""
        config = self._server.config
        if not config.url or self._server.paused:
            return None
        if not self._server.known:
            return 0.0
        if not self._spool.waiting:
            return None
        oldest = self._spool.oldest
        if self._draining or self._spool.waiting >= self._placing.limit or oldest is None:
            return 0.0
        if self._spool.waiting >= config.batch:
            when = self._began + min(PACE, config.flush_interval)
        else:
            when = oldest + config.flush_interval
        return max(0.0, when - self._clock.seconds())

    async def _turn(self) -> None:
        due = self._due()
        if due != 0.0:
            await self._idle.wait(IDLE if due is None else due)
        elif not self._server.known:
            await self._server.answer([])
        else:
            self._began = self._clock.seconds()
            batch = await self._spool.head(self._placing.limit)
            if not batch.lines:
                await self._rest.wait(1.0)
                return
            placed = await self._placing.place(batch.lines)
            # What is not retired comes again, and is counted then.
            if await self._spool.retire(batch, placed.refused):
                self._stats.delivered += placed.delivered
                self._stats.expired += placed.expired
                self._stats.quarantined += len(placed.refused)
