"""Running the data definition file: what is sent, what is shown of what fails, and what never is."""

import gzip
import json
import socket
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.internet.ssl import platformTrust

from tessflux.config.secret import Secret
from tessflux.config.sections import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.connection import agent
from tessflux.influx.definition import Ran, Statement, read
from tessflux.influx.http import Http
from tessflux.influx.schema import Administration, preview
from tests.influx.site import wait_for


class Influx:
    """Answers as `answers` says, and records what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.targets: list[str] = []
        self.authorization: list[str | None] = []
        self.url = ""
        self.kind = "application/json"
        self.headers: dict[str, str] = {}

    def respond(self, target: str, form: str, authorization: str | None) -> tuple[int, str]:
        self.targets.append(target)
        url = urlsplit(target)
        if url.path.endswith("/ping"):
            return self.answers.get("ping", (204, ""))
        query = parse_qs(form or url.query)["q"][0]
        self.asked.append(query)
        self.authorization.append(authorization)
        return self.answers.get(query, (200, '{"results":[{"statement_id":0}]}'))


@contextmanager
def serve(influx: Influx) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            code, body = influx.respond(self.path, form, self.headers["Authorization"])
            self.send_response_only(code)
            self.send_header("Content-Type", influx.kind)
            for name, value in influx.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *arguments: Any) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        influx.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def influx() -> Iterator[Influx]:
    server = Influx()
    with serve(server):
        yield server


def administer(work: Callable[[Administration], Coroutine[Any, Any, Any]], at: str, /, **changes: Any) -> Any:
    """Let the reactor run until the work is done."""
    from twisted.internet import reactor

    config = InfluxConfig(**{"url": at, "timeout": 5.0, **changes})
    http = Http(config, agent(reactor, platformTrust, config.timeout), reactor)

    async def run() -> Any:
        try:
            return await work(Administration(http))
        finally:
            await http.close()

    return wait_for(run())


def define(influx: Influx, directory: Path, text: str, **changes: Any) -> Ran:
    schema = directory / "schema"
    schema.write_text(text, "utf-8")
    ran: Ran = administer(lambda admin: admin.define(read(str(schema))), influx.url, **changes)
    return ran


def test_the_statements_are_run_one_after_the_other(influx: Influx, tmp_path: Path) -> None:
    text = "-- ours\nCREATE DATABASE a;\nCREATE RETENTION POLICY p ON a\n  DURATION 2d REPLICATION 1;"
    assert define(influx, tmp_path, text).problem == ""
    assert influx.asked == [
        "CREATE DATABASE a",
        "CREATE RETENTION POLICY p ON a\n  DURATION 2d REPLICATION 1",
    ]


def test_a_statement_is_sent_in_the_body_and_not_in_the_address(influx: Influx, tmp_path: Path) -> None:
    """Every proxy writes addresses into its log."""
    statement = "CREATE USER u WITH PASSWORD 'Xsecret'"
    assert define(influx, tmp_path, statement).problem == ""
    assert (influx.asked, influx.targets) == ([statement], ["/query"])


@pytest.mark.parametrize(
    ("code", "body", "shown"),
    [
        (400, '{"error":"error parsing query: found X"}', '400: {"error":"error parsing query: found X"}'),
        (200, '{"results":[{"statement_id":0,"error":"database not found: b"}]}', "database not found: b"),
        (500, '{"error":"disk full"}', '{"error":"disk full"}'),
    ],
)
def test_a_statement_that_fails_is_named_and_none_is_run_after_it(
    influx: Influx, tmp_path: Path, code: int, body: str, shown: str
) -> None:
    influx.answers = {"CREATE RETENTION POLICY p ON b": (code, body)}
    failing = "CREATE RETENTION POLICY p ON b"
    ran = define(
        influx, tmp_path, f"CREATE DATABASE a; DROP DATABASE b; {failing}; DROP DATABASE c; CREATE DATABASE d"
    )
    assert ran.problem == f"statement 3 (CREATE RETENTION POLICY p ...): {shown}"
    assert [statement.number for statement in ran.statements] == [1]
    assert [each[:11] for each in ran.left_out] == ["statement 2"]
    assert influx.asked == ["CREATE DATABASE a", "CREATE RETENTION POLICY p ON b"]


NO_DEFINITIONS = (
    'DROP RETENTION POLICY "autogen" ON "tessdb"',
    "/* old */ drop\nDATABASE a",
    "DROP-- no\n DATABASE a",
    'DROP"a"',
    "DELETE FROM readings WHERE time < now() - 1d",
    "KILL QUERY 7",
    "REVOKE ALL ON a FROM u",
    "ALTER DATABASE a",
    "CREATE USR a",
    "CREATE\u00a0DATABASE a",
    "SELECT mean(mag) INTO b FROM readings",
    "SELECT * FROM readings",
    "SHOW SERIES",
    "EXPLAIN ANALYZE SELECT * FROM readings",
    "SELECT a FROM /'/; DROP DATABASE b; SHOW TAG KEYS WHERE v = '/'",
)


@pytest.mark.parametrize(
    ("statement", "harm"),
    [
        *((text, "it defines nothing that tessflux knows") for text in NO_DEFINITIONS),
        ("ALTER RETENTION POLICY p ON a DURATION '1d'", "it may shorten how long readings are kept"),
        ("ALTER RETENTION POLICY p ON a DURATION 2d DEFAULT", "leave out DEFAULT"),
        (
            "ALTER RETENTION POLICY p ON a DURATION 30501w",
            "InfluxDB may make a short duration of one that is so",
        ),
        (
            "CREATE DATABASE a WITH DURATION 15250w15250w1w",
            "InfluxDB may make a short duration of one that is so",
        ),
        (
            "CREATE RETENTION POLICY p ON a DURATION 2d REPLICATION 1 SHARD DURATION 9223372036855ms",
            "write INF",
        ),
        (
            "CREATE CONTINUOUS QUERY q ON a BEGIN SELECT b INTO c FROM /'/ END; DROP DATABASE b; '/ END",
            "it has a regular expression",
        ),
    ],
)
def test_what_defines_nothing_or_takes_something_away_is_never_sent_and_the_others_are_run(
    influx: Influx, tmp_path: Path, statement: str, harm: str
) -> None:
    ran = define(influx, tmp_path, f"CREATE DATABASE a; {statement}; CREATE DATABASE c")
    assert influx.asked == ["CREATE DATABASE a", "CREATE DATABASE c"]
    assert (len(ran.left_out), ran.problem) == (1, "")
    assert ran.left_out[0].startswith("statement 2 (")
    assert harm in ran.left_out[0]


def kept(duration: str) -> str:
    """What InfluxDB answers about a database with one retention policy."""
    series = {"columns": ["name", "duration"], "values": [["other", "1h0m0s"], ["p", duration]]}
    return json.dumps({"results": [{"statement_id": 0, "series": [series]}]})


@pytest.mark.parametrize(
    ("clauses", "current", "run"),
    [
        ("DURATION 2d", "48h0m0s", True),
        ("DURATION 2d", "48h0m1s", False),
        ("DURATION 1w2d3h4m5s", "219h4m5s", True),
        ("DURATION 1w2d3h4m4s", "219h4m5s", False),
        ("REPLICATION 1 SHARD DURATION 1h duration 1d", "48h0m0s", False),
        ("DURATION INF", "48h0m0s", True),
        ("DURATION inf", "0s", True),
        ("DURATION 0s", "48h0m0s", True),
        ("DURATION 5000w", "0s", False),
        # Of what is not understood nobody knows whether it is longer.
        ("DURATION 5000y", "1h0m0s", False),
        ("DURATION 5000w", "for some time", False),
        ("SHARD DURATION 1h", "48h0m0s", True),
        ("DURATION 15250w1d", "8736h0m0s", True),
    ],
)
def test_a_retention_policy_is_altered_unless_that_shortens_it(
    influx: Influx, tmp_path: Path, clauses: str, current: str, run: bool
) -> None:
    alter = f'ALTER RETENTION POLICY "p" ON "a b" {clauses}'
    influx.answers = {'SHOW RETENTION POLICIES ON "a b"': (200, kept(current))}
    ran = define(influx, tmp_path, f"{alter}; CREATE DATABASE c")
    assert [query for query in influx.asked if "SHOW" not in query] == [alter] * run + ["CREATE DATABASE c"]
    assert [each.partition(": ")[0] for each in ran.left_out] == (
        [] if run else ['statement 1 (ALTER RETENTION POLICY "p" ...)']
    )


def test_a_retention_policy_that_is_not_there_cannot_be_shortened(influx: Influx, tmp_path: Path) -> None:
    alter = "ALTER RETENTION POLICY q ON a DURATION 2d"
    for answer in (kept("0s"), '{"results":[{"statement_id":0,"error":"database not found: a"}]}'):
        influx.asked.clear()
        influx.answers = {"SHOW RETENTION POLICIES ON a": (200, answer)}
        assert define(influx, tmp_path, alter).left_out == ()
        assert influx.asked[1:] == [alter]


def test_a_retention_policy_is_not_altered_if_the_server_does_not_say_what_is_kept(
    influx: Influx, tmp_path: Path
) -> None:
    influx.answers = {"SHOW RETENTION POLICIES ON a": (403, "requires admin privilege")}
    ran = define(influx, tmp_path, "ALTER RETENTION POLICY q ON a DURATION 2d; CREATE DATABASE b")
    assert "requires admin privilege" in ran.problem
    assert influx.asked == ["SHOW RETENTION POLICIES ON a"]


def defaults(*policies: tuple[str, bool]) -> tuple[int, str]:
    """What InfluxDB answers about a database with these policies, each the default one or not."""
    series = {
        "columns": ["name", "duration", "default"],
        "values": [[name, "0s", is_] for name, is_ in policies],
    }
    return 200, json.dumps({"results": [{"statement_id": 0, "series": [series]}]})


NOTHING = 200, '{"results":[{"statement_id":0}]}'
NO_DATABASE = 200, '{"results":[{"statement_id":0,"error":"database not found: a"}]}'
MEASURED = 200, '{"results":[{"series":[{"columns":["name"],"values":[["readings"]]}]}]}'
CREATE = 'CREATE RETENTION POLICY "p" ON "a b" DURATION 2d REPLICATION 1'


@pytest.mark.parametrize(
    ("policies", "measurements", "moves"),
    [
        # As the file of 2017 has it: the database is new, or nobody has written into it yet.
        (NO_DATABASE, NO_DATABASE, True),
        (defaults(("autogen", True)), NOTHING, True),
        (defaults(("p", False), ("autogen", True)), NOTHING, True),
        # What others write goes to autogen.
        (defaults(("autogen", True)), MEASURED, False),
        (defaults(("p", False), ("autogen", True)), MEASURED, False),
        # Nothing moves.
        (defaults(("p", True), ("autogen", False)), MEASURED, True),
        (defaults(("autogen", False)), MEASURED, True),
        (defaults(), MEASURED, True),
    ],
)
@pytest.mark.parametrize("clauses", ["", " SHARD DURATION 2h", " SHARD DURATION 2h FUTURE LIMIT 1h"])
def test_a_new_retention_policy_does_not_take_what_others_write_to_another(
    influx: Influx,
    tmp_path: Path,
    clauses: str,
    policies: tuple[int, str],
    measurements: tuple[int, str],
    moves: bool,
) -> None:
    influx.answers = {
        'SHOW RETENTION POLICIES ON "a b"': policies,
        'SHOW MEASUREMENTS ON "a b" LIMIT 1': measurements,
    }
    ran = define(influx, tmp_path, f"{CREATE}{clauses} DEFAULT; CREATE DATABASE c")
    create = f"{CREATE}{clauses}"
    assert [query for query in influx.asked if "SHOW" not in query] == [
        f"{create} DEFAULT" if moves else create,
        "CREATE DATABASE c",
    ]
    why = "without DEFAULT, since what others write without naming a policy goes to autogen"
    assert ran.left_out == (() if moves else (f'statement 1 (CREATE RETENTION POLICY "p" ...): {why}',))


def test_a_new_retention_policy_is_not_made_if_the_server_does_not_say_which_is_the_default(
    influx: Influx, tmp_path: Path
) -> None:
    asked = ['SHOW RETENTION POLICIES ON "a b"', 'SHOW MEASUREMENTS ON "a b" LIMIT 1']
    influx.answers = dict(zip(asked, (defaults(("autogen", True)), (403, "no rights")), strict=True))
    assert "no rights" in define(influx, tmp_path, f"{CREATE} DEFAULT").problem
    for odd in ("1", '{"results":[{"series":1}]}', '{"results":[{"series":[{"columns":["name"]}]}]}'):
        influx.answers[asked[0]] = (200, odd)
        with pytest.raises(ServerError, match="its answer is not that of an InfluxDB"):
            define(influx, tmp_path, f"{CREATE} DEFAULT")
    influx.answers = dict(
        zip(asked, (defaults(("autogen", True)), (200, '{"results":[{"series":1}]}')), strict=True)
    )
    with pytest.raises(ServerError, match="its answer is not that of an InfluxDB"):
        define(influx, tmp_path, f"{CREATE} DEFAULT")
    assert not [query for query in influx.asked if "SHOW" not in query]


UNREADABLE: list[object] = [
    *({}, {"series": []}, {"series": None}, {"series": [{}]}, {"series": [1]}, {"series": {}}),
    *({"series": [{"columns": columns}]} for columns in (None, 1, "name duration", [], [1, 2])),
    {"series": [{"columns": ["name"], "values": [["p"]]}]},
    {"series": [{"columns": ["duration"], "values": [["1h0m0s"]]}]},
    *(
        {"series": [{"columns": ["name", "duration"], "values": [row]}]}
        for row in (1, "ab", [], ["p"], ["p", 1], ["p", None], [1, "1h0m0s"], [[], "1h0m0s"])
    ),
    *({"series": [{"columns": ["name", "duration"], "values": values}]} for values in (1, "ab")),
    {"series": [{"columns": ["name", "duration"]}, {"columns": ["name", "duration"]}]},
]


@pytest.mark.parametrize("result", UNREADABLE, ids=json.dumps)
def test_a_retention_policy_is_not_altered_if_what_is_kept_cannot_be_read(
    influx: Influx, tmp_path: Path, result: object
) -> None:
    influx.answers = {"SHOW RETENTION POLICIES ON a": (200, json.dumps({"results": [result]}))}
    with pytest.raises(ServerError, match="its answer is not that of an InfluxDB"):
        define(influx, tmp_path, "ALTER RETENTION POLICY p ON a DURATION 2d")
    assert influx.asked == ["SHOW RETENTION POLICIES ON a"]


ODD = [
    *("", "[]", "1", '"x"', "null", "true", "{}", "[" * 100_000, "9" * 5_000, "NaN", '{"results":1}'),
    *('{"results":null}', '{"results":"x"}', '{"results":{"a":1}}', '{"results":[]}', '{"results":[1]}'),
    *('{"results":[null]}', '{"results":[[]]}', '{"results":[{},{}]}', '{"results":[{"series":1}]}'),
    *('{"results":[{"series":[{}]}]}', '{"results":[{"series":[1]}]}', '{"results":[{"error":1}]}'),
    *('{"results":[{"error":{"a":[]}}]}', '{"results":[{"error":"\\ud800"}]}', '{"error":"\\ud800"}'),
    '{"results":[{"series":[{"values":[["a"]]}]}]}',
    '{"results":[{"series":[{"columns":["a","b"],"values":[["a"]]}]}]}',
    '{"results":[{"series":[{"columns":[[]],"values":[["a"]]}]}]}',
]


@pytest.mark.parametrize("kind", ["application/json", "application/x-msgpack"])
@pytest.mark.parametrize("code", [200, 204, 400, 500])
def test_whatever_a_server_answers_it_is_an_answer_or_a_server_error_that_can_be_printed(
    influx: Influx, tmp_path: Path, code: int, kind: str
) -> None:
    influx.kind = kind
    alter = "ALTER RETENTION POLICY p ON a DURATION 2d"
    queries = ("SHOW RETENTION POLICIES ON a", "SHOW USERS", "CREATE DATABASE a")

    async def ask_all(admin: Administration) -> None:
        for body in ODD:
            influx.answers = dict.fromkeys((*queries, "ping"), (code, body))
            for ask in (
                admin.name,
                admin.may_not_create,
                partial(admin.define, [Statement(1, "CREATE DATABASE a")]),
                partial(admin.define, [Statement(1, alter)]),
            ):
                said: object
                try:
                    said = await ask()
                except ServerError as error:
                    said = error
                assert isinstance(said, str | Ran | ServerError)
                assert str(said).isprintable(), body

    administer(ask_all, influx.url)
    assert alter not in influx.asked


def test_a_preview_is_what_would_be_run_in_an_empty_database_and_asks_nobody(
    influx: Influx, tmp_path: Path
) -> None:
    text = "CREATE DATABASE a; DROP DATABASE b; ALTER RETENTION POLICY p ON a DURATION 2d; CRATE x; GRANT y"
    influx.answers = {"SHOW RETENTION POLICIES ON a": (200, kept("1h0m0s"))}
    ran = define(influx, tmp_path, text)
    influx.asked.clear()
    would = wait_for(preview(read(str(tmp_path / "schema"))))
    assert (would, influx.asked) == (ran, [])
    assert [statement.number for statement in would.statements] == [1, 3]
    assert would.problem == "statement 4 (no statement ...): it does not begin like InfluxQL, and is not sent"


def test_a_byte_order_mark_is_no_part_of_the_first_statement(influx: Influx, tmp_path: Path) -> None:
    assert define(influx, tmp_path, "\ufeffCREATE DATABASE a").problem == ""
    assert influx.asked == ["CREATE DATABASE a"]


# Each with what InfluxDB 1.6 says about it; what begins with X is (part of) a password.
PASSWORDS = [
    ('CREATE USER u WITH PASSWORD "Xone"', "found Xone, expected string at line 1, char 29"),
    ("CREATE USER u WITH PASSWORD Xtwo", "found Xtwo, expected string at line 1, char 29"),
    ("create user u with password Xtwo", "found Xtwo, expected string at line 1, char 29"),
    (r"CREATE USER u WITH PASSWORD 'it\Xthree'", r"found \\X, expected string at line 1, char 33"),
    ("CREATE USER u WITH PASSWORD 'Xfour''Xfive'", "found Xfive, expected ; at line 1, char 34"),
    (
        r"CREATE USER u WITH PASSWORD 'a\'Xsix;\\' WITH ALL",
        "found EOF, expected PRIVILEGES at line 1, char 51",
    ),
    ("CREATE USER u WITH PASSWORD 'Xseven eight", "found Xseven eight, expected string at line 1, char 28"),
    ("SET PASSWORD FOR u 'Xnine'", "found Xnine, expected = at line 1, char 20"),
    ("SET PASSWORD Xten", "found Xten, expected FOR at line 1, char 13"),
    ("SET PASSWORD FOR u = 'Xeleven'", "something new about Xeleven and %27Xeleven%27"),
    ("CREATE USER u 'Xtwelve'", "found Xtwelve, expected WITH at line 1, char 15"),
]


@pytest.mark.parametrize(("statement", "reason"), PASSWORDS)
def test_no_password_is_shown_however_it_is_written(
    influx: Influx, tmp_path: Path, statement: str, reason: str
) -> None:
    influx.answers = {statement: (400, f'{{"error":"error parsing query: {reason}"}}')}
    problem = define(influx, tmp_path, statement).problem
    assert influx.asked == [statement]
    assert "X" not in problem
    first_words = " ".join(statement.split()[:2])
    assert problem.startswith(f"statement 1 ({first_words}")
    assert reason.rpartition(", ")[2] in problem or "the reason is not shown" in problem


def test_the_rest_of_a_password_is_neither_sent_nor_shown(influx: Influx, tmp_path: Path) -> None:
    """If a quote in the password was not escaped, and a semicolon follows."""
    ran = define(influx, tmp_path, "CREATE USER u WITH PASSWORD 'a'b;Xtail99': GRANT")
    assert ran.problem == "statement 2 (no statement ...): it does not begin like InfluxQL, and is not sent"
    assert influx.asked == ["CREATE USER u WITH PASSWORD 'a'b"]


def test_an_error_about_a_user_is_shown(influx: Influx, tmp_path: Path) -> None:
    statement = "SET PASSWORD FOR nobody = 'Xsecret'"
    influx.answers = {statement: (200, '{"results":[{"statement_id":0,"error":"user not found"}]}')}
    assert define(influx, tmp_path, statement).problem == (
        "statement 1 (SET PASSWORD FOR nobody ...): user not found"
    )


def test_the_error_about_a_server_that_is_gone_does_not_show_the_statement(tmp_path: Path) -> None:
    influx = Influx()
    with serve(influx):
        pass
    with pytest.raises(ServerError, match="Connection refused") as caught:
        define(influx, tmp_path, "CREATE USER u WITH PASSWORD 'Xsecret'; CREATE DATABASE a")
    assert "Xsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "body", "said"),
    [
        (200, '{"results":[{"statement_id":0}]}', ""),
        (403, '{"error":"requires admin privilege"}', '403: {"error":"requires admin privilege"}'),
    ],
)
def test_only_an_administrator_may_create(influx: Influx, code: int, body: str, said: str) -> None:
    influx.answers = {"SHOW USERS": (code, body)}
    assert administer(lambda admin: admin.may_not_create(), influx.url) == said


def test_after_a_timeout_no_other_statement_is_sent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        influx = Influx()
        influx.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerError, match=r"no answer within 0\.1 s") as caught:
            define(influx, tmp_path, "SET PASSWORD FOR u = 'Xsecret'; CREATE DATABASE a", timeout=0.1)
        assert "Xsecret" not in str(caught.value)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@contextmanager
def talk(start: bytes, part: bytes, pause: float) -> Iterator[tuple[str, list[int]]]:
    """A server that never stops sending; gives its url and the number of bytes sent, in a list."""
    sent = [0]

    def serve_one() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(start)
            while not stopped.wait(pause) and sent[0] < 100_000_000:
                connection.sendall(part)
                sent[0] += len(part)

    stopped = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve_one)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        finally:
            stopped.set()
            thread.join()


LENGTH = b"HTTP/1.1 200 OK\r\nX-Influxdb-Version: 1\r\nContent-Length: 100000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n"
HEADERS = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("start", "part", "said"),
    [
        (LENGTH, b" " * 50_000, "not that of an InfluxDB"),
        (CHUNKED, b"3e8\r\n" + b" " * 1_000 + b"\r\n", ""),
        (HEADERS + b"X: ", b"x" * 50_000, "the server hung up"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, "bytes without an end"),
    ],
)
def test_no_more_than_a_bounded_part_of_an_endless_answer_is_read(
    start: bytes, part: bytes, said: str
) -> None:
    with talk(start, part, 0) as (url, sent):
        try:
            shown = administer(lambda admin: admin.may_not_create(), url)
        except ServerError as error:
            shown = str(error)
    assert said in shown
    # A few megabytes go into the buffers of the system.
    assert sent[0] < 50_000_000


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b"H"),
        (HEADERS, b"X: y\r\n"),
        (LENGTH, b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_an_answer_that_drips_is_a_timeout(start: bytes, part: bytes, tmp_path: Path) -> None:
    with talk(start, part, 0.01) as (url, _):
        influx = Influx()
        influx.url = url
        with pytest.raises(ServerError, match=r"no answer within 0\.2 s"):
            define(influx, tmp_path, "CREATE DATABASE a", timeout=0.2)


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    answer = b"HTTP/1.1 500 No\r\nContent-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with talk(answer + bomb, b"", 0.01) as (url, _):
        tracemalloc.start()
        try:
            assert administer(lambda admin: admin.may_not_create(), url)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_a_redirection_is_not_followed(influx: Influx, tmp_path: Path) -> None:
    with talk(
        f"HTTP/1.1 307 No\r\nLocation: {influx.url}/query?q=CREATE DATABASE a\r\n"
        "Content-Length: 0\r\n\r\n".encode(),
        b"",
        0.01,
    ) as (url, _):
        elsewhere = Influx()
        elsewhere.url = url
        with pytest.raises(ServerError, match="redirects us"):
            define(elsewhere, tmp_path, "CREATE DATABASE a")
    assert influx.asked == []


def test_no_proxy_and_no_login_is_taken_from_the_environment(
    influx: Influx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert define(influx, tmp_path, "CREATE DATABASE a").problem == ""
    assert influx.authorization == [None]


def test_an_answer_that_is_not_json_is_a_server_error(influx: Influx, tmp_path: Path) -> None:
    influx.answers = {"CREATE DATABASE a": (200, "<html>welcome</html>")}
    with pytest.raises(ServerError, match="its answer is not that of an InfluxDB"):
        define(influx, tmp_path, "CREATE DATABASE a")


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [("", "", None), ("u", "p:w", "u:p:w"), ("u", "", "u:")],
)
def test_the_login_is_sent_only_if_there_is_one(
    influx: Influx, tmp_path: Path, username: str, password: str, expected: str | None
) -> None:
    define(influx, tmp_path, "CREATE DATABASE a", username=username, password=Secret(password))
    basic = f"Basic {b64encode(expected.encode()).decode()}" if expected else None
    assert influx.authorization == [basic]


def test_a_path_before_the_database_is_kept(influx: Influx, tmp_path: Path) -> None:
    assert define(influx, tmp_path, "CREATE DATABASE a", url=f"{influx.url}/influx").problem == ""
    assert influx.asked == ["CREATE DATABASE a"]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"X-Influxdb-Version": "1.6.7~rc0", "X-Influxdb-Build": "OSS"}, "InfluxDB 1.6.7~rc0"),
        # Others imitate the version only.
        ({"X-Influxdb-Version": "v2.7.4", "Server": "questDB/1.0"}, "questDB/1.0"),
        ({"X-Influxdb-Version": "1.8.0"}, ""),
        ({}, ""),
    ],
)
@pytest.mark.parametrize("code", [200, 204, 400, 404])
def test_a_server_is_called_what_it_calls_itself_whatever_it_answers_to_a_ping(
    influx: Influx, code: int, headers: dict[str, str], name: str
) -> None:
    influx.answers, influx.headers = {"ping": (code, "")}, headers
    assert administer(lambda admin: admin.name(), influx.url) == name


def test_a_login_that_a_server_decodes_is_hidden(influx: Influx, tmp_path: Path) -> None:
    influx.answers = {"CREATE DATABASE a": (401, '{"error":"u:Xse<cret, Xse\\u003ccret"}')}
    influx.headers = {"X-Influxdb-Version": "Xse<cret", "X-Influxdb-Build": "OSS"}
    login = {"username": "u", "password": Secret("Xse<cret")}
    ran = define(influx, tmp_path, "CREATE DATABASE a", **login)
    assert ran.problem == 'statement 1 (CREATE DATABASE a ...): 401: {"error":"u:***, ***"}'
    assert administer(lambda admin: admin.name(), influx.url, **login) == "InfluxDB ***"
