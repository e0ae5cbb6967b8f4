"""What can be seen of tessflux from outside, and the site that shows it.

In:   a `Snapshot` of the running daemon, whenever somebody asks; what an operator wants done (`Control`).
Out:  answers to HTTP requests, over a Unix socket and perhaps TCP.

`snapshot` has the one shape of what can be seen. `pages` says what each path answers, `metrics` puts a
snapshot into Prometheus's format, `http` takes requests from strangers, `sockets` opens where they come in.
The way of a reading does not pass here: nothing is counted and nothing done until somebody asks.
"""

from tessflux.status.http import Answer, Page, Pages, Query, Site, everyone, is_ours
from tessflux.status.pages import (
    PAUSE,
    RELOAD,
    RESUME,
    STATUS,
    Control,
    Exposition,
    Recent,
    actions,
    made_once,
    pages,
)
from tessflux.status.snapshot import (
    Alarm,
    AlarmKind,
    Broker,
    Commits,
    Heard,
    Messages,
    Output,
    Snapshot,
    SpoolState,
    State,
    problems,
)
from tessflux.status.sockets import REOPEN, Sockets, own_names, socket_paths

__all__ = [
    "PAUSE",
    "RELOAD",
    "REOPEN",
    "RESUME",
    "STATUS",
    "Alarm",
    "AlarmKind",
    "Answer",
    "Broker",
    "Commits",
    "Control",
    "Exposition",
    "Heard",
    "Messages",
    "Output",
    "Page",
    "Pages",
    "Query",
    "Recent",
    "Site",
    "Snapshot",
    "Sockets",
    "SpoolState",
    "State",
    "actions",
    "everyone",
    "is_ours",
    "made_once",
    "own_names",
    "pages",
    "problems",
    "socket_paths",
]
