"""What a service sends to systemd arrives there, and what systemd says in the environment is understood."""

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tessflux.process import notify
from tests.real.site import DEADLINE, wait_until


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """A socket as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(DEADLINE)
        yield listener


def test_a_message_goes_to_a_socket_with_a_path(tmp_path: Path) -> None:
    with listening(f"{tmp_path}/notify") as listener:
        notify.Notifier(f"{tmp_path}/notify").tell(READY=1, STATUS="1,204 readings waiting")
        assert listener.recv(4096) == b"READY=1\nSTATUS=1,204 readings waiting\n"


def test_a_message_goes_to_a_socket_with_an_abstract_name() -> None:
    name = f"tessflux-test-{os.getpid()}"
    with listening(f"\0{name}") as listener:
        notify.Notifier(f"@{name}").tell(WATCHDOG=1)
        assert listener.recv(4096) == b"WATCHDOG=1\n"


def test_no_text_can_forge_another_variable(tmp_path: Path) -> None:
    with listening(f"{tmp_path}/notify") as listener:
        notify.Notifier(f"{tmp_path}/notify").tell(STATUS="all is \nSTOPPING=1\r\x85\udc80well")
        assert listener.recv(4096) == b"STATUS=all is STOPPING=1 \\udc80well\n"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/no/such/socket", "@no-such-socket"])
def test_where_nobody_listens_nothing_happens(address: str) -> None:
    notify.Notifier(address).tell(READY=1)


def test_a_listener_that_never_reads_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT", 0.001)
    with listening(f"{tmp_path}/notify") as listener:
        # More than the kernel keeps for anyone (net.unix.max_dgram_qlen, or the sender's buffer).
        for _ in range(600):
            notify.Notifier(f"{tmp_path}/notify").tell(STATUS="x" * 1000)
        assert listener.recv(4096).startswith(b"STATUS=x")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, 120.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "1" + "0" * 400}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_only_for_the_process_that_it_names(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert notify.watchdog_seconds(environ) == seconds


def test_a_stream_is_the_journal_if_it_is_the_file_that_systemd_names(tmp_path: Path) -> None:
    with (tmp_path / "one").open("w") as one, (tmp_path / "two").open("w") as two:
        status = os.fstat(one.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert notify.is_journal(one, environ)
        assert not notify.is_journal(two, environ)
        assert not notify.is_journal(one, {})
    assert not notify.is_journal(one, environ)
    assert not notify.is_journal(io.StringIO(), environ)


STUCK = """
import os, sys
opening = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
os.posix_spawn("/bin/true", ["true"], {}, file_actions=[opening])
"""
"""The kernel keeps this process uninterruptible, as one that waits for a disk, until its child has opened the
pipe that the argument names."""


def test_a_thread_that_the_kernel_keeps_is_told_from_one_that_sleeps(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", STUCK, pipe]) as stuck:
        wait_until(lambda: notify.waits_for_disk(stuck.pid), "it is kept")
        with pipe.open("w"):
            assert stuck.wait(DEADLINE) == 0
        assert not notify.waits_for_disk(stuck.pid)

    over = threading.Event()
    ids: list[int] = []

    def sleep() -> None:
        ids.append(threading.get_native_id())
        over.wait()

    thread = threading.Thread(target=sleep)
    thread.start()
    wait_until(lambda: bool(ids), "it sleeps")
    assert not notify.waits_for_disk(ids[0])
    over.set()
    thread.join()
    assert not notify.waits_for_disk(0)
