"""A spool in a directory of its own, with a thread that does what the test tells it to."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config.sections import SpoolConfig
from tessflux.readings import Admitted, Filtered, Outcome, Quarantined, Reading, Stored
from tessflux.spool.committer import Forget
from tessflux.spool.group import Group
from tessflux.spool.journal import FILE_NAME, Batch, Journal, second_look
from tessflux.spool.positions import Keeping
from tessflux.spool.spool import Spool
from tessflux.spool.store import RETRY, InThread
from tessflux.stats import MqttStats
from tests.log_lines import record

FLUSH = 5.0
OUTPUT = "influxdb"


def disk_error(code: int = sqlite3.SQLITE_IOERR) -> sqlite3.Error:
    error = sqlite3.OperationalError("the disk is ill")
    error.sqlite_errorcode = code
    return error


def at_once(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
    """The spool's thread, without a thread."""
    return succeed(call(*args, **kwargs))


def make_spool(
    config: SpoolConfig,
    *,
    clock: Any,
    in_thread: InThread = at_once,
    flush_interval: float = FLUSH,
    stats: MqttStats | None = None,
    wake: Callable[[str], None] = lambda output: None,
    backpressure: Callable[[bool], None] = lambda on: None,
    redeliver: Callable[[], None] = lambda: None,
    forget: Forget = lambda admitted, late, registered: None,
) -> Spool:
    """A spool of which a test needs to see only a part."""
    return Spool(
        config,
        flush_interval=flush_interval,
        stats=stats or MqttStats(),
        clock=clock,
        in_thread=in_thread,
        wake=wake,
        backpressure=backpressure,
        redeliver=redeliver,
        forget=forget,
    )


class Thread:
    """Runs calls at once, or keeps them while `held`; with an `error` every call ends in it."""

    def __init__(self) -> None:
        self.held = False
        self.error: Exception | None = None
        self._calls: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self._results: list[tuple[Deferred[Any], Any]] = []

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self._calls.append((result, lambda: call(*args, **kwargs)))
        if not self.held:
            self.run()
        return result

    @property
    def waiting(self) -> int:
        """How many calls have not run yet."""
        return len(self._calls)

    def work(self) -> None:
        """Run what waits; the reactor does not hear of it yet."""
        while self._calls:
            deferred, call = self._calls.pop(0)
            try:
                if self.error is not None:
                    raise self.error
                self._results.append((deferred, call()))
            except Exception as error:
                self._results.append((deferred, Failure(error)))

    def tell(self) -> None:
        """Tell the reactor what came out."""
        while self._results:
            deferred, result = self._results.pop(0)
            deferred.callback(result)

    def run(self) -> None:
        """Run all, and what follows from it."""
        while self._calls or self._results:
            self.work()
            self.tell()

    def forget(self) -> None:
        """What waits is never run, and nobody hears of what was."""
        self._calls.clear()
        self._results.clear()
        self.held = False

    def release(self) -> None:
        self.held = False
        self.run()


class Site:
    """One spool after another in the same directory, and everything that they call, in order."""

    def __init__(self, case: SynchronousTestCase, directory: str) -> None:
        self._case = case
        self.directory = Path(directory)
        self.clock, self.thread, self.stats = Clock(), Thread(), MqttStats()
        self.events: list[object] = []
        self.sent = 0
        self.outputs = {OUTPUT: Keeping()}
        self.wake: Callable[[], None] = lambda: self.events.append("wake")
        self.backpressure: Callable[[bool], None] = lambda on: self.events.append(
            "backpressure" if on else "go on"
        )
        self.redeliver: Callable[[], None] = lambda: self.events.append("redeliver")
        self.forget: Forget = lambda admitted, late, registered: None

    def open(self, *, max_size: int = 2**30, quarantine: int = 1_000) -> list[Admitted]:
        self.spool = make_spool(
            SpoolConfig(str(self.directory), max_size, quarantine),
            stats=self.stats,
            clock=self.clock,
            in_thread=self.thread,
            wake=lambda output: self.wake(),
            backpressure=lambda on: self.backpressure(on),
            redeliver=lambda: self.redeliver(),
            forget=lambda *given_up: self.forget(*given_up),
        )
        admitted: list[Admitted] = self.result(self.spool.open(self.outputs))
        self.committer, self.store = self.spool.committer, self.spool.store
        self.queue = self.spool.queues[OUTPUT]
        return admitted

    def stop(self) -> None:
        """As the daemon does; afterwards nothing is left on the clock."""
        settled = Deferred.fromCoroutine(self.spool.stop())
        self.thread.release()
        # Where commits fail, one more attempt is under way.
        self.clock.advance(RETRY)
        self._case.successResultOf(settled)
        self.result(self.spool.close())
        assert self.clock.getDelayedCalls() == []

    def abandon(self) -> None:
        """As kill -9 does: what is in memory is gone."""
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.thread.forget()
        self.thread(self.store._file.close)

    def restart(self) -> list[Admitted]:
        self.stop()
        return self.open()

    def result(self, work: Any) -> Any:
        return self._case.successResultOf(Deferred.fromCoroutine(work))

    def take(self, count: int = 1, *, qos: int = 0) -> int:
        """So many messages with a reading; returns how many the spool admitted."""
        admitted = 0
        for _ in range(count):
            number = self.sent
            reading = Reading("stars1", 0.0, "", None)
            admitted += self._take(Stored(line(number), Admitted("stars1", number, number), reading), qos)
        return admitted

    def settle(self) -> None:
        """Commit what has come, whatever else may come soon."""
        Deferred.fromCoroutine(self.committer.settle())

    def acknowledge(self, mids: Sequence[int]) -> None:
        self.events += mids

    def refuse(self, *, qos: int = 0, payload: bytes = b"{") -> bool:
        return self._take(refused(self.sent, payload), qos)

    def filter(self, *, qos: int = 0) -> bool:
        return self._take(Filtered("duplicate"), qos)

    def _take(self, outcome: Outcome, qos: int) -> bool:
        if not self.committer.admits(1, kept_by_broker=qos):
            return False
        self.stats.received += 1
        self.committer.take([outcome], [self.sent] if qos else [], self.acknowledge)
        self.sent += 1
        return True

    def on_disk(self) -> list[str]:
        """The lines that are in the file, oldest first."""
        return [
            line for lines in self.query("SELECT lines FROM chunk ORDER BY id") for line in lines.split("\n")
        ]

    def query(self, text: str) -> list[Any]:
        """The first column."""
        with closing(second_look(str(self.directory))) as db:
            return [row[0] for row in db.execute(text)]

    def execute(self, text: str) -> None:
        """Change the file behind the back of the spool."""
        with closing(second_look(str(self.directory), "rw")) as db, db:
            db.execute(text)

    def asides(self) -> list[Path]:
        return sorted(self.directory.glob(f"{FILE_NAME}.damaged-*[Z0-9]"))

    def forget_pages(self) -> None:
        """What was read from the file is no longer in memory."""
        journal = self.store._file._journal
        assert journal is not None
        journal._db.execute("PRAGMA shrink_memory")

    def put_large(self) -> None:
        """A file of 6,000 lines, more than is looked at when it is opened."""
        journal = Journal(str(self.directory), max_size=2**30, quarantine=1_000)
        for first in range(0, 6_000, 100):
            numbers = range(first, first + 100)
            admitted = [Admitted("stars1", number, number) for number in numbers]
            journal.commit(Group(lines=[line(number) for number in numbers], admitted=admitted), 0)
        journal.close()


def line(number: int) -> str:
    return f"stars,name=stars1 seq={number}.0,mag=20.5,freq=3.2,tamb=12.0,tsky=-10.0 {number}"


def lines(*bounds: int) -> list[str]:
    return [line(number) for number in range(*bounds)]


def refused(number: int, payload: bytes = b"{") -> Quarantined:
    return Quarantined(number, "stars1/reading", "stars1", "not JSON", "why", payload)


def overwrite(path: Path) -> None:
    """Turn all but the first page to zeros, as a dying disk may."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(bytes(size - 4_096))


class Case(SynchronousTestCase):
    """An open spool; at the end of each test it is stopped, and what it received is counted."""

    def setUp(self) -> None:
        self.log = record(self, "spool")
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = Site(self, directory.name)
        self.clock, self.thread, self.stats = self.site.clock, self.site.thread, self.site.stats
        self.opened = self.site.open()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.thread.error = None
        self.site.stop()
        self.assert_counted()

    def assert_counted(self) -> None:
        assert self.stats.received == sum(self.stats.ended.values()) + self.site.committer.pending

    def head(self, limit: int = 10**6) -> Batch:
        batch: Batch = self.site.result(self.site.queue.head(limit))
        return batch

    def retire(self, batch: Batch) -> None:
        self.site.result(self.site.queue.retire(batch))
