"""`--check` of the database: what eight databases answer, whatever else may answer, and who does not."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tessflux.commands.check import check as check_all
from tessflux.commands.check import check_database
from tessflux.commands.findings import Findings
from tessflux.config import InfluxConfig, Secret, load
from tessflux.influx.http import Http
from tests.faults.scripted import Answer, ScriptedServer
from tests.influx.site import wait_for

SCHEMA = (
    "CREATE DATABASE tessdb; CREATE RETENTION POLICY p ON tessdb DURATION 2d REPLICATION 1;"
    " ALTER RETENTION POLICY p ON tessdb DURATION 3d"
)
ONE, TWO = {"X-Influxdb-Version": "1.6.7~rc0", "X-Influxdb-Build": "OSS"}, {"X-Influxdb-Version": "v2.7.4"}
DEV = {"X-Influxdb-Version": "dev", "X-Influxdb-Build": "OSS"}
VICTORIA = {"X-Influxdb-Version": "1.8.0", "X-Server-Hostname": "vm"}
QUEST = {"Server": "questDB/1.0"}
GEMINI = {"X-Geminidb-Version": "1.4.3"}
NO_TOKEN = Answer(401, b'{"error": "the request was not authenticated"}')


def error(status: int, text: str, headers: dict[str, str], **more: str) -> Answer:
    """As InfluxDB 1 says it, or as 2 does."""
    key = "error" if headers is ONE else "message"
    return Answer(status, json.dumps({**more, key: text}).encode(), headers)


def check(
    answers: Sequence[Answer],
    directory: Path,
    otherwise: Answer,
    *,
    host: str = "127.0.0.1",
    file: str = SCHEMA,
    **changes: Any,
) -> tuple[list[str], int, list[str]]:
    """The lines about a server that answers so, the exit code, and what it was asked."""
    from twisted.internet import reactor

    lines: list[str] = []
    findings = Findings(lines.append)
    schema = directory / "schema"
    schema.write_text(file)
    with ScriptedServer(answers, otherwise, host=host) as server:
        config = InfluxConfig(**{"url": server.url, "schema": str(schema), "timeout": 5.0, **changes})
        wait_for(check_database(config, reactor, findings))
    lines = [line.replace(config.url, "URL").replace(str(schema), "FILE") for line in lines]
    shown = [line for line in lines if "would run: " not in line]
    return shown, findings.exit_code, [request.path.partition("?")[0] for request in server.requests]


PING_3 = b'{"version":"3.9.6","revision":"1","process_id":"2"}'
OK = "write      ok: into database tessdb"
CREATES = "schema     ok: FILE creates tessdb if it is missing"
CREATED = "write      ok: what is missing will be created, by running FILE"
SERVERS = {
    "InfluxDB 1": ([Answer(204, headers=ONE)] * 2, "InfluxDB 1.6.7~rc0", [OK]),
    "InfluxDB 2": ([Answer(204, headers=DEV)] * 2, "InfluxDB dev", [OK]),
    "InfluxDB 3": (
        [
            Answer(200, PING_3, {"X-Influxdb-Version": "3.9.6", "X-Influxdb-Build": "Core"}),
            Answer(400, b"incoming write was empty"),
        ],
        "InfluxDB 3.9.6",
        [OK],
    ),
    "InfluxDB 3 that wants a token": (
        [NO_TOKEN, NO_TOKEN],
        "a server without a name",
        [
            "write      401 the request was not authenticated; check [influxdb] username, password and the"
            " user's rights"
        ],
    ),
    "VictoriaMetrics": ([Answer(204), Answer(204, headers=VICTORIA)], "a server without a name", [OK]),
    "VictoriaMetrics cluster": (
        [Answer(400, b'unsupported path requested: "/insert/0/influx/ping"'), Answer(204, headers=VICTORIA)],
        "a server without a name",
        [OK],
    ),
    "QuestDB": (
        [
            Answer(204, headers={**QUEST, **TWO}),
            Answer(204, headers=QUEST),
            error(400, "failed to parse line protocol", QUEST, code="invalid"),
        ],
        "questDB/1.0",
        [OK],
    ),
    "openGemini": ([Answer(204, headers=GEMINI)] * 2, "a server without a name", [OK]),
    "a web server": (
        [Answer(404, b"<html>404 Not Found</html>", {"Server": "nginx"})] * 2,
        "nginx",
        ["write      404 <html>404 Not Found</html>; check [influxdb] url, and the log of the server"],
    ),
    "a service that wants JSON": (
        [Answer(404), Answer(204), Answer(400, b'{"error":"invalid JSON"}')],
        "a server without a name",
        [
            "write      204 from a server without a name, but nothing shows that it is a database: does a"
            " proxy answer for it?; check [influxdb] url, and the log of the server"
        ],
    ),
    "InfluxDB 2 without the bucket": (
        [
            Answer(204, headers=DEV),
            error(404, "no dbrp mapping found", DEV, code="not found"),
            error(400, "SHOW USERS is not implemented", DEV),
        ],
        "InfluxDB dev",
        [
            "write      404 no dbrp mapping found, and our user may not create it (400:"
            ' {"message": "SHOW USERS is not implemented"}): have an administrator run FILE and GRANT WRITE'
            ' ON "tessdb" TO ""'
        ],
    ),
    "InfluxDB 1 without the database": (
        [
            Answer(204, headers=ONE),
            error(404, 'database not found: "tessdb"', ONE),
            Answer(200, b'{"results":[{"statement_id":0,"series":[{"columns":["user","admin"]}]}]}', ONE),
        ],
        "InfluxDB 1.6.7~rc0",
        [CREATED],
    ),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_check_says_of_every_database_what_is_true(kind: str, tmp_path: Path) -> None:
    answers, name, wanted = SERVERS[kind]
    lines, exit_code, _ = check(answers, tmp_path, Answer(500))
    assert lines == [f"database   ok: {name} answers at URL", CREATES, *wanted]
    assert exit_code == (os.EX_OK if " ok: " in wanted[0] else os.EX_UNAVAILABLE)


BUCKET = {"schema": "", "org": "stars", "bucket": "sky", "password": Secret("t0ken")}
NO_BUCKET = error(404, 'bucket "sky" not found', DEV, code="not found")
UNAUTHORISED = error(401, "unauthorized access", DEV, code="unauthorized")
FOUND = "database   ok: InfluxDB dev answers at URL"
TWO_AND_THREE: dict[str, tuple[dict[str, Any], list[Answer], list[str], list[str]]] = {
    "2": (BUCKET, [Answer(204, headers=DEV)] * 2, [], ["ok: into bucket sky of organization stars"]),
    "2 with a wrong token": (
        BUCKET,
        [Answer(204, headers=DEV), UNAUTHORISED],
        [],
        ["401 unauthorized access; check [influxdb] token, and whether it may write to the bucket"],
    ),
    "2 as a further output": (
        {**BUCKET, "section": "influxdb copy"},
        [Answer(204, headers=DEV), UNAUTHORISED],
        [],
        ["401 unauthorized access; check [influxdb copy] token, and whether it may write to the bucket"],
    ),
    "2 without the bucket": (
        BUCKET,
        [Answer(204, headers=DEV), NO_BUCKET],
        [],
        ['404 bucket "sky" not found; create it, or write create = yes in [influxdb]'],
    ),
    "2 that will make the bucket": (
        {**BUCKET, "create": True},
        [Answer(204, headers=DEV), NO_BUCKET, Answer(200, b'{"orgs":[{"id":"0a","name":"stars"}]}', DEV)],
        ["/api/v2/orgs"],
        ['warning: 404 bucket "sky" not found; it will be created, if the token may create buckets'],
    ),
    "2 without the organization": (
        {**BUCKET, "create": True},
        [Answer(204, headers=DEV), NO_BUCKET, Answer(200, b'{"orgs":[]}', DEV)],
        ["/api/v2/orgs"],
        ['404 bucket "sky" not found; the token sees no organization stars: check [influxdb] org and token'],
    ),
}


@pytest.mark.parametrize("kind", TWO_AND_THREE)
def test_a_check_of_influxdb_2_speaks_its_language(kind: str, tmp_path: Path) -> None:
    changes, answers, more, wanted = TWO_AND_THREE[kind]
    lines, exit_code, paths = check(answers, tmp_path, Answer(404), **changes)
    assert lines == [FOUND, *(f"write      {line}" for line in wanted)]
    # To a server without a header of VictoriaMetrics or QuestDB, the questions after a good write are idle.
    assert [path for path in paths if path not in ("/flags", "/exec")] == ["/ping", "/api/v2/write", *more]
    assert exit_code == (os.EX_OK if wanted[0].startswith(("ok: ", "warning: ")) else os.EX_UNAVAILABLE)


def test_a_check_of_influxdb_3_speaks_its_language(tmp_path: Path) -> None:
    three = {"X-Influxdb-Version": "3.9.6", "X-Influxdb-Build": "Core"}
    ping = Answer(200, PING_3, three)
    login = "check [influxdb] token, and whether it may write to the database"
    for write, said, code in (
        (Answer(400, b'{"error": "incoming write was empty"}', three), "ok: into database sky", os.EX_OK),
        (NO_TOKEN, f"401 the request was not authenticated; {login}", os.EX_UNAVAILABLE),
    ):
        lines, exit_code, paths = check([ping, write], tmp_path, Answer(404), schema="", database="sky")
        assert lines == ["database   ok: InfluxDB 3.9.6 answers at URL", f"write      {said}"]
        assert exit_code == code
        assert paths[:2] == ["/ping", "/api/v3/write_lp"]


def test_a_check_asks_every_url_of_a_list(tmp_path: Path) -> None:
    from twisted.internet import reactor

    lines: list[str] = []
    with ScriptedServer([Answer(204, headers=ONE)] * 2, Answer(404)) as server:
        text = (
            f"[influxdb]\nurl = {server.url}, http://127.0.0.1:1\n[mqtt]\nbroker = tcp:127.0.0.1:1\n"
            f"[spool]\ndirectory = {tmp_path}\n"
        )
        file = tmp_path / "config"
        file.write_text(text)
        exit_code = wait_for(check_all(load(str(file), {}), reactor, lines.append))
    said = [line for line in lines if line.startswith(("database", "write"))]
    assert said[:2] == [f"database   ok: InfluxDB 1.6.7~rc0 answers at {server.url}", OK]
    assert said[2].startswith("database   http://127.0.0.1:1: Connection refused")
    assert exit_code == os.EX_UNAVAILABLE


POLICY = "CREATE RETENTION POLICY p ON tessdb DURATION 2d REPLICATION 1"
NO_DATABASE = 'write      404 database not found: "tessdb"; '
NO_POLICY = "write      500 retention policy not found: p; "
MEND = "mend FILE, which is to create it"
NOT = "FILE does not create the"
NO_STATEMENT = "it does not begin like InfluxQL, and is not sent; nothing after it would run"


@pytest.mark.parametrize(
    ("file", "retpol", "missing", "said"),
    [
        # What exists need not be created.
        (
            POLICY,
            "p",
            "",
            ["warning: FILE creates no database, but dbname is tessdb", f"{OK}, retention policy p"],
        ),
        (POLICY, "p", "policy", ["warning: FILE creates no database, but dbname is tessdb", CREATED]),
        ("CREATE DATABASE a", "", "", ["warning: FILE creates a, but dbname is tessdb", OK]),
        (SCHEMA, "autogen", "database", ["ok: FILE creates tessdb if it is missing", CREATED]),
        # What is missing must be.
        (
            POLICY,
            "p",
            "database",
            [
                "warning: FILE creates no database, but dbname is tessdb",
                f"{NO_DATABASE}{NOT} database tessdb",
            ],
        ),
        (
            "CREATE DATABASE a",
            "",
            "database",
            ["warning: FILE creates a, but dbname is tessdb", f"{NO_DATABASE}{NOT} database tessdb"],
        ),
        (
            SCHEMA,
            "q",
            "policy",
            ["ok: FILE creates tessdb if it is missing", f"{NO_POLICY}{NOT} retention policy q"],
        ),
        (
            SCHEMA,
            "autogen",
            "policy",
            ["ok: FILE creates tessdb if it is missing", f"{NO_POLICY}{NOT} retention policy autogen"],
        ),
        (
            SCHEMA,
            "q",
            "database",
            ["ok: FILE creates tessdb if it is missing", f"{NO_DATABASE}{NOT} retention policy q"],
        ),
        # A file that fails does not help, whatever its first statements create.
        (
            "CREATE DATABASE tessdb; CRATE x",
            "",
            "database",
            [f"FILE: statement 2 (no statement ...): {NO_STATEMENT}", f"{NO_DATABASE}{MEND}"],
        ),
        ("CREATE DATABASE tessdb; GRANT READ TO u", "", "", ["FILE: InfluxDB may not understand", OK]),
    ],
)
def test_a_data_definition_file_must_create_what_is_missing_and_nothing_else(
    tmp_path: Path, file: str, retpol: str, missing: str, said: list[str]
) -> None:
    write = {
        "": Answer(204, headers=ONE),
        "database": error(404, 'database not found: "tessdb"', ONE),
        "policy": error(500, "retention policy not found: p", ONE),
    }[missing]
    users = Answer(200, b'{"results":[{"statement_id":0,"series":[{"columns":["user","admin"]}]}]}', ONE)
    lines, exit_code, _ = check(
        [Answer(204, headers=ONE), write, users], tmp_path, Answer(500), file=file, retpol=retpol
    )
    _, schema, write_line = lines
    assert schema.startswith(f"schema     {said[0]}")
    assert write_line == said[1]
    failed = "may not understand" in schema or NO_STATEMENT in schema or " ok: " not in write_line
    assert exit_code == (os.EX_UNAVAILABLE if failed else os.EX_OK)


def test_a_data_definition_file_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    answers, _, _ = SERVERS["InfluxDB 1 without the database"]
    lines, exit_code, _ = check(answers, tmp_path, Answer(500), schema="/nowhere")
    assert lines[2] == f"{NO_DATABASE}mend /nowhere, which is to create it"
    assert exit_code == os.EX_UNAVAILABLE


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_check_asks_at_any_address_and_writes_nothing(tmp_path: Path, host: str) -> None:
    answers, _, wanted = SERVERS["InfluxDB 1 without the database"]
    lines, _, paths = check(answers, tmp_path, Answer(500), host=host)
    assert lines == ["database   ok: InfluxDB 1.6.7~rc0 answers at URL", CREATES, *wanted]
    assert paths == ["/ping", "/write", "/query"]


DEEP = b'{"error":' + b"[" * 990 + b"]" * 990 + b"}"
BODIES = (
    *(b"", b"\xff\xfe", b'"x"', b"null", b"17", b"[]", b"{}", b"[" * 100_000, b"9" * 5_000, b"NaN", DEEP),
    *(b"<html>\r\n<b>no</b>\n", b'{"error":null}', b'{"error":1}', b'{"error":{"a":[]}}'),
    *(b'{"message":[[]]}', b'{"error":"\\ud800"}', b'{"error":"database not found"}'),
    *(b'{"error":"two\\nlines"}', b'{"results":1}', b'{"results":[null]}', b'{"results":[{"series":[1]}]}'),
    *(b'{"results":[{"error":1}]}', b'{"results":[{"error":"\\ud800"}]}'),
)


@pytest.mark.parametrize("code", [200, 204, 302, 400, 401, 404, 413, 422, 500, 503])
def test_whatever_a_server_answers_a_check_says_it_in_one_line(tmp_path: Path, code: int) -> None:
    for body in BODIES:
        for first in ([], [Answer(204, headers=ONE), error(404, "database not found", ONE)]):
            lines, exit_code, _ = check(first, tmp_path, Answer(code, body))
            assert exit_code in (os.EX_OK, os.EX_UNAVAILABLE)
            assert [line.split()[0] for line in lines] == ["database", "schema", "write"], (body, lines)
            assert all("\n" not in line.strip() and line.encode() for line in lines), (body, lines)


def test_a_server_that_is_not_there_is_said_with_its_url(tmp_path: Path) -> None:
    for url in ("http://[::1]:1", "http://127.0.0.1:1"):
        lines, exit_code, _ = check([], tmp_path, Answer(500), url=url)
        assert lines == [
            "database   URL: Connection refused; check [influxdb] url, and whether the server runs"
        ]
        assert exit_code == os.EX_UNAVAILABLE


@pytest.mark.parametrize("answers", [[Answer(200, b"", ONE)], []])
def test_the_connection_is_closed_also_where_no_server_answers(
    answers: list[Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Http] = []
    close = Http.close

    async def closes(http: Http) -> None:
        closed.append(http)
        await close(http)

    monkeypatch.setattr(Http, "close", closes)
    check(answers, tmp_path, Answer(cut=0))
    assert len(closed) == 1
