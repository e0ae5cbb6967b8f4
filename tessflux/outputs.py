"""Where readings go: an output for each section [influxdb] and [influxdb NAME] of the config.

Each has a place of its own in the queue, and a state, pauses, counters and back-off of its own: one that is
away, slow or wrong takes nothing from the others. A reload may add outputs, change and remove them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

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
class Output:
    """One of them, as far as others may look at it. Times are clock seconds, but `paused`."""

    config: InfluxConfig
    stats: InfluxStats
    queue: Queue
    server: Server
    writer: Writer
    reports: Reports
    paused: float | None
    """Since when (seconds since 1970), None if it is not."""

    @property
    def state(self) -> str:
        """That it is paused, and since when; "" if it is not."""
        return _paused_since("delivery", self.paused)


class Outputs:
    """Call `start` when the spool is open."""

    def __init__(
        self,
        spool: Spool,
        *,
        server: MakeServer,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._spool, self._make_server = spool, server
        self._clock, self._now = clock, now
        self._outputs: dict[str, Output] = {}
        self._lines: dict[str, InfluxLine] = {}
        self._all_paused: float | None = None
        """Since when all are, also those that a reload adds."""

    @property
    def by_name(self) -> Mapping[str, Output]:
        """By their sections."""
        return self._outputs

    @property
    def state(self) -> str:
        """What is paused, and since when; "" if nothing is."""
        if self._all_paused and all(output.paused for output in self._outputs.values()):
            return _paused_since("delivery", self._all_paused)
        paused = (
            _paused_since(f"delivery to [{name}]", output.paused) for name, output in self._outputs.items()
        )
        return "; ".join(filter(None, paused))

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
        for name, output in gone.items():
            del self._lines[name]
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
        output = Output(config, stats, queue, server, writer, reports, self._all_paused)
        self._outputs[name] = output
        self._lines[name] = InfluxLine(
            stats,
            name,
            waiting=lambda: queue.undelivered,
            missed=lambda: queue.missed,
            state=lambda: output.state,
        )
        if output.paused:
            writer.pause()
        writer.startService()

    def wake(self, name: str) -> None:
        """Lines have come for an output."""
        if known := self._outputs.get(name):
            known.writer.wake()

    def pause(self, name: str = "") -> None:
        """Deliver nothing to this output; without a name to none, nor to those that a reload adds."""
        now = self._now()
        if not name:
            self._all_paused = self._all_paused or now
        for output in self._chosen(name):
            output.paused = output.paused or now
            output.writer.pause()

    def resume(self, name: str = "") -> None:
        """Deliver again, to this output or to all."""
        if not name:
            self._all_paused = None
        for output in self._chosen(name):
            output.paused = None
            output.writer.resume()

    def _chosen(self, name: str) -> list[Output]:
        return [self._outputs[name]] if name else list(self._outputs.values())

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
        for name, output in self._outputs.items():
            output.reports.period()
            if output.config.stats:
                self._lines[name].log()


def _paused_since(what: str, since: float | None) -> str:
    if since is None:
        return ""
    return f"{what} is paused since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"


def keeping(configs: Mapping[str, InfluxConfig]) -> dict[str, Keeping]:
    """What each output asks of the spool."""
    return {
        name: Keeping(config.resend, config.required, config.begin == "oldest")
        for name, config in configs.items()
    }
