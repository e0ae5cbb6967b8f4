"""Detaching: the calling process ends when the daemon is ready or has failed, with its exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux.errors import AlreadyRunning
from tessflux.process.detach import stay
from tests.real.site import DEADLINE, wait_until

PROGRAM = """
import os, sys
from pathlib import Path
from tessflux.errors import CannotCreate
from tessflux.process.detach import detach

place = Path(sys.argv[1])

def serve(ready, tell):
    {body}
    return 0

sys.exit(detach(str(place / "pid"), serve))
"""


def detached(place: Path, body: str) -> tuple[int, str]:
    """Exit code and standard error of a process whose daemon does this, when the daemon has ended."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), place],
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    wait_until(lambda: not (place / "pid").exists(), "the daemon removes its pid file")
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("body", "exit_code", "message"),
    [
        ("ready()", 0, ""),
        ("raise CannotCreate('no room')", 73, "tessflux: no room\n"),
        ("raise ValueError('odd')", 70, "tessflux: ValueError: odd\n"),
        ("", 70, "tessflux: the daemon ended before it was ready\n"),
        ("ready(); raise CannotCreate('later')", 0, ""),
        (
            "tell('paused'); raise CannotCreate((place / 'pid.state').read_text())",
            73,
            "tessflux: paused\n\n",
        ),
    ],
)
def test_the_calling_process_returns_how_the_start_ended(
    tmp_path: Path, body: str, exit_code: int, message: str
) -> None:
    assert detached(tmp_path, body) == (exit_code, message)


def test_a_failure_after_the_start_is_written_into_no_file_of_the_daemon(tmp_path: Path) -> None:
    """The pipe to the calling process is closed by then, and another file may have its number."""
    files = "[open(place / str(number), 'wb') for number in range(20)]"
    assert detached(tmp_path, f"ready(); files = {files}; raise CannotCreate('later')") == (0, "")
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0] * 20


def test_what_stays_has_a_pid_file_and_a_state_if_it_is_given_one(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    seen: list[dict[str, str]] = []

    def serve(ready: object, tell: Callable[[str], None]) -> int:
        tell("paused")
        seen.append({path.name: path.read_text() for path in tmp_path.iterdir()})
        with pytest.raises(AlreadyRunning, match=str(os.getpid())):
            stay(str(pid_file), serve)
        return 7

    assert stay(str(pid_file), serve) == 7
    assert seen == [{"pid": f"{os.getpid()}\n", "pid.state": "paused\n"}]
    assert [*tmp_path.iterdir()] == []


def test_what_stays_needs_no_pid_file(tmp_path: Path) -> None:
    def serve(ready: Callable[[], None], tell: Callable[[str], None]) -> int:
        ready()
        tell("paused")
        return 7

    assert stay("", serve) == 7
