"""The spool, put together: what comes in goes through the committer into the store, and out by a queue for
each output."""

from collections.abc import Callable, Mapping
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import SpoolConfig
from tessflux.readings import Admitted
from tessflux.spool.committer import Committer, Forget
from tessflux.spool.positions import Keeping
from tessflux.spool.queue import Queue
from tessflux.spool.store import InThread, Store
from tessflux.stats import MqttStats

log = Logger(namespace="spool")


class Spool:
    """`open` it first, `stop` and `close` it last. What it calls:
    see `Committer`; `wake` gets the name of an output for which lines have come."""

    def __init__(
        self,
        config: SpoolConfig,
        *,
        flush_interval: float,
        stats: MqttStats,
        clock: IReactorTime,
        in_thread: InThread,
        wake: Callable[[str], None],
        backpressure: Callable[[bool], None],
        redeliver: Callable[[], None],
        forget: Forget,
    ) -> None:
        self.store = Store(config, clock=clock, in_thread=in_thread)
        self.queues: dict[str, Queue] = {}
        """By the names of the outputs."""
        self._wake = wake
        self.committer = Committer(
            self.store,
            flush_interval=flush_interval,
            stats=stats,
            clock=clock,
            added=self._added,
            backpressure=backpressure,
            redeliver=redeliver,
            forget=forget,
        )

    async def open(self, outputs: Mapping[str, Keeping]) -> list[Admitted]:
        """Open or begin the file, and keep lines for these outputs; returns what was committed earlier.

        Raises sqlite3.Error or OSError.
        """
        admitted = await self.store.open()
        self.keep_for(outputs)
        return admitted

    def keep_for(self, outputs: Mapping[str, Keeping]) -> None:
        """Keep lines for these outputs and no others."""
        self.store.keep_for(outputs)
        before = self.queues
        self.queues = {}
        for name, keeping in outputs.items():
            if name in before:
                self.queues[name] = before[name]
                before[name].keep(keeping)
                continue
            queue = self.queues[name] = Queue(self.store, name, wake=partial(self._wake, name))
            if queue.waiting:
                log.info(
                    "{waiting} readings wait for [{output}]{again}",
                    waiting=queue.undelivered,
                    output=name,
                    again=f"; {queue.again} that it took just before are sent once more"
                    if queue.again
                    else "",
                )

    def _added(self, since: float) -> None:
        for queue in self.queues.values():
            queue.added(since)

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
