"""`tessflux export`: print the readings that wait in the spool, as line protocol."""

from typing import TextIO

from tessflux.commands.spoolview import open_spool, rows
from tessflux.config import SpoolConfig


def export(spool: SpoolConfig, out: TextIO, output: str = "") -> None:
    """Print the lines that wait for an output, or for any if it has no name, oldest first.

    Raises CannotCreate when the spool cannot be read.
    """
    with open_spool(spool, "ro") as db:
        query = "SELECT min(answered) FROM output WHERE ? IN ('', name)"
        (delivered,) = db.execute(query, (output,)).fetchone()
    query = "SELECT id, lines FROM chunk WHERE id > ? ORDER BY id LIMIT 1"
    for _, lines in rows(spool, query, after=delivered or 0):
        out.write(f"{lines}\n")
