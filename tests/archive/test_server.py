"""Whom we ask and trust, and what the operator reads when a database does not give what was asked for."""

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from servers import free_port

from tessflux.archive import EVER, Extent, Source, open_source
from tessflux.archive.influxql import InfluxQL
from tessflux.archive.questdb import QuestDB
from tessflux.archive.server import Server
from tessflux.archive.victoriametrics import VictoriaMetrics
from tessflux.config import InfluxConfig, Secret
from tessflux.errors import Unavailable
from tests.archive.site import https_server
from tests.certificates import authority, issued, self_signed
from tests.faults.scripted import Answer, Request, ScriptedServer

PASSWORD = Secret("geheim")
CONFIG = InfluxConfig(section="influxdb sky", username="tess", password=PASSWORD, timeout=5.0)
KINDS: list[Callable[[Server], Source]] = [InfluxQL, QuestDB, VictoriaMetrics]


def config(url: str, **keys: Any) -> InfluxConfig:
    return replace(CONFIG, url=url, **keys)


def trouble(source: Source) -> str:
    """What is said of every question to it, which must be the same."""
    questions: list[Callable[[], object]] = [
        source.names,
        lambda: source.extent("stars1", *EVER),
        lambda: list(source.readings("stars1", 0, 1)),
        lambda: source.registrations("stars1"),
    ]
    said = set()
    for question in questions:
        with pytest.raises(Unavailable) as caught:
            question()
        said.add(str(caught.value))
    [text] = said
    return text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(401, b'{"error":"authorization failed"}'),
            "401 authorization failed; check username and password, and whether the user may read",
        ),
        (Answer(403, b"no tess:geheim here"), "403 no tess:*** here; check username"),
        (Answer(404, b"<html>page\nnot \x1b[31mfound"), "404 <html>page not \\x1b[31mfound"),
        (Answer(302, b"", {"Location": "http://localhost:1/"}), "302"),
        (Answer(500, b'{"error":"out of memory"}'), "out of memory"),
        (Answer(200, b"<html>Welcome"), "its answer is not that of a"),
        (Answer(200, b'{"results":7,"data":7,"columns":7}'), "its answer is not that of a"),
        (Answer(200, b"[]"), "its answer is not that of a"),
        (
            Answer(
                200,
                b'{"results":[{"series":[{"columns":["x"],"values":[[7]]}]}],"data":{"result":[7]},'
                b'"columns":[{"name":"x"}],"dataset":[[7]]}',
            ),
            "its answer is not that of a",
        ),
        *[
            (
                Answer(
                    200,
                    b'{"results":[{"series":[{"columns":["time"],"values":[[%b]]}]}],'
                    b'"data":{"result":[{"metric":{},"value":[1,"%b"]}]},'
                    b'"columns":[{"name":"time"}],"dataset":[[%b]]}' % (time, time, time),
                ),
                "its answer is not that of a",
            )
            # In 2262 databases end; no computer has a date for the others.
            for time in (b"9300000000000000000", b"1" + b"0" * 30, b"-1" + b"0" * 30, b"NaN")
        ],
        (
            Answer(200, b'{"results":[{"series":[{"columns":["time"]', length=900, close=True),
            "the connection broke",
        ),
        (Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), "the connection broke, or the answer is not HTTP"),
    ],
)
def test_every_answer_that_is_not_what_was_asked_for_is_said_in_one_line(
    kind: Callable[[Server], Source], answer: Answer, said: str
) -> None:
    with ScriptedServer(otherwise=answer, no_places=()) as server:
        text = trouble(kind(Server(config(server.url), server.url)))
    assert text.startswith(f"[influxdb sky] {server.url}: ")
    assert said in text
    assert "\n" not in text
    assert "geheim" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_answer_in_time_is_not_waited_for(kind: Callable[[Server], Source]) -> None:
    with ScriptedServer(otherwise=Answer(silent=True), no_places=()) as server:
        source = kind(Server(config(server.url, timeout=0.1), server.url))
        with pytest.raises(Unavailable, match=r"no answer within 0\.1 s"):
            source.names()


@pytest.mark.parametrize("kind", KINDS)
def test_the_login_is_sent_once_and_nothing_comes_from_the_environment(
    kind: Callable[[Server], Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login root password root\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    for keys, login in (
        ({}, "Basic dGVzczpnZWhlaW0="),
        ({"username": ""}, None),
        ({"bucket": "sky"}, "Token geheim"),
        ({"database": "sky"}, "Bearer geheim"),
    ):
        with ScriptedServer(otherwise=Answer(404), no_places=()) as server:
            source = kind(Server(config(server.url, **keys), server.url))
            with pytest.raises(Unavailable):
                source.names()
            [request] = server.requests
        assert request.headers.get("authorization") == login
        assert "root" not in request.path


FLAGS = b'-storageDataPath="/data"\n'
VICTORIA = {"X-Server-Hostname": "vm"}


class Database(ScriptedServer):
    """Answers what it has by the beginning of the path, and finds nothing else."""

    def __init__(self, places: Mapping[str, Answer]) -> None:
        super().__init__(otherwise=Answer(404), no_places=())
        self._places = places

    def answer(self, request: Request) -> Answer:
        found = [answer for place, answer in self._places.items() if request.path.startswith(place)]
        return found[0] if found else self.otherwise


@pytest.mark.parametrize(
    ("places", "keys", "kind"),
    [
        ({}, {}, InfluxQL),
        ({"/flags": Answer(200, FLAGS, VICTORIA)}, {}, VictoriaMetrics),
        # One that hides its flags.
        ({"/flags": Answer(401, b"", VICTORIA)}, {}, VictoriaMetrics),
        ({"/exec": Answer(200, b'{"query":"SELECT 1","dataset":[[1]],"count":1}')}, {}, QuestDB),
        ({"/": Answer(200, b"<html>Welcome")}, {}, InfluxQL),
        ({"/flags": Answer(200, FLAGS, VICTORIA)}, {"bucket": "sky"}, InfluxQL),
        ({"/flags": Answer(200, FLAGS, VICTORIA)}, {"database": "sky"}, InfluxQL),
    ],
)
def test_which_database_it_is_shows_by_what_it_has(
    places: Mapping[str, Answer], keys: Mapping[str, str], kind: type
) -> None:
    with Database(places) as server:
        assert type(open_source(config(server.url, **keys))) is kind


@pytest.mark.parametrize(
    ("path", "flags"), [("", b'-storageNode="a:8400"\n'), ("/insert/0/influx", b"unsupported path")]
)
def test_a_cluster_of_victoriametrics_is_not_read_where_it_is_written(path: str, flags: bytes) -> None:
    with Database({f"{path}/flags": Answer(200, flags, VICTORIA)}) as server:
        url = f"{server.url}{path}"
        with pytest.raises(Unavailable, match=f"{url}: a cluster .* is read at its vmselect"):
            open_source(config(url))


@pytest.mark.parametrize("keys", [{}, {"bucket": "sky"}, {"database": "sky"}])
def test_of_several_urls_the_first_that_answers_is_asked(keys: Mapping[str, str]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with Database({"/query": Answer(200, b'{"results":[{"statement_id":0}]}')}) as server:
        assert open_source(config(f"{away},{server.url}", **keys)).names() == []
    with pytest.raises(Unavailable, match=f"{away}: Connection refused"):
        open_source(config(f"{away},{away}", **keys))


def test_without_a_url_there_is_nothing_to_ask() -> None:
    with pytest.raises(Unavailable, match=r"\[influxdb sky\] url is empty"):
        open_source(config(""))


def test_an_address_of_ipv6_and_a_path_are_asked_as_they_stand() -> None:
    with ScriptedServer(otherwise=Answer(200, b'{"results":[{}]}'), host="::1") as server:
        InfluxQL(Server(config(f"{server.url}/db"), f"{server.url}/db")).names()
    assert server.requests[0].path.startswith("/db/query?")


@pytest.mark.parametrize(
    ("certificate", "trusted", "said"),
    [
        (issued(), authority(), ""),
        (self_signed(), self_signed(), ""),
        (issued("other.example"), authority(), "Hostname mismatch"),
        (issued("*"), authority(), "Hostname mismatch"),
        (issued(expired=True), authority(), "certificate has expired"),
        (issued(), self_signed(), "unable to get local issuer certificate"),
        (issued(), b"", "unable to get local issuer certificate"),
        (issued(), b"no certificate", "tls_ca = "),
    ],
)
def test_only_a_certificate_for_the_host_by_a_trusted_authority_gets_the_login(
    certificate: bytes, trusted: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nor does an environment change whom we trust.
    (tmp_path / "everybody").write_bytes(authority() + self_signed())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "everybody"))
    (tmp_path / "ca").write_bytes(trusted)
    with https_server(certificate, tmp_path) as (url, told):
        keys = config(url, tls_ca=str(tmp_path / "ca") if trusted else "")
        if said:
            with pytest.raises(Unavailable, match=said):
                open_source(keys)
            assert told == []
        else:
            open_source(keys)
            assert set(told) == {"Basic dGVzczpnZWhlaW0="}


def test_a_server_without_tls_is_told_from_one_with_a_bad_certificate() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            """At once: what a client of TLS sends first may have no line end for which others wait."""
            with listener.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(65_536)

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"TLS: .*; if no TLS .* must begin with http://"):
            open_source(config(url))
        thread.join()


def test_a_number_that_no_reading_can_have_is_none() -> None:
    values = b"9" * 400, b"NaN", b"-Infinity", b"7"
    fields = b'"time","a","b","c","d"'
    row = b"[0,%b,%b,%b,%b]" % values
    full = Answer(200, b'{"results":[{"series":[{"columns":[%b],"values":[%b]}]}]}' % (fields, row))
    empty = Answer(200, b'{"results":[{}]}')
    with ScriptedServer([full, full, full, full, empty], no_places=()) as server:
        source = InfluxQL(Server(config(server.url), server.url))
        assert source.extent("stars1", 0, 1) == Extent(0, 0, frozenset({"d"}))
        assert list(source.readings("stars1", 0, 1)) == [(0, {"d": 7.0})]


def test_an_infinite_value_is_none_of_victoriametrics_either() -> None:
    line = b'{"metric":{"__name__":"tess_seq"},"timestamps":[0,1],"values":["Infinity",7]}\n'
    with ScriptedServer(otherwise=Answer(200, line), no_places=()) as server:
        source = VictoriaMetrics(Server(config(server.url, measurement="tess"), server.url))
        assert list(source.readings("stars1", 0, 2)) == [(1, {"seq": 7.0})]


def test_victoriametrics_names_whom_it_has_ever_heard() -> None:
    """One of version 1.112 takes a start of 0 for none, and names those of the last day."""
    with ScriptedServer(otherwise=Answer(200, b'{"data":["stars2","stars1"]}'), no_places=()) as server:
        source = VictoriaMetrics(Server(config(server.url), server.url))
        assert source.names() == ["stars1", "stars2"]
    [request] = server.requests
    assert parse_qs(urlsplit(request.path).query)["start"] == ["86400"]
