"""One process at a time: a lock ends with its process, however that ends, and a file names the owner. What
state the owner is in, if that is not as usual, stands below its name in the spool, and in a file beside the
pid file, which has nothing but a number.

The spool's lock is on its directory, not on a file in it: a file could be deleted while it is locked, and the
next process would lock a new one of the same name. The pid file is locked itself: its directory is not ours.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from tessflux.errors import AlreadyRunning, CannotCreate

OWNER = "lock"
"""The file in a spool's directory that names its owner."""

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
        self._state = Path(f"{self._path}.state")
        try:
            # Never through a link, which another user may have put there for root to follow.
            self._lock = Lock(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
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

    def write(self, state: str = "") -> None:
        """Write the id of this process, and its state. Raises OSError, but not for the state."""
        _write(self.descriptor, str(os.getpid()))
        if state:
            _inform(self._state, 0o644, state)
        else:
            self._forget_state()

    def _forget_state(self) -> None:
        # It only informs others: what is in its place is no reason not to start or stop.
        with suppress(OSError):
            self._state.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete both files and release the lock."""
        self._forget_state()
        self._path.unlink(missing_ok=True)
        self._lock.release()


class SpoolLock(Lock):
    """The lock of a spool's directory, in which the file OWNER names the owner."""

    def __init__(self, directory: str) -> None:
        """Create the directory if it is missing, and lock it. Raises CannotCreate or AlreadyRunning."""
        path = Path(directory)
        self._owner = path / OWNER
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            super().__init__(path, os.O_DIRECTORY)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another tessflux (process {_owner(self._owner)}) uses the spool in {directory}; stop it,"
                " or give this one a [spool] directory of its own"
            ) from None
        except OSError as error:
            raise CannotCreate(f"cannot use the spool directory {directory}: {error.strerror}") from None
        self.write()

    def write(self, state: str = "") -> None:
        """Write the id of this process, and its state."""
        _inform(self._owner, 0o640, str(os.getpid()), state)


def state_of_spool(directory: str) -> str:
    """The state of the process that has locked a spool; empty if none has, or it is as usual."""
    path = Path(directory)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return ""
    try:
        # Shared, so that two queries do not mistake each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "".join(_lines(path / OWNER)[1:2])
    finally:
        os.close(descriptor)
    return ""


def _inform(path: Path, mode: int, *lines: str) -> None:
    """Write a file that only informs others. A full disk must not prevent a start, which may free some of
    it."""
    with suppress(OSError):
        # Never through a link, nor into a pipe that nobody reads, which another user may have put there.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
        try:
            _write(descriptor, *lines)
            # Whatever the umask is.
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)


def _write(descriptor: int, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines if line).encode()
    # In this order, so that whoever reads meanwhile finds an id.
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _owner(path: Path) -> str:
    return "".join(_lines(path)[:1])[:20] or "unknown"


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            return stream.read(200).decode(errors="replace").splitlines()
    except OSError:
        return []
