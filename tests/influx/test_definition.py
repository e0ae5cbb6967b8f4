"""The data definition file as a text: what a statement is, which are harmless, and how each is shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.influx.definition import Statement, read, statements


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


POLICY = 'CREATE RETENTION POLICY "two days" ON tessdb'


@pytest.mark.parametrize(
    ("statement", "sent"),
    [
        (
            f"{POLICY} DURATION 2d SHARD_DURATION 2h REPLICATION 1 DEFAULT",
            f"{POLICY} DURATION 2d REPLICATION 1 SHARD DURATION 2h DEFAULT",
        ),
        (
            f"{POLICY} DURATION INF\n  shard_duration 1000w\n  REPLICATION 1",
            f"{POLICY} DURATION INF REPLICATION 1 SHARD duration 1000w",
        ),
        (
            f"{POLICY} DURATION 2d REPLICATION 1 SHARD_DURATION 2h",
            f"{POLICY} DURATION 2d REPLICATION 1 SHARD DURATION 2h",
        ),
        (
            f"{POLICY} DEFAULT SHARD DURATION 2h REPLICATION 1 DURATION 2d",
            f"{POLICY} DURATION 2d REPLICATION 1 SHARD DURATION 2h DEFAULT",
        ),
        (
            'CREATE DATABASE "a" WITH DURATION 2d SHARD_DURATION 2h REPLICATION 1 NAME "DEFAULT p"',
            'CREATE DATABASE "a" WITH DURATION 2d REPLICATION 1 SHARD DURATION 2h NAME "DEFAULT p"',
        ),
        (
            "ALTER RETENTION POLICY p ON a SHARD_DURATION 2h",
            "ALTER RETENTION POLICY p ON a SHARD DURATION 2h",
        ),
    ],
)
def test_the_clauses_of_a_retention_policy_are_put_as_influxql_wants_them(statement: str, sent: str) -> None:
    assert list(statements(statement)) == [sent]


@pytest.mark.parametrize(
    "statement",
    [
        f"{POLICY}\n  DURATION 2d REPLICATION 1\n  SHARD DURATION 2h DEFAULT",
        f"{POLICY} DURATION 2d SHARD_DURATION REPLICATION 1",
        'CREATE DATABASE "x SHARD_DURATION 2h REPLICATION 1"',
        "SHOW SHARDS",
    ],
)
def test_a_statement_that_is_right_or_is_not_understood_is_left_as_it_is(statement: str) -> None:
    assert list(statements(statement)) == [statement]


QUERY = 'CREATE CONTINUOUS QUERY "q;" ON a\nBEGIN\n  SELECT mean("the END") INTO b FROM r GROUP BY time(1h)'


@pytest.mark.parametrize("end", ["\nEND", ";\nEND", " ; -- that is all;\nEND", " END"])
def test_a_continuous_query_ends_at_its_end(end: str) -> None:
    query, other = statements(f"{QUERY}{end};\nCREATE DATABASE b;")
    assert query.split() == [*QUERY.split(), "END"]
    assert other == "CREATE DATABASE b"


def test_what_follows_a_continuous_query_without_an_end_belongs_to_it() -> None:
    """So that InfluxDB refuses it, and nothing after it is run."""
    [query] = statements(f"{QUERY}; CREATE DATABASE b")
    assert query.split() == [*QUERY.split(), "CREATE", "DATABASE", "b"]


@pytest.mark.parametrize(
    ("text", "database", "policy"),
    [
        ("CREATE DATABASE tess", "tess", ("", "")),
        ('create  database\r\n"a b" WITH DURATION 2d NAME "p"', "a b", ("a b", "p")),
        ("CREATE DATABASE a WITH DURATION 2d", "a", ("", "")),
        (r'CREATE DATABASE "a;\"b"', 'a;"b', ("", "")),
        ("CREATE DATABASE a WITH SHARD DURATION 1h", "a", ("", "")),
        ('CREATE RETENTION POLICY "p q" ON "a" DURATION 2d REPLICATION 1', "", ("a", "p q")),
        (
            "CREATE RETENTION POLICY p ON a DURATION inf REPLICATION 2 SHARD DURATION 1d DEFAULT",
            "",
            ("a", "p"),
        ),
        ("ALTER RETENTION POLICY p ON a DURATION 2d", "", ("", "")),
        (r'CREATE RETENTION POLICY "p\n\"q\\" ON a DURATION 2d REPLICATION 1', "", ("a", 'p\n"q\\')),
        ("DROP DATABASE b", "", ("", "")),
        ("CREATE USER u WITH PASSWORD 'CREATE DATABASE d'", "", ("", "")),
    ],
)
def test_what_a_statement_creates(text: str, database: str, policy: tuple[str, str]) -> None:
    statement = Statement(1, text)
    assert (statement.database, statement.policy) == (database, policy)


@pytest.mark.parametrize(
    "text",
    [
        'CREATE DATABASE "a"\nCREATE RETENTION POLICY "p" ON "a" DURATION 1h REPLICATION 1',
        "CREATE DATABASE IF NOT EXISTS a",
        "CREATE\u00a0DATABASE a",
        "CREATE DATABASE\u00a0a",
        "CREATE\x0cDATABASE a",
        "CREATE DATABASE a WITH FOO",
        "CREATE DATABASE a WITH",
        "CREATE DATABASE a WITH NAME p DURATION 2d",
        'CREATE DATABASE "a\\b"',
        'CREATE DATABASE "a\nb"',
        'CREATE DATABASE ""',
        "CREATE DATABASE 'a'",
        *(f"CREATE DATABASE {name}" for name in ("a-b", "1a", "año", "name", "DataBase", "a,b", "a.b")),
        "CREATE RETENTION POLICY p ON a",
        "CREATE RETENTION POLICY p ON a DURATION 2d",
        "CREATE RETENTION POLICY p ON a REPLICATION 1 DURATION 2d",
        "CREATE RETENTION POLICY p ON a DURATION 2d REPLICATION 0",
        "CREATE RETENTION POLICY p ON a DURATION 2y REPLICATION 1",
        'CREATE RETENTION POLICY p ON a DURATION "2d" REPLICATION 1',
        "CREATE RETENTION POLICY p ON a DURATION 2d REPLICATION 1 DEFAULT CREATE DATABASE b",
        "CREATE USER u WITH PASSWORD x",
        "CREATE USER u WITH PASSWORD 'x' GRANT ALL TO u",
        "SET PASSWORD FOR u 'x'",
        "GRANT READ TO u",
        "GRANT ALL ON a, b TO u",
        "CREATE CONTINUOUS QUERY q ON a BEGIN SELECT b INTO c FROM d END CREATE DATABASE b",
    ],
)
def test_what_influxdb_cannot_read_is_not_understood_and_creates_nothing(text: str) -> None:
    statement = Statement(1, text)
    assert (statement.understood, statement.database, statement.policy) == (False, "", ("", ""))


@pytest.mark.parametrize(
    "text",
    [
        "CREATE USER u WITH PASSWORD 'x' WITH ALL PRIVILEGES",
        r"""SET PASSWORD FOR "u" ='it\'s'""",
        "GRANT ALL PRIVILEGES ON a TO u",
        "GRANT ALL TO u",
        'GRANT read ON a TO "read"',
        "CREATE SUBSCRIPTION s ON \"a\".autogen DESTINATIONS ANY 'udp://h:9' , 'udp://i:9'",
        "CREATE CONTINUOUS QUERY q ON a RESAMPLE EVERY 1h FOR 2h BEGIN SELECT b INTO c FROM d GROUP BY e END",
        "ALTER RETENTION POLICY p ON a REPLICATION 1",
    ],
)
def test_what_defines_something_is_run(text: str) -> None:
    statement = Statement(1, text)
    assert (statement.understood, statement.harm) == (True, "")


@pytest.mark.parametrize(
    ("text", "shown", "words"),
    [
        (
            "CREATE USER u\n WITH PASSWORD 'Xsecret' WITH ALL PRIVILEGES",
            "CREATE USER u ...",
            "CREATE USER u",
        ),
        ("SET PASSWORD FOR u = 'Xsecret'", "SET PASSWORD FOR u ...", "SET PASSWORD FOR u"),
        ("SET PASSWORD Xsecret", "SET PASSWORD ...", "SET PASSWORD"),
        ("SET PASSWORT FOR \"a\" = 'Xsecret'", 'SET PASSWORT FOR "a" ...', 'SET PASSWORT FOR "a"'),
        ('CREATE USER a WITH PASSWD "Xsecret"', "CREATE USER a ...", "CREATE USER a"),
        ('CREATE USER a IDENTIFIED BY "Xsecret"', "CREATE USER a ...", "CREATE USER a"),
        ("CREATE USER a WITH PASSWRD 'Xse'cret", "CREATE USER a ...", "CREATE USER a"),
        ("CREATE USR a WITH PASSWRD Xsecret", "CREATE USR ...", "CREATE USR"),
        ("CREATE USR 'Xsecret' FOR a", "CREATE USR ...", "CREATE USR"),
        ('ALTER USER a WITH "Xsecret"', "ALTER USER a ...", "ALTER USER a"),
        ("SHOW'Xsecret without an end", "SHOW ...", "SHOW"),
        (
            'CREATE DATABASE a CREATE USER b IDENTIFIED BY "Xsecret"',
            "CREATE DATABASE a CREATE ...",
            "CREATE DATABASE a CREATE",
        ),
        (
            "CREATE SUBSCRIPTION s ON a.p DESTINATIONS ALL 'http://u:Xsecret@h'",
            "CREATE SUBSCRIPTION s ON a.p DESTINATIONS ALL ...",
            "CREATE SUBSCRIPTION s ON",
        ),
        ("Xtail99'", "no statement ...", "no statement"),
    ],
)
def test_what_may_be_a_password_is_not_shown(text: str, shown: str, words: str) -> None:
    statement = Statement(3, text)
    assert (statement.shown, str(statement)) == (shown, f"statement 3 ({words} ...)")


def test_a_statement_without_a_password_is_shown_whole() -> None:
    text = "CREATE CONTINUOUS QUERY q ON a BEGIN\n SELECT mean(mag) INTO b FROM c GROUP BY d\nEND"
    assert Statement(1, text).shown == " ".join(text.split())


def test_the_example_creates_its_database_and_does_no_harm() -> None:
    example = Path(__file__).parents[2] / "etc/tessflux/influxdb.example"
    found = read(str(example))
    assert [statement.database for statement in found if statement.database] == ["tessdb"]
    assert [statement.policy for statement in found if statement.policy[0]] == [
        ("tessdb", "forever"),
        ("tessdb", "two_days"),
    ]
    assert not [statement for statement in found if statement.harm or statement.alteration]


def test_a_file_that_cannot_be_read_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("-- año".encode("latin-1"))
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "missing"))
    with pytest.raises(OSError, match="latin is not UTF-8 text"):
        read(str(tmp_path / "latin"))
