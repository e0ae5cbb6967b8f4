"""Who looks at the running daemon: the register of photometers, the alarms, and the site with its pages.

None of them touches the way of a reading.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred

from tessflux.alarms import LOOK, Alarms, Command
from tessflux.clock import Clock
from tessflux.config import Config
from tessflux.mqtt import Subscriber
from tessflux.outputs import Outputs
from tessflux.overview import Overview
from tessflux.pages import PhotometerPages
from tessflux.periodic import Task
from tessflux.photometers import TICK, InThread, Photometers
from tessflux.readings import Said
from tessflux.spool import Spool
from tessflux.stats import MqttStats
from tessflux.status import (
    REOPEN,
    Control,
    Exposition,
    Recent,
    Site,
    Sockets,
    actions,
    everyone,
    is_ours,
    own_names,
    pages,
)


class Observers:
    """`open` them first, `start` them once the services run, then call what is in `periodic`, each every so
    many seconds; `stop` and `close` them at the end.

    `config` gives the one that is in use, `said` what a photometer says of itself, `now` seconds since 1970
    UTC; `control` is what an operator may do; `in_thread` makes a call that blocks in the thread of the
    photometers, `read` a short one in another.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        spool: Spool,
        stats: MqttStats,
        photometers: Photometers,
        said: Callable[[str], Said | None],
        subscriber: Subscriber,
        outputs: Outputs,
        control: Control,
        *,
        reactor: Any,
        now: Callable[[], float],
        in_thread: InThread,
        read: Callable[..., Deferred[Any]],
    ) -> None:
        self._config, self._photometers, self._said, self._read = config, photometers, said, read
        self._metrics: Exposition | None = None
        self.overview = Overview(
            config,
            clock,
            reactor,
            spool,
            stats,
            photometers.register,
            subscriber,
            outputs,
            lambda: self._alarms.raised,
        )
        recent = Recent(self.overview.take, reactor)
        self._alarms = Alarms(
            config().alarm,
            config().spool.directory,
            photometers.register,
            Command(),
            snapshot=recent.get,
            clock=reactor,
            now=now,
            in_thread=in_thread,
            run_in_thread=read,
        )
        photometers.listeners.append(self._alarms.heard)
        self._sockets = self._site(recent, control, reactor)
        self.periodic: list[tuple[float, Task]] = [
            (TICK, photometers.tick),
            (LOOK, self._alarms.look),
            (REOPEN, self._sockets.open_missing),
        ]

    def _site(self, recent: Recent, control: Control, reactor: Any) -> Sockets:
        photometers = PhotometerPages(
            recent,
            self._photometers.register,
            self._photometers.history,
            places=lambda: self._config().site.places,
            said=self._said,
            clock=reactor,
        )
        shown = {**pages(recent, self._exposition), **photometers.pages()}
        names = own_names()
        unix = Site(shown, actions(recent, control), knows_host=everyone, clock=reactor)
        tcp = Site(shown, {}, knows_host=lambda host: is_ours(host, names), clock=reactor)
        return Sockets(reactor, unix, tcp, self._config().spool.directory)

    async def _exposition(self) -> Exposition:
        if self._metrics is None:
            # Imported only now: most daemons are never asked for metrics.
            metrics = await self._read(import_module, "tessflux.status.metrics")
            self._metrics = metrics.Metrics().text
        return self._metrics

    async def open(self) -> None:
        """Remember what an earlier process kept."""
        await self._photometers.open()
        await self._alarms.open()

    def start(self) -> None:
        """Let others look."""
        self._sockets.start(self._config().status)

    def reconfigure(self, config: Config) -> None:
        """Use another config from now on."""
        self._photometers.reconfigure(config.status)
        self._alarms.reconfigure(config.alarm)
        self._sockets.reconfigure(config.status)

    def stop(self) -> None:
        """Let nobody look any more, and tell nothing."""
        self._sockets.stop()
        self._alarms.stop()

    async def close(self) -> None:
        """Keep what a later process is to remember."""
        await self._alarms.close()
        await self._photometers.close()
