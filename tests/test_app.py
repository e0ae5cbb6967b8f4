"""A reload is all or nothing, and a stop ends."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import Mock, call

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tessflux.app import STOP_LIMITS, App, _backoff
from tessflux.config import load
from tessflux.logs import Logs
from tessflux.mqtt import Subscriber
from tessflux.outputs import Outputs, keeping
from tessflux.watch import LOOK
from tests.log_lines import record
from tests.readings.samples import message, payload


class Reactor(Clock):
    """Its thread pool does everything at once."""

    def getThreadPool(self) -> "Reactor":
        return self

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], None], call: Callable[..., Any], *args: Any
    ) -> None:
        try:
            result = call(*args)
        except Exception:
            on_result(False, Failure())
        else:
            on_result(True, result)

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        call(*args)


@given(st.integers(0, 10_000))
def test_no_back_off_is_longer_than_a_minute_and_its_jitter(failures: int) -> None:
    assert 0 < _backoff(failures) <= 61


class Stop(SynchronousTestCase):
    """An App that was never started."""

    def test_it_takes_less_time_than_the_init_script_waits(self) -> None:
        script = (Path(__file__).parents[1] / "init.d/tessflux").read_text()
        found = re.search(r"^STOP_SECONDS=(\d+)$", script, re.MULTILINE)
        assert found is not None
        # And a few seconds for Python to end.
        assert sum(STOP_LIMITS.values()) + 3 <= int(found[1])

    def test_nothing_more_is_read_from_the_broker_from_its_beginning_on(self) -> None:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            path.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {directory}\n")
            reactor = Reactor()
            app = App(load(str(path), {}), Logs(console=False, path=""), reactor, print)
            app._subscriber = subscriber = Mock(Subscriber)
            subscriber.stopService.return_value = succeed(None)
            stopped = Deferred.fromCoroutine(app.stop())
            reactor.pump(STOP_LIMITS.values())
            self.successResultOf(stopped)
        assert subscriber.mock_calls[:2] == [call.backpressure(True), call.stopService()]
        self.flushLoggedErrors(DeferredTimeout)

    def test_a_step_that_never_ends_does_not_keep_the_others_from_theirs(self) -> None:
        said = record(self, "tessflux")
        with TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            path.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {directory}\n")
            reactor = Reactor()
            app = App(load(str(path), {}), Logs(console=False, path=""), reactor, print)
            app._subscriber.stopService = Deferred  # type: ignore[method-assign]
            stopped = Deferred.fromCoroutine(app.stop())
            # Nor does the spool close: its thread was never started.
            reactor.pump(STOP_LIMITS.values())
            self.successResultOf(stopped)
        assert said(LogLevel.info)[-1] == "tessflux has stopped, 0 readings wait"
        assert len(self.flushLoggedErrors(DeferredTimeout)) == 2


class Wiring(SynchronousTestCase):
    """An App that was never started, with ends that note what reaches them."""

    def test_what_the_spool_asks_for_reaches_the_two_ends(self) -> None:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            path.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {directory}\n")
            app = App(load(str(path), {}), Logs(console=False, path=""), Reactor(), print)
        subscriber, outputs = Mock(Subscriber), Mock(Outputs)
        app._subscriber, app._outputs = subscriber, outputs
        app._spool.committer._backpressure(True)
        app._spool.committer._redeliver()
        app._spool.keep_for(keeping(app._config.outputs))
        app._spool.committer._added(0.0)
        subscriber.backpressure.assert_called_once_with(True)
        subscriber.redeliver.assert_called_once_with()
        outputs.wake.assert_called_once_with("influxdb")

    def test_its_health_is_what_waits_and_the_problems_that_the_status_shows(self) -> None:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            path.write_text(
                "[global]\nclock_wait = 0\n"
                f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {directory}\n"
            )
            app = App(load(str(path), {}), Logs(console=False, path=""), Reactor(), lambda state: None)
        app._spool.store.failing = "disk failed"
        assert str(app.health(False)) == (
            f"0 readings waiting; the spool in {directory} does not answer: is its disk alive?;"
            f" the spool in {directory} takes no readings: disk failed;"
            " the broker at tcp:localhost:1883 has not answered yet"
        )

    def watching(self, reactor: Reactor) -> App:
        """An App of which nothing runs but the look at lists and topics."""
        with TemporaryDirectory() as directory:
            path = Path(directory) / "config"
            path.write_text(
                "[global]\nclock_wait = 0\n"
                "[mqtt]\nbroker = tcp:localhost:1883\nwhitelist = stars1 stars17\n"
                f"[spool]\ndirectory = {directory}\n"
            )
            app = App(load(str(path), {}), Logs(console=False, path=""), reactor, print)
        for seconds, task in app._tasks:
            if seconds == LOOK:
                app._periodic.begin(seconds, task)
        return app

    def test_topics_that_bring_nothing_are_noticed_once_the_broker_could_send_something(self) -> None:
        said = record(self, "mqtt")
        reactor = Reactor()
        app = self.watching(reactor)
        reactor.pump([LOOK] * 60)
        assert said() == []
        app._subscriber = Mock(Subscriber, listening=True)
        reactor.pump([LOOK] * 10)
        assert [line.split(":")[0] for line in said()] == [
            "Not one message came in ten minutes on STARS4ALL/+/reading"
        ]

    def test_a_whitelist_that_lets_nothing_through_is_noticed(self) -> None:
        said = record(self, "mqtt")
        reactor = Reactor()
        app = self.watching(reactor)
        for seq in range(11):
            app._intake.take([message(payload(seq))], lambda mids: None)
            reactor.advance(LOOK)
        assert [line.split(", and")[0] for line in said()] == ["No reading was let through for ten minutes"]
        app._spool.store.failing = "disk full"
        reactor.pump([LOOK] * 24 * 60)
        assert len(said()) == 1


class Reload(SynchronousTestCase):
    """An App that was never started: a reload changes it all the same, and nothing is sent anywhere."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.reactor = Reactor()
        self.said = record(self, "tessflux")
        self.told: list[str] = []
        self.write(log="first.log", level="info")
        config = load(str(self.directory / "config"), {})
        self.logs = Logs(console=False, path=config.global_.log_file)
        self.addCleanup(self.logs.reopen, "")
        self.app = App(config, self.logs, self.reactor, self.told.append)

    def write(self, *, log: str, level: str, spool: str = "spool") -> None:
        (self.directory / "config").write_text(
            f"[global]\nlog_file = {self.directory / log}\nlog_level = {level}\n"
            f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {self.directory / spool}\n"
        )

    def reload(self) -> list[str]:
        """The log files that are there afterwards; they are gone before."""
        for path in self.directory.glob("*.log"):
            path.unlink()
        self.app.reload()
        assert self.reactor.getDelayedCalls() == []
        return [path.name for path in self.directory.glob("*.log")]

    def test_another_config_is_used_and_the_log_reopened(self) -> None:
        self.write(log="second.log", level="debug")
        assert self.reload() == ["second.log"]
        assert self.said(LogLevel.info) == [f"Reloaded {self.directory / 'config'}"]

    def test_the_hourly_lines_follow_the_config_that_was_read_last(self) -> None:
        lines = record(self, "mqtt")
        self.app._report()
        assert len(lines(LogLevel.info)) == 1
        path = self.directory / "config"
        path.write_text(path.read_text().replace("[mqtt]\n", "[mqtt]\nstats = no\n"))
        self.app.reload()
        self.app._report()
        assert len(lines(LogLevel.info)) == 1

    def test_photometers_are_silent_after_the_time_that_was_read_last(self) -> None:
        path = self.directory / "config"
        path.write_text(f"{path.read_text()}[status]\nsilent = 90m\nhistory = 0\n")
        self.app.reload()
        assert self.app._photometers._config.silent == 5_400
        assert not self.app._photometers.register.history

    def test_it_tells_since_when_the_delivery_is_paused(self) -> None:
        self.app.pause()
        self.app.pause()
        (state,) = self.told
        assert re.fullmatch(r"delivery is paused since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", state)
        self.app.reload()
        assert self.app._outputs.state == state
        self.app.resume()
        assert self.told == [state, ""]

    def test_a_pid_file_that_cannot_be_written_does_not_hinder_a_pause(self) -> None:
        self.app._tell = Mock(side_effect=OSError(28, "No space left on device"))
        self.app.pause()
        assert self.said(LogLevel.info) == ["Delivery is paused; readings wait in the spool"]
        assert "No space left on device" in self.said()[0]

    def test_what_left_the_quarantine_for_newer_payloads_is_logged_once(self) -> None:
        self.app._spool.store.forgotten = 3
        self.app._report()
        self.app._report()
        assert self.said() == ["3 payloads were dropped from the full quarantine, since newer ones came"]

    def test_a_stop_ends_a_reload(self) -> None:
        """What is stopped must not be told of a new config."""
        self.write(log="first.log", level="debug")
        self.app._subscriber.stopService = Deferred  # type: ignore[method-assign]
        stopped = Deferred.fromCoroutine(self.app.stop())
        self.app.reload()
        assert "Reloaded" not in " ".join(self.said(LogLevel.info))
        self.reactor.pump(STOP_LIMITS.values())
        self.successResultOf(stopped)
        self.flushLoggedErrors(DeferredTimeout)

    def test_a_wrong_config_changes_nothing_but_the_log_is_reopened(self) -> None:
        self.write(log="second.log", level="loud")
        assert self.reload() == ["first.log"]
        (said,) = self.said()
        assert said.startswith("The config stays as it was: ")
        assert "log_level" in said
        assert self.said(LogLevel.info) == []

    def test_a_log_file_that_cannot_be_opened_changes_nothing(self) -> None:
        self.write(log="no/such/directory.log", level="debug")
        assert self.reload() == ["first.log"]
        (said,) = self.said()
        assert "cannot open the log file" in said
        assert self.said(LogLevel.info) == []

    def test_the_spool_stays_where_it_is(self) -> None:
        self.write(log="first.log", level="info", spool="elsewhere")
        self.reload()
        assert self.said() == ["[spool] directory changes only at a restart"]
        self.reload()
        # The second one compares with where it is, not with where it was wanted.
        assert self.said() == 2 * ["[spool] directory changes only at a restart"]
