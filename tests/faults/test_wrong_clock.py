"""The daemon starts while the clock of its computer is wrong: in 1970, two days behind, or an hour ahead.

Readings that come then are stored with their true times, once NTP has answered.
"""

import json
import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tessflux.spool.journal import FILE_NAME
from tests.faults.computer import Computer
from tests.faults.site import now_ms
from tests.real.site import Publisher, Site, reading, wait_until

DAY = 86_400.0
OFF = {"1970": 60 - time.time(), "two days behind": -2 * DAY, "an hour ahead": 3600.0}
wrong = pytest.mark.parametrize("off", OFF.values(), ids=OFF.keys())

ROUNDING = 5
"""Milliseconds: a time is made of three, each of which was cut to whole ones."""

NO_TIME = "no time"


class Night:
    """A computer that has just booted, its daemon, and photometers whose readings are published meanwhile."""

    def __init__(self, site: Site, publisher: Publisher, tmp_path: Path) -> None:
        self.computer = Computer(tmp_path / "computer")
        site.around = self.computer.around
        self.site, self._publisher = site, publisher
        self.came: dict[float, tuple[int, int]] = {}
        """By freq: between which two moments (true, in ms) the reading came."""
        self.configure()

    def configure(self, wait: float = 600.0) -> None:
        """How long after the boot the clock is believed; no photometer's reading waits for another one."""
        keys: dict[str, dict[str, object]] = {"global": {"clock_wait": wait}, "mqtt": {"backlog_wait": 0}}
        self.site.configure(**keys)

    def starts(self, off: float, up: float = 0.0) -> None:
        """The computer boots, and the daemon starts."""
        self.computer.boot(off=off, up=up)
        self.site.start()

    def comes(self, **more: object) -> float:
        """Another photometer publishes a reading, and it is on disk; returns its freq."""
        freq = len(self.came) + 1.0
        begun = now_ms()
        self._publisher.publish([reading(f"stars{freq:.0f}", 1, freq, **more)], qos=1)
        wait_until(
            lambda: freq in self.held() or freq in self.times(), f"it is on disk:\n{self.site.logged()}"
        )
        self.came[freq] = begun, now_ms()
        return freq

    def comes_again(self, freq: float) -> None:
        """The broker sends a reading a second time."""
        self._publisher.publish([reading(f"stars{freq:.0f}", 1, freq)], qos=1)

    def held(self) -> set[float]:
        """Which readings wait in the spool for their times. The broker may have sent one twice."""
        with closing(sqlite3.connect(f"file:{self.site.spool / FILE_NAME}?mode=ro", uri=True)) as db:
            payloads = [payload for (payload,) in db.execute("SELECT payload FROM held")]
        return {json.loads(payload)["freq"] for payload in payloads}

    def quarantined(self) -> list[dict[str, Any]]:
        """What was refused."""
        return [json.loads(line) for line in self.site.run("refused", "--json").stdout.splitlines()]

    def times(self) -> dict[float, int]:
        """By freq: the times in the database; no reading is there twice."""
        rows = self.site.rows()
        times = {row["freq"]: row["time"] for row in rows}
        assert len(times) == len(rows)
        return times

    def check(self, off: float = 0.0) -> None:
        """Every reading is in the database, at the moment when it came, by a clock that was so wrong."""
        self.site.wait_for_rows(len(self.came))
        assert wrongly_dated(self.times(), self.came, off) == {}

    def ends(self) -> None:
        """Nothing is left, and nothing was refused."""
        assert self.held() == set()
        assert self.quarantined() == []
        self.site.stop()


def wrongly_dated(
    times: dict[float, int], came: dict[float, tuple[int, int]], off: float = 0.0
) -> dict[float, tuple[int | None, tuple[int, int]]]:
    """The readings whose time is not that of their coming: by freq, both."""
    shift = round(off * 1000)
    return {
        freq: (times.get(freq), (begun, ended))
        for freq, (begun, ended) in came.items()
        if freq not in times or not begun - ROUNDING <= times[freq] - shift <= ended + ROUNDING
    }


@pytest.fixture
def night(site: Site, publisher: Publisher, tmp_path: Path) -> Night:
    return Night(site, publisher, tmp_path)


@wrong
def test_what_comes_before_ntp_answers_is_stored_with_its_true_time(night: Night, off: float) -> None:
    night.starts(off)
    for _ in range(5):
        night.comes()
    assert night.times() == {}
    assert night.held() == night.came.keys()
    night.computer.ntp_answers()
    night.check()
    night.comes()
    night.check()
    assert night.site.logged().count("is synchronised; since tessflux started it was set") == 1
    night.ends()


@wrong
def test_a_right_time_of_a_reading_is_not_refused_because_ours_is_wrong(night: Night, off: float) -> None:
    night.starts(off)
    now = now_ms()
    tstamp = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    freq = night.comes(tstamp=f'"{tstamp}"')
    night.computer.ntp_answers()
    night.site.wait_for_rows(1)
    assert night.times() == {freq: now}
    assert "its time is off" not in night.site.logged()
    night.ends()


@wrong
@pytest.mark.parametrize("end", [Site.kill, Site.stop])
def test_what_was_held_when_the_daemon_ended_has_its_true_time_if_it_starts_again_in_this_boot(
    night: Night, off: float, end: Any
) -> None:
    night.starts(off)
    night.comes()
    night.comes()
    end(night.site)
    night.site.start()
    night.comes()
    assert night.held() == night.came.keys()
    night.computer.ntp_answers()
    night.check()
    night.ends()


def test_a_daemon_that_is_away_when_ntp_answers_has_the_true_times_too(night: Night) -> None:
    night.starts(-2 * DAY)
    night.comes()
    night.site.kill()
    night.computer.ntp_answers()
    night.site.start()
    night.comes()
    night.check()
    night.ends()


@wrong
def test_after_another_boot_what_was_held_and_has_no_time_of_its_own_is_refused(
    night: Night, off: float
) -> None:
    """How long the computer was off is not known. The quarantine has the time that the clock showed."""
    night.starts(off)
    now = now_ms()
    tstamp = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    with_time = night.comes(tstamp=f'"{tstamp}"')
    without = night.comes()
    night.site.kill()
    night.starts(off)
    later = night.comes()
    assert night.held() == night.came.keys()
    night.computer.ntp_answers()
    night.site.wait_for_rows(2)
    times = night.times()
    assert times.pop(with_time) == now
    assert wrongly_dated(times, {later: night.came[later]}) == {}
    (refused,) = night.quarantined()
    assert (refused["cause"], refused["photometer"]) == (NO_TIME, f"stars{without:.0f}")
    shown = datetime.fromisoformat(refused["time"]).timestamp() * 1000
    assert wrongly_dated({without: round(shown)}, {without: night.came[without]}, off) == {}
    assert night.held() == set()
    assert "its time is off" not in night.site.logged()
    night.site.stop()


def test_a_reading_that_the_broker_sends_twice_meanwhile_is_stored_once(night: Night) -> None:
    night.starts(-2 * DAY)
    freq = night.comes()
    night.comes_again(freq)
    night.comes()
    night.site.kill()
    night.site.start()
    night.comes_again(freq)
    night.comes()
    night.computer.ntp_answers()
    night.check()
    night.ends()


def test_where_ntp_never_answers_the_clock_is_believed_after_a_while(night: Night) -> None:
    """All that is known then is what the clock shows."""
    night.configure(wait=5)
    night.starts(-2 * DAY)
    night.comes()
    night.check(off=-2 * DAY)
    assert night.site.logged().count("5 s ([global] clock_wait), so tessflux believes it") == 1
    night.comes()
    night.check(off=-2 * DAY)
    night.ends()


def test_a_reload_with_a_wait_that_is_over_believes_the_clock(night: Night) -> None:
    night.starts(3600.0)
    night.comes()
    night.configure(wait=0)
    night.site.signal(signal.SIGHUP)
    night.check(off=3600.0)
    night.ends()


def test_a_container_whose_kernel_says_nothing_works_at_once(night: Night) -> None:
    night.starts(0.0, up=1000.0)
    night.comes()
    night.check()
    assert night.site.logged().count("([global] clock_wait), so tessflux believes it") == 1
    night.ends()


def test_a_clock_that_was_right_all_the_time_is_right(night: Night) -> None:
    """Nothing jumps when NTP answers."""
    night.starts(0.0)
    night.comes()
    night.computer.ntp_answers()
    night.comes()
    night.check()
    assert night.site.logged().count("The clock of this computer is synchronised\n") == 1
    night.ends()
