"""The errors of tessflux, arranged by who must act.

    TessfluxError
    ├── OperatorError      the person who runs tessflux: each kind has its exit code
    │   ├── UsageError     64  the command line
    │   ├── CannotCreate   73  a file or directory that tessflux needs
    │   ├── AlreadyRunning 75  another tessflux holds the pid file or the spool
    │   └── ConfigError    78  the config file, all its problems at once
    └── ServerError        the broker or the database; tessflux keeps trying

A payload that a photometer got wrong is no exception: see `tessflux.reading.Refused`.
Anything else that is raised is a bug of ours and is logged as a failure.
The exit codes are those of sysexits.h.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class TessfluxError(Exception):
    """The root: whoever catches it has an explanation to show, not a traceback."""


class OperatorError(TessfluxError):
    """The operator can mend it; the message says how."""

    exit_code = 70


class UsageError(OperatorError):
    """The command line makes no sense."""

    exit_code = 64


class CannotCreate(OperatorError):
    """A file or directory could not be made or opened; the message names it."""

    exit_code = 73


class AlreadyRunning(OperatorError):
    """Another process holds the lock; the message names its file and, if known, the process."""

    exit_code = 75


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config file; `line` counts from 1, 0 means the whole file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.text}"


class ConfigError(OperatorError):
    """The config cannot be used; `problems` holds every reason, in the order of the file."""

    exit_code = 78

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ServerError(TessfluxError):
    """A server was unreachable, refused, or answered nonsense; the message names it."""
