"""The system that the service is installed into: its user, its commands, and what it refuses.

`root` is / for this machine, or the directory that holds another system's files. Users are added and removed
only on this machine.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tessflux.commands.output import Report
from tessflux.commands.shipped import USER
from tessflux.errors import CannotCreate

RunCommand = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Owner:
    """The ids of the service's user and of its primary group."""

    uid: int
    gid: int


def find_owner(root: Path) -> Owner | None:
    """The service's user in `root`, from its own passwd file: another system has its own ids."""
    passwd = root / "etc/passwd"
    lines = passwd.read_text(errors="replace").splitlines() if passwd.exists() else []
    for fields in (line.split(":") for line in lines):
        if fields[0] == USER:
            return Owner(int(fields[2]), int(fields[3]))
    return None


def add_user(run: RunCommand, report: Report) -> None:
    """Add a system user with a group of its own. Its home is the spool, which is created elsewhere."""
    home = ["--no-create-home", "--home", "/var/lib/tessflux"]
    run(["adduser", "--quiet", "--system", "--group", *home, USER])
    report(f"added the user {USER}")


def remove_user(run: RunCommand, report: Report) -> None:
    """Remove the user and its group."""
    run(["deluser", "--quiet", "--system", USER])
    report(f"removed the user {USER}")


def systemd_runs(root: Path) -> bool:
    """Whether systemd has started the system in `root` (sd_booted(3))."""
    return (root / "run/systemd/system").is_dir()


def reload_systemd(run: RunCommand) -> None:
    """Have systemd read its units. That starts and stops nothing."""
    run(["systemctl", "daemon-reload"])


def run_command(command: Sequence[str]) -> None:
    """Run `command`, such as adduser, to its end. Raises CannotCreate with what it printed if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotCreate(f"{command[0]} is missing; install it: apt-get install adduser") from None
    if done.returncode != 0:
        raise CannotCreate(f"{shlex.join(command)}: {done.stderr.strip()}")


def command_runner(root: Path) -> RunCommand | None:
    """What runs commands in `root`; None where it is not this machine. Raises CannotCreate if this is the
    machine and we are not root."""
    if root.resolve() != Path("/"):
        return None
    if os.geteuid() != 0:
        raise CannotCreate("only root can do that to this machine: use sudo, or --root DIR")
    return run_command


@contextmanager
def os_errors_explained() -> Iterator[None]:
    """Raise an OSError as a CannotCreate that names the file."""
    try:
        yield
    except OSError as error:
        raise CannotCreate(f"{error.filename or 'tessflux'}: {error.strerror}") from error
