"""The queue on disk, between the broker and the database.

In:   the outcomes of messages, and what acknowledges the messages: `Committer.take`. One whose time is not
      known yet is `held` until it is judged again.
Out:  the oldest lines as a `Batch`, until the database has dealt with them: `Queue.head`, `Queue.retire`.

`Spool` puts `Committer`, `Queue` and `Store` together: messages gather in a `Group`, which is committed as a
whole. `second_look` opens the file beside a running tessflux, for the commands. Whoever keeps another SQLite
file shares `transaction`, `is_damaged` and `move_aside`.
"""

from tessflux.spool.committer import Committer
from tessflux.spool.file import is_damaged, move_aside
from tessflux.spool.group import Group
from tessflux.spool.held import HeldAtStart
from tessflux.spool.journal import FILE_NAME, RESERVE, Batch, Figures, second_look
from tessflux.spool.positions import Keeping
from tessflux.spool.quarantine import CHOSEN, COLUMNS, quarantined
from tessflux.spool.queue import Queue
from tessflux.spool.schema import transaction
from tessflux.spool.spool import Spool
from tessflux.spool.store import DISK_FAILED, LOSSES, Store

__all__ = [
    "CHOSEN",
    "COLUMNS",
    "DISK_FAILED",
    "FILE_NAME",
    "LOSSES",
    "RESERVE",
    "Batch",
    "Committer",
    "Figures",
    "Group",
    "HeldAtStart",
    "Keeping",
    "Queue",
    "Spool",
    "Store",
    "is_damaged",
    "move_aside",
    "quarantined",
    "second_look",
    "transaction",
]
