"""What systemd is told while the daemon runs: that it is alive, and in words how it fares.

Alive means that the reactor turns and that the spool's thread answers, and nothing else. Only a hang in this
process is cured by a restart. A broker or a database that is away is not; nor is a disk that does not answer,
which would keep the killed process with its lock on the spool, and would cost the readings that wait in
memory. So a thread that waits for the disk counts as alive, however long it does so. Only the reactor's own
cannot say that of itself, should it wait for the log's disk.

systemd ends a process that it takes for hung by SIGABRT; Python then tells the journal where each thread was.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.periodic import Periodic
from tessflux.process import notify

log = Logger(namespace="tessflux")

LOOK = 10.0
"""Seconds between two looks at how the daemon fares."""

SAME = 60.0
"""Seconds for which another number of waiting readings alone is no news."""

GRANTED = 60.0
"""Seconds by which a start that still goes on may take longer, again and again. Where a slow disk has much to
catch up on after a power cut, it takes more than systemd waits for other services."""

FEEDS = 4
"""How often the watchdog is fed in its time. One look that comes at a bad moment must not count."""


class Health(NamedTuple):
    """How the daemon fares."""

    waiting: int
    """Readings that wait for the output that lacks most."""
    problems: Sequence[str]
    """Why readings do not go all the way, in words."""

    def __str__(self) -> str:
        return "; ".join((f"{self.waiting:,} readings waiting", *(self.problems or ("all is well",))))


class Supervision:
    """Call `begin`, `ready`, `reloading`, `reloaded` and `stopping` when that is the case.

    `watchdog` are the seconds after which systemd takes us for hung, None if it does not. `ask_spool` fires
    with the id of the spool's thread when that answers, and `waits_for_disk` is asked about this id. `health`
    is told whether it has answered in time.
    """

    def __init__(
        self,
        notifier: notify.Notifier,
        clock: IReactorTime,
        *,
        watchdog: float | None,
        ask_spool: Callable[[], Deferred[int]],
        waits_for_disk: Callable[[int], bool],
        health: Callable[[bool], Health],
    ) -> None:
        self._notifier, self._clock = notifier, clock
        self._watchdog, self._ask_spool, self._waits_for_disk = watchdog, ask_spool, waits_for_disk
        self._health = health
        self._periodic = Periodic(clock, "What systemd is to be told is not known")
        self._thread: int | None = None
        """The id of the spool's thread."""
        self._asked_at: float | None = None
        """Since when it owes us an answer (clock seconds)."""
        self._told: Health | None = None
        self._told_at = 0.0

    def begin(self) -> None:
        """The start begins, and may take long."""
        self._periodic.begin(GRANTED / 2, self._grant, now=True)

    def _grant(self) -> None:
        self._notifier.tell(EXTEND_TIMEOUT_USEC=int(GRANTED * 1e6), STATUS="starting: opens the spool")

    def ready(self) -> None:
        """The daemon runs."""
        self._periodic.end()
        self._notifier.tell(READY=1, STATUS="connecting to the broker and the database")
        self._periodic.begin(LOOK, self._tell_health)
        if self._watchdog is not None:
            self._periodic.begin(self._watchdog / FEEDS, self._feed, now=True)

    def reloading(self) -> None:
        """The config is being read again."""
        # systemd 252 has no Type=notify-reload, which alone needs the time; later ones may be told to use it.
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def reloaded(self) -> None:
        """The reload is over, whether the config was taken or not."""
        self._notifier.tell(READY=1)

    def stopping(self) -> None:
        """The daemon stops."""
        self._periodic.end()
        self._notifier.tell(STOPPING=1, STATUS="stopping: commits and delivers what is here")

    def _tell_health(self) -> None:
        before, now = self._told, self._clock.seconds()
        # Not in the log: its file may be on the disk of the spool, for which the reactor would wait then.
        health = self._health(self._asked_at is None or now < self._asked_at + LOOK)
        if before is None or health.problems != before.problems or now >= self._told_at + SAME:
            self._told, self._told_at = health, now
            if health != before:
                self._notifier.tell(STATUS=health)

    def _feed(self) -> None:
        """Tell that we are alive, if the spool's thread has answered since the last time, or cannot."""
        if self._asked_at is not None and not (self._thread and self._waits_for_disk(self._thread)):
            log.error(
                "The spool's thread has not answered for {seconds:.0f} s, and does not wait for the disk;"
                " if that lasts, systemd restarts tessflux",
                seconds=self._clock.seconds() - self._asked_at,
            )
            return
        self._notifier.tell(WATCHDOG=1)
        if self._asked_at is None:
            self._asked_at = self._clock.seconds()
            self._ask_spool().addCallback(self._answered)

    def _answered(self, thread: int) -> None:
        self._thread, self._asked_at = thread, None
