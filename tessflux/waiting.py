"""A look into the spool from outside, also while tessflux runs: what waits, and what was refused."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Literal, TextIO

from tessflux.config import SpoolConfig
from tessflux.errors import CannotCreate
from tessflux.journal import Quarantined, read_only
from tessflux.logs import escape

Form = Literal["table", "json", "payload"]


def export(spool: SpoolConfig, out: TextIO) -> None:
    """Print the lines that wait, oldest first; raises CannotCreate when there is no spool."""
    for (lines,) in _rows(spool, "SELECT lines FROM chunk ORDER BY id"):
        out.write(f"{lines}\n")


def refused(spool: SpoolConfig, out: TextIO, *, photometer: str, cause: str, form: Form) -> None:
    """Print what is in quarantine, oldest first; empty arguments mean all photometers and causes."""
    rows = _rows(
        spool,
        "SELECT time, topic, photometer, cause, detail, payload FROM quarantine"
        " WHERE (? IN ('', photometer)) AND (? IN ('', cause)) ORDER BY id",
        photometer.strip().lower(),
        cause,
    )
    for entry in map(Quarantined._make, rows):
        out.write(_format(entry, form) + "\n")


def _rows(spool: SpoolConfig, query: str, *arguments: str) -> Iterator[tuple[object, ...]]:
    try:
        with closing(read_only(spool.directory)) as db:
            yield from db.execute(query, arguments)
    except sqlite3.Error as error:
        raise CannotCreate(
            f"cannot read the spool in {spool.directory}: {error};"
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
    photometer = escape(entry.photometer or entry.topic)
    return f"{time}  {photometer:<20}  {entry.cause:<20}  {escape(entry.detail)}  {payload[:200]}"
