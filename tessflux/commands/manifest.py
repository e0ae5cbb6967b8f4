"""Which of the installed files are still ours, and which belong to the operator.

The rule: ROOT/etc/tessflux/.installed holds the checksum of each file as it was last shipped, in the format
of sha256sum. A file with that checksum was not edited. Everything else is the operator's, also what was there
before, such as a symbolic link.
"""

import hashlib
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tessflux.errors import CannotCreate

MANIFEST = "etc/tessflux/.installed"
MADE_USER = "# made the user tessflux"
"""The line that says that --install added the user, so --uninstall removes it."""


@dataclass
class Manifest:
    """The checksum of each file as it was last shipped, and whether we added the user."""

    sums: dict[str, str]
    made_user: bool

    @classmethod
    def read(cls, root: Path) -> "Manifest":
        """The manifest of `root`, empty where nothing was installed. Raises CannotCreate if it is damaged."""
        file = root / MANIFEST
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        sums = {}
        for number, line in enumerate(lines, 1):
            match = re.fullmatch(r"(?P<sum>[0-9a-f]{64})  (?P<path>\S.*)", line)
            if match is not None:
                sums[match["path"]] = match["sum"]
            elif not line.startswith("#"):
                raise CannotCreate(
                    f"{file}:{number}: this line is damaged; if you delete the file, every file is kept"
                )
        return cls(sums, MADE_USER in lines)

    def write(self, root: Path) -> None:
        """Write it into `root`, or remove the file when there is nothing to remember."""
        if not self.sums and not self.made_user:
            (root / MANIFEST).unlink(missing_ok=True)
            with suppress(OSError):  # A directory that is not empty is the operator's.
                (root / MANIFEST).parent.rmdir()
            return
        lines = [f"# installed by tessflux --install; to compare: cd / && sha256sum -c {MANIFEST}"]
        lines += [MADE_USER] if self.made_user else []
        lines += [f"{known}  {path}" for path, known in self.sums.items()]
        write_whole(root / MANIFEST, "\n".join([*lines, ""]).encode(), 0o644, None)


class Action(Enum):
    """What to do with a shipped file, where there may be one already."""

    INSTALL = auto()
    LEAVE = auto()
    REPLACE = auto()
    KEEP = auto()
    INSTALL_BESIDE = auto()


def decide(found: str | None, installed: str | None, shipped: str, *, once: bool) -> Action:
    """Compare the checksums of the file that is there, the one installed last, and the one shipped now.

    `once` is true for a file that is the operator's from the first installation on.
    """
    if found is None:
        return Action.INSTALL
    if found == shipped:
        return Action.LEAVE
    if once:
        return Action.KEEP
    if found == installed:
        return Action.REPLACE
    return Action.KEEP if installed == shipped else Action.INSTALL_BESIDE


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def checksum_of(path: Path) -> str | None:
    """None if there is nothing; "", which is no file's checksum, for anything but a regular file."""
    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_file():
        return ""
    return checksum(path.read_bytes())


def make_parents(path: Path) -> None:
    """Create the missing directories above `path`, open to everyone whatever the umask."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)


def write_whole(path: Path, content: bytes, mode: int, gid: int | None) -> None:
    """Write the whole file or nothing. Nobody else can read it before it has its mode and group."""
    make_parents(path)
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tessflux.")
    try:
        with open(number, "wb") as stream:
            stream.write(content)
            if gid is not None:
                os.fchown(number, -1, gid)
            os.fchmod(number, mode)
            stream.flush()
            os.fsync(number)
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        error.filename = str(path)  # The error of a full disk names no file.
        raise
