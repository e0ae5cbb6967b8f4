"""What each path answers, and that it is made once however many ask."""

from dataclasses import replace

import msgspec
from twisted.internet.defer import Deferred

from tessflux.errors import UsageError
from tessflux.status import Snapshot
from tessflux.status.pages import AGE
from tests.status.site import SPOOL, WELL, ask
from tests.status.test_http import SiteCase


class PagesTest(SiteCase):
    """What can be looked at."""

    def test_the_json_is_the_snapshot(self) -> None:
        answer = ask(self.world.tcp, "/v1/status")
        assert answer.headers["Content-Type"] == "application/json"
        assert msgspec.json.decode(answer.body, type=Snapshot) == WELL

    def test_health_is_that_of_the_process_and_its_spool_and_not_of_other_servers(self) -> None:
        self.world.snapshot = replace(WELL, problems=["the broker is away"])
        assert ask(self.world.tcp, "/healthz").code == 200
        self.world.snapshot = replace(WELL, spool=replace(SPOOL, answers=False))
        self.world.clock.advance(AGE)
        answer = ask(self.world.tcp, "/healthz")
        assert (answer.code, answer.body) == (503, b"the spool in /var/lib/tessflux does not answer\n")

    def test_it_is_ready_or_has_a_line_for_each_reason(self) -> None:
        assert ask(self.world.tcp, "/readyz").code == 200
        self.world.snapshot = replace(WELL, problems=["the broker:\r\nis away", "the disk fails"])
        self.world.clock.advance(AGE)
        answer = ask(self.world.tcp, "/readyz")
        assert (answer.code, answer.body) == (503, b"the broker: is away\nthe disk fails\n")

    def test_metrics_are_in_the_format_of_prometheus(self) -> None:
        answer = ask(self.world.tcp, "/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"\ntessflux_spool_waiting_readings 7.0\n" in answer.body

    def test_however_many_ask_a_snapshot_is_taken_once_a_second(self) -> None:
        for _ in range(100):
            for path in ("/healthz", "/readyz", "/v1/status", "/metrics"):
                assert ask(self.world.tcp, path).code == 200
        assert (self.world.taken, self.world.made) == (1, 1)
        self.world.clock.advance(AGE)
        self.world.snapshot = replace(WELL)
        ask(self.world.tcp, "/metrics")
        assert (self.world.taken, self.world.made) == (2, 2)

    def test_those_who_ask_while_it_is_taken_get_the_same(self) -> None:
        self.world.waiting = waiting = Deferred[Snapshot]()
        visitors = [ask(self.world.tcp, "/v1/status") for _ in range(3)]
        assert [visitor.received for visitor in visitors] == 3 * [b""]
        waiting.callback(WELL)
        assert [visitor.code for visitor in visitors] == 3 * [200]
        assert self.world.taken == 1

    def test_when_it_cannot_be_taken_all_who_wait_hear_so(self) -> None:
        self.world.waiting = waiting = Deferred[Snapshot]()
        visitors = [ask(self.world.tcp, "/v1/status") for _ in range(3)]
        waiting.errback(RuntimeError("a bug"))
        assert [visitor.code for visitor in visitors] == 3 * [500]
        self.world.waiting = None
        assert ask(self.world.tcp, "/v1/status").code == 200
        self.flushLoggedErrors(RuntimeError)


class ActionsTest(SiteCase):
    """What can be done over the Unix socket."""

    def test_each_is_done_and_said(self) -> None:
        for path in (
            "/v1/pause",
            "/v1/pause?output=influxdb%20mirror",
            "/v1/resume?output=a+b",
            "/v1/reload",
        ):
            assert ask(self.world.unix, path, "POST").code == 200
        assert self.world.control.done == ["pause ", "pause influxdb mirror", "resume a b", "reload"]
        assert ask(self.world.unix, "/v1/reload", "POST").body == b"did reload\n"

    def test_what_cannot_be_done_has_its_reason(self) -> None:
        self.world.control.error = UsageError("there is no such output")
        for path in ("/v1/pause?output=x", "/v1/resume?output=x", "/v1/reload"):
            answer = ask(self.world.unix, path, "POST")
            assert (answer.code, answer.body) == (422, b"there is no such output\n")

    def test_what_was_done_is_seen_at_once(self) -> None:
        ask(self.world.unix, "/v1/status")
        self.world.snapshot = replace(WELL, paused="delivery is paused")
        ask(self.world.unix, "/v1/pause", "POST")
        assert b"delivery is paused" in ask(self.world.unix, "/v1/status").body
