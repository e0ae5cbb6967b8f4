"""The disk or the spool is full: what the broker keeps is not lost, and the rest is counted.

The daemon goes on by itself when there is room again.
"""

import sqlite3
import time
from contextlib import closing

import pytest

from tessflux.limits import PENDING_MESSAGES
from tessflux.spool.journal import FILE_NAME, Journal
from tessflux.spool.store import MINUTE
from tests.faults.accounting import check_account
from tests.faults.ledger import Ledger
from tests.faults.site import FaultSite
from tests.faults.small_disk import SmallDisk
from tests.real.site import Publisher, wait_until

FULL = "Cannot store readings: disk failed"
AGAIN = "The spool takes readings again"

MOST = 400_000
"""Readings that fill any of these spools several times."""


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_disk_that_is_full_for_a_while_costs_no_reading(
    bench: FaultSite, publisher: Publisher, qos: int, mounted: bool
) -> None:
    disk = SmallDisk(bench, 64)
    if not mounted:
        disk.mounted, bench.around = False, ()
    bench.start()
    bench.publish(publisher, 20, qos)
    bench.wait_for_all()
    began = time.monotonic()
    disk.fill()
    bench.publish(publisher, 300, qos)
    bench.wait_for_log(FULL)
    disk.free()
    bench.wait_for_log(AGAIN)
    bench.publish(publisher, 20, qos)
    bench.wait_for_all()
    account = bench.end_well()
    assert (account.received, account.stored, account.lost) == (340, 340, 0)
    assert bench.logged().count(FULL) <= 1 + (time.monotonic() - began) // MINUTE


def test_what_memory_cannot_hold_while_the_disk_is_full_is_counted_as_lost_at_qos_0(
    bench: FaultSite, publisher: Publisher
) -> None:
    disk = SmallDisk(bench, 64)
    bench.start()
    disk.fill()
    bench.publish(publisher, 10, 0)
    bench.wait_for_log(FULL)
    bench.publish(publisher, PENDING_MESSAGES + 2_000, 0)
    bench.publish(publisher, 50, 1)
    disk.free()
    bench.wait_for_log(AGAIN)
    bench.publish(publisher, 10, 1)
    bench.wait_for_rows(PENDING_MESSAGES + 60)
    assert lost_at_qos_0_and_counted(bench) > 1_000


def lost_at_qos_0_and_counted(bench: FaultSite) -> int:
    """Stop: if readings were lost, then only those that no broker keeps, and as many as were counted."""
    bench.stop()
    account, differences = check_account(bench.logged()), bench.differences()
    assert len(differences.lost) == account.lost
    assert {bench.ledger.qos[number] for number in differences.lost} <= {0}
    differences.lost.clear()
    assert not differences, differences
    return account.lost


def test_a_disk_that_the_spool_itself_has_filled_empties_when_the_database_is_back(
    bench: FaultSite, publisher: Publisher
) -> None:
    """Readings leave some room, which forgetting what is delivered needs."""
    # So many photometers that no flood moves a reading's time past the end of the test.
    bench.ledger = Ledger(photometers=1_000)
    disk = SmallDisk(bench, 40)
    bench.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    bench.influxd.kill()
    while FULL not in bench.logged():
        assert len(bench.ledger) < MOST, bench.logged()
        bench.publish(publisher, 1_000, 0)
        if not disk.mounted and len(bench.ledger) > 10_000:
            disk.fill()
    bench.publish(publisher, 20, 1)
    bench.influxd.start()
    if not disk.mounted:
        disk.free()
    bench.wait_for_log(AGAIN)
    bench.publish(publisher, 20, 1)
    wait_until(lambda: newest_is_stored(bench), "the last reading is in the database")
    lost_at_qos_0_and_counted(bench)


def nearly_fill(bench: FaultSite) -> None:
    """Begin a spool of the smallest size that has little room left."""
    bench.configure(spool={"max_size": "64M"})
    bench.spool.mkdir()
    Journal(str(bench.spool), max_size=2**26, quarantine=1).close()
    with closing(sqlite3.connect(bench.spool / FILE_NAME)) as db, db:
        db.execute("CREATE TABLE ballast AS SELECT zeroblob(60 * 1024 * 1024)")


def test_a_spool_at_its_largest_size_goes_on_when_the_database_is_back(
    bench: FaultSite, publisher: Publisher
) -> None:
    full = "Cannot store readings: spool full"
    bench.ledger = Ledger(photometers=1_000)
    nearly_fill(bench)
    bench.start()
    bench.publish(publisher, 20)
    bench.wait_for_all()
    began = time.monotonic()
    bench.influxd.kill()
    while full not in bench.logged():
        assert len(bench.ledger) < MOST, bench.logged()
        bench.publish(publisher, 1_000, 0)
    bench.publish(publisher, PENDING_MESSAGES + 2_000, 0)
    bench.publish(publisher, 1_000, 1)
    bench.influxd.start()
    bench.wait_for_log(AGAIN)
    bench.publish(publisher, 20, 1)
    wait_until(lambda: newest_is_stored(bench), "the last reading is in the database")
    assert bench.logged().count(full) <= 1 + (time.monotonic() - began) // MINUTE
    assert lost_at_qos_0_and_counted(bench) > 1_000


def newest_is_stored(bench: FaultSite) -> bool:
    freq = bench.ledger.sample(len(bench.ledger) - 1).fields["freq"]
    return bool(bench.influxd.query(f"SELECT seq FROM readings WHERE freq = {freq}", db="tessdb"))
