"""The signals that mean something to tessflux, and would end any other process.

They wait from the first moment until somebody is there to do what they mean; so none is lost, and none ends
the daemon while it starts. This module imports next to nothing, since the time that imports take is long.
"""

import signal

OURS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Reload, pause, resume."""


def defer() -> None:
    """Let them wait. Threads and processes that are begun now inherit it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, OURS)


def ignore() -> None:
    """Nobody is there any more to do what they mean, and they must not end a process that is ending well; nor
    must one more signal to stop."""
    for number in (*OURS, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def admit() -> None:
    """Take those that wait, and from now on each at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS)
