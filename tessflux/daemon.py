"""Detaching from the terminal, and the pid file.

The process that was called stays until the daemon runs or has failed, and ends with the daemon's word for it,
so that `service tessflux start` tells the truth. The reactor must not be imported before the detaching, which
would close its descriptors.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from daemon import DaemonContext

from tessflux.errors import AlreadyRunning, CannotCreate, OperatorError

UMASK = 0o027

ATTEMPTS, PAUSE = 10, 0.05
"""How often the pid file's lock is tried, and the seconds in between."""

OURS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""The signals that mean something to tessflux, and would end any other process."""

Ready = Callable[[], None]
"""Says that the services run."""


class PidFile:
    """The file with our process id, locked as long as we live: a stale one is no obstacle."""

    def __init__(self, path: str) -> None:
        """Take the file. Raises CannotCreate or AlreadyRunning."""
        self._path = Path(path).absolute()
        owner = "unknown"
        # Somebody who asks for the status holds the lock for a moment; somebody who stops removes the file.
        for _ in range(ATTEMPTS):
            self.descriptor = self._open()
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_ours():
                    return
            except OSError:
                owner = os.read(self.descriptor, 20).decode(errors="replace").strip()
            os.close(self.descriptor)
            time.sleep(PAUSE)
        raise AlreadyRunning(f"tessflux runs already (process {owner} holds {self._path})")

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT)
            os.fchmod(descriptor, 0o644)
        except OSError as error:
            raise CannotCreate(
                f"cannot create the pid file {self._path}: {error.strerror};"
                " run as root, or name another one with --pid-file"
            ) from None
        return descriptor

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def write(self) -> None:
        """Put the id of this process into it."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Give it up."""
        self._path.unlink(missing_ok=True)
        os.close(self.descriptor)


def ignore_signals() -> None:
    """Let the signals of OURS do nothing, until somebody is there to do what they mean."""
    for number in OURS:
        signal.signal(number, signal.SIG_IGN)


def detach(pid_file: str, serve: Callable[[Ready], int]) -> int:
    """Run `serve` in a detached process. Returns twice: here when it runs or has failed, there at its end.

    Raises OperatorError here; one that `serve` raises there is printed here, and its exit code returned.
    """
    lock = PidFile(pid_file)
    reader, writer = os.pipe()
    sys.stdout.flush()
    if os.fork():
        os.close(writer)
        return _await_start(reader)
    os.close(reader)
    try:
        context = DaemonContext(
            umask=UMASK,
            working_directory="/",
            files_preserve=[writer, lock.descriptor],
            detach_process=True,
            signal_map={},
        )
        context.open()
        lock.write()
        return serve(lambda: _tell(writer, 0, ""))
    except OperatorError as error:
        _tell(writer, error.exit_code, str(error))
        return error.exit_code
    except Exception as error:
        _tell(writer, 70, f"{type(error).__name__}: {error}")
        raise
    finally:
        lock.remove()


def _tell(writer: int, code: int, text: str) -> None:
    try:
        os.write(writer, bytes([code]) + text.encode())
        os.close(writer)
    except OSError:
        pass  # It was told already, or nobody listens any more.


def _await_start(reader: int) -> int:
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    if not told:
        print("tessflux: it ended before it ran", file=sys.stderr)
        return 70
    if told[0]:
        print(f"tessflux: {told[1:].decode(errors='replace')}", file=sys.stderr)
    return told[0]
