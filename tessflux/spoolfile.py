"""The care of the spool's file: opened when it is first used, and begun anew when it turns out to be damaged.

A damaged file is moved aside, never deleted. The new one numbers its lines on from those of the old, so that
a batch of the old one retires nothing of the new. Any other error is raised, and the next call tries again.

Blocking; every call comes from the spool's one thread.
"""

import sqlite3
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from tessflux.config import SpoolConfig
from tessflux.journal import FILE_NAME, Journal

log = Logger(namespace="spool")

T = TypeVar("T")


class SpoolFile:
    """Nothing is opened before the first `use`; `close` comes last."""

    def __init__(self, config: SpoolConfig) -> None:
        self.config = config
        """Where the file is, and its bounds when it is opened. Any thread may set another."""
        self._journal: Journal | None = None
        self._last = 0
        self._begun_anew = False

    def use(self, call: Callable[[Journal], T]) -> tuple[T, bool]:
        """Call with the open journal: the result, and whether a file was begun anew since the last result.

        A damaged file is replaced here, before another call can come upon it. Raises sqlite3.Error, OSError.
        """
        try:
            result = call(self._journal or self._open())
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._move_aside(error)
            result = call(self._open())
        begun_anew, self._begun_anew = self._begun_anew, False
        return result, begun_anew

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._journal is not None:
            self._journal.close()

    def _open(self) -> Journal:
        config = self.config
        self._journal = Journal(
            config.directory, max_size=config.max_size, quarantine=config.quarantine, last=self._last
        )
        return self._journal

    def _move_aside(self, error: sqlite3.Error) -> None:
        aside = move_aside(self.config.directory)
        log.error(
            "The spool was damaged ({error}). It was moved to {path} and a new one begun;"
            " readings that waited in it are there.",
            error=str(error)[:200],
            path=str(aside),
        )
        self._begun_anew = True
        if self._journal is not None:
            self._last = self._journal.last
            self._journal.close()
            self._journal = None


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether this error says that the file is no spool, or no longer."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Not SQLite's: the journal's, or Python's about a text that is no UTF-8.
        return isinstance(error, sqlite3.NotSupportedError | sqlite3.OperationalError)
    return (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def move_aside(directory: str) -> Path:
    """Rename a damaged spool, so that a new one can be begun; returns the new name, which has the time.

    Raises OSError.
    """
    path = Path(directory) / FILE_NAME
    stem = f"{FILE_NAME}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (path.with_name(f"{stem}-{number}" if number else stem) for number in count())
    aside = next(name for name in names if not name.exists())
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
