"""The system calls of a daemon that runs under strace: what it wrote where, and what was synced before."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = ("recvfrom", "sendto", "pwrite64", "fdatasync", "fsync")

_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)", re.DOTALL)
_FILE = re.compile(r"\d+<((?:->|[^<>])*)>")
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_UNFINISHED = " <unfinished ...>"


class Call(NamedTuple):
    """One call; `begun` and `ended` are line numbers, so that calls of several threads can be compared."""

    name: str
    file: str
    """A path, or for a connection TCP:[HOST:PORT->HOST:PORT]."""
    data: bytes
    offset: int
    """Where a pwrite64 wrote it."""
    begun: int
    ended: int


def traced(output: Path) -> tuple[str, ...]:
    """What is put before a command to record its calls; the process that starts is still the command."""
    trace = f"trace={','.join(CALLS)}"
    return ("strace", "-D", "-f", "-yy", "-xx", "-s", "70000", "-e", trace, "-o", str(output))


def calls(output: Path) -> Iterator[Call]:
    """All calls that succeeded, in the order in which they ended."""
    unfinished: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(output.read_text().splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        thread, name, text = match.groups()
        begun = number
        if text.endswith(_UNFINISHED):
            unfinished[thread, name] = number, text.removesuffix(_UNFINISHED)
            continue
        if " resumed>" in line:
            begun, before = unfinished.pop((thread, name))
            text = before + text
        arguments, _, result = text.rpartition(" = ")
        file, data = _FILE.match(arguments), _BYTES.search(arguments)
        if file is None or not result[:1].isdigit():
            continue
        path = bytes.fromhex(file[1].replace("\\x", "")).decode() if file[1][:1] == "\\" else file[1]
        content = bytes.fromhex(data[1].replace("\\x", "")) if data else b""
        offset = int(arguments.rpartition(", ")[2].rstrip(") ")) if name == "pwrite64" else 0
        yield Call(name, path, content, offset, begun, number)
