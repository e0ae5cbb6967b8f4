"""What is seen of the services is what they count."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock as ReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tessflux.clock import Clock
from tessflux.config import InfluxConfig, load
from tessflux.influx import Server
from tessflux.mqtt import Subscriber
from tessflux.outputs import Output, Outputs
from tessflux.overview import ANSWER_SECONDS, Overview
from tessflux.photometers import Register
from tessflux.spool import Committer, Figures, Queue, Spool, Store
from tessflux.stats import FILTERED, HELD, LOST, REFUSED, STORED, CommitStats, InfluxStats, MqttStats
from tessflux.status import Alarm, Snapshot

NOW = 1_800_000_000.0
ALARM = Alarm("clock", "", NOW, "it is wrong")
FIGURES = Figures(used=4_096, quarantined=3, oldest={"influxdb": int(NOW - 60) * 1000})


class OverviewTest(SynchronousTestCase):
    """Services that stand still."""

    def setUp(self) -> None:
        self.clock = ReactorClock()
        self.clock.advance(1_000)
        with TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            path.write_text("[mqtt]\nbroker = tcp:localhost:1883\n[influxdb]\nurl = http://localhost:8086\n")
            config = load(str(path), {})
        self.stats = MqttStats(received=10, last_stored=990.0)
        counts = {(STORED, ""): 4, (FILTERED, "retained"): 3, (REFUSED, "bad"): 2, (LOST, "disk failed"): 1}
        self.stats.ended.update({**counts, (HELD, ""): 5})
        self.store = Mock(Store, failing="", commits=CommitStats())
        self.figures: Deferred[Figures | None] = succeed(FIGURES)
        self.asked = 0
        self.store.figures = self._figures
        self.subscriber = Mock(Subscriber, connected=True, problem="", since=500.0)
        self.server = Mock(Server, takes_lines=True, problem="", since=600.0)
        self.queue = Mock(Queue, undelivered=7, missed=2)
        influx = InfluxStats(requested=6, ok=3, rejected=2, failed=1, delivered=8, last_delivered=995.0)
        output = Output(
            InfluxConfig(url="http://localhost:8086"), influx, self.queue, self.server, Mock(), Mock(), None
        )
        self.outputs = Mock(Outputs, waiting=7, state="", by_name={"influxdb": output})
        self.overview = Overview(
            lambda: config,
            Clock(0, wall=lambda: NOW + self.clock.seconds() - 1_000),
            self.clock,
            Mock(Spool, store=self.store, committer=Mock(Committer, pending=6)),
            self.stats,
            Mock(Register, known=17, silent=4),
            self.subscriber,
            self.outputs,
            lambda: [ALARM],
        )

    async def _figures(self) -> Figures | None:
        self.asked += 1
        return await self.figures

    def take(self) -> Snapshot:
        return self.successResultOf(Deferred.fromCoroutine(self.overview.take()))

    def test_all_is_well(self) -> None:
        self.store.commits.took(0.00390625)
        self.store.commits.took(0.25)
        snapshot = self.take()
        assert (snapshot.problems, snapshot.paused, snapshot.time, snapshot.uptime) == ([], "", NOW, 0)
        assert snapshot.alarms == [ALARM]
        messages = snapshot.messages
        assert (messages.received, messages.pending, messages.held, messages.stored) == (10, 6, 5, 4)
        assert (messages.filtered, messages.refused) == ({"retained": 3}, {"bad": 2})
        assert messages.lost == {"spool full": 0, "disk failed": 1, "internal error": 0}
        assert messages.last_stored == NOW - 10
        assert (snapshot.photometers.known, snapshot.photometers.silent) == (17, 4)
        spool = snapshot.spool
        assert (spool.waiting, spool.used, spool.limit, spool.quarantined) == (7, 4_096, 2**30, 3)
        assert spool.oldest_waiting == NOW - 60
        assert (spool.commits.count, spool.commits.seconds) == (2, 0.25390625)
        buckets = dict(spool.commits.buckets)
        assert (buckets[0.0025], buckets[0.005], buckets[0.1], buckets[0.25], buckets[10.0]) == (
            0,
            1,
            1,
            2,
            2,
        )
        assert (snapshot.broker.state, snapshot.broker.since) == ("up", NOW - 500)
        (output,) = snapshot.outputs
        assert (output.name, output.state, output.since) == ("influxdb", "up", NOW - 400)
        assert (output.waiting, output.last_delivered, output.paused) == (7, NOW - 5, None)
        assert output.requests == {"ok": 3, "rejected": 2, "failed": 1}
        assert output.readings["delivered"] == 8
        assert output.readings["missed"] == 2

    def test_each_problem_has_a_line(self) -> None:
        self.subscriber.connected, self.subscriber.problem = False, "no route"
        self.server.takes_lines, self.server.problem = False, "no login"
        self.store.failing, self.outputs.state = "disk failed", "delivery is paused"
        self.overview.wall.known = False
        assert self.take().problems == [
            "the spool in /var/lib/tessflux takes no readings: disk failed",
            "the clock of this computer is not set yet; readings wait until it is",
            "the broker at tcp:localhost:1883 is away: no route",
            "[influxdb] at http://localhost:8086 is away: no login",
            "delivery is paused",
        ]

    def test_an_output_that_is_paused_is_not_said_to_be_away_too(self) -> None:
        self.server.takes_lines, self.server.problem = False, "no login"
        self.outputs.by_name["influxdb"].paused = NOW
        assert self.take().problems == []

    def test_a_server_that_was_not_asked_yet_is_neither_up_nor_away(self) -> None:
        self.subscriber.connected = self.server.takes_lines = False
        snapshot = self.take()
        assert (snapshot.broker.state, snapshot.outputs[0].state) == ("starting", "starting")
        assert len(snapshot.problems) == 2

    def test_a_spool_that_does_not_answer_keeps_nobody_waiting_and_is_asked_once(self) -> None:
        self.figures = stuck = Deferred[Figures | None]()
        taken = Deferred.fromCoroutine(self.overview.take())
        self.assertNoResult(taken)
        self.clock.advance(ANSWER_SECONDS)
        snapshot = self.successResultOf(taken)
        assert (snapshot.spool.answers, snapshot.spool.used) == (False, None)
        assert snapshot.problems == ["the spool in /var/lib/tessflux does not answer: is its disk alive?"]
        assert not self.take().spool.answers
        assert self.asked == 1
        stuck.callback(FIGURES)
        self.figures = succeed(FIGURES)
        assert self.take().spool.answers
        assert self.clock.getDelayedCalls() == []

    def test_a_spool_whose_file_cannot_be_read_answers_all_the_same(self) -> None:
        self.figures = succeed(None)
        spool = self.take().spool
        assert (spool.answers, spool.used) == (True, None)
