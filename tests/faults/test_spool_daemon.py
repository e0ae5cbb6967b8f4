"""The spool of a running daemon: its files are damaged, its rights taken, a second daemon started on it."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tessflux.spool.journal import FILE_NAME
from tests.faults.site import FaultSite
from tests.real.site import Publisher, Site, wait_until

NEW_FILE = "All that waited is in a new file"


def delete_all(spool: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (spool / f"{FILE_NAME}{suffix}").unlink()


def replace_by_garbage(spool: Path) -> None:
    other = spool / "other"
    other.write_bytes(b"garbage " * 10_000)
    other.rename(spool / FILE_NAME)


def empty(suffix: str) -> Callable[[Path], None]:
    return lambda spool: os.truncate(spool / f"{FILE_NAME}{suffix}", 0)


@pytest.mark.parametrize(
    ("harm", "said"),
    [(delete_all, NEW_FILE), (replace_by_garbage, NEW_FILE), (empty("-wal"), NEW_FILE), (empty("-shm"), "")],
    ids=["deleted", "replaced by garbage", "log emptied", "index emptied"],
)
def test_files_that_are_harmed_under_the_daemon_cost_nothing_that_waits(
    bench: FaultSite, publisher: Publisher, harm: Callable[[Path], None], said: str
) -> None:
    bench.influxd.kill()
    bench.start()
    bench.publish(publisher, 200)
    # Cutting the index short while it is read kills the daemon: another test does that.
    wait_until(lambda: len(bench.waiting()) == 200, "all that waits is on disk")
    harm(bench.spool)
    bench.publish(publisher, 100)
    bench.publish(publisher, 100, 0)
    bench.wait_for_log(said)
    # Everything is in files that other processes find, and so does a start.
    wait_until(lambda: len(bench.waiting()) == 400, "all that waits is on disk")
    bench.kill()
    bench.start()
    bench.influxd.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    bench.end_well()


def test_a_daemon_that_was_killed_by_its_damaged_index_starts_and_loses_nothing(
    bench: FaultSite, publisher: Publisher
) -> None:
    """Cutting it short while it is read kills the daemon (SIGBUS)."""
    bench.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    bench.influxd.kill()
    bench.publish(publisher, 200)
    bench.wait_for_log("takes no readings")
    bench.kill()
    os.truncate(bench.spool / f"{FILE_NAME}-shm", 100)
    bench.influxd.start()
    bench.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    bench.end_well()


def test_a_directory_that_may_not_be_entered_any_more_costs_no_reading(
    bench: FaultSite, publisher: Publisher
) -> None:
    if os.geteuid() == 0:
        # Root may do anything, unless it gives that up.
        mine = "-dac_override,-dac_read_search"
        bench.around = ("setpriv", f"--bounding-set={mine}", f"--inh-caps={mine}")
    bench.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    bench.spool.chmod(0)
    bench.publish(publisher, 50, 1)
    bench.publish(publisher, 50, 0)
    bench.wait_for_log("Cannot store readings: disk failed ([Errno 13] Permission denied")
    bench.spool.chmod(0o750)
    bench.wait_for_log("The spool takes readings again")
    bench.publish(publisher, 20)
    bench.wait_for_all()
    account = bench.end_well()
    assert (account.received, account.lost) == (140, 0)


def test_a_spool_of_a_later_version_is_kept_and_a_new_one_begun(
    bench: FaultSite, publisher: Publisher
) -> None:
    bench.spool.mkdir()
    file = bench.spool / FILE_NAME
    with closing(sqlite3.connect(file)) as db:
        db.executescript(
            "PRAGMA user_version = 99; CREATE TABLE later (what TEXT); INSERT INTO later VALUES (7);"
        )
    bench.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    account = bench.end_well()
    assert account.lost == 0
    (aside,) = bench.spool.glob(f"{FILE_NAME}.damaged-*Z")
    assert "it has version 99" in bench.logged()
    with closing(sqlite3.connect(aside)) as db:
        assert db.execute("SELECT what FROM later").fetchall() == [("7",)]


def test_a_second_daemon_is_refused_also_when_the_lock_file_was_deleted(site: Site) -> None:
    site.start()
    (site.spool / "lock").unlink()
    second = site.run("-k")
    assert second.returncode == 75
    assert f"uses the spool in {site.spool}" in second.stderr
    site.stop()
