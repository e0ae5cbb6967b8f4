"""The file `photometers.db`: everyone who is known, and the means of the last nights. Blocking.

Nothing in it is needed to store readings, and what the spool keeps free of the disk is not taken. So a loss
of power may cost the last minutes of it, and a file that is damaged or of another kind is moved aside, and
begun anew. Its size is bounded: the oldest means go.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.logger import Logger

from tessflux.limits import HISTORY_BYTES
from tessflux.photometers import means
from tessflux.photometers.means import IN_BLOCK, Mean
from tessflux.photometers.photometer import Photometer
from tessflux.photometers.register import Kept
from tessflux.spool import RESERVE, is_damaged, move_aside, transaction

log = Logger(namespace="tessflux")

FILE_NAME = "photometers.db"
FORMAT = 1

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS photometer (number INTEGER PRIMARY KEY, entry BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS total (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS mean (
        bucket INTEGER NOT NULL, block INTEGER NOT NULL, records BLOB NOT NULL, PRIMARY KEY (bucket, block)
    ) WITHOUT ROWID;
"""

T = TypeVar("T")


class _Damaged(Exception):
    """What SQLite can read, but was never written."""


class Database:
    """Nothing is opened before the first call; `close` comes last. Every method raises sqlite3.Error and
    OSError."""

    def __init__(self, directory: str, *, max_bytes: int = HISTORY_BYTES) -> None:
        self._path = Path(directory) / FILE_NAME
        self._max_bytes = max_bytes
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Photometer).decode

    def load(self) -> Kept:
        """All that was kept, but for the means."""
        return self._use(self._load)

    def save(self, kept: Kept, oldest: int) -> bool:
        """Save what changed, and delete means before this bucket. False if the file is new: then save all."""
        is_new = self._db is not None and not self._is_there()
        if is_new:
            log.warn("{path} was deleted or replaced; tessflux makes a new one", path=str(self._path))
            self.close()
        opened = self._db
        self._use(self._save, kept, oldest)
        return not is_new and opened is self._db

    def night(self, number: int, buckets: Sequence[int]) -> list[Mean]:
        """The means of one photometer in these buckets, as far as there are any."""
        return self._use(self._night, number, buckets)

    def magnitudes(self, numbers: Sequence[int], buckets: Sequence[int]) -> list[list[float | None]]:
        """The magnitudes of photometers in these buckets, by photometer; None is a gap."""
        return self._use(self._magnitudes, numbers, buckets)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _use(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return call(self._db or self._open(), *args)
        except (sqlite3.Error, UnicodeDecodeError, _Damaged) as error:
            if not isinstance(error, _Damaged) and not is_damaged(error):
                raise
            self.close()
            log.error(
                "The register of photometers was damaged ({error}). It was moved to {path}, and a new one was"
                " begun; no reading is missing.",
                error=str(error)[:200],
                path=str(move_aside(self._path)),
            )
            return call(self._open(), *args)

    def _open(self) -> sqlite3.Connection:
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
        db = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            # A commit does not wait for the disk: the readings need it more.
            db.execute("PRAGMA synchronous = NORMAL")
            (number,) = db.execute("PRAGMA user_version").fetchone()
            if number not in (0, FORMAT):
                raise sqlite3.NotSupportedError(f"it has format {number}, this tessflux reads {FORMAT}")
            with transaction(db):
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {FORMAT}")
        except BaseException:
            db.close()
            raise
        self._db, self._file = db, self._status()
        return db

    def _status(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _is_there(self) -> bool:
        return self._file == self._status()

    def _load(self, db: sqlite3.Connection) -> Kept:
        entries = db.execute("SELECT entry FROM photometer").fetchall()
        totals = dict(db.execute("SELECT name, value FROM total"))
        try:
            return Kept(
                [self._decode(entry) for (entry,) in entries],
                next_number=int(totals.get("next number", 0)),
                listened=float(totals.get("listened", 0.0)),
            )
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            # A flipped bit may be anything: no UTF-8, NULL, infinity, or many brackets.
            raise _Damaged(error) from None

    def _save(self, db: sqlite3.Connection, kept: Kept, oldest: int) -> None:
        rows = ((each.number, self._encode(each)) for each in kept.photometers)
        totals = {"next number": kept.next_number, "listened": kept.listened}
        self._leave_reserve()
        with transaction(db):
            db.executemany("DELETE FROM photometer WHERE number = ?", [(number,) for number in kept.gone])
            db.executemany("INSERT OR REPLACE INTO photometer VALUES (?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO total VALUES (?, ?)", totals.items())
            db.execute("DELETE FROM mean WHERE bucket < ?", (oldest,))
            for bucket, sums in (kept.sums or {}).items():
                if bucket >= oldest:
                    db.executemany("INSERT OR REPLACE INTO mean VALUES (?, ?, ?)", _blocks(db, bucket, sums))
            self._bound(db)

    def _leave_reserve(self) -> None:
        """The spool needs this room to forget what is delivered: without it a full disk would stay full."""
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < RESERVE:
            raise OSError(errno.ENOSPC, f"less than {RESERVE >> 20} MB are left on the disk")

    def _bound(self, db: sqlite3.Connection) -> None:
        while self._size(db) > self._max_bytes:
            (first,) = db.execute("SELECT min(bucket) FROM mean").fetchone()
            if first is None:
                return
            db.execute("DELETE FROM mean WHERE bucket = ?", (first,))

    @staticmethod
    def _size(db: sqlite3.Connection) -> int:
        size, pages, free = (
            int(db.execute(f"PRAGMA {what}").fetchone()[0])
            for what in ("page_size", "page_count", "freelist_count")
        )
        return size * (pages - free)

    @staticmethod
    def _night(db: sqlite3.Connection, number: int, buckets: Sequence[int]) -> list[Mean]:
        # A look for each is quick; together they would have SQLite read the blocks of all photometers.
        found = ((bucket, _block(db, bucket, number // IN_BLOCK)) for bucket in buckets)
        all_means = (means.mean(bucket, number, block) for bucket, block in found if block is not None)
        return [each for each in all_means if each is not None]

    @staticmethod
    def _magnitudes(
        db: sqlite3.Connection, numbers: Sequence[int], buckets: Sequence[int]
    ) -> list[list[float | None]]:
        by_block: dict[int, list[int]] = {}
        for number in numbers:
            by_block.setdefault(number // IN_BLOCK, []).append(number)
        found: dict[int, list[float | None]] = {number: [None] * len(buckets) for number in numbers}
        for place, bucket in enumerate(buckets):
            for block, members in by_block.items():
                records = _block(db, bucket, block)
                if records is not None:
                    magnitudes = means.first_magnitudes(members, records)
                    for number, magnitude in zip(members, magnitudes, strict=True):
                        found[number][place] = magnitude
        return [found[number] for number in numbers]


def _block(db: sqlite3.Connection, bucket: int, block: int) -> bytes | None:
    query = "SELECT records FROM mean WHERE bucket = ? AND block = ?"
    row = db.execute(query, (bucket, block)).fetchone()
    # What is no block counts as none, as `means.merged` has it.
    return row[0] if row and means.is_block(row[0]) else None


def _blocks(
    db: sqlite3.Connection, bucket: int, sums: dict[int, list[float]]
) -> Iterable[tuple[int, int, bytes]]:
    """The rows that a bucket has after these means were added."""
    for block, records in means.blocks(sums).items():
        yield bucket, block, means.merged(_block(db, bucket, block), records)
