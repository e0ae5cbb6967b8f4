"""A wait that can be cut short when something happens."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Sleeper:
    """One sleeps at a time. `wake` may be called at any time: if nobody sleeps, it ends the next sleep."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._sleep: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._woken = False

    def forget(self) -> None:
        """What has woken us until now ends no sleep that is still to come."""
        self._woken = False

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as `wake` is called."""
        if self._woken:
            self._woken = False
            return
        self._sleep = Deferred()
        self._timer = timer = self._clock.callLater(seconds, self.wake)
        try:
            await self._sleep
        finally:
            self._sleep = self._timer = None
            if timer.active():
                timer.cancel()

    def wake(self) -> None:
        """End the sleep, if there is one."""
        if self._sleep is not None:
            self._sleep.callback(None)
        else:
            self._woken = True

    def wake_within(self, seconds: float) -> None:
        """End the sleep, if there is one, no later than that."""
        if self._timer is None or self._timer.getTime() <= self._clock.seconds() + seconds:
            return
        if seconds > 0:
            self._timer.reset(seconds)
        else:
            self.wake()
