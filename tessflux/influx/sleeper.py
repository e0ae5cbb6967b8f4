"""A wait that can be cut short when something happens."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Sleeper:
    """One sleeps at a time; `wake` may be called at any time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._sleep: Deferred[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as `wake` is called."""
        self._sleep = Deferred()
        timer = self._clock.callLater(seconds, self.wake)
        try:
            await self._sleep
        finally:
            self._sleep = None
            if timer.active():
                timer.cancel()

    def wake(self) -> None:
        """End the sleep, if there is one."""
        if self._sleep is not None:
            self._sleep.callback(None)
