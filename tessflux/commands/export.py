"""`tessflux export`: print the readings that wait in the spool, as line protocol."""

from typing import TextIO

from tessflux.commands.spoolview import rows
from tessflux.config import SpoolConfig


def export(spool: SpoolConfig, out: TextIO) -> None:
    """Print the waiting lines, oldest first. Raises CannotCreate when the spool cannot be read."""
    for _, lines in rows(spool, "SELECT id, lines FROM chunk WHERE id > ? ORDER BY id LIMIT 1"):
        out.write(f"{lines}\n")
