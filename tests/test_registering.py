"""What photometers say of themselves, from the message to the disk: once for each change, come what may."""

import json
import unittest
from tempfile import TemporaryDirectory
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, Logger
from twisted.trial.unittest import SynchronousTestCase

from tessflux.clock import Clock as TimeOfDay
from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import InfluxConfig, MqttConfig
from tessflux.dating import Dating
from tessflux.intake import Intake
from tessflux.logs import Reports
from tessflux.photometers import Register
from tessflux.readings import Admission, Judge, Message
from tessflux.watch import Watch
from tests.readings.samples import NOW, message, payload
from tests.spool.site import FLUSH, Site, disk_error

TOPIC = "STARS4ALL/register"
MQTT = MqttConfig(BrokerAddress("tcp", "localhost", 1883, ""))


def says(zero_point: float = 20.5, mac: str = "a", name: str = "stars1") -> bytes:
    return json.dumps({"name": name, "mac": mac, "calib": zero_point}).encode()


class Daemon:
    """One process after another before the same spool."""

    def __init__(self, case: SynchronousTestCase) -> None:
        directory = TemporaryDirectory()
        case.addCleanup(directory.cleanup)
        self.site = Site(case, directory.name)
        self.stats = self.site.stats
        self.acknowledged: list[int] = []
        self.clock_is_known = True
        self.begin()

    def begin(self) -> None:
        """Start a process."""
        judge = Judge(Admission())
        self.site.forget = judge.forget
        judge.admission.restore(self.site.open(), now=NOW)
        judge.registrations.restore(self.site.result(self.site.store.registered()))
        wall = self.site.clock
        time = TimeOfDay(
            0 if self.clock_is_known else 1e9,
            wall=lambda: NOW / 1_000 + wall.seconds(),
            boot_seconds=wall.seconds,
            synchronised=lambda: self.clock_is_known,
            boot_id=lambda: "boot",
        )
        self.intake = Intake(
            MQTT,
            InfluxConfig(),
            {},
            judge,
            self.site.committer,
            self.site.store,
            self.stats,
            Reports(Logger(observer=cast(ILogObserver, lambda event: None)), wall),
            Watch(self.stats, wall, failing=bool, listening=bool),
            Register(history=False),
            time,
        )
        held = self.site.result(self.site.store.held_at_start())
        self.intake.dating.restore(held)

    @property
    def dating(self) -> Dating:
        return self.intake.dating

    def kill(self) -> None:
        """kill -9, and the next process."""
        self.site.abandon()
        self.begin()

    def take(self, what: bytes, *, mid: int | None = None, dup: bool = False) -> None:
        at = NOW + int(self.site.clock.seconds() * 1_000)
        taken = Message(TOPIC, what, False, at, mid, None, dup)
        self.intake.take([taken], self.acknowledged.extend)
        if mid is not None:
            self.site.settle()

    def commit(self) -> None:
        self.site.clock.advance(FLUSH)

    def said(self) -> list[str]:
        """The lines on disk, but for their times."""
        return [line.rpartition(" ")[0].partition(" ")[2] for line in self.site.on_disk()]


ONE, OTHER = 'mac="a",zp=20.5', 'mac="a",zp=20.4'


class Registering(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = Daemon(self)

    def tearDown(self) -> None:
        self.daemon.site.stop()

    def test_the_three_messages_of_a_boot_are_one_line_also_over_a_restart(self) -> None:
        daemon = self.daemon
        for _ in range(3):
            daemon.take(says())
            daemon.commit()
        daemon.site.stop()
        daemon.begin()
        for _ in range(3):
            daemon.take(says())
        daemon.commit()
        assert daemon.said() == [ONE]
        daemon.take(says(20.4))
        daemon.commit()
        assert daemon.said() == [ONE, OTHER]

    def test_a_line_is_counted_and_is_no_reading(self) -> None:
        daemon = self.daemon
        for _ in range(3):
            daemon.take(says())
        daemon.commit()
        stats = daemon.stats
        kinds = (("stored", "register message"), ("filtered", "register message"))
        assert (stats.received, [stats.ended[each] for each in kinds]) == (3, [1, 2])
        assert stats.ended.total() == 3
        assert stats.last_stored is None
        daemon.intake.take([message(payload(1))], daemon.acknowledged.extend)
        daemon.commit()
        assert stats.last_stored == daemon.site.clock.seconds()

    def test_a_kill_before_the_commit_costs_nothing_at_qos_1(self) -> None:
        daemon = self.daemon
        daemon.take(says(), mid=1)
        daemon.site.thread.held = True
        daemon.take(says(20.4), mid=2)
        daemon.kill()
        assert (daemon.said(), daemon.acknowledged) == ([ONE], [1])
        daemon.take(says(20.4), mid=2, dup=True)
        assert daemon.said() == [ONE, OTHER]
        assert daemon.acknowledged == [1, 2]

    def test_a_kill_between_the_commit_and_the_acknowledgement_doubles_nothing(self) -> None:
        daemon = self.daemon
        for mid, zero_point in enumerate((20.5, 20.5, 20.4, 20.4), 1):
            daemon.take(says(zero_point), mid=mid)
        daemon.kill()
        for mid, zero_point in enumerate((20.5, 20.5, 20.4, 20.4), 1):
            daemon.take(says(zero_point), mid=mid, dup=True)
        assert daemon.said() == [ONE, OTHER]

    def test_what_is_given_up_is_written_when_it_comes_again(self) -> None:
        daemon = self.daemon
        daemon.take(says())
        daemon.commit()
        daemon.site.thread.error = TypeError("a bug")
        daemon.take(says(20.4))
        daemon.commit()
        daemon.site.clock.pump([1] * 10)
        daemon.site.thread.error = None
        assert daemon.stats.total("lost") == 1
        assert len(self.flushLoggedErrors(TypeError)) == 1
        daemon.take(says(20.4))
        daemon.commit()
        assert daemon.said() == [ONE, OTHER]

    def test_while_the_disk_fails_the_last_change_waits_in_memory(self) -> None:
        daemon = self.daemon
        daemon.site.thread.error = disk_error()
        daemon.take(says(), mid=1)
        daemon.site.clock.pump([1] * 3)
        daemon.take(says(), mid=2)
        daemon.site.thread.error = None
        daemon.site.clock.pump([1] * 3)
        assert (daemon.said(), daemon.acknowledged) == ([ONE], [1, 2])

    def test_before_the_clock_is_known_they_are_held_as_readings_are(self) -> None:
        daemon = self.daemon
        daemon.clock_is_known = False
        daemon.site.stop()
        daemon.begin()
        came = NOW + int(daemon.site.clock.seconds() * 1_000)
        daemon.take(says())
        daemon.commit()
        assert daemon.said() == []
        daemon.clock_is_known = True
        daemon.site.result(daemon.dating.release())
        assert daemon.said() == [ONE]
        assert daemon.site.on_disk()[0].endswith(f" {came}")
        assert daemon.stats.ended["stored", "register message"] == 1

    def test_a_kill_while_they_are_held_doubles_nothing_either(self) -> None:
        daemon = self.daemon
        daemon.clock_is_known = False
        daemon.site.stop()
        daemon.begin()
        for mid, zero_point in enumerate((20.5, 20.4), 1):
            daemon.take(says(zero_point), mid=mid)
        daemon.kill()
        for mid, zero_point in enumerate((20.5, 20.4), 1):
            daemon.take(says(zero_point), mid=mid, dup=True)
        daemon.clock_is_known = True
        daemon.site.result(daemon.dating.release())
        assert daemon.said() == [ONE, OTHER]

    def test_a_refused_one_can_be_requeued(self) -> None:
        daemon = self.daemon
        daemon.intake._judge.admission.choose(frozenset(), frozenset(), 1)
        daemon.take(says(name="stars1"))
        daemon.take(says(name="stars2"))
        daemon.commit()
        assert daemon.stats.causes("refused") == {"new name": 1}
        daemon.intake._judge.admission.choose(frozenset(), frozenset(), 0)
        daemon.site.execute("UPDATE quarantine SET again = 1")
        daemon.site.result(daemon.intake.requeue())
        assert [line.split()[0] for line in daemon.site.on_disk()] == [
            "photometers,name=stars1",
            "photometers,name=stars2",
        ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["say 20.5", "say 20.4", "say 20.3", "kill"]), max_size=12))
def test_whenever_it_is_killed_a_line_is_written_for_each_change_and_for_nothing_else(
    steps: list[str],
) -> None:
    class Case(SynchronousTestCase):
        def runTest(self) -> None:
            daemon, changes = Daemon(self), list[str]()
            for mid, step in enumerate(steps, 1):
                if step == "kill":
                    daemon.kill()
                    continue
                zero_point = step.split()[1]
                daemon.take(says(float(zero_point)), mid=mid)
                if not changes or changes[-1] != zero_point:
                    changes.append(zero_point)
            assert daemon.said() == [f'mac="a",zp={zero_point}' for zero_point in changes]
            daemon.site.stop()

    result = unittest.TestResult()
    Case().run(result)
    assert result.wasSuccessful(), result.errors + result.failures
