"""The care of the spool's file: it is opened at its first use, and replaced when it turns out to be damaged.

A damaged file is moved aside, never deleted. The new one goes on with the numbers of the old one's lines, so
that a batch of the old file retires nothing of the new one. If somebody deletes, replaces or truncates the
file while it is open, that is noticed before anything that went into it counts as stored, and what can still
be read through the open file is copied into a new one. Any other error is raised, and the next call tries
again.

Everything here blocks, and is called in the spool's one thread.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from twisted.logger import Logger

from tessflux.config import SpoolConfig
from tessflux.spool.journal import FILE_NAME, Journal

log = Logger(namespace="spool")

SUFFIXES = ("", "-wal", "-shm")
"""Of the files that make a spool: the database, its write-ahead log, and the index of that."""

P = ParamSpec("P")
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

    def use(
        self, call: Callable[Concatenate[Journal, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[T, bool]:
        """Call with the open journal: the result, and whether a file was begun anew since the last result.

        A damaged file is replaced here, before another call can come upon it. Raises sqlite3.Error, OSError.
        """
        try:
            result = self._call(call, *args, **kwargs)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not is_damaged(error):
                raise
            self._move_aside(error)
            result = call(self._open(), *args, **kwargs)
            with suppress(OSError):
                self._parts = parts(self.config.directory)
        begun_anew, self._begun_anew = self._begun_anew, False
        return result, begun_anew

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._journal is not None:
            self._journal.close()

    def _call(self, call: Callable[Concatenate[Journal, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        journal = self._journal or self._open()
        self._last = journal.last
        self._mend_index()
        if not follows(self._parts, parts(self.config.directory), sizes=True):
            journal = self._copy(journal)
        try:
            result = call(journal, *args, **kwargs)
        except (sqlite3.Error, OSError):
            # A failed commit may have emptied the log. That was us, and nobody else.
            self._is_elsewhere()
            raise
        if self._is_elsewhere():
            try:
                self._copy(journal)
            except (sqlite3.Error, OSError):
                # The same call is made again, under the same numbers, so that nothing counts twice.
                journal.last = self._last
                raise
        return result

    def _is_elsewhere(self) -> bool:
        """Whether the files that are open are no longer those that a start would find."""
        try:
            now = parts(self.config.directory)
        except OSError:
            # What this call wrote is on disk, and the next one looks before it writes.
            return False
        if not follows(self._parts, now):
            return True
        self._parts = now
        return False

    def _mend_index(self) -> None:
        # The index is mapped into memory: reading past its end would kill us. SQLite rebuilds it from zeros.
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
        """Copy all that is in the open file into a new one, put that in its place, and open it.

        An error that `is_damaged` means that the open file cannot be read; after any other, try again.
        """
        path = Path(self.config.directory) / FILE_NAME
        copy = path.with_name(f"{FILE_NAME}.copy")
        try:
            journal.copy(copy)
            aside = move_aside(Path(self.config.directory) / FILE_NAME)
            copy.rename(path)
        finally:
            copy.unlink(missing_ok=True)
        _sync(path.parent)
        new = self._open()
        new.last = journal.last
        journal.close()
        log.error(
            "Somebody deleted, replaced or truncated {path}, or a file beside it, while tessflux used it."
            " All that waited is in a new file; what was found in its place, if anything, is now {aside}.",
            path=str(path),
            aside=str(aside),
        )
        return new

    def _move_aside(self, error: Exception) -> None:
        aside = move_aside(Path(self.config.directory) / FILE_NAME)
        log.error(
            "The spool was damaged ({error}). It was moved to {path}, and a new one was begun."
            " Readings that waited and can still be read are in the old file.",
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
    """Whether these are the same files as before, all there, and with `sizes` none of them smaller."""
    pairs = list(zip(before, after, strict=True))
    same = all(old[:2] == new[:2] and new.number for old, new in pairs)
    return same and not (sizes and any(old.size > new.size for old, new in pairs))


def is_damaged(error: Exception) -> bool:
    """Whether this error means that the file is not a spool, or no longer."""
    if isinstance(error, UnicodeDecodeError):
        # Python cannot read what SQLite says of a damaged schema.
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Not from SQLite: from the journal, or from Python about text that is not UTF-8.
        return isinstance(error, sqlite3.NotSupportedError | sqlite3.OperationalError)
    # A file that was truncated shows up as an error while reading.
    damages = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return (code & 0xFF) in damages or code == sqlite3.SQLITE_IOERR_SHORT_READ


def move_aside(path: Path) -> Path:
    """Rename a damaged spool, or another database, so that a new one can be begun. Returns the new name,
    which has the time in it.

    Raises OSError.
    """
    stem = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
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
