"""The clock of the computer is set forwards and backwards while the daemon runs.

No reading overwrites another, and no timer waits longer.
"""

import time
from pathlib import Path

from tests.faults.computer import Computer
from tests.real.site import Publisher, Site, reading

STEPS = (-1.0, -3600.0, -3601.0, 86_400.0, 0.0)
"""Seconds by which the clock is wrong, one after the other; more than ten minutes back is followed."""


def test_whatever_the_clock_is_set_to_no_reading_takes_the_place_of_another(
    site: Site, publisher: Publisher, tmp_path: Path
) -> None:
    computer = Computer(tmp_path / "computer")
    site.around = computer.around
    site.start()
    begun = time.time()
    publisher.publish([reading("stars1", n, n) for n in range(1, 31)], qos=1)
    site.wait_for_rows(30)
    count = 30
    for step in (*STEPS, 86_400.0, None):
        computer.set(begun - time.time() if step is None else step)
        publisher.publish([reading("stars1", n, n) for n in range(count + 1, count + 31)])
        count += 30
        site.wait_for_rows(count)
    rows = site.rows()
    assert sorted(row["freq"] for row in rows) == list(range(1, count + 1))
    assert max(row["time"] for row in rows) - min(row["time"] for row in rows) > 86_400_000
    site.stop()
