"""The signals that control the daemon. Any other process would be ended by them.

Those to reload, pause and resume are blocked from the first moment until the daemon has handlers for them, so
none is lost and none ends a daemon that is still starting. This module imports next to nothing, because other
imports take time.
"""

import signal

CONTROL = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Reload, pause, resume."""

STOP = (signal.SIGTERM, signal.SIGINT)


def block() -> None:
    """Keep them pending. Threads and child processes started from now on inherit this."""
    signal.pthread_sigmask(signal.SIG_BLOCK, CONTROL)


def unblock() -> None:
    """Deliver the pending ones, and from now on each one at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CONTROL)


def interrupt() -> None:
    """Have a closed terminal and SIGTERM end a command as Ctrl-C does: it leaves nothing half done."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def ignore() -> None:
    """Ignore them and the signals to stop: a process that has stopped must still end with its exit code."""
    for number in (*CONTROL, *STOP):
        signal.signal(number, signal.SIG_IGN)
