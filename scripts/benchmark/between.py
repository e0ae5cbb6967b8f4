"""Begins what stands between broker and bridge, `relay` and `stopwatch`, each a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]


@contextmanager
def between(module: str, *arguments: object) -> Iterator[int]:
    """The port that a module of this folder prints once it listens; it ends with the block. Raises OSError if
    it does not start."""
    command = [sys.executable, "-m", f"benchmark.{module}", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=SCRIPTS) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline()
            if not port:
                raise OSError(f"the {module} did not start")
            yield int(port)
        finally:
            process.kill()
