"""The care of the spool's file: opened when it is first used, and begun anew when it turns out to be damaged.

A damaged file is moved aside, never deleted. The new one numbers its lines on from those of the old, so that
a batch of the old one retires nothing of the new. A file that somebody deletes, replaces or cuts short while
it is open is noticed before anything that went into it counts as stored; what can still be read through the
open file goes into the new one. Any other error is raised, and the next call tries again.

Blocking; every call comes from the spool's one thread.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

from twisted.logger import Logger

from tessflux.config import SpoolConfig
from tessflux.spool.journal import FILE_NAME, Journal

log = Logger(namespace="spool")

SUFFIXES = ("", "-wal", "-shm")
"""Of the files that make a spool: the database, its write-ahead log, and the index of that."""

T = TypeVar("T")


class SpoolFile:
    """Nothing is opened before the first `use`; `close` comes last."""

    def __init__(self, config: SpoolConfig) -> None:
        self.config = config
        """Where the file is, and its bounds when it is opened. Any thread may set another."""
        self._journal: Journal | None = None
        self._parts: list[Part] = []
        self._last = 0
        self._begun_anew = False

    def use(self, call: Callable[[Journal], T]) -> tuple[T, bool]:
        """Call with the open journal: the result, and whether a file was begun anew since the last result.

        A damaged file is replaced here, before another call can come upon it. Raises sqlite3.Error, OSError.
        """
        try:
            result = self._call(call)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._move_aside(error)
            result = call(self._open())
            with suppress(OSError):
                self._parts = parts(self.config.directory)
        begun_anew, self._begun_anew = self._begun_anew, False
        return result, begun_anew

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._journal is not None:
            self._journal.close()

    def _call(self, call: Callable[[Journal], T]) -> T:
        journal = self._journal or self._open()
        self._last = journal.last
        self._mend_index()
        if not follows(self._parts, parts(self.config.directory), sizes=True):
            journal = self._copy(journal)
        try:
            result = call(journal)
        except (sqlite3.Error, OSError):
            # A commit that failed may have emptied the log: that was us, and not somebody else.
            self._is_elsewhere()
            raise
        if self._is_elsewhere():
            try:
                self._copy(journal)
            except (sqlite3.Error, OSError):
                # The same call comes again: under the same numbers, so that nothing counts twice.
                journal.last = self._last
                raise
        return result

    def _is_elsewhere(self) -> bool:
        """Whether the files that are open are no longer those that a start would find."""
        try:
            now = parts(self.config.directory)
        except OSError:
            # The next call looks before it writes anything; what this one wrote is on disk.
            return False
        if not follows(self._parts, now):
            return True
        self._parts = now
        return False

    def _mend_index(self) -> None:
        # It is mapped into memory: to read behind its end would kill us. From zeros SQLite builds it anew.
        size = self._parts[-1].size
        path = f"{self.config.directory}/{FILE_NAME}{SUFFIXES[-1]}"
        with suppress(FileNotFoundError):
            if os.stat(path).st_size < size:
                os.truncate(path, 0)
                os.truncate(path, size)

    def _open(self) -> Journal:
        config = self.config
        self._journal = Journal(
            config.directory, max_size=config.max_size, quarantine=config.quarantine, last=self._last
        )
        self._parts = parts(config.directory)
        return self._journal

    def _copy(self, journal: Journal) -> Journal:
        """Put a file with all that is in the open one in the place of what is there now, and open that.

        An error that `is_damaged` says that it cannot be read; after any other, this may be called again.
        """
        path = Path(self.config.directory) / FILE_NAME
        copy = path.with_name(f"{FILE_NAME}.copy")
        try:
            journal.copy(copy)
            aside = move_aside(self.config.directory)
            copy.rename(path)
        finally:
            copy.unlink(missing_ok=True)
        _sync(path.parent)
        new = self._open()
        new.last = journal.last
        journal.close()
        log.error(
            "Somebody deleted, replaced or cut short {path} or a file beside it while tessflux used them."
            " All that waited is in a new file; what was found in its place, if anything, is now {aside}.",
            path=str(path),
            aside=str(aside),
        )
        return new

    def _move_aside(self, error: sqlite3.Error) -> None:
        aside = move_aside(self.config.directory)
        log.error(
            "The spool was damaged ({error}). It was moved to {path} and a new one begun;"
            " what can still be read of those that waited is there.",
            error=str(error)[:200],
            path=str(aside),
        )
        self._begun_anew = True
        if self._journal is not None:
            self._journal.close()
            self._journal = None


class Part(NamedTuple):
    """One of the files that make a spool; all zeros when it is not there."""

    device: int
    number: int
    size: int


def parts(directory: str) -> list[Part]:
    """The files that make the spool in a directory. Raises OSError when that cannot be known."""
    found = []
    for suffix in SUFFIXES:
        try:
            status = os.stat(f"{directory}/{FILE_NAME}{suffix}")
        except FileNotFoundError:
            found.append(Part(0, 0, 0))
        else:
            found.append(Part(status.st_dev, status.st_ino, status.st_size))
    return found


def follows(before: list[Part], after: list[Part], *, sizes: bool = False) -> bool:
    """Whether these are the same files as before, all there, and, where only we write, none smaller now."""
    pairs = list(zip(before, after, strict=True))
    same = all(old[:2] == new[:2] and new.number for old, new in pairs)
    return same and not (sizes and any(old.size > new.size for old, new in pairs))


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether this error says that the file is no spool, or no longer."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Not SQLite's: the journal's, or Python's about a text that is no UTF-8.
        return isinstance(error, sqlite3.NotSupportedError | sqlite3.OperationalError)
    # A file that is shorter than it was comes as an error of reading.
    damages = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return (code & 0xFF) in damages or code == sqlite3.SQLITE_IOERR_SHORT_READ


def move_aside(directory: str) -> Path:
    """Rename a damaged spool, so that a new one can be begun; returns the new name, which has the time.

    Raises OSError.
    """
    path = Path(directory) / FILE_NAME
    stem = f"{FILE_NAME}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (path.with_name(f"{stem}-{number}" if number else stem) for number in count())
    aside = next(name for name in names if not name.exists())
    for suffix in reversed(SUFFIXES):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
