"""What could not be stored: a table in the spool's file, to be looked at and to be requeued. Blocking.

It is bounded in rows and in bytes; the oldest go when newer ones come. Every method runs within a transaction
of the journal, so that a message leaves the quarantine in the same commit that stores its new outcome.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from tessflux.readings import Quarantined

COLUMNS = "time, topic, photometer, cause, detail, payload, retained, output"
"""The columns of Quarantined."""

CHOSEN = "(?1 IN ('', photometer)) AND (?2 IN ('', cause)) AND (?3 IN ('', output))"
"""The rows of a photometer, of a cause and of an output; an empty argument means all."""

_BYTES = "length(payload) + length(topic) + length(detail)"


Usage = tuple[int, int]
"""How many rows, and their size."""


def quarantined(row: Sequence[Any]) -> Quarantined:
    """A row of COLUMNS."""
    *others, retained, output = row
    return Quarantined._make([*others, bool(retained), output])


class Quarantine:
    """The table in an open journal. Raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection, *, rows: int, size: int) -> None:
        """Holds `rows` at most, in `size` bytes."""
        self._db = db
        self._held = self._sum("true")
        self.bound(rows=rows, size=size)

    def bound(self, *, rows: int, size: int) -> None:
        """Change the bounds; they apply when something is added."""
        self._rows, self._largest = rows, size

    @property
    def rows(self) -> int:
        """How many it holds."""
        return self._held[0]

    def requeued(self, limit: int) -> dict[int, Quarantined]:
        """The oldest that are to be tried again, by their numbers."""
        rows = self._db.execute(
            f"SELECT id, {COLUMNS} FROM quarantine WHERE again ORDER BY id LIMIT ?", (limit,)
        )
        return {row[0]: quarantined(row[1:]) for row in rows}

    def change(self, released: Sequence[int], added: Sequence[Quarantined]) -> tuple[int, Usage]:
        """Remove rows and add others. Returns how many of the oldest had to go, and what is held then, for
        `committed`."""
        rows, size = self._held
        for number in released:
            row, bytes_ = self._sum("id = ?", number)
            rows, size = rows - row, size - bytes_
            self._db.execute("DELETE FROM quarantine WHERE id = ?", (number,))
        if not added:
            return 0, (rows, size)
        rows, size = rows + len(added), size + sum(row.size for row in added)
        self._db.executemany(f"INSERT INTO quarantine ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", added)
        forgotten, gone = 0, 0
        for number, bytes_ in self._db.execute(f"SELECT id, {_BYTES} FROM quarantine ORDER BY id"):
            if rows - forgotten <= self._rows and size <= self._largest:
                break
            forgotten, gone, size = forgotten + 1, number, size - bytes_
        self._db.execute("DELETE FROM quarantine WHERE id <= ?", (gone,))
        return forgotten, (rows - forgotten, size)

    def committed(self, held: Usage) -> None:
        """The transaction of a change has succeeded."""
        self._held = held

    def _sum(self, condition: str, *arguments: int) -> Usage:
        query = f"SELECT count(*), total({_BYTES}) FROM quarantine WHERE {condition}"
        rows, size = self._db.execute(query, arguments).fetchone()
        return rows, int(size)
