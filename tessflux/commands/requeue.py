"""`tessflux refused --requeue`: take messages and lines out of the quarantine, to be tried again."""

from tessflux.commands.spoolview import open_spool, selection
from tessflux.config import SpoolConfig
from tessflux.limits import REQUEUED
from tessflux.spool import CHOSEN

_NEXT = f"SELECT id FROM quarantine WHERE {CHOSEN} AND id > ?4 AND id <= ?5 ORDER BY id LIMIT ?6"


def requeue(spool: SpoolConfig, *, photometer: str, cause: str, output: str = "") -> int:
    """Mark quarantined rows for another try, which tessflux makes soon if it runs, or else when it starts.

    Returns how many rows match. Raises CannotCreate when the spool cannot be written.
    """
    selected = selection(photometer, cause, output)
    count = last_id = 0
    with open_spool(spool, "rw") as db:
        (end,) = db.execute("SELECT max(id) FROM quarantine").fetchone()
        while rows := db.execute(_NEXT, (*selected, last_id, end, REQUEUED)).fetchall():
            # Small transactions, since the write-ahead log grows by all that one of them changes.
            with db:
                db.executemany("UPDATE quarantine SET again = 1 WHERE id = ? AND NOT again", rows)
            count, (last_id,) = count + len(rows), rows[-1]
    return count
