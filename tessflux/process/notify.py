"""What systemd and its service say to each other: sd_notify(3), sd_watchdog_enabled(3), and the journal.

systemd says it in the environment, the service in datagrams. Without systemd there is nobody to tell, and
nothing is sent. To tell it never fails: a service must not end because its supervisor does not listen.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

TIMEOUT = 0.1
"""Seconds that a message may take. The kernel keeps hundreds of them for a systemd that is busy; where even
these are not read, it is lost."""


class Notifier:
    """Whoever started us and wants to be told how we are."""

    def __init__(self, address: str) -> None:
        """`address` is $NOTIFY_SOCKET: a path, or "@" and an abstract name; "" means that nobody listens."""
        # Other kinds of sockets exist for virtual machines, but not for their services.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._listens = address.startswith(("/", "@"))

    def tell(self, **variables: object) -> None:
        """Send these in one message, such as READY=1."""
        if not self._listens:
            return
        text = "".join(f"{name}={' '.join(str(value).split())}\n" for name, value in variables.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(TIMEOUT)
            sender.sendto(text.encode(errors="backslashreplace"), self._address)


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """After how many seconds of silence systemd takes this process for hung; None if it does not care."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(environ["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the journal reads this stream: then a line may begin with its priority, and needs no time."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def waits_for_disk(thread: int) -> bool:
    """Whether the kernel keeps the thread with this id until a disk has answered (state D in proc(5)).

    No signal ends such a thread, not even SIGKILL, nor does the disk answer a new process any sooner.
    """
    try:
        with open(f"/proc/{thread}/stat", "rb") as file:
            # The name before it may hold anything, also brackets.
            return file.read().rpartition(b")")[2].split()[0] == b"D"
    except (OSError, IndexError):
        return False
