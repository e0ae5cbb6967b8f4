"""What is posted to InfluxDB and when: the oldest lines first, and each request until it is answered.

One request is under way at a time. Only while a full batch is delivered the next full one is posted beside
it, so that the server need not wait for us; they are retired in their order.

A request is due when `batch` lines wait, though no sooner than PACE after the previous one, or when the
oldest line is `flush_interval` old. A full request is due at once. It carries all that waits, up to
BATCH_LINES. Only an answer about the lines retires them; what else may happen stands in `server`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.config import InfluxConfig
from tessflux.influx.delivery import Delivery, Result
from tessflux.influx.server import IDLE_SECONDS, PARK_SECONDS, NoServer, Server, Undecided
from tessflux.influx.sleeper import Sleeper
from tessflux.limits import BATCH_LINES
from tessflux.logs import Reports
from tessflux.readings import Quarantined
from tessflux.spool import Batch
from tessflux.stats import InfluxStats

log = Logger(namespace="influxdb")

PACE = 0.1
"""Seconds from the beginning of one request to that of the next, unless that is full or `flush_interval`
shorter. A few large requests cost InfluxDB two thirds of what many small ones do."""

EMPTY_HEAD_SECONDS = 1.0
"""Before asking again a queue that has lines but gave out none, because its disk has just failed."""


class Source(Protocol):
    """Where the lines wait: the queue of the spool."""

    @property
    def waiting(self) -> int: ...
    @property
    def oldest(self) -> float | None: ...
    async def head(self, limit: int) -> Batch: ...
    async def following(self, batch: Batch, limit: int) -> Batch | None: ...
    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> bool: ...
    def rewind(self) -> None: ...


class _Beside:
    """A batch that is posted while the one before it is delivered."""

    def __init__(self, batch: Batch, server: Server) -> None:
        self._batch, self._server, self._troubles = batch, server, server.troubles
        self._taken = Deferred.fromCoroutine(server.post_beside(batch.lines))

    async def has_taken(self, batch: Batch) -> bool:
        """Whether the server has it all, if it is this batch. If there was any trouble with the server since
        it was posted, it may have been lost again."""
        if batch is not self._batch:
            return False
        return await self._taken and self._server.troubles == self._troubles

    def cancel(self) -> None:
        """Its lines go on waiting in the spool."""
        self._taken.addErrback(lambda failure: failure.trap(CancelledError))
        self._taken.cancel()


class Writer(Service):
    """Call `wake` when lines have come."""

    def __init__(
        self,
        server: Server,
        queue: Source,
        stats: InfluxStats,
        reports: Reports,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._server, self._queue, self._stats, self._clock = server, queue, stats, clock
        self._delivery = Delivery(server, reports, clock, now)
        self._idle, self._after_error = Sleeper(clock), Sleeper(clock)
        self._loop: Deferred[None] | None = None
        self._draining = False
        self._beside: _Beside | None = None
        self._undecided = False
        """Whether the server fails on the oldest lines, and only others can tell whose fault it is."""
        self._last_request = float("-inf")
        """When it began (clock seconds)."""

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Cancel the request that is under way; its lines go on waiting in the spool."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._beside is not None:
            self._beside.cancel()
        if self._loop is not None:
            self._loop.cancel()
            await self._loop

    async def drain(self, seconds: float) -> None:
        """Deliver what waits, whatever `batch` says, for as long as the server takes it; `seconds` at
        most."""
        end = self._clock.seconds() + seconds
        self._draining = True
        self.wake()
        while self._due() is not None and self._server.takes_lines:
            if self._clock.seconds() >= end:
                break
            await deferLater(self._clock, 0.02)

    def pause(self) -> None:
        """Post nothing more after the request that is under way; readings still go into the spool."""
        self._server.pause()

    def resume(self) -> None:
        """Post again."""
        self._server.resume()
        self._look_again()

    def reconfigure(self, config: InfluxConfig) -> None:
        """Use another config from the next request on."""
        if self._server.reconfigure(config):
            self._delivery.forget_server()
        self._look_again()

    def wake(self) -> None:
        """Lines have come."""
        # Who does not sleep looks anyway.
        if (due := self._due()) is not None:
            self._idle.wake_within(due)

    def _look_again(self) -> None:
        self._idle.wake()
        self._after_error.wake()

    async def _run(self) -> None:
        failed = False
        while self.running:
            try:
                if failed:
                    failed = False
                    await self._after_error.sleep(PARK_SECONDS)
                await self._step()
            except NoServer:
                continue
            except Undecided:
                self._undecided = True
            except Exception as error:
                if not self.running and isinstance(error, CancelledError):
                    break
                log.failure("A delivery went wrong; its readings stay in the spool")
                failed = True

    def _due(self) -> float | None:
        """Seconds until a request is due; None if there is nothing to post or no server to take it."""
        config = self._server.config
        if not config.url or self._server.paused:
            return None
        if not self._server.takes_lines:
            return 0.0
        if not self._queue.waiting:
            return None
        oldest = self._queue.oldest
        if self._draining or self._queue.waiting >= self._delivery.limit or oldest is None:
            return 0.0
        if self._queue.waiting >= config.batch:
            when = self._last_request + min(PACE, config.flush_interval)
        else:
            when = oldest + config.flush_interval
        return max(0.0, when - self._clock.seconds())

    async def _step(self) -> None:
        """Wait until something is due, ask the server whether it takes lines, or deliver a batch."""
        due = self._due()
        if due != 0.0:
            await self._idle.sleep(IDLE_SECONDS if due is None else due)
        elif not (self._server.takes_lines or self._undecided):
            await self._server.post([])
        else:
            await self._deliver_batch()

    async def _deliver_batch(self) -> None:
        self._last_request = self._clock.seconds()
        batch = await self._queue.head(BATCH_LINES if self._undecided else self._delivery.limit)
        if not batch.lines:
            await self._after_error.sleep(EMPTY_HEAD_SECONDS)
            return
        beside, self._beside = self._beside, None
        try:
            following = await self._following(batch)
            if following:
                self._beside = _Beside(following, self._server)
            taken = beside and await beside.has_taken(batch)
        finally:
            if beside:
                beside.cancel()
        result = Result(len(batch.lines)) if taken else await self._delivery.deliver(batch.lines)
        self._undecided = False
        await self._retire(batch, result)

    async def _following(self, batch: Batch) -> Batch | None:
        """What can be delivered at the same time: what comes next, if that is a full batch."""
        limit = self._delivery.limit
        if self._undecided or limit < BATCH_LINES or len(self._server.config.urls) > 1:
            return None
        return await self._queue.following(batch, limit)

    async def _retire(self, batch: Batch, result: Result) -> None:
        if result.delivered:
            self._stats.last_delivered = self._clock.seconds()
        if not await self._queue.retire(batch, result.refused):
            # It is delivered once more, and counted then.
            await self._after_error.sleep(PARK_SECONDS)
            return
        if batch.again:
            self._stats.again += result.delivered
            return
        self._stats.delivered += result.delivered
        self._stats.expired += result.expired
        self._stats.quarantined += len(result.refused)
