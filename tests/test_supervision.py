"""systemd is told when the daemon is ready, reloads and stops, how it fares, and that it lives."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.process.notify import Notifier
from tessflux.supervision import FEEDS, GRANTED, LOOK, SAME, Health, Supervision
from tests.log_lines import record

THREAD = 4711
PERIOD = 120.0


class Told(list[dict[str, Any]]):
    """A notifier that keeps what it is told."""

    def tell(self, **variables: object) -> None:
        self.append(variables)

    def those(self, name: str) -> list[str]:
        """The values of one variable."""
        return [str(variables[name]) for variables in self if name in variables]


class Supervised(SynchronousTestCase):
    """A daemon whose thread answers, or owes an answer, and which may wait for its disk."""

    def setUp(self) -> None:
        self.clock, self.told = Clock(), Told()
        self.answers: list[Deferred[int]] = []
        self.answers_at_once, self.disk_hangs = True, False
        self.healths = [Health(0, [])]
        self.said = record(self, "tessflux")
        self.supervision = self.supervise(PERIOD)

    def supervise(self, watchdog: float | None) -> Supervision:
        return Supervision(
            cast(Notifier, self.told),
            self.clock,
            watchdog=watchdog,
            ask_spool=self.ask,
            waits_for_disk=lambda thread: thread == THREAD and self.disk_hangs,
            health=self.health,
        )

    def health(self, spool_answers: bool) -> Health:
        waiting, problems = self.healths[-1]
        return Health(waiting, [*problems, *(() if spool_answers else ("the spool does not answer",))])

    def ask(self) -> Deferred[int]:
        answer = Deferred[int]()
        if self.answers_at_once:
            answer.callback(THREAD)
        else:
            self.answers.append(answer)
        return answer

    def fed_in(self, seconds: float) -> int:
        before = len(self.told.those("WATCHDOG"))
        self.clock.pump([1.0] * int(seconds))
        return len(self.told.those("WATCHDOG")) - before

    def tearDown(self) -> None:
        self.supervision.stopping()
        assert self.clock.getDelayedCalls() == []

    # The start, a reload, the stop

    def test_a_start_gets_more_time_for_as_long_as_it_goes_on(self) -> None:
        self.supervision.begin()
        self.clock.pump([1.0] * 200)
        grants = self.told.those("EXTEND_TIMEOUT_USEC")
        assert grants == [str(int(GRANTED * 1e6))] * len(grants)
        assert len(grants) == 1 + 200 // (GRANTED / 2)
        self.supervision.ready()
        self.clock.pump([1.0] * 200)
        assert len(self.told.those("EXTEND_TIMEOUT_USEC")) == len(grants)

    def test_the_events_are_told_in_the_words_of_systemd(self) -> None:
        for event in ("begin", "ready", "reloading", "reloaded", "stopping"):
            getattr(self.supervision, event)()
        events = [{*variables} - {"STATUS", "WATCHDOG"} for variables in self.told]
        assert [each for each in events if each] == [
            {"EXTEND_TIMEOUT_USEC"}, {"READY"}, {"RELOADING", "MONOTONIC_USEC"}, {"READY"}, {"STOPPING"}
        ]  # fmt: skip

    def test_nothing_more_is_told_once_it_stops(self) -> None:
        self.supervision.ready()
        self.supervision.stopping()
        count = len(self.told)
        self.clock.pump([1.0] * 200)
        assert len(self.told) == count

    # The words

    def test_a_trouble_is_told_at_the_next_look_and_its_end_too(self) -> None:
        self.supervision.ready()
        self.healths = [Health(1204, ["InfluxDB at http://localhost:8086 takes no readings"])]
        self.clock.advance(LOOK)
        self.healths = [Health(0, [])]
        self.clock.advance(LOOK)
        assert self.told.those("STATUS")[1:] == [
            "1,204 readings waiting; InfluxDB at http://localhost:8086 takes no readings",
            "0 readings waiting; all is well",
        ]

    def test_numbers_alone_are_told_once_a_minute_and_only_if_they_have_changed(self) -> None:
        self.supervision.ready()
        for waiting in range(60):
            self.healths = [Health(waiting, [])]
            self.clock.advance(LOOK)
        told = self.told.those("STATUS")[1:]
        assert len(told) == 60 // (SAME / LOOK)
        self.clock.pump([LOOK] * 60)
        assert len(self.told.those("STATUS")[1:]) == len(told) + 1

    def test_health_that_cannot_be_told_is_a_bug_that_hinders_nothing_else(self) -> None:
        self.supervision.ready()
        self.healths = []
        assert self.fed_in(PERIOD) == FEEDS
        assert len(self.flushLoggedErrors(IndexError)) == PERIOD / LOOK
        self.healths = [Health(0, [])]
        self.clock.advance(LOOK)
        assert self.told.those("STATUS")[-1] == "0 readings waiting; all is well"

    # The watchdog

    def test_a_daemon_that_answers_feeds_it_several_times_in_its_time(self) -> None:
        self.supervision.ready()
        assert self.fed_in(10 * PERIOD) == 10 * FEEDS

    def test_without_a_watchdog_nothing_is_asked(self) -> None:
        self.supervision = self.supervise(None)
        self.answers_at_once = False
        self.supervision.ready()
        assert self.fed_in(PERIOD) == 0
        assert self.answers == []

    def test_a_thread_that_does_not_answer_starves_it_until_it_does(self) -> None:
        self.supervision.ready()
        self.clock.advance(1)
        self.answers_at_once = False
        assert self.fed_in(PERIOD) == 1
        (answer,) = self.answers
        assert self.fed_in(PERIOD) == 0
        assert self.said(LogLevel.error)[0].startswith(
            "The spool's thread has not answered for 30 s, and does"
        )
        self.answers_at_once = True
        answer.callback(THREAD)
        assert self.fed_in(PERIOD) == FEEDS

    def test_a_disk_that_does_not_answer_starves_it_never(self) -> None:
        self.supervision.ready()
        self.clock.advance(1)
        self.answers_at_once, self.disk_hangs = False, True
        assert self.fed_in(100 * PERIOD) == 100 * FEEDS
        assert self.said(LogLevel.error) == []
        # Asked once: nothing piles up before a thread that hangs.
        (answer,) = self.answers
        text = "0 readings waiting; the spool does not answer"
        assert self.told.those("STATUS")[-1] == text
        self.disk_hangs = False
        assert self.fed_in(PERIOD) == 0
        self.answers_at_once = True
        answer.callback(THREAD)
        self.clock.advance(LOOK)
        assert self.told.those("STATUS")[-1] == "0 readings waiting; all is well"
