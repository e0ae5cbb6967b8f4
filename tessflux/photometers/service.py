"""The register through time: what it takes in, looks at and saves, and when.

Every second it takes in what was noted, every five it looks for who is silent. When a new five minutes begin,
what changed goes to the disk in one transaction, in a thread of its own; so a kill costs some minutes of the
history, and nothing else. The same is done at a stop, and after an event, so that it is not said again. A
disk that fails hinders nothing: it is tried again five minutes later.
"""

import sqlite3
from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tessflux.config import StatusConfig
from tessflux.limits import UNSAVED_MEANS
from tessflux.logs import RateLimit
from tessflux.photometers.database import Database
from tessflux.photometers.event import MOVED, SILENT, Event
from tessflux.photometers.history import History, InThread
from tessflux.photometers.means import SECONDS, bucket
from tessflux.photometers.register import Kept, Register

log = Logger(namespace="tessflux")

TICK = 1.0
"""Seconds between two calls of `tick`."""

LOOK_TICKS = 5

LONGEST_TICK = 10.0
"""Seconds that count as listened, at most, however late a tick comes."""

NIGHT = 86_400


class Photometers:
    """`open` it first, `tick` every TICK seconds, `close` it at the end. `register.take` gets the messages.

    `listening` says whether messages can come now, and be judged.
    `now` gives seconds since 1970 UTC, `clock` those that pass.
    """

    def __init__(
        self,
        config: StatusConfig,
        directory: str,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        in_thread: InThread,
        listening: Callable[[], bool],
    ) -> None:
        self._config, self._clock, self._now = config, clock, now
        self._in_thread, self._listening = in_thread, listening
        self.listeners: list[Callable[[Event], None]] = []
        """Each gets every event, after the log."""
        self._database = Database(directory)
        self.register = Register(history=bool(config.history))
        self.history = History(self.register, self._database, clock=clock, in_thread=in_thread)
        self._failures = RateLimit(clock, period=3_600.0, lines=1)
        self._one_save = DeferredLock()
        self._ticked = clock.seconds()
        self._ticks = 0
        self._saved = bucket(now())

    def reconfigure(self, config: StatusConfig) -> None:
        """Use another config from now on."""
        self._config = config
        self.register.history = bool(config.history)

    async def open(self) -> None:
        """Remember what an earlier process kept. Raises nothing: without it tessflux begins anew."""
        try:
            kept: Kept = await self._in_thread(self._database.load)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        else:
            self.register.restore(kept)
        self._ticked = self._clock.seconds()

    async def tick(self) -> None:
        """Do what is due."""
        seconds, self._ticked = self._clock.seconds() - self._ticked, self._clock.seconds()
        if self._listening():
            self.register.listen(min(seconds, LONGEST_TICK))
        now = self._now()
        while not self.register.digest(int(now * 1_000)):
            await deferLater(self._clock, 0)
        self._ticks += 1
        has_happened = False
        if self._ticks % LOOK_TICKS == 0:
            has_happened = self._look()
        if has_happened or bucket(now) != self._saved or self.register.unsaved_means > UNSAVED_MEANS // 2:
            # A disk that does not answer keeps nobody from being heard.
            self._save_soon()

    def _look(self) -> bool:
        events = self.register.look(self._config.silent)
        for event in events:
            if event.kind != MOVED:
                # The log has that already, with the macs: it was a remark on the message.
                (log.warn if event.kind == SILENT else log.info)("{event}", event=str(event))
            for listener in self.listeners:
                listener(event)
        return bool(events)

    def _save_soon(self) -> None:
        if not self._one_save.locked:
            saved = Deferred.fromCoroutine(self.save())
            saved.addErrback(lambda failure: log.failure("The photometers could not be kept", failure))

    async def save(self) -> None:
        """Save what changed."""
        await self._one_save.run(lambda: Deferred.fromCoroutine(self._save()))

    async def _save(self) -> None:
        now = self._now()
        self._saved = bucket(now)
        kept = self.register.keep()
        try:
            is_whole = await self._in_thread(
                self._database.save, kept, bucket(now - self._config.history * NIGHT)
            )
        except Exception as error:
            self.register.not_kept(kept)
            if not isinstance(error, sqlite3.Error | OSError):
                raise
            self._failed(error)
            return
        if not is_whole:
            self.register.keep_all()
        if self._failures.over():
            log.info("The register of photometers can be saved again")

    def _failed(self, error: Exception) -> None:
        if self._failures.admits("save"):
            log.error(
                "The register of photometers cannot be kept: {error}. Check the disk and its permissions;"
                " readings are stored all the same, and tessflux tries again every {minutes} minutes",
                error=error,
                minutes=SECONDS // 60,
            )

    async def close(self) -> None:
        """Save what there is, and close the file."""
        while not self.register.digest(int(self._now() * 1_000)):
            pass
        await self.save()
        await self._in_thread(self._database.close)
