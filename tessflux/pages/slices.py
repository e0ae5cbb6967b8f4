"""Long work in the reactor's thread, in slices of some milliseconds between which readings go on.

In another thread it would be no better: Python runs one at a time, and each call of the reactor would wait
for its turn.
"""

from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

SLICE = 0.003
"""Seconds of one slice. A step of the work, from one `yield` to the next, should be shorter."""

PAUSE = 0.002
"""Seconds between two slices. Without it a commit that came meanwhile was 15 ms later: its thread waited for
a slice each time it came back from SQLite, and the acknowledgement for another one."""

T = TypeVar("T")

Work = Generator[None, None, T]
"""Yields when it may be interrupted, and returns its result."""


async def in_slices(work: Work[T], clock: IReactorTime) -> T:
    """The result of this work."""
    while True:
        end = perf_counter() + SLICE
        try:
            while perf_counter() < end:
                next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        pause = Deferred[Any]()
        clock.callLater(PAUSE, pause.callback, None)
        await pause


def at_once(work: Work[T]) -> T:
    """The same without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
