"""A start does not depend on how much waits: what it reads is bounded, however large the file is."""

from pathlib import Path

from tessflux.spool.journal import Journal
from tests.spool.test_journal import group

MARGIN = 1_000_000
"""Bytes; the lines that the larger spool has more are ten times as many."""


def fill(directory: Path, thousands: int) -> None:
    directory.mkdir()
    journal = Journal(str(directory), max_size=2**30, quarantine=100)
    journal._db.execute("PRAGMA synchronous = OFF")
    for number in range(thousands):
        more = group(number * 1_000, 1_000)
        more.lines[:] = [line + " " * 80 for line in more.lines]
        journal.commit(more, 0)
    journal.close()


def bytes_read() -> int:
    """By this process, in all its system calls so far."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["rchar"])


def read_at_a_start(directory: Path) -> int:
    """What is read until the first batch is on its way."""
    before = bytes_read()
    journal = Journal(str(directory), max_size=2**30, quarantine=100)
    assert len(list(journal.admitted())) > 60_000
    assert journal.first == 0
    assert len(journal.head(0, 5_000).lines) == 5_000
    read = bytes_read() - before
    journal.close()
    return read


def test_a_start_reads_no_more_when_more_readings_wait(tmp_path: Path) -> None:
    fill(tmp_path / "small", 100)
    fill(tmp_path / "large", 200)
    assert read_at_a_start(tmp_path / "large") < read_at_a_start(tmp_path / "small") + MARGIN
