"""What the operating system knows about a process: its CPU, its memory, what it wrote to the disk.

The rule: nothing here asks the process itself, and all of its threads and children count.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_NANOSECONDS = 1e9
_RESET_PEAK = "5"
"""What /proc/PID/clear_refs wants to hear; see proc(5)."""


@dataclass(frozen=True)
class Stat:
    """A line of /proc/PID/stat: the parent, whether it has ended, seconds of CPU with its dead children's."""

    parent: int
    ended: bool
    cpu: float

    @classmethod
    def parse(cls, line: str) -> "Stat":
        """The name of the program is in brackets and may contain brackets and blanks."""
        state, parent, *rest = line.rpartition(") ")[2].split()
        return cls(int(parent), state in "ZX", sum(map(int, rest[9:13])) / _TICKS)

    @classmethod
    def of(cls, pid: int) -> "Stat":
        """Of a process that lives, or whose end nobody has asked for yet; else OSError."""
        return cls.parse(Path(f"/proc/{pid}/stat").read_text())


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                children.setdefault(Stat.of(int(directory.name)).parent, []).append(int(directory.name))
            except OSError:  # It has ended meanwhile.
                continue
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these have used so far, in the kernel too; to a hundredth of a second."""
    return sum(Stat.of(pid).cpu for pid in pids)


def exact_cpu_seconds(pid: int) -> float:
    """The same for the living threads of one process, to a nanosecond; for a process that does little."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / _NANOSECONDS


def wake_ups(pid: int) -> int:
    """How often its living threads have waited for something that came."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(status((task / "status").read_text(), "voluntary_ctxt_switches") for task in tasks)


def memory(pids: Sequence[int]) -> float:
    """MiB in memory now."""
    return sum(status(_read(pid, "status"), "VmRSS") for pid in pids) / 1024


def peak_memory(pids: Sequence[int]) -> float:
    """The most MiB in memory, since the start or the last `forget_peak`."""
    return sum(status(_read(pid, "status"), "VmHWM") for pid in pids) / 1024


def forget_peak(pids: Sequence[int]) -> None:
    """Let the peak begin anew."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def disk_bytes(pid: int) -> int:
    """Bytes that a process has sent to a disk, in whole pages."""
    return status(_read(pid, "io"), "write_bytes")


def status(text: str, key: str) -> int:
    """The number after `key:`, 0 when it is missing, as the memory of a process that has ended is."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    return 0


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()
