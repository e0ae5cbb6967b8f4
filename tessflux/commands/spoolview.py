"""The spool as other processes see it, also while tessflux runs.

Each row is read by a statement of its own. While a statement is open SQLite cannot restart its write-ahead
log, which would grow without limit if nobody read our output.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Literal

from tessflux.config import SpoolConfig
from tessflux.errors import CannotCreate
from tessflux.spool import second_look


@contextmanager
def open_spool(spool: SpoolConfig, mode: Literal["ro", "rw"]) -> Iterator[sqlite3.Connection]:
    """The database of a spool. Raises CannotCreate when it is missing, damaged or not ours to use."""
    try:
        with closing(second_look(spool.directory, mode)) as db:
            yield db
    except sqlite3.Error as error:
        verb = "read" if mode == "ro" else "write"
        raise CannotCreate(
            f"cannot {verb} the spool in {spool.directory}: {error};"
            " it exists once tessflux has run with this config, and only its user and root may read it"
        ) from None


def rows(spool: SpoolConfig, query: str, *arguments: str, after: int = 0) -> Iterator[tuple[Any, ...]]:
    """All rows that match, in the order of their ids, which are greater than `after`.

    `query` selects one row, its id first, with the least id above its last parameter.
    """
    last_id = after
    with open_spool(spool, "ro") as db:
        # Not fetchone, which would leave the statement open.
        while found := db.execute(query, (*arguments, last_id)).fetchall():
            yield from found
            last_id = found[-1][0]


def selection(photometer: str, cause: str, output: str) -> tuple[str, str, str]:
    """The parameters of `tessflux.spool.CHOSEN`; an empty argument matches everything."""
    return photometer.strip().lower(), cause, output
