"""Calls that block are made in a thread of their own, one after the other."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from tessflux.thread import Thread


class Reactor:
    """Runs what comes from threads when the test waits for it."""

    def __init__(self) -> None:
        self._calls = SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]]()

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        self._calls.put((call, args))

    def run(self, number: int) -> None:
        for _ in range(number):
            call, args = self._calls.get(timeout=10)
            call(*args)


class OneThread(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.thread = Thread(self.reactor, "ours")  # type: ignore[arg-type]

    def tearDown(self) -> None:
        self.thread.stop()
        assert "ours" not in [each.name for each in threading.enumerate()]

    def test_calls_are_made_in_their_order_and_none_before_the_start(self) -> None:
        made: list[int] = []
        results = [self.thread(made.append, number) for number in range(3)]
        assert made == []
        self.thread.start()
        self.reactor.run(3)
        assert made == [0, 1, 2]
        assert [self.successResultOf(each) for each in results] == [None] * 3

    def test_what_a_call_returns_or_raises_comes_back_in_the_reactor(self) -> None:
        self.thread.start()
        name = self.thread(lambda: threading.current_thread().name)
        bad = self.thread(int, "x", base=10)
        self.assertNoResult(name)
        self.reactor.run(2)
        assert self.successResultOf(name) == "ours"
        self.failureResultOf(bad, ValueError)

    def test_who_waits_no_longer_leaves_the_call_and_those_after_it_as_they_are(self) -> None:
        made: list[str] = []
        given_up, other = self.thread(made.append, "given up"), self.thread(made.append, "other")
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.thread.start()
        self.reactor.run(2)
        assert made == ["given up", "other"]
        assert self.successResultOf(other) is None

    def test_a_stop_waits_until_all_calls_are_done(self) -> None:
        made: list[int] = []
        go_on = threading.Event()
        self.thread.start()
        self.thread(go_on.wait, 10)
        self.thread(made.append, 1)
        threading.Timer(0.01, go_on.set).start()
        self.thread.stop()
        assert made == [1]
