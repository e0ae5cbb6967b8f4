"""Standard output, which an operator or another program reads, and may stop reading at any time."""

import io
import os
import sys
from collections.abc import Callable
from typing import TextIO

from tessflux.logs import escape

Report = Callable[[str], None]
"""Takes one line for the operator: what a command has found or done. `print_line` is one."""


def print_line(line: str) -> None:
    """Print a line, escaped because it may hold what a server sent.

    When nobody reads any more the command goes on: half an installation is worse than none.
    """
    try:
        print(escape(line), flush=True)
    except BrokenPipeError:
        discard()


def discard() -> None:
    """Throw away further output. Otherwise Python would complain about the closed pipe when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def in_utf8() -> TextIO:
    """Standard output in UTF-8, in which InfluxDB takes names, whatever the terminal's encoding is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


def open_missing_streams() -> None:
    """Open /dev/null in place of each standard stream that the caller closed. Otherwise the next file we open
    would get its number, and detaching would close that file."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115 (it stays open)
