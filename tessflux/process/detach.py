"""Detaching from the terminal, or staying there, with a pid file.

When it detaches, the process that was called stays until the daemon is ready or has failed, and returns the
daemon's exit code, so that `service tessflux start` can be trusted. The reactor must not be imported before
detaching, which would close its descriptors.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from daemon import DaemonContext

from tessflux.errors import OperatorError
from tessflux.process.lock import PidFile

UMASK = 0o027

Serve = Callable[[Callable[[], None], Callable[[str], None]], int]
"""Runs the daemon: see `detach`."""


def stay(pid_file: str, serve: Serve) -> int:
    """As `detach`, but in the process that was called; "" stands for no pid file."""
    if not pid_file:
        return serve(lambda: None, lambda state: None)
    lock = PidFile(pid_file)
    try:
        lock.write()
        return serve(lambda: None, lock.write)
    finally:
        lock.remove()


def detach(pid_file: str, serve: Serve) -> int:
    """Run `serve` in a detached process. It calls its first argument once the daemon's services run, and the
    second with the daemon's state when that changes ("" as usual), which is shown beside the pid file.

    Returns an exit code twice: in the calling process once the daemon is ready or has failed, in the daemon
    at its end. Raises OperatorError in the calling process; one that `serve` raises is printed there.
    """
    lock = PidFile(pid_file)
    reader, writer = os.pipe()
    sys.stdout.flush()
    if os.fork():
        os.close(writer)
        return _await_start(reader)
    os.close(reader)
    # A file object, not a number: once it is closed, the number may belong to the spool.
    pipe = os.fdopen(writer, "wb", buffering=0)
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
        return serve(lambda: _report_start(pipe, os.EX_OK, ""), lock.write)
    except OperatorError as error:
        _report_start(pipe, error.exit_code, str(error))
        return error.exit_code
    except Exception as error:
        _report_start(pipe, os.EX_SOFTWARE, f"{type(error).__name__}: {error}")
        raise
    finally:
        lock.remove()


def _report_start(pipe: BinaryIO, exit_code: int, problem: str) -> None:
    """Send the calling process what it waits for: one byte with the exit code, then the problem."""
    if pipe.closed:
        return  # The daemon was ready before; the calling process has ended.
    with suppress(BrokenPipeError), pipe:
        pipe.write(bytes([exit_code]) + problem.encode())


def _await_start(reader: int) -> int:
    with os.fdopen(reader, "rb") as pipe:
        received = pipe.read()
    if not received:
        print("tessflux: the daemon ended before it was ready", file=sys.stderr)
        return os.EX_SOFTWARE
    exit_code, problem = received[0], received[1:].decode(errors="replace")
    if exit_code:
        print(f"tessflux: {problem}", file=sys.stderr)
    return exit_code
