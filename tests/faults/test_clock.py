"""The clock of the computer is set forwards and backwards while the daemon runs.

No reading overwrites another, and no timer waits longer.
"""

import time
from pathlib import Path

from tests.real.site import Publisher, Site, reading

STEPS = ("-1", "-3600", "-3601", "+86400", "+0")
"""Seconds by which the clock is wrong, one after the other; more than ten minutes back is followed."""


class WrongClock:
    """What libfaketime makes of the time of day; timers, which go by the monotonic clock, are left alone."""

    def __init__(self, site: Site, file: Path) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self._file = file
        self.set("+0")
        settings = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_NO_CACHE": 1}
        site.around = ("env", "DONT_FAKE_MONOTONIC=1", *(f"{key}={value}" for key, value in settings.items()))

    def set(self, seconds: str) -> None:
        """How far it is from the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds}\n")
        new.replace(self._file)


def test_whatever_the_clock_is_set_to_no_reading_takes_the_place_of_another(
    site: Site, publisher: Publisher, tmp_path: Path
) -> None:
    clock = WrongClock(site, tmp_path / "clock")
    site.start()
    begun = time.time()
    publisher.publish([reading("stars1", n, n) for n in range(1, 31)], qos=1)
    site.wait_for_rows(30)
    count = 30
    for step in (*STEPS, "+86400", "the beginning"):
        clock.set(str(begun - time.time()) if step == "the beginning" else step)
        publisher.publish([reading("stars1", n, n) for n in range(count + 1, count + 31)])
        count += 30
        site.wait_for_rows(count)
    rows = site.rows()
    assert sorted(row["freq"] for row in rows) == list(range(1, count + 1))
    assert max(row["time"] for row in rows) - min(row["time"] for row in rows) > 86_400_000
    site.stop()
