"""The spool's file: one SQLite database. Blocking; every call comes from the spool's one thread.

    chunk       lines that wait for InfluxDB. The id of a chunk is the number of its last line, counted since
                the file was begun, so what waits is a difference of two ids, never a count.
    seen        identity, time and name of the readings of each commit, for the last SEEN_READINGS of them
    photometer  the last reading of each photometer that `seen` no longer holds
    quarantine  what could not be stored, oldest first

A commit is one transaction, written ahead (WAL) and synced before it returns.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tessflux.admission import Admitted
from tessflux.limits import GROUP_READINGS, PHOTOMETERS, SEEN_READINGS

FILE_NAME = "spool.db"
VERSION = 1
QUARANTINE_SHARE = 4
"""The part of the largest size that payloads may take, so that a broken photometer leaves room for lines."""

_PAGE = 4_096
_WAL_BYTES = 8 * 1024 * 1024
_ROW_BYTES = "length(payload) + length(topic) + length(detail)"
_SCHEMA = """
CREATE TABLE chunk (id INTEGER PRIMARY KEY, readings INTEGER NOT NULL, lines TEXT NOT NULL);
CREATE TABLE seen (id INTEGER PRIMARY KEY, readings INTEGER NOT NULL, entries TEXT NOT NULL);
CREATE TABLE photometer (name TEXT PRIMARY KEY, time INTEGER NOT NULL, identity INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL,
    photometer TEXT NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL, payload BLOB NOT NULL);
"""


class Quarantined(NamedTuple):
    """A payload that was refused, or (`topic` is empty then) a line that InfluxDB refused."""

    time: int
    topic: str
    photometer: str
    cause: str
    detail: str
    payload: bytes


@dataclass(slots=True)
class Group:
    """What one commit makes durable."""

    lines: list[str] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)


class Batch(NamedTuple):
    """The oldest waiting lines, whole chunks; `last` is the number of the last line."""

    last: int
    lines: list[str]


class Journal:
    """The open file. Raises sqlite3.Error; NotSupportedError when the file is no spool."""

    def __init__(self, directory: str, *, max_size: int, quarantine: int, last: int = 0) -> None:
        """`max_size` in bytes and `quarantine` in rows bound the file; lines are numbered from `last` on."""
        self.path = Path(directory) / FILE_NAME
        self._max_pages = max_size // _PAGE
        self._quarantine = quarantine
        self._db = self._open()
        try:
            self.last = max(last, self._one("SELECT max(id) FROM seen"))
            self._seen_readings = self._one("SELECT sum(readings) FROM seen")
            self._quarantine_bytes = self._one(f"SELECT sum({_ROW_BYTES}) FROM quarantine")
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            os.chmod(self.path, 0o640)
            db.execute(f"PRAGMA page_size = {_PAGE}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            # Debian's SQLite overwrites what it deletes, which would write every delivered line once more.
            db.execute("PRAGMA secure_delete = OFF")
            db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            elif version != VERSION:
                raise sqlite3.NotSupportedError(f"it has version {version}, not {VERSION}")
            self._limit(db)
        except BaseException:
            db.close()
            raise
        return db

    def _limit(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA max_page_count = {self._max_pages}")

    def resize(self, *, max_size: int, quarantine: int) -> None:
        """Change the bounds."""
        self._max_pages, self._quarantine = max_size // _PAGE, quarantine
        self._limit(self._db)

    def close(self) -> None:
        self._db.close()

    @property
    def waiting(self) -> int:
        """How many lines wait for InfluxDB."""
        first = self._db.execute("SELECT id - readings FROM chunk ORDER BY id LIMIT 1").fetchone()
        return self.last - first[0] if first else 0

    def commit(self, group: Group, retired: int) -> int:
        """Make a group durable and forget the lines up to number `retired`.

        Returns how many of the oldest quarantined payloads had to go. On an error nothing has changed.
        """
        last = self.last + len(group.lines)
        with self._transaction():
            self._db.execute("DELETE FROM chunk WHERE id <= ?", (retired,))
            lines = iter(group.lines)
            number = self.last
            while part := list(islice(lines, GROUP_READINGS)):
                number += len(part)
                self._insert("chunk", number, part)
            trimmed = 0
            if group.admitted:
                entries = [f"{identity} {time} {name}" for name, time, identity in group.admitted]
                self._insert("seen", last, entries)
                trimmed = self._trim_seen(self._seen_readings + len(entries))
            forgotten, quarantine_bytes = self._add_to_quarantine(group.quarantined)
        self.last = last
        self._quarantine_bytes = quarantine_bytes
        self._seen_readings += len(group.admitted) - trimmed
        return forgotten

    def head(self, after: int, limit: int) -> Batch:
        """The oldest lines after number `after`: whole chunks, `limit` lines at most, one chunk at least."""
        lines: list[str] = []
        last = after
        rows = self._db.execute("SELECT * FROM chunk WHERE id > ? ORDER BY id", (after,))
        for number, readings, text in rows:
            if lines and len(lines) + readings > limit:
                break
            lines += text.split("\n")
            last = number
        return Batch(last, lines)

    def admitted(self) -> Iterator[Admitted]:
        """What was committed and is remembered, oldest first."""
        rows = self._db.execute("SELECT name, time, identity FROM photometer ORDER BY time")
        yield from map(Admitted._make, rows)
        for (entries,) in self._db.execute("SELECT entries FROM seen ORDER BY id"):
            yield from _decode(entries)

    def _insert(self, table: str, number: int, rows: Sequence[str]) -> None:
        self._db.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", (number, len(rows), "\n".join(rows)))

    def _trim_seen(self, readings: int) -> int:
        """Move what is beyond SEEN_READINGS into `photometer`, an eighth at a time; returns how many."""
        if readings < SEEN_READINGS * 9 // 8:
            return 0
        trimmed, moved = 0, 0
        latest: dict[str, Admitted] = {}
        for number, among, entries in self._db.execute("SELECT * FROM seen ORDER BY id"):
            latest.update((admitted.name, admitted) for admitted in _decode(entries))
            trimmed += among
            moved = number
            if readings - trimmed <= SEEN_READINGS:
                break
        self._db.executemany(
            "INSERT OR REPLACE INTO photometer (name, time, identity) VALUES (?, ?, ?)",
            latest.values(),
        )
        self._db.execute("DELETE FROM seen WHERE id <= ?", (moved,))
        self._db.execute(
            "DELETE FROM photometer WHERE name IN (SELECT name FROM photometer ORDER BY time LIMIT"
            f" max(0, (SELECT count(*) FROM photometer) - {PHOTOMETERS}))"
        )
        return trimmed

    def _add_to_quarantine(self, rows: Sequence[Quarantined]) -> tuple[int, int]:
        """Add payloads; returns how many of the oldest went for them, and the bytes that are there now."""
        size = self._quarantine_bytes + sum(
            len(row.payload) + len(row.topic) + len(row.detail) for row in rows
        )
        if not rows:
            return 0, size
        self._db.executemany(
            "INSERT INTO quarantine (time, topic, photometer, cause, detail, payload)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        forgotten, gone = 0, 0
        newest = self._one("SELECT max(id) FROM quarantine")
        for number, bytes_ in self._db.execute(f"SELECT id, {_ROW_BYTES} FROM quarantine ORDER BY id"):
            if number > newest - self._quarantine and size <= self._max_pages * _PAGE // QUARANTINE_SHARE:
                break
            forgotten, gone, size = forgotten + 1, number, size - bytes_
        self._db.execute("DELETE FROM quarantine WHERE id <= ?", (gone,))
        return forgotten, size

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite itself has rolled back after some errors, such as a full disk.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _one(self, query: str) -> int:
        return self._db.execute(query).fetchone()[0] or 0

    def is_full(self, group: Group) -> bool:
        """Whether the largest size has no room for a group: SQLITE_FULL may also mean the disk."""
        size = sum(map(len, group.lines))
        size += sum(len(admitted.name) + 40 for admitted in group.admitted)
        size += sum(len(row.payload) + len(row.detail) + len(row.topic) + 100 for row in group.quarantined)
        # Twice the size: a row leaves the rest of its last page free, and a character may take two bytes.
        needed = 2 * size // _PAGE + 8
        used = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        return used + needed > self._max_pages


def _decode(entries: str) -> Iterator[Admitted]:
    for entry in entries.split("\n"):
        try:
            identity, time_, name = entry.split(" ", 2)
            yield Admitted(name, int(time_), int(identity))
        except ValueError:
            raise sqlite3.NotSupportedError(f"{entry[:100]!r} is no reading") from None


def read_only(directory: str) -> sqlite3.Connection:
    """A second look into the spool, also while tessflux writes it. Raises sqlite3.OperationalError."""
    path = Path(directory) / FILE_NAME
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
