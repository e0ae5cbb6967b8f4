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
        ('create  database\n"a b" WITH DURATION 2d NAME "p"', "a b", ("a b", "p")),
        (r'CREATE DATABASE "a;\"b"', 'a;"b', ("", "")),
        ('CREATE RETENTION POLICY "p q" ON "a" DURATION 2d REPLICATION 1', "", ("a", "p q")),
        ("ALTER RETENTION POLICY p ON a DURATION 2d", "", ("", "")),
        (r'CREATE RETENTION POLICY "p\n\"q\\" ON a DURATION 2d', "", ("a", 'p\n"q\\')),
        ("DROP DATABASE b", "", ("", "")),
        ("CREATE USER u WITH PASSWORD 'CREATE DATABASE d'", "", ("", "")),
    ],
)
def test_what_a_statement_creates(text: str, database: str, policy: tuple[str, str]) -> None:
    statement = Statement(1, text)
    assert (statement.database, statement.policy) == (database, policy)


def test_a_statement_is_shown_without_its_password() -> None:
    statement = Statement(3, "CREATE USER u\n WITH PASSWORD 'Xsecret' WITH ALL PRIVILEGES")
    assert statement.shown == "CREATE USER u WITH PASSWORD ..."
    assert str(statement) == "statement 3 (CREATE USER u WITH ...)"
    assert str(Statement(1, "Xtail99'")) == "statement 1 (no statement ...)"


@pytest.mark.parametrize(
    ("text", "shown", "words"),
    [
        ("SET PASSWORT FOR \"a\" = 'Xsecret'", 'SET PASSWORT FOR "a" = ...', 'SET PASSWORT FOR "a"'),
        ("CREATE USR 'Xsecret' FOR a", "CREATE USR ...", "CREATE USR"),
        ("CREATE USER a WITH PASSWRD 'Xse'cret", "CREATE USER a WITH PASSWRD ...", "CREATE USER a WITH"),
        ("SHOW'Xsecret without an end", "SHOW ...", "SHOW"),
    ],
)
def test_a_password_is_not_shown_though_the_statement_is_mistyped(text: str, shown: str, words: str) -> None:
    statement = Statement(1, text)
    assert statement.shown == shown
    assert str(statement) == f"statement 1 ({words} ...)"
    assert statement.may_hold_password


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("SELECT a INTO b FROM c", True),
        ('select mean("a")into"b"from"c"', True),
        ("EXPLAIN ANALYZE SELECT a INTO b FROM c", True),
        ("SELECT a / 2 INTO b FROM c WHERE d / 2 > 1", True),
        ("SELECT a INTO b FROM /'/ WHERE c =~ /'/", True),
        ("SELECT a FROM b", False),
        ('SELECT "x INTO y" FROM b', False),
        ("SELECT a FROM b WHERE c = 'x INTO y'", False),
        ("SELECT a FROM /x INTO y/ WHERE b =~ /INTO \\/ INTO/", False),
        ('SELECT / INTO /, mean(/ INTO /) FROM "d"."e"./ INTO / GROUP BY / INTO /', False),
        ("CREATE CONTINUOUS QUERY q ON a BEGIN SELECT b INTO c FROM d GROUP BY time(1h) END", False),
    ],
)
def test_a_query_that_writes_its_result_is_harmful_unless_it_is_a_continuous_one(
    text: str, writes: bool
) -> None:
    harm = "it writes into the database each time the file is run"
    assert Statement(1, text).harm == (harm if writes else "")


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
