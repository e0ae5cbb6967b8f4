"""A look into the spool from outside, also while tessflux runs: what waits, and what was refused.

Each row is read by a statement of its own. While one is open SQLite cannot begin its log anew, and that would
grow without end if nobody read our output.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from tessflux.config import SpoolConfig
from tessflux.errors import CannotCreate
from tessflux.limits import MAX_NAME, REQUEUED
from tessflux.logs import escape
from tessflux.readings import Quarantined
from tessflux.spool import CHOSEN, COLUMNS, quarantined, second_look

Form = Literal["table", "json", "payload"]

_NEXT = f"SELECT id FROM quarantine WHERE {CHOSEN} AND id > ?3 AND id <= ?4 ORDER BY id LIMIT ?5"


def export(spool: SpoolConfig, out: TextIO) -> None:
    """Print the lines that wait, oldest first; raises CannotCreate when there is no spool."""
    for _, lines in _rows(spool, "SELECT id, lines FROM chunk WHERE id > ? ORDER BY id LIMIT 1"):
        out.write(f"{lines}\n")


def refused(spool: SpoolConfig, out: TextIO, *, photometer: str, cause: str, form: Form) -> int:
    """Print what is in quarantine, oldest first, and return how much that was; empty arguments mean all
    photometers and causes."""
    rows = _rows(
        spool,
        f"SELECT id, {COLUMNS} FROM quarantine WHERE {CHOSEN} AND id > ? ORDER BY id LIMIT 1",
        *_chosen(photometer, cause),
    )
    count = 0
    for _, *row in rows:
        out.write(_format(quarantined(row), form) + "\n")
        count += 1
    return count


def causes(spool: SpoolConfig) -> list[str]:
    """Why things are in quarantine."""
    with _look(spool, "ro") as db:
        return [cause for (cause,) in db.execute("SELECT DISTINCT cause FROM quarantine ORDER BY cause")]


def requeue(spool: SpoolConfig, *, photometer: str, cause: str) -> int:
    """Have tessflux try again what is in quarantine, now or when it starts; returns how many there are.

    Raises CannotCreate when the spool cannot be written.
    """
    chosen = _chosen(photometer, cause)
    count = after = 0
    with _look(spool, "rw") as db:
        (last,) = db.execute("SELECT max(id) FROM quarantine").fetchone()
        while rows := db.execute(_NEXT, (*chosen, after, last, REQUEUED)).fetchall():
            # Some at a time, for the log of the file grows by all that one transaction changes.
            with db:
                db.executemany("UPDATE quarantine SET again = 1 WHERE id = ? AND NOT again", rows)
            count, (after,) = count + len(rows), rows[-1]
    return count


def _chosen(photometer: str, cause: str) -> tuple[str, str]:
    """The arguments of CHOSEN."""
    return photometer.strip().lower(), cause


def _rows(spool: SpoolConfig, query: str, *arguments: str) -> Iterator[tuple[Any, ...]]:
    """All rows, by a query for the next one after the id that is its last argument."""
    after = 0
    with _look(spool, "ro") as db:
        while rows := db.execute(query, (*arguments, after)).fetchall():
            yield from rows
            after = rows[-1][0]


@contextmanager
def _look(spool: SpoolConfig, mode: Literal["ro", "rw"]) -> Iterator[sqlite3.Connection]:
    try:
        with closing(second_look(spool.directory, mode)) as db:
            yield db
    except sqlite3.Error as error:
        verb = "read" if mode == "ro" else "write"
        raise CannotCreate(
            f"cannot {verb} the spool in {spool.directory}: {error};"
            " it is there once tessflux has run with this config, and for its user and root"
        ) from None


def _format(entry: Quarantined, form: Form) -> str:
    # Line breaks would make two payloads out of one, and control characters could play with the terminal.
    payload = escape(entry.payload.decode("utf-8", "backslashreplace"))
    if form == "payload":
        return payload
    time = datetime.fromtimestamp(entry.time / 1000, UTC).isoformat(timespec="milliseconds")
    if form == "json":
        return json.dumps(
            {**entry._asdict(), "time": time, "payload": entry.payload.decode("utf-8", "backslashreplace")}
        )
    photometer = escape((entry.photometer or entry.topic)[:MAX_NAME])
    return f"{time}  {photometer:<20}  {entry.cause:<20}  {escape(entry.detail)}  {payload[:200]}"
