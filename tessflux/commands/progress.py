"""How far a long command has come, as one line on a terminal that is rewritten."""

from collections.abc import Callable, Generator, Iterable
from typing import TextIO

from tessflux.archive import Extent, Row
from tessflux.words import number

_WIDTH = 30
_ROWS, _SECONDS = 500, 0.2
"""After so many rows it is looked whether so much time has passed; then the line is written anew."""

_CLEAR = "\r\x1b[K"


def with_progress(
    rows: Iterable[Row], extent: Extent, terminal: TextIO | None, now: Callable[[], float]
) -> Generator[Row, None, None]:
    """The rows, and beside them the line on the terminal, if there is one. It is gone when they end, or when
    this is closed. `now` gives seconds."""
    if terminal is None:
        yield from rows
        return
    shown = now()
    try:
        for count, row in enumerate(rows):
            if count % _ROWS == 0 and now() >= shown + _SECONDS:
                shown = now()
                terminal.write(f"{_CLEAR}{bar(row.time, extent)}  {number(count)} readings")
                terminal.flush()
            yield row
    finally:
        terminal.write(_CLEAR)
        terminal.flush()


def bar(moment: int, extent: Extent) -> str:
    """Which part of the time has been read: `[###...]  43 %`."""
    part = (moment - extent.first + 1) / (extent.last - extent.first + 1)
    full = int(part * _WIDTH)
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {part:4.0%}"
