"""The tables of the spool's file, and how a file of an earlier tessflux gets those of this one. Blocking."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tessflux.readings import Admitted

VERSIONS = (
    """
CREATE TABLE chunk (id INTEGER PRIMARY KEY, readings INTEGER NOT NULL, lines TEXT NOT NULL);
CREATE TABLE seen (id INTEGER PRIMARY KEY, readings INTEGER NOT NULL, entries TEXT NOT NULL);
CREATE TABLE photometer (name TEXT PRIMARY KEY, time INTEGER NOT NULL, identity INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL,
    photometer TEXT NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL, payload BLOB NOT NULL);
""",
    """
ALTER TABLE quarantine ADD COLUMN retained INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
CREATE INDEX again ON quarantine (id) WHERE again;
CREATE TABLE subscription (session TEXT NOT NULL, topic TEXT NOT NULL, PRIMARY KEY (session, topic))
    WITHOUT ROWID;
""",
    """
ALTER TABLE photometer ADD COLUMN seq INTEGER;
CREATE TABLE held (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,
    retained INTEGER NOT NULL, arrival INTEGER NOT NULL, mid INTEGER, sent INTEGER,
    photometer TEXT NOT NULL, seq INTEGER NOT NULL, identity INTEGER NOT NULL,
    boot TEXT NOT NULL, passed INTEGER NOT NULL);
CREATE INDEX held_by_photometer ON held (photometer, id);
""",
    """
CREATE TABLE broker (address TEXT PRIMARY KEY, version TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;
""",
    """
CREATE TABLE output (name TEXT PRIMARY KEY, settled INTEGER NOT NULL, answered INTEGER NOT NULL)
    WITHOUT ROWID;
ALTER TABLE quarantine ADD COLUMN output TEXT NOT NULL DEFAULT '';
""",
    """
CREATE TABLE registered (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, fields TEXT NOT NULL,
    before TEXT NOT NULL);
""",
    """
ALTER TABLE held ADD COLUMN dup INTEGER NOT NULL DEFAULT 0;
""",
)
"""What each version of the file adds to the one before it."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(list[Admitted])


def upgrade(db: sqlite3.Connection) -> None:
    """Bring a file of any version to the last one. NotSupportedError when it is no spool, or a later one."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in range(len(VERSIONS) + 1):
        raise sqlite3.NotSupportedError(f"it has version {version}, not {len(VERSIONS)}")
    for number, added in enumerate(VERSIONS[version:], version + 1):
        with transaction(db):
            for statement in added.split(";"):
                db.execute(statement)
            if number == 2:
                _rewrite_seen(db)
            db.execute(f"PRAGMA user_version = {number}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything in it is done, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite itself has rolled back.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def seen(entries: str) -> list[Admitted]:
    """The readings in a row of that table."""
    try:
        return _decoder.decode(entries)
    except ValueError as error:
        raise sqlite3.NotSupportedError(f"{entries[:100]!r} is not a list of readings: {error}") from None


def _rewrite_seen(db: sqlite3.Connection) -> None:
    """In the first version an entry was a line: identity, time and name."""
    for number, text in db.execute("SELECT id, entries FROM seen").fetchall():
        try:
            lines = (line.split(" ", 2) for line in text.split("\n"))
            entries = _encode([Admitted(name, int(time), int(identity)) for identity, time, name in lines])
        except (ValueError, AttributeError) as error:
            raise sqlite3.NotSupportedError(f"{text!r:.100} is not a list of readings: {error}") from None
        db.execute("UPDATE seen SET entries = ? WHERE id = ?", (entries.decode(), number))
