"""Where readings go: an output for each section [influxdb] and [influxdb NAME] of the config.

Each has a place of its own in the queue, and a state, pauses, counters and back-off of its own: one that is
away, slow or wrong takes nothing from the others. A reload may add outputs, change and remove them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.config import InfluxConfig
from tessflux.influx import Server, Writer
from tessflux.logs import Reports
from tessflux.spool import Keeping, Queue, Spool
from tessflux.stats import InfluxLine, InfluxStats

log = Logger(namespace="influxdb")

MakeServer = Callable[[InfluxConfig, InfluxStats, Queue], Server]
"""For a config, with its counters and its queue."""


@dataclass
class _Output:
    config: InfluxConfig
    queue: Queue
    writer: Writer
    reports: Reports
    line: InfluxLine


class Outputs:
    """Call `start` when the spool is open."""

    def __init__(
        self,
        spool: Spool,
        *,
        server: MakeServer,
        clock: IReactorTime,
        now: Callable[[], float],
        state: Callable[[], str],
    ) -> None:
        self._spool, self._make_server = spool, server
        self._clock, self._now, self._state = clock, now, state
        self._outputs: dict[str, _Output] = {}
        self._paused = False

    @property
    def waiting(self) -> int:
        """How many readings the output lacks that lacks most."""
        return max((output.queue.undelivered for output in self._outputs.values()), default=0)

    def start(self, configs: Mapping[str, InfluxConfig]) -> None:
        """Begin to deliver."""
        for name, config in configs.items():
            self._add(name, config)

    async def reconfigure(self, configs: Mapping[str, InfluxConfig]) -> None:
        """Use other configs from the next request on. Before the start there is nothing to change."""
        if not self._outputs:
            return
        gone = {name: self._outputs.pop(name) for name in self._outputs.keys() - configs.keys()}
        for output in gone.values():
            await output.writer.stopService()
        self._spool.keep_for(keeping(configs))
        for name, config in configs.items():
            if known := self._outputs.get(name):
                known.config = config
                known.writer.reconfigure(config)
            else:
                self._add(name, config)

    def _add(self, name: str, config: InfluxConfig) -> None:
        stats, queue = InfluxStats(), self._spool.queues[name]
        reports = Reports(log, self._clock)
        server = self._make_server(config, stats, queue)
        writer = Writer(server, queue, stats, reports, clock=self._clock, now=self._now)
        line = InfluxLine(
            stats, name, waiting=lambda: queue.undelivered, missed=lambda: queue.missed, state=self._state
        )
        self._outputs[name] = _Output(config, queue, writer, reports, line)
        if self._paused:
            writer.pause()
        writer.startService()

    def wake(self, name: str) -> None:
        """Lines have come for an output."""
        if known := self._outputs.get(name):
            known.writer.wake()

    def pause(self) -> None:
        """Deliver nothing."""
        self._paused = True
        for output in self._outputs.values():
            output.writer.pause()

    def resume(self) -> None:
        """Deliver again."""
        self._paused = False
        for output in self._outputs.values():
            output.writer.resume()

    async def drain(self, seconds: float) -> None:
        """Deliver what waits, for as long as the servers take it; `seconds` at most."""
        await self._of_all(lambda writer: Deferred.fromCoroutine(writer.drain(seconds)))

    async def stop(self) -> None:
        """Cancel the requests that are under way; their lines go on waiting in the spool."""
        await self._of_all(Writer.stopService)

    async def _of_all(self, step: Callable[[Writer], Deferred[None]]) -> None:
        steps = [step(output.writer) for output in self._outputs.values()]
        await DeferredList(steps, fireOnOneErrback=True, consumeErrors=True)

    def report(self) -> None:
        """Log the hourly lines."""
        for output in self._outputs.values():
            output.reports.period()
            if output.config.stats:
                output.line.log()


def keeping(configs: Mapping[str, InfluxConfig]) -> dict[str, Keeping]:
    """What each output asks of the spool."""
    return {
        name: Keeping(config.resend, config.required, config.begin == "oldest")
        for name, config in configs.items()
    }
