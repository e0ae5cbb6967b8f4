"""A reactor and what runs in it: the daemon until a signal stops it, or one coroutine.

Only here the reactor is imported, and not before it is needed: detaching would close its descriptors.
"""

import gc
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from tessflux import logs
from tessflux.config import Config
from tessflux.process import lock, signals


def coroutine(work: Callable[[Any], Awaitable[int]]) -> int:
    """Run `work`, which gets the reactor and returns an exit code."""
    reactor = _reactor()
    outcome: list[int] = []

    async def run() -> None:
        try:
            outcome.append(await work(reactor))
        finally:
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    reactor.run()
    return outcome[0] if outcome else 70


def daemon(config: Config, *, console: bool, ready: Callable[[], None]) -> int:
    """Run the daemon in this process until a signal stops it; `ready` is called once its services run."""
    from tessflux import app

    reactor = _reactor()
    _spare_the_collector()
    spool_lock = lock.lock_spool(config.spool.directory)
    log = logs.Logs(console=console, path=config.global_.log_file)
    log.set_levels(logs.levels(config))
    log.begin()
    service = app.App(config, log, reactor)
    problems: list[Exception] = []

    async def start() -> None:
        try:
            await service.start()
        except Exception as error:
            problems.append(error)
            reactor.stop()
            return
        reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(service.stop()))
        actions = (service.reload, service.pause, service.resume)
        for number, action in zip(signals.OURS, actions, strict=True):
            signal.signal(number, partial(_on_signal, reactor, action))
        signals.admit()
        ready()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
    reactor.run()
    signals.ignore()
    service.end_threads()
    spool_lock.release()
    if problems:
        raise problems[0]
    return 0


def _reactor() -> Any:
    from twisted.internet import reactor

    # Its timers must not follow the time of day, which may be set.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    return reactor


def _on_signal(reactor: Any, action: Callable[[], None], _number: int, _frame: object) -> None:
    reactor.callFromThread(action)


def _spare_the_collector() -> None:
    """Let Python look for reference cycles seldom: a reading makes none, but objects enough to start a search
    every few dozen, which took an eighth of the time."""
    gc.freeze()
    gc.set_threshold(100_000)
