"""What was really published, and when: what a test compares with the database.

Rule: only what has left for the broker is entered, and each line can be read at once.
"""

import json
from pathlib import Path
from typing import Self

from tessflux.errors import UsageError
from tessflux.simulator.network import Message


class Ledger:
    """A file with a JSON object a line for each reading. Raises UsageError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("w", buffering=1)
        except OSError as error:
            raise UsageError(f"the ledger {path}: {error.strerror}") from error

    def enter(self, message: Message, at: int) -> None:
        """A message left for the broker at a time in ms since 1970 UTC."""
        if message.kind == "reading":
            fields = json.loads(message.payload)
            row = {key: fields[key] for key in ("name", "seq", "tsky")}
            row |= {"boot": message.boot, "at": at, "payload": message.payload}
            self._file.write(json.dumps(row) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
