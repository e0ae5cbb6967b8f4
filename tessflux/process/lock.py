"""One process at a time: a lock ends with its process, however that ends, and a file tells whose it is.

The spool's lock is on its directory, because a file in it can be deleted while the lock holds, and the next
process would then lock another file of that name. The pid file is locked itself: its directory is not ours.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from tessflux.errors import AlreadyRunning, CannotCreate

ATTEMPTS, PAUSE = 10, 0.05
"""How often a lock is tried, and the seconds in between."""


class Lock:
    """What is at `path` belongs to this process, and to what is forked from it, until `release`."""

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        """Open it with these flags and take it. Raises BlockingIOError when another has it, OSError."""
        self._path = path.absolute()
        # Somebody who asks for the status holds the lock for a moment; somebody who stops removes the file.
        for _ in range(ATTEMPTS):
            self.descriptor = os.open(self._path, flags)
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(self.descriptor), self._path.stat()):
                    return
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(self.descriptor)
            time.sleep(PAUSE)
        raise BlockingIOError

    def release(self) -> None:
        os.close(self.descriptor)


class PidFile:
    """The file with our process id, locked as long as we live: a stale one is no obstacle."""

    def __init__(self, path: str) -> None:
        """Take the file. Raises CannotCreate or AlreadyRunning."""
        self._path = Path(path).absolute()
        try:
            self._lock = Lock(self._path, os.O_RDWR | os.O_CREAT)
            os.fchmod(self.descriptor, 0o644)
        except BlockingIOError:
            raise AlreadyRunning(
                f"tessflux runs already (process {_owner(self._path)} holds {self._path})"
            ) from None
        except OSError as error:
            raise CannotCreate(
                f"cannot create the pid file {self._path}: {error.strerror};"
                " run as root, or name another one with --pid-file"
            ) from None

    @property
    def descriptor(self) -> int:
        """What a detaching must leave open."""
        return self._lock.descriptor

    def write(self) -> None:
        """Put the id of this process into it."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Give it up."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def lock_spool(directory: str) -> Lock:
    """Make the spool's directory if need be, and take it; the file `lock` in it tells who has it.

    Raises CannotCreate or AlreadyRunning.
    """
    path = Path(directory)
    owner = path / "lock"
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = Lock(path, os.O_DIRECTORY)
    except BlockingIOError:
        raise AlreadyRunning(
            f"another tessflux (process {_owner(owner)}) uses the spool in {directory}; stop it,"
            " or give this one a [spool] directory of its own"
        ) from None
    except OSError as error:
        raise CannotCreate(f"cannot use the spool directory {directory}: {error.strerror}") from None
    # Only told to others; a full disk must not prevent a start, which may free it.
    with suppress(OSError):
        # Through no link, which another user may have put there for root to follow.
        descriptor = os.open(owner, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{os.getpid()}\n")
    return lock


def _owner(path: Path) -> str:
    try:
        return path.read_bytes()[:20].decode(errors="replace").strip()
    except OSError:
        return "unknown"
