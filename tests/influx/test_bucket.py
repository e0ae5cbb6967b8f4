"""The bucket of an InfluxDB 2 is made if it is missing and the config says so."""

import json
from dataclasses import replace
from typing import Any

import pytest
from twisted.logger import LogLevel

from tessflux.config import InfluxConfig, Secret
from tessflux.errors import ServerError
from tessflux.influx import bucket
from tessflux.influx.definition import Ran
from tessflux.influx.http import Http
from tessflux.influx.server import PARK_SECONDS
from tessflux.influx.verdict import Delivered, Missing
from tests.influx.site import CONFIG, Case, ClientCase, HttpServer

TWO = InfluxConfig(org="my stars", bucket="sky", password=Secret("t0ken"), create=True)
ORGANIZATIONS = b'{"links":{},"orgs":[{"id":"0b","name":"my stars old"},{"id":"0a","name":"my stars"}]}'
CREATED = b'{"id":"0c","orgID":"0a","name":"sky"}'


def said(code: str, text: str) -> bytes:
    return json.dumps({"code": code, "message": text}).encode()


class BucketTest(ClientCase):
    async def create(self, config: InfluxConfig, *answers: tuple[str, bytes]) -> Ran:
        """What comes of it if the server answers so."""
        left = list(answers)
        self.requests.clear()
        self.react = lambda server: server.answer(*left.pop(0))
        ran = await bucket.create(config, self.http(config))
        assert left == []
        return ran

    def http(self, config: InfluxConfig) -> Http:
        url = f"http://127.0.0.1:{self.port.getHost().port}"
        return Http(replace(config, url=url), self.agent, self.clock)

    async def test_it_is_made_in_its_organization_and_keeps_readings_as_long_as_the_config_says(self) -> None:
        for retention, rules in ((0, []), (30, [{"type": "expire", "everySeconds": 2_592_000}])):
            config = replace(TWO, retention=retention)
            ran = await self.create(config, ("200 OK", ORGANIZATIONS), ("201 Created", CREATED))
            assert ran == Ran()
            (asked, headers, _), (made, _, body) = self.requests
            assert asked == "GET /api/v2/orgs?org=my+stars HTTP/1.1"
            assert headers["authorization"] == "Token t0ken"
            assert made == "POST /api/v2/buckets HTTP/1.1"
            assert json.loads(body) == {"orgID": "0a", "name": "sky", "retentionRules": rules}

    async def test_that_another_has_made_it_meanwhile_is_no_problem(self) -> None:
        conflict = ("422 No", said("conflict", "bucket with name sky already exists"))
        assert await self.create(TWO, ("200 OK", ORGANIZATIONS), conflict) == Ran()

    async def test_why_it_cannot_be_made_is_told_in_the_words_of_the_server(self) -> None:
        refused: Any = (
            "401 No",
            said("unauthorized", "t0ken may not: write:orgs/0a/buckets is unauthorized"),
        )
        for answers, problem in (
            (
                [("200 OK", ORGANIZATIONS), refused],
                "401 *** may not: write:orgs/0a/buckets is unauthorized",
            ),
            ([("401 No", said("unauthorized", "unauthorized access"))], "401 unauthorized access"),
            (
                [("404 No", said("not found", 'organization name "my stars" not found'))],
                '404 organization name "my stars" not found',
            ),
            ([("200 OK", b'{"orgs":[]}')], "the token sees no organization my stars"),
            ([("200 OK", b'{"orgs":[{"id":"0b","name":"b"}]}')], "the token sees no organization my stars"),
            ([("200 OK", b"{}")], "the token sees no organization my stars"),
            ([("200 OK", b"<html>")], "its answer is not that of an InfluxDB 2"),
            ([("200 OK", b'{"orgs":[{"id":1}]}')], "its answer is not that of an InfluxDB 2"),
        ):
            with self.subTest(problem):
                assert await self.create(TWO, *answers) == Ran(problem=problem)

    async def test_a_server_that_does_not_answer_is_no_refusal(self) -> None:
        def hang_up(server: HttpServer) -> None:
            server.raw(b"", hang_up=True)

        self.react = hang_up
        with pytest.raises(ServerError, match="hung up"):
            await bucket.create(TWO, self.http(TWO))


class MissingBucketTest(Case):
    CONFIG = replace(TWO, url=CONFIG.url, batch=3)
    MISSING = Missing('404 bucket "sky" not found')

    def test_it_is_made_and_the_lines_follow_at_once(self) -> None:
        lines = self.add(self.start(self.CONFIG), 1, 2, 3)
        self.reply(self.MISSING)
        assert self.defined == [""]
        assert self.requests == [lines, lines]
        self.reply(Delivered())
        assert "Created the bucket sky" in self.log(LogLevel.info)
        assert self.log(LogLevel.info)[0] == "InfluxDB at http://db:8086 takes readings into bucket sky"

    def test_what_an_operator_can_do_is_said_in_the_keys_of_influxdb_2(self) -> None:
        for config, ran, text in (
            (
                replace(self.CONFIG, create=False),
                Ran(),
                '404 bucket "sky" not found (create it, or write create = yes in [influxdb])',
            ),
            (
                self.CONFIG,
                Ran(problem="401 unauthorized access"),
                "create = yes: 401 unauthorized access (create it, or take a token that may create buckets)",
            ),
        ):
            with self.subTest(text):
                self.fresh()
                self.ran = ran
                self.add(self.start(config), 1, 2, 3)
                self.reply(self.MISSING)
                self.assert_waits(PARK_SECONDS)
                [logged] = self.log(LogLevel.error)
                assert text in logged
                self.reply(Delivered())
