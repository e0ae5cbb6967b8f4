"""On what a benchmark ran: what a reader needs to know to judge its figures."""

import os
import platform
import re
import statistics
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from servers import find_program

from benchmark.bridges import ROOT

SYNCS = 50


def about(directory: Path) -> dict[str, str]:
    """Of this machine now, by what it is called; `directory` is where the spools are."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _say("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "processor": f"{os.cpu_count()} x {_processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "mosquitto": _version(_say(find_program("mosquitto", "mosquitto"), "-h")),
        "influxd": _version(_say(find_program("influxd", "influxdb"), "version")),
        "fsync": f"{sync_seconds(directory) * 1000:.2f} ms on {_say('stat', '-fc', '%T', str(directory))}",
    }


def sync_seconds(directory: Path) -> float:
    """The median time in which a page reaches the disk."""
    path, times = directory / "fsync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            began = time.monotonic()
            os.fdatasync(file.fileno())
            times.append(time.monotonic() - began)
    path.unlink()
    return statistics.median(times)


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _say(*command: str) -> str:
    # mosquitto -h ends with 3.
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _version(text: str) -> str:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else "unknown"
