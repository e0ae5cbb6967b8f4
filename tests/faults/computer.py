"""A computer of which a test sets the clocks: a daemon runs on it as on any other.

    python -m tests.faults.computer DIRECTORY COMMAND...

runs a command of tessflux there, `python -m tessflux ARGUMENT...`. DIRECTORY says what the kernel would say:

    offset          how many seconds the time of day is off; libfaketime reads it at each call
    boot            the id of this boot, and the true CLOCK_BOOTTIME when it began
    synchronised    if this file is there, the kernel says that its clock is synchronised

What has passed is the true CLOCK_BOOTTIME less that of the boot. libfaketime leaves that clock alone, and
CLOCK_MONOTONIC too, since DONT_FAKE_MONOTONIC is set; without, version 0.9.10 gives the time of day for both.
Its "fix" for waits by the monotonic clock would shift their ends by the offset all the same: a thread that
wants the interpreter's lock would then not wait for it but spin, at five times the CPU.
"""

import runpy
import sys
import time
from pathlib import Path
from uuid import uuid4

from tessflux import clock


class Computer:
    """Its clock is right at first, but the kernel does not say so. A daemon runs there within `around`."""

    def __init__(self, directory: Path) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        directory.mkdir()
        self._directory = directory
        self.boot()
        settings = {
            "DONT_FAKE_MONOTONIC": 1,
            "FAKETIME_FORCE_MONOTONIC_FIX": 0,
            "FAKETIME_NO_CACHE": 1,
            "FAKETIME_TIMESTAMP_FILE": directory / "offset",
            "LD_PRELOAD": library,
        }
        assignments = (f"{key}={value}" for key, value in settings.items())
        self.around = ("env", *assignments, sys.executable, "-m", __name__, str(directory))

    def boot(self, *, off: float = 0.0, up: float = 0.0) -> None:
        """Start anew, `up` seconds ago, with a clock that is `off` by so many seconds."""
        (self._directory / "synchronised").unlink(missing_ok=True)
        self.set(off)
        self._write("boot", f"{uuid4()} {clock.seconds_since_boot() - up}")

    def set(self, off: float) -> None:
        """Set the clock: to the true time, or so many seconds off."""
        self._write("offset", f"{off:+f}\n")

    def ntp_answers(self) -> None:
        """From now on the clock is right, and the kernel says so."""
        self.set(0.0)
        self._write("synchronised", "")

    def _write(self, name: str, text: str) -> None:
        """At once: the daemon reads it at any time."""
        new = self._directory / "new"
        new.write_text(text)
        new.replace(self._directory / name)


def run(directory: Path, arguments: list[str]) -> None:
    """Run tessflux in this process with the clocks of `directory`."""
    boot, begun = (directory / "boot").read_text().split()
    clock.Clock.__init__.__kwdefaults__ = {
        "wall": time.time,
        "boot_seconds": lambda: clock.seconds_since_boot() - float(begun),
        "synchronised": (directory / "synchronised").exists,
        "boot_id": lambda: boot,
    }
    sys.argv = ["tessflux", *arguments]
    runpy.run_module("tessflux", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _, place, _python, _m, _tessflux, *rest = sys.argv
    run(Path(place), rest)
