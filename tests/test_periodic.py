"""Tasks that are done again and again, whatever comes of them once."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.periodic import Periodic
from tests.log_lines import record


class PeriodicTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.done = Clock(), list[float]()
        self.periodic = Periodic(self.clock, "It went wrong")

    def note(self) -> None:
        self.done.append(self.clock.seconds())

    def test_a_task_is_done_until_the_end(self) -> None:
        self.periodic.begin(10, self.note)
        self.periodic.begin(15, self.note, now=True)
        self.clock.pump([5] * 6)
        assert self.done == [0, 10, 15, 20, 30, 30]
        self.periodic.end()
        assert self.clock.getDelayedCalls() == []

    def test_what_a_task_raises_is_logged_and_it_is_done_again(self) -> None:
        said = record(self, "tessflux")

        def fail() -> None:
            self.note()
            raise ValueError("a bug")

        async def fail_later() -> None:
            fail()

        for task in (fail, fail_later):
            self.periodic.begin(10, task)
        self.clock.pump([10, 10])
        assert self.done == [10, 10, 20, 20]
        assert said(LogLevel.critical) == ["It went wrong"] * 4
        assert len(self.flushLoggedErrors(ValueError)) == 4

    def test_a_task_that_goes_on_is_not_begun_a_second_time(self) -> None:
        going: list[Deferred[None]] = []

        async def wait() -> None:
            self.note()
            going.append(Deferred())
            await going[-1]

        self.periodic.begin(10, wait)
        self.clock.pump([10, 10, 10])
        assert self.done == [10]
        going[0].callback(None)
        self.clock.pump([10])
        assert self.done == [10, 40]
