"""The queue on disk, between the broker and the database.

In:   readings to store, refused payloads and lines, each with what acknowledges it to the broker.
Out:  the oldest lines as a `Batch`, until the database has answered for them.

`Spool` is the queue; `second_look` opens its file beside a running tessflux, for the commands.
"""

from tessflux.spool.committer import Spool
from tessflux.spool.group import Gathering
from tessflux.spool.journal import FILE_NAME, RESERVE, Batch, second_look
from tessflux.spool.quarantine import CHOSEN, COLUMNS, Quarantined, quarantined

__all__ = [
    "CHOSEN",
    "COLUMNS",
    "FILE_NAME",
    "RESERVE",
    "Batch",
    "Gathering",
    "Quarantined",
    "Spool",
    "quarantined",
    "second_look",
]
