"""The reactor: `until_stopped` runs the daemon in it, `until_complete` a single coroutine.

This is the only module that imports the reactor, and it does so late: detaching would close its descriptors.
"""

import gc
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from tessflux import logs
from tessflux.config import Config
from tessflux.process import lock, signals


def until_complete(work: Callable[[Any], Awaitable[int]]) -> int:
    """Run the coroutine `work(reactor)` until it ends; returns the exit code that it returns."""
    reactor = _reactor()
    exit_codes: list[int] = []

    async def run() -> None:
        try:
            exit_codes.append(await work(reactor))
        finally:
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    reactor.run()
    return exit_codes[0] if exit_codes else os.EX_SOFTWARE


def until_stopped(
    config: Config, *, console: bool, ready: Callable[[], None], tell: Callable[[str], None]
) -> int:
    """Run the daemon in this process until a signal stops it; calls `ready` once its services run, and `tell`
    with its state when that changes.

    Returns the exit code. Raises OperatorError when the daemon cannot start.
    """
    from tessflux import app

    reactor = _reactor()
    _collect_garbage_seldom()
    spool_lock = lock.SpoolLock(config.spool.directory)
    log = logs.Logs(console=console, path=config.global_.log_file)
    log.set_levels(logs.levels(config))
    log.begin()

    def tell_all(state: str) -> None:
        for each in (spool_lock.write, tell):
            each(state)

    service = app.App(config, log, reactor, tell_all)
    problems: list[Exception] = []

    async def start() -> None:
        for number in signals.STOP:
            signal.signal(number, partial(_stop, reactor))
        try:
            await service.start()
        except Exception as error:
            problems.append(error)
            reactor.stop()
            return
        reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(service.stop()))
        actions: tuple[Callable[[], object], ...] = (service.reload, service.pause, service.resume)
        for number, action in zip(signals.CONTROL, actions, strict=True):
            signal.signal(number, partial(_call_in_reactor, reactor, action))
        signals.unblock()
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

    # Its timers must not depend on the time of day, which may be set.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    return reactor


def _call_in_reactor(reactor: Any, action: Callable[[], object], _number: int, _frame: object) -> None:
    reactor.callFromThread(action)


def _stop(reactor: Any, _number: int, _frame: object) -> None:
    """Stop once. The reactor's own handlers would make an error of each further signal."""
    for number in signals.STOP:
        signal.signal(number, signal.SIG_IGN)
    reactor.callFromThread(_stop_once, reactor)


def _stop_once(reactor: Any) -> None:
    # A second signal may have come before the first was ignored.
    with suppress(ReactorNotRunning):
        reactor.stop()


def _collect_garbage_seldom() -> None:
    """Readings make no reference cycles, but enough objects to start a search for cycles every few dozen
    readings. That took an eighth of the time."""
    gc.freeze()
    gc.set_threshold(100_000)
