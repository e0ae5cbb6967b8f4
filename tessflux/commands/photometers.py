"""`tessflux photometers`: who was heard, when, and what of it was stored, as a table or as JSON."""

from collections.abc import Iterator
from typing import Literal, TextIO

import msgspec

from tessflux.commands.daemon import Daemon
from tessflux.logs import escape
from tessflux.pages import LIST, LISTED, SILENT, Listed, Listing
from tessflux.words import ago, brightness, measure, number

Form = Literal["table", "json"]

SOME_SILENT = 1
"""The exit code if a photometer is silent."""

_HEADS = ("photometer", "state", "last heard", "stored 24 h", "refused 24 h", "mag/arcsec2", "signal dBm")
_LEFT = 3
"""So many columns are texts, the others numbers."""


def photometers(daemon: Daemon, out: TextIO, *, unheard: float | None, form: Form) -> int:
    """Print everyone, or only those that were not heard for `unheard` seconds in which the daemon could hear.
    The exit code says whether any is silent: by the config, or for so long. Raises NoDaemon."""
    silent = False
    rows: list[tuple[str, ...]] = [_HEADS]
    for now, each in _all(daemon, unheard or 0.0):
        silent |= unheard is not None or each.state == SILENT
        if form == "json":
            out.write(msgspec.json.encode(each).decode() + "\n")
        else:
            rows.append(_row(each, now))
    if form == "table":
        out.writelines(_table(rows))
    return SOME_SILENT if silent else 0


def _all(daemon: Daemon, unheard: float) -> Iterator[tuple[float, Listed]]:
    """Everyone by name, and what time it is."""
    page = pages = 1
    while page <= pages:
        query = {"per_page": str(LISTED), "page": str(page), "unheard": f"{unheard:.0f}"}
        listing = daemon.get(LIST, Listing, query)
        for each in listing.photometers:
            yield listing.time, each
        page, pages = page + 1, listing.pages


def _row(each: Listed, now: float) -> tuple[str, ...]:
    signal = each.values.get("wdBm")
    return (
        escape(each.name),
        each.state,
        ago(each.heard, now),
        number(each.stored),
        number(each.refused),
        brightness(each.values) or "-",
        "-" if signal is None else measure(signal, 0),
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < _LEFT else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip() + "\n"
    if len(rows) == 1:
        yield "none\n"
