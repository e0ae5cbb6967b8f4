"""The whole daemon, built from a Config: which service gets what, how it starts, stops and reloads.

This is the only place that knows both ends of the way of a reading.
"""

import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from random import random
from threading import get_native_id
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tessflux import __version__, logs
from tessflux.clock import Clock
from tessflux.config import Config, InfluxConfig, load
from tessflux.errors import CannotCreate, OperatorError
from tessflux.influx import Http, InfluxClient, Ran, Server, agent, bucket, read_definition
from tessflux.intake import Intake
from tessflux.mqtt import Subscriber, broker_endpoint
from tessflux.observers import Observers
from tessflux.outputs import Outputs, keeping
from tessflux.periodic import Periodic, Task
from tessflux.photometers import Photometers
from tessflux.readings import Admission, Judge
from tessflux.spool import Queue, Spool
from tessflux.stats import HELD, InfluxStats, MqttLine, MqttStats
from tessflux.supervision import Health
from tessflux.thread import Thread
from tessflux.tls import trust
from tessflux.watch import LOOK, Watch

log = Logger(namespace="tessflux")

PERIOD = 3600.0
"""Seconds between two lines of statistics."""

TIDY = 10.0
"""Seconds until lines that InfluxDB has are deleted from the spool when no reading comes."""

REQUEUE = 2.0
"""Seconds between two looks for what an operator has requeued."""

DRAIN = 5.0
"""Seconds for which a stop goes on delivering what waits."""

RELEASE = 1.0
"""Seconds between two looks for held messages whose time is known by now."""

STOP_LIMITS = {"commit": 8.0, "disconnect": 7.0, "deliver": DRAIN + 1, "end the delivery": 2.0, "close": 4.0}
"""Seconds that each step of a stop may take; then the next one begins regardless. Their sum is below
STOP_SECONDS in the init script, after which it kills; only that bounds `end_threads`."""

_backoff = backoffPolicy(initialDelay=1.0, maxDelay=60.0, factor=2.0, jitter=random)


class App:
    """Call `start` once, then `reload`, `pause` and `resume` at any time, and `stop` at the end."""

    def __init__(
        self, config: Config, log_output: logs.Logs, reactor: Any, tell: Callable[[str], None]
    ) -> None:
        self._clock = Clock(config.global_.clock_wait)
        self._config, self._logs, self._reactor = config, log_output, reactor
        self._thread, self._second_thread = Thread(reactor, "spool"), Thread(reactor, "photometers")
        self._mqtt_stats = MqttStats()
        self._judge = Judge(Admission())
        # The spool calls the two ends, which are made after it: hence the lambdas.
        self._spool = Spool(
            config.spool,
            flush_interval=_flush_interval(config),
            stats=self._mqtt_stats,
            clock=reactor,
            in_thread=self._thread,
            wake=lambda output: self._outputs.wake(output),
            backpressure=lambda on: self._subscriber.backpressure(on),
            redeliver=lambda: self._subscriber.redeliver(),
            forget=self._judge.forget,
        )
        self._watch = Watch(
            self._mqtt_stats,
            reactor,
            failing=lambda: self._spool.store.failing,
            listening=lambda: self._subscriber.listening,
        )
        self._photometers = Photometers(
            config.status,
            config.spool.directory,
            clock=reactor,
            now=time.time,
            in_thread=self._second_thread,
            listening=self._hears,
        )
        self._photometer_reports = logs.Reports(Logger(namespace="mqtt"), reactor)
        self._intake = Intake(
            config.mqtt,
            config.influxdb,
            config.site.places,
            self._judge,
            self._spool.committer,
            self._spool.store,
            self._mqtt_stats,
            self._photometer_reports,
            self._watch,
            self._photometers.register,
            self._clock,
        )
        self._subscriber = Subscriber(
            config.mqtt,
            take=self._intake.take,
            idle=self._spool.committer.flush,
            resumed=self._intake.dating.resumed,
            memory=self._spool.store,
            clock=reactor,
            now=time.time,
            endpoint=lambda mqtt: broker_endpoint(reactor, mqtt),
            backoff=_backoff,
        )
        self._outputs = Outputs(self._spool, server=self._server, clock=reactor, now=time.time)
        self._observers = Observers(
            lambda: self._config,
            self._clock,
            self._spool,
            self._mqtt_stats,
            self._photometers,
            self._judge.registrations.get,
            self._subscriber,
            self._outputs,
            self,
            reactor=reactor,
            now=time.time,
            in_thread=self._second_thread,
            read=self._read,
        )
        self._forgotten = 0
        self._one_reload = DeferredLock()
        self._stopping = False
        self._state, self._tell = "", tell
        """What is not as usual: that the delivery is paused. It ends with this process."""
        self._hourly = MqttLine(self._mqtt_stats)
        self._periodic = Periodic(reactor, "A periodic task failed")
        self._tasks: list[tuple[float, Task]] = [
            (PERIOD, self._report),
            (TIDY, self._spool.store.tidy),
            (REQUEUE, self._intake.requeue),
            (RELEASE, self._intake.dating.release),
            (LOOK, self._watch.look),
            *self._observers.periodic,
        ]

    def _read(self, call: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Read a small file, or wait for something else, in a thread of Twisted's."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *args)

    async def start(self) -> None:
        """Open the spool and start the services. Raises OperatorError when the spool cannot be opened."""
        for warning in self._config.warnings:
            log.warn("{warning}", warning=warning)
        log.info("tessflux {version} starts with {config}", version=__version__, config=self._config.path)
        for thread in (self._thread, self._second_thread):
            thread.start()
        try:
            admitted = await self._spool.open(keeping(self._config.outputs))
            self._judge.admission.restore(admitted, now=int(time.time() * 1000))
            self._judge.registrations.restore(await self._spool.store.registered())
            held = await self._spool.store.held_at_start()
            self._intake.dating.restore(held)
            self._clock.look()
            # They are counted as they were by the process that received them.
            self._mqtt_stats.received += held.count
            self._mqtt_stats.ended[HELD, ""] += held.count
        except (sqlite3.Error, OSError) as error:
            directory = self._config.spool.directory
            raise CannotCreate(
                f"cannot open the spool in {directory}: {error}; see who owns it and the files in it"
            ) from None
        await self._observers.open()
        self._outputs.start(self._config.outputs)
        self._subscriber.startService()
        self._observers.start()
        for seconds, task in self._tasks:
            self._periodic.begin(seconds, task)
        if not self._config.influxdb.url:
            log.info("No [influxdb] url: readings wait in the spool; 'tessflux export' shows them")

    async def stop(self) -> None:
        """Stop in this order: read no more, commit what is here, disconnect, deliver for a moment, close."""
        log.info("tessflux stops")
        self._stopping = True
        self._observers.stop()
        self._periodic.end()
        # Nothing more is read, so all that was read is acknowledged before we disconnect.
        self._subscriber.backpressure(True)
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "commit": self._spool.stop,
            "disconnect": self._subscriber.stopService,
            "deliver": lambda: self._outputs.drain(DRAIN),
            "end the delivery": self._outputs.stop,
            "close": self._close,
        }
        for name, step in steps.items():
            try:
                await Deferred.fromCoroutine(_wait_for(step())).addTimeout(STOP_LIMITS[name], self._reactor)
            except Exception:
                log.failure("The stop could not {step}", step=name)
        self._report()
        log.info("tessflux has stopped, {waiting} readings wait", waiting=self._outputs.waiting)

    async def _close(self) -> None:
        """Close the files, in their threads."""
        others = Deferred.fromCoroutine(self._observers.close())
        others.addErrback(lambda failure: log.failure("Photometers or alarms could not be kept", failure))
        await self._spool.close()
        await others

    def end_threads(self) -> None:
        """Call it last, even after a start that failed: Python does not exit before its threads do."""
        for thread in (self._thread, self._second_thread):
            thread.stop()

    def ask_spool(self) -> Deferred[int]:
        """The id of the spool's thread, as soon as that has done what it was given before."""
        return self._thread(get_native_id)

    def health(self, spool_answers: bool) -> Health:
        """How it fares; call it while it runs."""
        return Health(self._outputs.waiting, self._observers.overview.problems(spool_answers))

    def reload(self) -> Deferred[None]:
        """As `reload_now`, for whoever reads in the log how it ended. The result fires when it has."""
        work: Deferred[Any] = Deferred.fromCoroutine(self.reload_now())
        work.addErrback(lambda failure: failure.trap(OperatorError))
        return work.addErrback(lambda failure: log.failure("The reload failed", failure))

    async def reload_now(self) -> str:
        """Read the config again and use it. Reopens the log file in any case. Raises OperatorError if
        anything in it is wrong: then nothing else has changed."""
        done: str = await self._one_reload.run(lambda: Deferred.fromCoroutine(self._reload()))
        return done

    async def _reload(self) -> str:
        before = self._config
        try:
            config: Config = await self._read(load, before.path, os.environ)
            self._logs.reopen(config.global_.log_file)
        except OperatorError as error:
            self._reopen(before.global_.log_file)
            log.error("The config stays as it was: {error}", error=error)
            raise
        if self._stopping:
            return "tessflux stops"
        if config.spool.directory != before.spool.directory:
            log.warn("[spool] directory changes only at a restart")
            config = replace(config, spool=replace(config.spool, directory=before.spool.directory))
        self._config = config
        for warning in config.warnings:
            log.warn("{warning}", warning=warning)
        self._logs.set_levels(logs.levels(config))
        self._spool.reconfigure(config.spool, _flush_interval(config))
        self._intake.reconfigure(config.mqtt, config.influxdb, config.site.places)
        self._observers.reconfigure(config)
        self._clock.wait = config.global_.clock_wait
        await self._outputs.reconfigure(config.outputs)
        self._subscriber.reconfigure(config.mqtt)
        self._tell_state()
        log.info("Reloaded {config}", config=config.path)
        return "\n".join((f"Reloaded {config.path}", *config.warnings))

    def _reopen(self, log_file: str) -> None:
        try:
            self._logs.reopen(log_file)
        except OperatorError as error:
            log.error("The log stays where it was: {error}", error=error)

    def pause(self, output: str = "") -> str:
        """Deliver nothing, or nothing to one output; readings are still received and wait in the spool.
        Raises UsageError if there is no such output."""
        section = self._config.section_of(output) if output else ""
        self._outputs.pause(section)
        return self._did(f"Delivery{_to(section)} is paused; readings wait in the spool")

    def resume(self, output: str = "") -> str:
        """Deliver again. Raises UsageError as `pause` does."""
        section = self._config.section_of(output) if output else ""
        self._outputs.resume(section)
        return self._did(f"Delivery{_to(section)} is resumed")

    def _did(self, what: str) -> str:
        self._tell_state()
        log.info("{what}", what=what)
        return what

    def _tell_state(self) -> None:
        state = self._outputs.state
        if state == self._state:
            return
        self._state = state
        try:
            self._tell(state)
        except OSError as error:
            log.warn("The state cannot be written beside the pid file: {error}", error=error)

    def _hears(self) -> bool:
        """Whether a message that is published now is judged."""
        return self._subscriber.listening and self._clock.known and not self._spool.store.failing

    def _report(self) -> None:
        self._photometer_reports.period()
        if forgotten := self._spool.store.forgotten - self._forgotten:
            self._forgotten += forgotten
            log.warn(
                "{count} payloads were dropped from the full quarantine, since newer ones came",
                count=forgotten,
            )
        if self._config.mqtt.stats:
            self._hourly.log()
        self._outputs.report()

    def _server(self, config: InfluxConfig, stats: InfluxStats, queue: Queue) -> Server:
        return Server(
            config,
            stats,
            resending=queue,
            client=lambda config: InfluxClient(config, self._http(config)),
            define=self._define,
            read_secret=lambda secret: self._read(secret.refreshed),
            clock=self._reactor,
            backoff=_backoff,
        )

    def _http(self, config: InfluxConfig) -> Http:
        connections = agent(self._reactor, partial(trust, config.tls_ca), config.timeout)
        return Http(config, connections, self._reactor)

    async def _define(self, config: InfluxConfig) -> Ran:
        """Make the database, its policies or the bucket."""
        http = self._http(config)
        try:
            if config.create:
                return await bucket.create(config, http)
            # Imported only now: it brings 10 MB of libraries, which most daemons never need.
            schema = await self._read(import_module, "tessflux.influx.schema")
            statements = await self._read(read_definition, config.schema)
            ran: Ran = await schema.Administration(http).define(statements)
            return ran
        finally:
            await http.close()


def _flush_interval(config: Config) -> float:
    """A commit must come in time for every output."""
    return min(output.flush_interval for output in config.outputs.values())


def _to(section: str) -> str:
    return f" to [{section}]" if section else ""


async def _wait_for(work: Awaitable[object]) -> None:
    await work
