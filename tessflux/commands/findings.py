"""What `tessflux --check` has found: one line for each step, and the exit code."""

import os

from tessflux.commands.output import Report

PLACES = ("spool", "log")


class Findings:
    """Reports the result of each step, and remembers which ones failed."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._failed: set[str] = set()

    def ok(self, step: str, text: str) -> None:
        self.note(step, f"ok: {text}")

    def fail(self, step: str, text: str) -> None:
        self._failed.add(step)
        self.note(step, text)

    def note(self, step: str, text: str) -> None:
        # A server may answer with a whole page.
        self._report(f"{step:<10} {' '.join(text.split())}")

    @property
    def exit_code(self) -> int:
        """0, or EX_CANTCREAT if the daemon cannot write, or else EX_UNAVAILABLE if a server is not ready."""
        if self._failed.intersection(PLACES):
            return os.EX_CANTCREAT
        return os.EX_UNAVAILABLE if self._failed else os.EX_OK
