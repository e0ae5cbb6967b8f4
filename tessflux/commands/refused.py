"""`tessflux refused`: list what is in quarantine, each with its cause."""

import json
from datetime import UTC, datetime
from typing import Literal, TextIO

from tessflux.commands.output import Report
from tessflux.commands.spoolview import open_spool, rows, selection
from tessflux.config import SpoolConfig
from tessflux.limits import MAX_NAME
from tessflux.logs import escape
from tessflux.readings import Quarantined
from tessflux.spool import CHOSEN, COLUMNS, quarantined

Form = Literal["table", "json", "payload"]

SHOWN_PAYLOAD = 200
"""Characters of a payload that the table shows."""

_NEXT = f"SELECT id, {COLUMNS} FROM quarantine WHERE {CHOSEN} AND id > ? ORDER BY id LIMIT 1"


def refused(
    spool: SpoolConfig,
    out: TextIO,
    warn: Report,
    *,
    photometer: str,
    cause: str,
    output: str = "",
    form: Form,
) -> None:
    """Print what is in quarantine, oldest first, or warn that nothing matches. An empty `photometer`,
    `cause` or `output` matches everything.

    Raises CannotCreate when the spool cannot be read.
    """
    found = False
    for _, *row in rows(spool, _NEXT, *selection(photometer, cause, output)):
        out.write(_format(quarantined(row), form) + "\n")
        found = True
    if not found:
        causes = _causes(spool)
        nothing = f"nothing in quarantine matches; the causes there are: {', '.join(causes)}"
        warn(nothing if causes else "the quarantine is empty")


def _causes(spool: SpoolConfig) -> list[str]:
    with open_spool(spool, "ro") as db:
        return [cause for (cause,) in db.execute("SELECT DISTINCT cause FROM quarantine ORDER BY cause")]


def _format(entry: Quarantined, form: Form) -> str:
    text = entry.payload.decode("utf-8", "backslashreplace")
    # Line breaks would make two payloads out of one, and control characters could reach the terminal.
    payload = escape(text)
    if form == "payload":
        return payload
    time = datetime.fromtimestamp(entry.time / 1000, UTC).isoformat(timespec="milliseconds")
    if form == "json":
        return json.dumps({**entry._asdict(), "time": time, "payload": text})
    photometer = escape((entry.photometer or entry.topic)[:MAX_NAME])
    return f"{time}  {photometer:<20}  {entry.cause:<20}  {escape(entry.detail)}  {payload[:SHOWN_PAYLOAD]}"
