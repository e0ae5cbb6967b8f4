"""Detaching from the terminal.

The process that was called stays until the daemon runs or has failed, and ends with the daemon's word for it,
so that `service tessflux start` tells the truth. The reactor must not be imported before the detaching, which
would close its descriptors.
"""

import os
import sys
from collections.abc import Callable

from daemon import DaemonContext

from tessflux.errors import OperatorError
from tessflux.process.lock import PidFile

UMASK = 0o027


Ready = Callable[[], None]
"""Says that the services run."""


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
