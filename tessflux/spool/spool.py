"""The spool, put together: what comes in goes through the committer into the store, and out by the queue."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import SpoolConfig
from tessflux.readings import Admitted, Late
from tessflux.spool.committer import Committer
from tessflux.spool.queue import Queue
from tessflux.spool.store import InThread, Store
from tessflux.stats import MqttStats

log = Logger(namespace="spool")


class Spool:
    """`open` it first, `stop` and `close` it last. What it calls: see `Committer`, and `Queue` for `wake`."""

    def __init__(
        self,
        config: SpoolConfig,
        *,
        flush_interval: float,
        stats: MqttStats,
        clock: IReactorTime,
        in_thread: InThread,
        wake: Callable[[], None],
        backpressure: Callable[[bool], None],
        redeliver: Callable[[], None],
        forget: Callable[[list[Admitted], list[Late]], None],
    ) -> None:
        self.store = Store(config, clock=clock, in_thread=in_thread)
        self.queue = Queue(self.store, wake=wake)
        self.committer = Committer(
            self.store,
            flush_interval=flush_interval,
            stats=stats,
            clock=clock,
            added=self.queue.added,
            backpressure=backpressure,
            redeliver=redeliver,
            forget=forget,
        )

    async def open(self) -> list[Admitted]:
        """Open or begin the file; returns what was committed earlier. Raises sqlite3.Error or OSError."""
        admitted = await self.store.open()
        self.queue.opened()
        if self.queue.waiting:
            log.info("{waiting} readings wait for InfluxDB", waiting=self.queue.waiting)
        return admitted

    def reconfigure(self, config: SpoolConfig, flush_interval: float) -> None:
        """Use new bounds and another interval from now on; the directory stays."""
        self.committer.flush_interval = flush_interval

        async def resize() -> None:
            await self.store.resize(config)
            self.committer.update_backpressure()

        Deferred.fromCoroutine(resize())

    async def stop(self) -> None:
        """Commit what is pending; nothing more is taken after it."""
        await self.committer.stop()

    async def close(self) -> None:
        """Close the file."""
        await self.store.close()
