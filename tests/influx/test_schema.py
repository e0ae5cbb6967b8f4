"""The data definition file: what a statement is, what is shown of one that fails, and what never is."""

import gzip
import socket
import tracemalloc
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.config.secret import Secret
from tessflux.config.sections import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.schema import Administration, databases, statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;;\n; ", []),
        ("CREATE DATABASE a", ["CREATE DATABASE a"]),
        ("CREATE DATABASE a; CREATE DATABASE b;", ["CREATE DATABASE a", "CREATE DATABASE b"]),
        ("-- nothing; but remarks", []),
        ("/* nothing;\nbut remarks */", []),
        ("/* without an end; ", []),
        ("A -- one;\nB;-- two\n/* three; */C", ["A  \nB", "C"]),
        ("A /* 'it */ B; C", ["A   B", "C"]),
        ("A -- it's; no quote\n; B", ["A", "B"]),
        ("A\n  B\n  C;\nD", ["A\n  B\n  C", "D"]),
        ("A 'x;y'; B", ["A 'x;y'", "B"]),
        ('A "x;y"; B', ['A "x;y"', "B"]),
        (r"A 'x\';y'; B", [r"A 'x\';y'", "B"]),
        (r"A 'x\\'; B", [r"A 'x\\'", "B"]),
        ("A '--x' ; B '/* y */'", ["A '--x'", "B '/* y */'"]),
        ("""A "it's"; B""", ["""A "it's\"""", "B"]),
        ("A 10 / 2 - 1; B", ["A 10 / 2 - 1", "B"]),
        ("A 'without an end; B", ["A 'without an end", "B"]),
        (
            "CREATE CONTINUOUS QUERY q ON a BEGIN\n"
            "  SELECT mean(mag) INTO b FROM r GROUP BY time(1h), *\nEND;\nCREATE DATABASE b",
            [
                "CREATE CONTINUOUS QUERY q ON a BEGIN\n"
                "  SELECT mean(mag) INTO b FROM r GROUP BY time(1h), *\nEND",
                "CREATE DATABASE b",
            ],
        ),
    ],
)
def test_a_statement_ends_at_a_semicolon_that_is_neither_quoted_nor_in_a_comment(
    text: str, expected: list[str]
) -> None:
    assert list(statements(text)) == expected


@given(st.lists(st.text("ab c'\"\\/*-;\n", max_size=30)))
def test_nothing_but_comments_is_lost_and_no_text_raises(parts: list[str]) -> None:
    text = ";".join(parts)
    found = list(statements(text))
    assert all(statement.strip() == statement != "" for statement in found)
    if not any(mark in text for mark in ("--", "/*", "'", '"')):
        assert found == [part.strip() for part in text.split(";") if part.strip()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("CREATE DATABASE tess", ["tess"]),
        ('create  database\n"a b" WITH DURATION 2d; CREATE DATABASE c;', ["a b", "c"]),
        (r'CREATE DATABASE "a;\"b"', [r"a;\"b"]),
        ("CREATE RETENTION POLICY p ON a; DROP DATABASE b; -- CREATE DATABASE c", []),
        ("CREATE USER u WITH PASSWORD 'CREATE DATABASE d'", []),
    ],
)
def test_the_databases_that_a_file_creates(text: str, expected: list[str]) -> None:
    assert databases(text) == expected


def test_the_example_creates_its_database() -> None:
    example = Path(__file__).parents[2] / "etc" / "tessflux" / "influxdb.example"
    assert databases(example.read_text()) == ["tessdb"]


class Influx:
    """Answers as `answers` says, and records what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.targets: list[str] = []
        self.authorization: list[str | None] = []
        self.url = ""

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
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Influxdb-Version", "1.6.7")
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


@contextmanager
def administration(config: InfluxConfig) -> Iterator[Administration]:
    administration = Administration(config)
    try:
        yield administration
    finally:
        administration.close()


def define(influx: Influx, directory: Path, text: str, **changes: Any) -> list[str]:
    schema = directory / "schema"
    schema.write_text(text, "utf-8")
    config = InfluxConfig(**{"url": influx.url, "schema": str(schema), "timeout": 5.0, **changes})
    with administration(config) as admin:
        return admin.define()


def test_the_statements_are_run_one_after_the_other(influx: Influx, tmp_path: Path) -> None:
    text = "-- ours\nCREATE DATABASE a;\nCREATE RETENTION POLICY p ON a\n  DURATION 2d REPLICATION 1;"
    assert define(influx, tmp_path, text) == []
    assert influx.asked == [
        "CREATE DATABASE a",
        "CREATE RETENTION POLICY p ON a\n  DURATION 2d REPLICATION 1",
    ]


def test_a_statement_is_sent_in_the_body_and_not_in_the_address(influx: Influx, tmp_path: Path) -> None:
    """Every proxy writes addresses into its log."""
    statement = "CREATE USER u WITH PASSWORD 'Xsecret'"
    assert define(influx, tmp_path, statement) == []
    assert (influx.asked, influx.targets) == ([statement], ["/query"])


def test_a_statement_that_fails_is_named_and_the_others_are_run(influx: Influx, tmp_path: Path) -> None:
    parsing = '{"error":"error parsing query: found EXISTS, expected ; at line 1, char 18"}'
    missing = '{"results":[{"statement_id":0,"error":"database not found: b"}]}'
    influx.answers = {
        "DROP DATABASE IF EXISTS b": (400, parsing),
        "CREATE RETENTION POLICY p ON b": (200, missing),
        "CREATE DATABASE d": (500, '{"error":"disk full"}'),
    }
    problems = define(
        influx,
        tmp_path,
        "CREATE DATABASE a; DROP DATABASE IF EXISTS b; CREATE RETENTION POLICY p ON b;"
        " CREATE DATABASE c; CREATE DATABASE d",
    )
    assert problems == [
        f"statement 2 (DROP DATABASE IF EXISTS ...): 400: {parsing}",
        "statement 3 (CREATE RETENTION POLICY p ...): database not found: b",
        'statement 5 (CREATE DATABASE d ...): {"error":"disk full"}',
    ]
    assert len(influx.asked) == 5


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
]


@pytest.mark.parametrize(("statement", "reason"), PASSWORDS)
def test_no_password_is_shown_however_it_is_written(
    influx: Influx, tmp_path: Path, statement: str, reason: str
) -> None:
    influx.answers = {statement: (400, f'{{"error":"error parsing query: {reason}"}}')}
    [problem] = define(influx, tmp_path, statement)
    assert influx.asked == [statement]
    assert "X" not in problem
    first_words = " ".join(statement.split()[:2])
    assert problem.startswith(f"statement 1 ({first_words}")
    assert reason.rpartition(", ")[2] in problem or "the reason is not shown" in problem


def test_the_rest_of_a_password_that_looks_like_a_statement_is_not_shown(
    influx: Influx, tmp_path: Path
) -> None:
    """If a quote in the password was not escaped, and a semicolon follows."""
    reason = '{"error":"error parsing query: found Xtail99, expected SELECT, DELETE, SHOW at line 1, char 1"}'
    influx.answers = {"Xtail99': GRANT": (400, reason)}
    [problem] = define(influx, tmp_path, "CREATE USER u WITH PASSWORD 'a'b;Xtail99': GRANT")
    assert problem == "statement 2 (no statement ...): expected SELECT, DELETE, SHOW at line 1, char 1"


def test_an_error_about_a_user_is_shown(influx: Influx, tmp_path: Path) -> None:
    statement = "SET PASSWORD FOR nobody = 'Xsecret'"
    influx.answers = {statement: (200, '{"results":[{"statement_id":0,"error":"user not found"}]}')}
    assert define(influx, tmp_path, statement) == ["statement 1 (SET PASSWORD ...): user not found"]


def test_the_error_about_a_server_that_is_gone_does_not_show_the_statement(tmp_path: Path) -> None:
    influx = Influx()
    with serve(influx):
        pass
    with pytest.raises(ServerError, match="no connection") as caught:
        define(influx, tmp_path, "CREATE USER u WITH PASSWORD 'Xsecret'; CREATE DATABASE a")
    assert "Xsecret" not in str(caught.value)
    assert influx.url in str(caught.value)


@pytest.mark.parametrize(("code", "may"), [(200, True), (403, False)])
def test_only_an_administrator_may_create(influx: Influx, tmp_path: Path, code: int, may: bool) -> None:
    body = '{"results":[{"statement_id":0}]}' if may else '{"error":"requires admin privilege"}'
    influx.answers = {"SHOW USERS": (code, body)}
    administration = Administration(InfluxConfig(url=influx.url))
    assert administration.may_create() is may
    administration.close()


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
    ("start", "part"),
    [
        (LENGTH, b" " * 50_000),
        (CHUNKED, b"3e8\r\n" + b" " * 1_000 + b"\r\n"),
        (HEADERS + b"X: ", b"x" * 50_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000),
    ],
)
def test_no_more_than_a_bounded_part_of_an_endless_answer_is_read(start: bytes, part: bytes) -> None:
    with (
        talk(start, part, 0) as (url, sent),
        administration(InfluxConfig(url=url, timeout=5.0)) as admin,
        pytest.raises(ServerError, match=url),
    ):
        admin.version()
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
    with talk(answer + bomb, b"", 0.01) as (url, _), administration(InfluxConfig(url=url)) as admin:
        tracemalloc.start()
        try:
            with pytest.raises(ServerError):
                admin.version()
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
    assert define(influx, tmp_path, "CREATE DATABASE a") == []
    assert influx.authorization == [None]


def test_an_answer_that_is_not_json_is_a_server_error(influx: Influx, tmp_path: Path) -> None:
    influx.answers = {"CREATE DATABASE a": (200, "<html>welcome</html>")}
    with pytest.raises(ServerError, match=influx.url):
        define(influx, tmp_path, "CREATE DATABASE a")


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [("", "", None), ("u", "p:w", "u:p:w"), ("u", "", None)],
)
def test_the_login_is_sent_only_if_there_is_one(
    influx: Influx, tmp_path: Path, username: str, password: str, expected: str | None
) -> None:
    define(influx, tmp_path, "CREATE DATABASE a", username=username, password=Secret(password))
    basic = f"Basic {b64encode(expected.encode()).decode()}" if expected else None
    assert influx.authorization == [basic]


def test_a_path_before_the_database_is_kept(influx: Influx, tmp_path: Path) -> None:
    assert define(influx, tmp_path, "CREATE DATABASE a", url=f"{influx.url}/influx") == []
    assert influx.asked == ["CREATE DATABASE a"]


def test_a_file_that_cannot_be_read_is_an_oserror(influx: Influx, tmp_path: Path) -> None:
    config = InfluxConfig(url=influx.url, schema=str(tmp_path / "missing"))
    (tmp_path / "latin").write_bytes("-- año".encode("latin-1"))
    with administration(config) as admin, pytest.raises(FileNotFoundError):
        admin.define()
    with (
        administration(replace(config, schema=str(tmp_path / "latin"))) as admin,
        pytest.raises(OSError, match="latin is not UTF-8 text"),
    ):
        admin.define()
    assert influx.asked == []


def test_the_version_is_the_one_that_the_server_tells(influx: Influx) -> None:
    with administration(InfluxConfig(url=influx.url)) as admin:
        assert admin.version() == "1.6.7"


def test_a_server_that_is_no_influxdb_is_a_server_error(influx: Influx) -> None:
    influx.answers = {"ping": (404, "not found")}
    with administration(InfluxConfig(url=influx.url)) as admin, pytest.raises(ServerError, match="not found"):
        admin.version()
