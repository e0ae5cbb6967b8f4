"""Tasks that are done again and again, whatever comes of them once."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

log = Logger(namespace="tessflux")

Task = Callable[[], Awaitable[object] | None]


class Periodic:
    """The periodic tasks of one owner, by `clock`. What one raises is logged as `failure`, and it is done
    again all the same: a LoopingCall alone would stop for good."""

    def __init__(self, clock: IReactorTime, failure: str) -> None:
        self._clock, self._failure = clock, failure
        self._loops: list[LoopingCall] = []

    def begin(self, seconds: float, task: Task, *, now: bool = False) -> None:
        """Do a task every so many seconds, for the first time at once if it is to be `now`. One that still
        goes on by then is not begun a second time."""

        async def guarded() -> None:
            try:
                result = task()
                if result is not None:
                    await result
            except Exception:
                log.failure(self._failure)

        loop = LoopingCall(lambda: Deferred.fromCoroutine(guarded()))
        loop.clock = self._clock
        loop.start(seconds, now=now)
        self._loops.append(loop)

    def end(self) -> None:
        """Begin none of them any more."""
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
