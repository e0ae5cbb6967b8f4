"""The spool's file: one SQLite database. Everything here blocks, and is called in the spool's one thread.

    chunk         lines that an output waits for. The id of a chunk is the number of its last line, counted
                  since the file was begun, so how many lines wait is a difference of two ids, never a count.
    output        how far each output has come: see `Position`
    seen          name, time and identity of the readings of each commit, for the last SEEN_READINGS of them
    photometer    the last reading of each photometer that `seen` no longer holds
    quarantine    what could not be stored, oldest first; `again` marks what is to be tried once more
    registered    what was written last of what each photometer says of itself
    held          messages whose time is not known yet, in the order in which they came
    subscription  the topics to which a session at a broker may be subscribed
    broker        the version of MQTT by which the broker lets us in, and since when it is spoken

A commit is one transaction, written ahead (WAL) and synced before it returns.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice, starmap
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tessflux.limits import GROUP_READINGS, PHOTOMETERS, QUARANTINE_PART, SEEN_READINGS
from tessflux.readings import Admitted, lineprotocol
from tessflux.spool import schema
from tessflux.spool.group import Group
from tessflux.spool.held import HeldMessages
from tessflux.spool.quarantine import Quarantine
from tessflux.spool.registered import RegisteredPhotometers
from tessflux.spool.schema import transaction

FILE_NAME = "spool.db"
RESERVE = 32 * 1024 * 1024
"""Bytes of the disk that readings leave free. Forgetting what was delivered takes room too, for the log and
for moving it into the database; without any, a disk that the spool has filled would stay full for ever."""

_encode = msgspec.json.Encoder().encode
_PAGE = 4_096
_BUSY_SECONDS = 10
_WAL_BYTES = 8 * 1024 * 1024


class NoRoom(OSError):
    """The disk has no room for a group."""


class Batch(NamedTuple):
    """The oldest waiting lines, whole chunks; `last` is the number of the last line.

    `again` says whether they were delivered once before, `generation` when they were taken: see `Position`.
    """

    last: int
    lines: Sequence[str]
    again: bool = False
    generation: int = 0


class Mark(NamedTuple):
    """How far an output has come, as numbers of lines: see `Position`."""

    settled: int
    answered: int


class Figures(NamedTuple):
    """What the file holds: bytes in use, rows in quarantine, and for each output the time of the oldest
    reading that it lacks, in ms since 1970."""

    used: int
    quarantined: int
    oldest: Mapping[str, int]


NO_OUTPUTS: Mapping[str, Mark | None] = {}


class Journal:
    """The open file. Raises sqlite3.Error; NotSupportedError when the file is no spool."""

    def __init__(self, directory: str, *, max_size: int, quarantine: int, last: int = 0) -> None:
        """`max_size` in bytes and `quarantine` in rows bound the file; lines are numbered from `last` on."""
        self.path = Path(directory) / FILE_NAME
        self._max_pages = max_size // _PAGE
        self._db = self._open()
        try:
            self.last = max(last, self._one("SELECT max(id) FROM seen"))
            self._seen_readings = self._one("SELECT sum(readings) FROM seen")
            self.held = HeldMessages(self._db)
            self.registered = RegisteredPhotometers(self._db)
            self.quarantine = Quarantine(self._db, rows=quarantine, size=max_size // QUARANTINE_PART)
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
        try:
            os.chmod(self.path, 0o640)
            db.execute(f"PRAGMA page_size = {_PAGE}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            # Debian's SQLite overwrites what it deletes: it would write every delivered line once more.
            db.execute("PRAGMA secure_delete = OFF")
            db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            schema.upgrade(db)
            self._limit(db)
        except BaseException:
            db.close()
            raise
        return db

    def _limit(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA max_page_count = {self._max_pages}")

    def resize(self, *, max_size: int, quarantine: int) -> None:
        """Change the bounds."""
        self._max_pages = max_size // _PAGE
        self._limit(self._db)
        self.quarantine.bound(rows=quarantine, size=max_size // QUARANTINE_PART)

    def close(self) -> None:
        self._db.close()

    def copy(self, path: Path) -> None:
        """Write all that is in the open file to a new one. NotSupportedError if the copy is not sound."""
        with closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)
            (version,) = copy.execute("PRAGMA user_version").fetchone()
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            # A file that somebody emptied makes a sound copy too, with nothing in it.
            if version != len(schema.VERSIONS) or found != "ok":
                raise sqlite3.NotSupportedError(f"it cannot be read: {found}")
            # What is missing at the end of a long text is read as zeros, and no check of SQLite's minds them.
            if copy.execute(
                "SELECT 1 FROM chunk WHERE instr(CAST(lines AS BLOB), x'00')"
                " UNION ALL SELECT 1 FROM seen WHERE instr(CAST(entries AS BLOB), x'00') LIMIT 1"
            ).fetchone():
                raise sqlite3.NotSupportedError("it cannot be read: a part of a text is missing")

    @property
    def first(self) -> int:
        """The number before that of the oldest line."""
        row = self._db.execute("SELECT id - readings FROM chunk ORDER BY id LIMIT 1").fetchone()
        return int(row[0]) if row else self.last

    def outputs(self) -> dict[str, Mark]:
        """How far each output has come."""
        rows = self._db.execute("SELECT name, settled, answered FROM output")
        return {name: Mark(*mark) for name, *mark in rows}

    def commit(self, group: Group, forgotten: int, outputs: Mapping[str, Mark | None] = NO_OUTPUTS) -> int:
        """Make a group durable, forget the lines up to number `forgotten`, and remember how far outputs have
        come; None for one that is no more.

        Returns how many of the oldest quarantined payloads had to go. On an error nothing has changed.
        """
        try:
            return self._commit(group, forgotten, outputs)
        except NoRoom:
            # The log may have grown by a long transaction or query of another program.
            self._empty_log()
            return self._commit(group, forgotten, outputs)

    def _empty_log(self) -> None:
        # Without waiting for readers: the next commit that finds no room comes here again.
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1_000}")

    def _commit(self, group: Group, forgotten: int, outputs: Mapping[str, Mark | None]) -> int:
        last = self.last + len(group.lines)
        with transaction(self._db):
            self._db.execute("DELETE FROM chunk WHERE id <= ?", (forgotten,))
            for name, mark in outputs.items():
                if mark is None:
                    self._db.execute("DELETE FROM output WHERE name = ?", (name,))
                else:
                    self._db.execute("INSERT OR REPLACE INTO output VALUES (?, ?, ?)", (name, *mark))
            # First of all, since what was held makes room for its lines.
            self.held.remove(group.dated)
            if (group.lines or group.quarantined or group.held) and not group.dated:
                self._leave_reserve(group)
            lines = iter(group.lines)
            number = self.last
            while part := list(islice(lines, GROUP_READINGS)):
                number += len(part)
                self._insert("chunk", number, len(part), "\n".join(part))
            trimmed = 0
            if group.lines:
                # Even when there are none, as for requeued lines: a start finds the last number here.
                among = len(group.admitted)
                self._insert("seen", last, among, _encode(group.admitted).decode())
                trimmed = self._trim_seen(self._seen_readings + among)
            self.registered.add(group.registered)
            self.held.add(group.held)
            dropped, held = self.quarantine.change(group.released, group.quarantined)
        self.last = last
        self.quarantine.committed(held)
        self._seen_readings += len(group.admitted) - trimmed
        return dropped

    def head(self, after: int, limit: int, until: int | None = None) -> Batch:
        """The oldest lines after number `after`: whole chunks, `limit` lines at most, one chunk at least, and
        none after number `until`."""
        texts: list[str] = []
        last, count = after, 0
        rows = self._db.execute("SELECT * FROM chunk WHERE id > ? ORDER BY id", (after,))
        for number, readings, text in rows:
            if texts and (count + readings > limit or (until is not None and number > until)):
                break
            texts.append(text)
            last, count = number, count + readings
        return Batch(last, lineprotocol.Lines("\n".join(texts), count))

    def end_of_chunk(self, number: int) -> int:
        """The number of the last line in the chunk that has this one; the number itself if no chunk has."""
        (last,) = self._db.execute("SELECT min(id) FROM chunk WHERE id >= ?", (number,)).fetchone()
        return number if last is None else int(last)

    def admitted(self) -> Iterator[Admitted]:
        """What was committed and is remembered, oldest first."""
        rows = self._db.execute("SELECT name, time, identity, seq FROM photometer ORDER BY time")
        yield from starmap(Admitted, rows)
        for (entries,) in self._db.execute("SELECT entries FROM seen ORDER BY id"):
            yield from schema.seen(entries)

    def subscriptions(self, session: str) -> frozenset[str]:
        """The topics that were remembered for a session."""
        rows = self._db.execute("SELECT topic FROM subscription WHERE session = ?", (session,))
        return frozenset(topic for (topic,) in rows)

    def remember_subscriptions(self, session: str, topics: frozenset[str]) -> None:
        """Remember these topics for a session, and no others."""
        with transaction(self._db):
            self._db.execute("DELETE FROM subscription WHERE session = ?", (session,))
            self._db.executemany(
                "INSERT INTO subscription VALUES (?, ?)", [(session, topic) for topic in sorted(topics)]
            )

    def mqtt_version(self, broker: str) -> tuple[str, float] | None:
        """The version of MQTT that was remembered for a broker, and since when it is spoken."""
        row: tuple[str, float] | None = self._db.execute(
            "SELECT version, since FROM broker WHERE address = ?", (broker,)
        ).fetchone()
        return row

    def remember_mqtt_version(self, broker: str, version: str, since: float) -> None:
        """Remember it for this broker, and forget the others: one is in the config."""
        with transaction(self._db):
            self._db.execute("DELETE FROM broker")
            self._db.execute("INSERT INTO broker VALUES (?, ?, ?)", (broker, version, since))

    def figures(self, delivered: Mapping[str, int]) -> Figures:
        """What the file holds; each output has had the lines up to a number."""
        oldest = {}
        for name, number in delivered.items():
            row = self._db.execute(
                "SELECT substr(lines, 1, instr(lines || char(10), char(10)) - 1)"
                " FROM chunk WHERE id > ? ORDER BY id LIMIT 1",
                (number,),
            ).fetchone()
            if row:
                oldest[name] = int(row[0].rpartition(" ")[2])
        return Figures(self._used_pages * _PAGE, self.quarantine.rows, oldest)

    @property
    def _used_pages(self) -> int:
        return self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")

    def _insert(self, table: str, number: int, readings: int, text: str) -> None:
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", (number, readings, text))

    def _trim_seen(self, readings: int) -> int:
        """Move what is beyond SEEN_READINGS into `photometer`, a quarter at a time; returns how many."""
        if readings < SEEN_READINGS * 5 // 4:
            return 0
        trimmed, moved = 0, 0
        latest: dict[str, Admitted] = {}
        for number, among, entries in self._db.execute("SELECT * FROM seen ORDER BY id"):
            latest |= {admitted.name: admitted for admitted in schema.seen(entries)}
            trimmed += among
            moved = number
            if readings - trimmed <= SEEN_READINGS:
                break
        self._db.executemany(
            "INSERT OR REPLACE INTO photometer (name, time, identity, seq) VALUES (?, ?, ?, ?)",
            map(msgspec.structs.astuple, latest.values()),
        )
        self._db.execute("DELETE FROM seen WHERE id <= ?", (moved,))
        self._db.execute(
            "DELETE FROM photometer WHERE name IN (SELECT name FROM photometer ORDER BY time LIMIT"
            f" max(0, (SELECT count(*) FROM photometer) - {PHOTOMETERS}))"
        )
        return trimmed

    def _one(self, query: str) -> int:
        return self._db.execute(query).fetchone()[0] or 0

    def is_full(self, group: Group) -> bool:
        """Whether the largest size has no room for a group: SQLITE_FULL may also mean the disk."""
        return self._used_pages + _pages(group) > self._max_pages

    def _leave_reserve(self, group: Group) -> None:
        """Raise NoRoom if the disk has none for a group, and neither has the file itself."""
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < RESERVE and self._one("PRAGMA freelist_count") < _pages(group):
            raise NoRoom(errno.ENOSPC, f"less than {RESERVE >> 20} MB are left on the disk")


def _pages(group: Group) -> int:
    """About how many pages of the file a group takes."""
    size = sum(map(len, group.lines))
    size += sum(len(admitted.name) + 40 for admitted in group.admitted)
    size += sum(len(each.said.fields) + len(each.said.before) + 100 for each in group.registered)
    size += sum(row.size + 100 for row in group.quarantined)
    size += sum(held.size + 200 for held in group.held)
    # Twice the size, since a row leaves the rest of its last page free, and a character may take two bytes.
    return 2 * size // _PAGE + 8


def second_look(directory: str, mode: Literal["ro", "rw"] = "ro") -> sqlite3.Connection:
    """Another connection to the file, also while tessflux writes it. Raises sqlite3.OperationalError."""
    path = Path(directory) / FILE_NAME
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=10)
