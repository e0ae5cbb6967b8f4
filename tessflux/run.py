"""The reactor: `until_stopped` runs the daemon in it, `until_complete` a single coroutine.

This is the only module that imports the reactor, and it does so late: detaching would close its descriptors.
"""

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from tessflux import logs
from tessflux.config import Config
from tessflux.process import lock, notify, signals
from tessflux.supervision import Supervision

if TYPE_CHECKING:
    from tessflux.app import App

M_MMAP_THRESHOLD, MMAP_BYTES = -3, 128 * 1024
"""Of glibc's malloc.h; its own value, which it raises unless it is set."""


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
    with its state when that changes. What stays at the `console` may be a service of systemd's, which is told
    how it fares.

    Returns the exit code. Raises OperatorError when the daemon cannot start.
    """
    from tessflux import app

    reactor = _reactor()
    _collect_garbage_seldom()
    _give_large_buffers_back()
    spool_lock = lock.SpoolLock(config.spool.directory)
    to_journal = console and notify.is_journal(sys.stdout, os.environ)
    log = logs.Logs(console=console, journal=to_journal, path=config.global_.log_file)
    log.set_levels(logs.levels(config))
    log.begin()

    def tell_all(state: str) -> None:
        for each in (spool_lock.write, tell):
            each(state)

    service = app.App(config, log, reactor, tell_all)
    supervision = _supervision(service, reactor, os.environ if console else {})
    problems: list[Exception] = []
    started: Deferred[None] = Deferred()
    """Fires when the start has succeeded or failed."""

    async def stop() -> None:
        await started
        if not problems:
            supervision.stopping()
            await service.stop()

    def reload() -> None:
        supervision.reloading()
        service.reload().addCallback(lambda _: supervision.reloaded())

    async def start() -> None:
        supervision.begin()
        reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
        for number in signals.STOP:
            signal.signal(number, partial(_stop, reactor))
        try:
            await service.start()
        except Exception as error:
            problems.append(error)
            _stop_once(reactor)
        else:
            actions: tuple[Callable[[], object], ...] = (reload, service.pause, service.resume)
            for number, action in zip(signals.CONTROL, actions, strict=True):
                signal.signal(number, partial(_call_in_reactor, reactor, action))
            signals.unblock()
            supervision.ready()
            ready()
        finally:
            started.callback(None)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
    reactor.run()
    signals.ignore()
    service.end_threads()
    spool_lock.release()
    if problems:
        raise problems[0]
    return 0


def _supervision(service: "App", reactor: Any, environ: Mapping[str, str]) -> Supervision:
    """Tells systemd how the service fares, if that has started us with this environment."""
    watchdog = notify.watchdog_seconds(environ)
    if watchdog is not None:
        # When that ends us, we tell where each thread was.
        faulthandler.enable()
    return Supervision(
        notify.Notifier(environ.get("NOTIFY_SOCKET", "")),
        reactor,
        watchdog=watchdog,
        ask_spool=service.ask_spool,
        waits_for_disk=notify.waits_for_disk,
        health=service.health,
    )


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


def _give_large_buffers_back() -> None:
    """glibc keeps freed memory of up to the size of the largest buffer that it has seen. Batches and their
    requests have megabytes: to get these from the system each time costs nothing of note, and 5 MB less stay
    with us."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
