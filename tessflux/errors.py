"""The errors of tessflux, arranged by who must act.

    TessfluxError
    ├── OperatorError      the person who runs tessflux: each kind has its exit code
    │   ├── UsageError     64  the command line
    │   ├── Refused        65  the running daemon will not do it: a reload of a wrong config, for instance
    │   ├── NoReadings     66  the database has no such readings
    │   ├── NoDaemon       69  no daemon answers
    │   ├── Unavailable    69  a database does not answer a command, or not with what it was asked for
    │   ├── CannotCreate   73  a file or directory that tessflux needs
    │   ├── AlreadyRunning 75  another tessflux holds the pid file or the spool
    │   ├── NotAllowed     77  this user may not ask the daemon
    │   └── ConfigError    78  the config file, all its problems at once
    └── ServerError        the broker or the database; tessflux keeps trying

A payload that a photometer got wrong is no exception: see `tessflux.readings.Quarantined`.
Anything else that is raised is a bug and is logged as a failure.
The exit codes are those of sysexits.h.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class TessfluxError(Exception):
    """The root: it carries an explanation for people, and needs no traceback."""


class OperatorError(TessfluxError):
    """The operator can fix it; the message says how."""

    exit_code = 70


class UsageError(OperatorError):
    """The command line is wrong."""

    exit_code = 64


class Refused(OperatorError):
    """The running daemon does not do what it was asked for; the message has its reasons."""

    exit_code = 65


class NoReadings(OperatorError):
    """The database has no such readings; the message says which there are."""

    exit_code = 66


class NoDaemon(OperatorError):
    """No daemon answers; the message says where it was looked for."""

    exit_code = 69


class Unavailable(OperatorError):
    """A database does not answer, does not let us in, or cannot be asked that; the message says what to
    do."""

    exit_code = 69


class NotAllowed(OperatorError):
    """This user may not ask the daemon; the message says who may."""

    exit_code = 77


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
    """The config cannot be used; `problems` holds every reason, in the order of their lines."""

    exit_code = 78

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ServerError(TessfluxError):
    """A server was unreachable, refused us, or gave an answer that makes no sense; the message names it."""


def in_words(error: BaseException) -> str:
    """What an error says, without a full stop at its end. Of a connection that could not be made Twisted says
    in its own words, by number and in the system's words what happened; here are the last alone."""
    if getattr(error, "osError", None) and error.args and error.args[0]:
        return str(error.args[0])
    return str(error).rstrip(".") or type(error).__name__
