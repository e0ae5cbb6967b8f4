"""What was written last of what each photometer says of itself: a table in the spool's file, in the order in
which it changed. Blocking.

`add` runs within a transaction of the journal, in the commit that stores the lines. So a line is written once
for each change, whenever tessflux was killed.
"""

import sqlite3
from collections.abc import Sequence

from tessflux.limits import REGISTRATIONS
from tessflux.readings import Registered, Said


class RegisteredPhotometers:
    """The table in an open journal. Raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, registered: Sequence[Registered]) -> None:
        """Remember these, and forget the oldest that are too many."""
        if not registered:
            return
        # A row that is replaced gets a new id: the order is that of the changes.
        self._db.executemany(
            "INSERT OR REPLACE INTO registered (name, time, fields, before) VALUES (?, ?, ?, ?)",
            [(each.name, *_texts(each.said)) for each in registered],
        )
        self._db.execute(
            "DELETE FROM registered WHERE id IN (SELECT id FROM registered ORDER BY id LIMIT"
            f" max(0, (SELECT count(*) FROM registered) - {REGISTRATIONS}))"
        )

    def all(self) -> list[tuple[str, Said]]:
        """Every photometer with what was written last, the oldest first."""
        rows = self._db.execute("SELECT name, time, fields, before FROM registered ORDER BY id")
        found = ((name, _said(*row)) for name, *row in rows)
        return [(name, said) for name, said in found if said is not None]


def _said(time: int, fields: str, before: str) -> Said | None:
    """None if the row is damaged: then its photometer is written once more, and no reading is lost for it."""
    try:
        said = Said(time, fields.encode(), before.encode())
        return said if said.decoded and Said(time, said.before).decoded is not None else None
    except (ValueError, AttributeError):
        return None


def _texts(said: Said) -> tuple[int, str, str]:
    return said.time, said.fields.decode(), said.before.decode()
