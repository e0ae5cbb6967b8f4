"""Out of quarantine, back on the way: once, with the time of the first arrival, and counted."""

from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.clock import Clock as TimeOfDay
from tessflux.commands.requeue import requeue
from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import InfluxConfig, MqttConfig, SpoolConfig
from tessflux.intake import Intake
from tessflux.limits import REQUEUED
from tessflux.logs import Reports
from tessflux.photometers import Register
from tessflux.readings import Admission, Judge, Quarantined
from tessflux.readings.message import Message
from tessflux.spool.journal import Journal
from tessflux.spool.store import ATTEMPTS, RETRY
from tessflux.stats import FILTERED, REFUSED, STORED
from tessflux.watch import Watch
from tests.log_lines import record
from tests.spool.site import FLUSH, Site, disk_error

NOW = 1_772_323_214_000
STRICT = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))
LENIENT = MqttConfig(broker=STRICT.broker, validation=False)
LINE = "readings,name=stars9 seq=1.0 5"


def dark(seq: int) -> bytes:
    """A reading that only `validation` refuses."""
    return f'{{"seq": {seq}, "name": "stars1", "freq": 0.5, "mag": 50.0}}'.encode()


class Requeue(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = record(self, "mqtt")
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = Site(self, directory.name)
        self.site.open()
        self.addCleanup(self.site.stop)
        self.reports = Reports(Logger(namespace="mqtt"), self.site.clock)
        self.intake = self.make(STRICT)

    def make(self, mqtt: MqttConfig) -> Intake:
        return Intake(
            mqtt,
            InfluxConfig(),
            {},
            Judge(Admission()),
            self.site.committer,
            self.site.store,
            self.site.stats,
            self.reports,
            mock.Mock(Watch, unseen=()),
            Register(history=False),
            TimeOfDay(0),
        )

    def take(self, *payloads: bytes, retained: bool = False) -> None:
        for number, payload in enumerate(payloads):
            message = Message("STARS4ALL/stars1/reading", payload, retained, NOW + number)
            self.intake.take([message], self.site.acknowledge)
        self.site.clock.advance(FLUSH)

    def refuse_line(self) -> None:
        batch = self.site.result(self.site.queue.head(1))
        line = Quarantined(NOW, "", "stars9", "refused by InfluxDB", "why", LINE.encode())
        self.site.result(self.site.queue.retire(batch, [line]))

    def mark(self, *, photometer: str = "", cause: str = "") -> int:
        return requeue(SpoolConfig(str(self.site.directory)), photometer=photometer, cause=cause)

    def requeue(self, **chosen: str) -> int:
        marked = self.mark(**chosen)
        self.site.result(self.intake.requeue())
        return marked

    def ended(self, kind: str) -> dict[str, int]:
        return self.site.stats.causes(kind)

    def test_readings_that_pass_now_are_stored_with_the_time_of_their_arrival(self) -> None:
        self.take(dark(1), dark(2))
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        assert self.requeue() == 2
        assert self.site.on_disk() == [
            f"readings,name=stars1 seq={seq}.0,mag=50.0,freq=0.5 {NOW + seq - 1}" for seq in (1, 2)
        ]
        assert self.site.query("SELECT count(*) FROM quarantine") == [0]
        assert self.site.queue.waiting == 2
        assert "wake" in self.site.events
        assert (self.ended(REFUSED), self.ended(STORED), self.site.stats.received) == (
            {"implausible": 2},
            {"": 2},
            4,
        )
        assert "Tried 2 from the quarantine again" in self.log(LogLevel.info)

    def test_those_of_a_name_too_many_that_came_together_get_different_times(self) -> None:
        """No times are kept for them, since any number of names may come."""
        self.intake.reconfigure(replace(STRICT, new_photometers=1), InfluxConfig(), {})
        other = b'{"seq": 1, "name": "other", "freq": 0.5, "mag": 20.0}'
        for payload in (other, dark(1), dark(2), dark(3)):
            self.intake.take([Message("x", payload, False, NOW)], self.site.acknowledge)
        self.site.clock.advance(FLUSH)
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        self.requeue()
        times = [line.rpartition(" ")[2] for line in self.site.on_disk() if "stars1" in line]
        assert len(set(times)) == 3

    def test_what_is_refused_again_stays_in_quarantine_and_is_not_tried_for_ever(self) -> None:
        self.take(b"{")
        self.requeue()
        assert self.site.query("SELECT time FROM quarantine") == [NOW]
        assert self.site.query("SELECT again FROM quarantine") == [0]
        assert self.ended(REFUSED) == {"not JSON": 2}

    def test_a_retained_reading_is_still_of_unknown_age(self) -> None:
        self.take(dark(1), retained=True)
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        self.requeue()
        assert self.site.on_disk() == []
        assert self.ended(FILTERED) == {"retained": 1}
        assert self.site.query("SELECT count(*) FROM quarantine") == [0]

    def test_a_line_is_sent_again_as_it_is(self) -> None:
        self.refuse_line()
        self.requeue()
        assert self.site.on_disk() == [LINE]
        assert (self.site.queue.waiting, self.site.stats.received) == (1, 0)

    def test_many_leave_in_commits_of_a_bounded_size(self) -> None:
        count = 2 * REQUEUED + 1
        self.take(*(dark(seq) for seq in range(count)))
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        self.requeue()
        assert len(self.site.on_disk()) == count
        assert self.site.query("SELECT readings FROM chunk") == [REQUEUED, REQUEUED, 1]
        assert self.log(LogLevel.info) == [f"Tried {count} from the quarantine again"]

    def test_only_what_is_chosen_leaves(self) -> None:
        self.take(b"{", dark(1))
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        assert self.requeue(cause="implausible") == 1
        assert self.site.query("SELECT cause FROM quarantine") == ["not JSON"]

    def test_a_disk_that_fails_keeps_them_where_they_are(self) -> None:
        self.take(dark(1))
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        self.mark()
        self.site.thread.held = True
        work: Deferred[Any] = Deferred.fromCoroutine(self.intake.requeue())
        self.site.thread.work()
        self.site.thread.tell()
        self.site.thread.error = disk_error()
        self.site.thread.release()
        assert self.site.on_disk() == []
        assert self.site.query("SELECT again FROM quarantine") == [1]
        self.site.thread.error = None
        self.site.clock.advance(RETRY)
        self.successResultOf(work)
        assert len(self.site.on_disk()) == 1
        assert self.site.stats.received == 2

    def test_what_is_given_up_is_no_duplicate_when_it_is_tried_again(self) -> None:
        judge = Judge(Admission())
        self.site.forget = judge.forget
        self.intake = Intake(
            STRICT,
            InfluxConfig(),
            {},
            judge,
            self.site.committer,
            self.site.store,
            self.site.stats,
            self.reports,
            mock.Mock(Watch, unseen=()),
            Register(history=False),
            TimeOfDay(0),
        )
        self.take(dark(1))
        self.intake.reconfigure(LENIENT, InfluxConfig(), {})
        self.mark()
        with mock.patch.object(Journal, "commit", side_effect=MemoryError):
            work: Deferred[Any] = Deferred.fromCoroutine(self.intake.requeue())
            for _ in range(ATTEMPTS):
                self.site.clock.advance(RETRY)
            self.successResultOf(work)
        self.flushLoggedErrors(MemoryError)
        assert self.site.query("SELECT again FROM quarantine") == [1]
        self.site.result(self.intake.requeue())
        assert len(self.site.on_disk()) == 1
        assert self.ended(FILTERED) == {}

    def test_nothing_is_tried_again_once_the_spool_stops(self) -> None:
        self.take(dark(1))
        self.mark()
        self.site.result(self.site.spool.stop())
        self.site.result(self.intake.requeue())
        assert self.site.query("SELECT again FROM quarantine") == [1]
