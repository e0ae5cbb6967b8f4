"""Which of the installed files are ours still, and which the operator made their own.

The rule: ROOT/etc/tessflux/.installed keeps the checksum of every file as it was shipped last, in
the format of sha256sum. A file that has it was not edited. All else is the operator's, also
what was there before us, a symbolic link for instance.
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


@dataclass
class Manifest:
    """The checksum of each file as it was shipped last, and whether the user is our making."""

    sums: dict[str, str]
    made_user: bool

    @classmethod
    def read(cls, root: Path) -> "Manifest":
        """That of `root`; empty where nothing was installed."""
        file = root / MANIFEST
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        sums = {}
        for number, line in enumerate(lines, 1):
            match = re.fullmatch(r"(?P<sum>[0-9a-f]{64})  (?P<path>\S.*)", line)
            if match is not None:
                sums[match["path"]] = match["sum"]
            elif not line.startswith("#"):
                raise CannotCreate(f"{file}:{number}: damaged; without this file all is kept")
        return cls(sums, MADE_USER in lines)

    def write(self, root: Path) -> None:
        """Store it in `root`, or remove the file when there is nothing to remember."""
        if not self.sums and not self.made_user:
            (root / MANIFEST).unlink(missing_ok=True)
            with suppress(OSError):  # the directory is not empty: the rest is the operator's
                (root / MANIFEST).parent.rmdir()
            return
        lines = [f"# put by tessflux --install; to compare: cd / && sha256sum -c {MANIFEST}"]
        lines += [MADE_USER] if self.made_user else []
        lines += [f"{known}  {path}" for path, known in self.sums.items()]
        write_whole(root / MANIFEST, "\n".join([*lines, ""]).encode(), 0o644, None)


class Verdict(Enum):
    """What to do about a file that may be there already."""

    PUT = auto()
    LEAVE = auto()
    REPLACE = auto()
    KEEP = auto()
    PUT_BESIDE = auto()


def judge(found: str | None, put: str | None, shipped: str, *, once: bool) -> Verdict:
    """Compare the checksums of what is there, what was put the last time, and what comes now."""
    if found is None:
        return Verdict.PUT
    if found == shipped:
        return Verdict.LEAVE
    if once:
        return Verdict.KEEP
    if found == put:
        return Verdict.REPLACE
    return Verdict.KEEP if put == shipped else Verdict.PUT_BESIDE


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def checksum_of(path: Path) -> str | None:
    """None where there is nothing; "", which no file has, for what is no plain file."""
    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_file():
        return ""
    return checksum(path.read_bytes())


def make_parents(path: Path) -> None:
    """The directories above `path`, which everyone may enter, whatever the umask."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)


def write_whole(path: Path, content: bytes, mode: int, gid: int | None) -> None:
    """All of the file or nothing; readable for nobody else before it has its mode and group."""
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
        error.filename = str(path)  # Of a full disk it names none.
        raise
