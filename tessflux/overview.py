"""What can be seen of the running daemon, taken from what its services count anyway.

Nothing is done until somebody looks. The spool is asked in its thread, which a dying disk may keep for long:
it is not asked again before it has answered.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from tessflux import __version__
from tessflux.clock import Clock
from tessflux.config import Config
from tessflux.mqtt import Subscriber
from tessflux.outputs import Output as RunningOutput
from tessflux.outputs import Outputs
from tessflux.photometers import Register
from tessflux.spool import LOSSES, Figures, Spool
from tessflux.stats import COMMIT_BOUNDS, FILTERED, HELD, LOST, REFUSED, STORED, CommitStats, MqttStats
from tessflux.status import (
    Alarm,
    Broker,
    Commits,
    Heard,
    Messages,
    Output,
    Snapshot,
    SpoolState,
    State,
    problems,
)

ANSWER_SECONDS = 5.0
"""For which the spool's thread may keep us waiting: it commits 1,000 readings in 0.1 s on an SD card."""


@dataclass
class Overview:
    """`clock` is that of the reactor, which the services use; `config` gives the one that is in use."""

    config: Callable[[], Config]
    wall: Clock
    clock: IReactorTime
    spool: Spool
    mqtt_stats: MqttStats
    register: Register
    subscriber: Subscriber
    outputs: Outputs
    alarms: Callable[[], Sequence[Alarm]]
    """Those that are raised."""

    def __post_init__(self) -> None:
        self._started = self.clock.seconds()
        self._asking = False

    def problems(self, spool_answers: bool) -> list[str]:
        """Why readings do not go all the way, for who knows whether the spool's thread answers."""
        spool, outputs = self._spool(spool_answers, figures=None), self._outputs(None)
        return problems(self.wall.known, self.outputs.state, spool, self._broker(), outputs)

    async def take(self) -> Snapshot:
        """What can be seen now. It waits for the spool, ANSWER_SECONDS at most."""
        answers, figures = await self._figures()
        config = self.config()
        spool = self._spool(answers, figures)
        broker = self._broker()
        databases = self._outputs(figures)
        paused = self.outputs.state
        return Snapshot(
            version=__version__,
            pid=os.getpid(),
            config=config.path,
            time=self.wall.now(),
            started=self._date(self._started),
            uptime=self.clock.seconds() - self._started,
            clock_known=self.wall.known,
            paused=paused,
            problems=problems(self.wall.known, paused, spool, broker, databases),
            messages=self._messages(),
            photometers=Heard(self.register.known, self.register.silent),
            spool=spool,
            broker=broker,
            outputs=databases,
            alarms=self.alarms(),
        )

    async def _figures(self) -> tuple[bool, Figures | None]:
        """Whether the spool's thread answers, and what it could read."""
        if self._asking:
            return False, None
        self._asking = True
        answer = Deferred[Figures | None]()

        def answered(result: Figures | Failure | None) -> None:
            self._asking = False
            if not answer.called:
                answer.callback(None if isinstance(result, Failure) else result)

        Deferred.fromCoroutine(self.spool.store.figures()).addBoth(answered)
        try:
            return True, await answer.addTimeout(ANSWER_SECONDS, self.clock)
        except DeferredTimeout:
            return False, None

    def _date(self, seconds: float) -> float:
        """The time of day of a time of the reactor's clock, as the computer has it now."""
        return self.wall.now() - (self.clock.seconds() - seconds)

    def _date_of(self, seconds: float | None) -> float | None:
        return None if seconds is None else self._date(seconds)

    def _messages(self) -> Messages:
        stats = self.mqtt_stats
        return Messages(
            received=stats.received,
            pending=self.spool.committer.pending,
            held=stats.ended[HELD, ""],
            stored=stats.total(STORED),
            filtered=stats.causes(FILTERED),
            refused=stats.causes(REFUSED),
            # A counter that is there before its first loss shows that loss as an increase.
            lost=dict.fromkeys(LOSSES, 0) | stats.causes(LOST),
            last_stored=self._date_of(stats.last_stored),
        )

    def _spool(self, answers: bool, figures: Figures | None) -> SpoolState:
        store = self.spool.store
        oldest = min(figures.oldest.values(), default=None) if figures else None
        return SpoolState(
            directory=self.config().spool.directory,
            answers=answers,
            failing=store.failing,
            waiting=self.outputs.waiting,
            oldest_waiting=None if oldest is None else oldest / 1000,
            used=figures.used if figures else None,
            limit=self.config().spool.max_size,
            quarantined=figures.quarantined if figures else None,
            commits=_commits(store.commits),
        )

    def _broker(self) -> Broker:
        subscriber, problem = self.subscriber, self.subscriber.problem
        return Broker(
            address=str(self.config().mqtt.broker),
            state=_state(subscriber.connected, problem),
            since=self._date(subscriber.since),
            problem=problem,
        )

    def _outputs(self, figures: Figures | None) -> list[Output]:
        return [self._output(name, output, figures) for name, output in self.outputs.by_name.items()]

    def _output(self, name: str, output: RunningOutput, figures: Figures | None) -> Output:
        stats, server = output.stats, output.server
        oldest = figures.oldest.get(name) if figures else None
        return Output(
            name=name,
            url=output.config.url,
            state=_state(server.takes_lines, server.problem) if output.config.url else "none",
            since=self._date(server.since),
            problem=server.problem,
            paused=output.paused,
            waiting=output.queue.undelivered,
            oldest_waiting=None if oldest is None else oldest / 1000,
            last_delivered=self._date_of(stats.last_delivered),
            requests={"ok": stats.ok, "rejected": stats.rejected, "failed": stats.failed},
            readings={
                "delivered": stats.delivered,
                "expired": stats.expired,
                "refused": stats.quarantined,
                "missed": output.queue.missed,
                "sent again": stats.again,
            },
        )


def _state(up: bool, problem: str) -> State:
    if up:
        return "up"
    return "away" if problem else "starting"


def _commits(stats: CommitStats) -> Commits:
    *up_to, count = accumulate(stats.counts)
    return Commits(count, stats.seconds, stats.failed, list(zip(COMMIT_BOUNDS, up_to, strict=True)))
