"""Detaching: the calling process ends when the daemon is ready or has failed, with its exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

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
