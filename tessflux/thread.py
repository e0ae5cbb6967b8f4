"""A thread of one's own for calls that block: one after the other, with their results back in the reactor.

A pool of Twisted's costs each call nearly twice as much, since it may have to find or make a thread for it.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

_Call = tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Thread:
    """`start` it once and `stop` it last. Call it with what is to be called, and its arguments."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._calls = SimpleQueue[_Call | None]()
        self._thread = threading.Thread(target=self._work, name=name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait until all calls are done."""
        if self._thread.is_alive():
            self._calls.put(None)
            self._thread.join()

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """The result of a call. Cancelling it leaves the call as it is, and only waits for it no longer."""
        done: Deferred[Any] = Deferred()
        self._calls.put((done, call, args, kwargs))
        return done

    def _work(self) -> None:
        while work := self._calls.get():
            done, call, args, kwargs = work
            try:
                result = call(*args, **kwargs)
            except BaseException:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, result)
            # Else what the last call was about would stay in memory until the next one.
            del work, done, call, args, kwargs
            result = None
