"""The file `alarms.json` beside the spool: what is raised, and what was not told yet. Blocking.

By it a restart raises nothing twice. Without it tessflux begins anew: an alarm that lasts is told again.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from twisted.logger import Logger

from tessflux.alarms.notice import Notice
from tessflux.status import Alarm

log = Logger(namespace="tessflux")

FILE_NAME = "alarms.json"


@dataclass(frozen=True)
class Kept:
    """What outlasts this process."""

    raised: Sequence[Alarm] = field(default_factory=list)
    untold: Sequence[Notice] = field(default_factory=list)


def load(directory: str) -> Kept:
    """What an earlier process kept; nothing if there was none, or the file is damaged. Raises OSError."""
    path = Path(directory) / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return Kept()
    except (ValueError, RecursionError) as error:
        log.warn(
            "{path} is damaged ({error}), so alarms that last are raised once more",
            path=str(path),
            error=str(error),
        )
        return Kept()


def save(directory: str, kept: Kept) -> None:
    """Replace the file, wholly or not at all. Raises OSError."""
    path = Path(directory) / FILE_NAME
    new = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        new.unlink()
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
        file.write(msgspec.json.encode(kept))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
