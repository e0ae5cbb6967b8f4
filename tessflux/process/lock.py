"""One process at a time: a lock ends with its process, however that ends, and a file names the owner.

The spool's lock is on its directory, not on a file in it: a file could be deleted while it is locked, and the
next process would lock a new one of the same name. The pid file is locked itself: its directory is not ours.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from tessflux.errors import AlreadyRunning, CannotCreate

ATTEMPTS, PAUSE = 10, 0.05
"""How often a lock is tried, and the seconds between two attempts."""


class Lock:
    """An exclusive lock on a file or directory, held by this process and its forks until `release`."""

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        """Open and lock it. Raises OSError, namely BlockingIOError if another process holds the lock."""
        self._path = path.absolute()
        # A status query holds the lock for a moment; a daemon that stops removes the file.
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
    """The file with our process id, locked as long as we live. A stale file is simply taken over."""

    def __init__(self, path: str) -> None:
        """Create the file and lock it. Raises CannotCreate or AlreadyRunning."""
        self._path = Path(path).absolute()
        try:
            self._lock = Lock(self._path, os.O_RDWR | os.O_CREAT)
            os.fchmod(self.descriptor, 0o644)
        except BlockingIOError:
            raise AlreadyRunning(
                f"tessflux is already running (process {_owner(self._path)} holds {self._path})"
            ) from None
        except OSError as error:
            raise CannotCreate(
                f"cannot create the pid file {self._path}: {error.strerror};"
                " run tessflux as root, or choose another file with --pid-file"
            ) from None

    @property
    def descriptor(self) -> int:
        """The open file, which detaching must not close."""
        return self._lock.descriptor

    def write(self) -> None:
        """Write the id of this process."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Delete the file and release the lock."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def lock_spool(directory: str) -> Lock:
    """Create the spool's directory if it is missing, and lock it; the file `lock` in it names the owner.

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
    # The file only informs others. A full disk must not prevent a start, which may free some of it.
    with suppress(OSError):
        # Never through a link, which another user may have put there for root to follow.
        descriptor = os.open(owner, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{os.getpid()}\n")
    return lock


def _owner(path: Path) -> str:
    try:
        return path.read_bytes()[:20].decode(errors="replace").strip()
    except OSError:
        return "unknown"
