"""The register through time: on the disk and back, in the log, and with a disk that fails."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config import StatusConfig
from tessflux.photometers.database import FILE_NAME, Database
from tessflux.photometers.event import HEARD, SILENT, Event
from tessflux.photometers.means import SECONDS, Mean
from tessflux.photometers.photometer import Day, Photometer, pack
from tessflux.photometers.register import Kept
from tessflux.photometers.service import TICK, Photometers
from tessflux.spool import RESERVE
from tests.log_lines import record
from tests.photometers.site import NOW, Hearing

NIGHT = NOW // 1_000
"""The beginning of it (s)."""


class Service(SynchronousTestCase):
    """`at` is the time of day (s); whoever publishes is `hears` of `self.hearing`."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.file = self.directory / FILE_NAME
        self.said = record(self, "tessflux")
        self.clock = Clock()
        self.listening = True
        self.events: list[Event] = []
        self.begin()

    def begin(self, config: StatusConfig | None = None) -> None:
        """A tessflux starts."""
        self.service = Photometers(
            config or StatusConfig(),
            str(self.directory),
            clock=self.clock,
            now=self.now,
            in_thread=maybeDeferred,
            listening=lambda: self.listening,
        )
        self.service.listeners.append(self.events.append)
        self.do(self.service.open)
        self.hearing = Hearing()
        self.hearing.register = self.service.register

    def now(self) -> float:
        return NIGHT + self.clock.seconds()

    def do(self, work: Callable[[], Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work()))

    def hears(self, name: str = "stars1", **changes: Any) -> None:
        self.hearing.hears(name, int(self.now() * 1_000), **changes)

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds / TICK)):
            self.clock.advance(TICK)
            self.do(self.service.tick)

    def end(self) -> None:
        self.do(self.service.close)
        assert self.clock.getDelayedCalls() == []

    def night(self, name: str = "stars1", start: int = NIGHT, end: int = NIGHT + 86_400) -> list[Mean]:
        found: list[Mean] = self.do(lambda: self.service.history.night(name, start, end))
        return found


class Keeping(Service):
    """What outlasts the process."""

    def test_after_a_stop_all_is_known_again(self) -> None:
        self.hears(lat=40.4, long=-3.7)
        self.hears("stars2")
        self.hears("stars2", mag=50)
        before = sorted(self.service.register.all(), key=lambda each: each.name)
        self.end()
        self.begin()
        assert sorted(self.service.register.all(), key=lambda each: each.name) == before
        assert self.said() == []

    def test_every_five_minutes_what_changed_is_saved_so_a_kill_costs_no_more(self) -> None:
        self.hears()
        self.passes(SECONDS)
        self.hears("stars2")
        self.passes(10)
        self.begin()
        assert [each.name for each in self.service.register.all()] == ["stars1"]

    def test_a_night_is_read_with_its_gaps_also_from_parts_that_were_saved_apart(self) -> None:
        for minute in range(30):
            if 10 <= minute < 15:
                # It goes on counting.
                self.hearing.seq += 1
            else:
                self.hears(mag=20 + minute / 100, tsky=None)
            if minute in (7, 18):
                self.end()
                self.begin()
            self.passes(60)
        self.passes(SECONDS)
        assert NIGHT % SECONDS == 14
        means = self.night()
        assert [(each.start // 1_000 - NIGHT) // 60 for each in means] == [-1, 4, 14, 19, 24]
        assert [each.count for each in means] == [5, 5, 5, 5, 5]
        assert [each.mags[0] for each in means] == [20.02, 20.07, 20.17, 20.22, 20.27]
        assert {(each.tamb, each.tsky) for each in means} == {(7.1, None)}
        lines = self.do(
            lambda: self.service.history.sparklines(["stars1", "nobody"], NIGHT - 300, NIGHT + 1_800)
        )
        assert lines == {"stars1": [None, 20.02, 20.07, None, 20.17, 20.22, 20.27, None]}
        assert self.night("nobody") == []
        assert self.night(start=NIGHT + 7_200) == []

    def test_readings_that_come_late_land_in_their_own_minutes(self) -> None:
        self.hears(mag=20.0)
        self.passes(3_600)
        self.hearing.hears(at=NOW + 3_600_000, retained=True, tstamp="2026-03-01T00:00:30Z", mag=21.0)
        self.passes(SECONDS)
        assert [(each.count, each.mags) for each in self.night()] == [(2, (20.5,))]

    def test_nights_that_are_older_than_the_config_says_go(self) -> None:
        self.begin(StatusConfig(history=2))
        self.hears()
        self.passes(SECONDS)
        self.clock.advance(2 * 86_400 - 2 * SECONDS)
        self.passes(SECONDS)
        assert len(self.night()) == 1
        self.passes(2 * SECONDS)
        assert self.night() == []

    def test_without_a_history_nothing_of_it_is_kept(self) -> None:
        self.hears()
        self.passes(SECONDS)
        self.service.reconfigure(StatusConfig(history=0))
        self.hears()
        self.passes(SECONDS)
        assert self.night() == []
        assert len(self.service.register) == 1


class Silence(Service):
    """Events."""

    def test_a_silence_is_said_in_the_log_and_to_who_listens_once_also_over_a_kill(self) -> None:
        self.hears()
        self.passes(7_260)
        silent = Event(SILENT, ("stars1",), NOW)
        assert self.events == [silent]
        assert self.said(LogLevel.warn) == ["stars1 is silent since 2026-03-01 00:00 UTC"]
        self.begin()
        self.passes(7_260)
        assert self.events == [silent]
        self.hears()
        self.passes(30)
        assert self.events == [silent, Event(HEARD, ("stars1",), NOW)]
        self.begin()
        self.hears()
        self.passes(60)
        assert len(self.events) == 2

    def test_the_time_in_which_nobody_could_be_heard_does_not_count(self) -> None:
        self.hears()
        self.passes(3_600)
        self.listening = False
        self.passes(7_200)
        self.listening = True
        self.passes(3_500)
        assert self.events == []
        self.end()
        self.clock.advance(86_400)
        self.begin()
        assert self.events == []
        self.passes(160)
        assert [event.kind for event in self.events] == [SILENT]

    def test_who_publishes_by_day_as_by_night_is_never_silent(self) -> None:
        for _ in range(24):
            self.hears(mag=0, freq=50_000)
            self.passes(3_600)
        assert self.events == []

    def test_a_tick_that_comes_late_counts_little(self) -> None:
        self.hears()
        self.passes(1)
        self.clock.advance(7_300)
        self.passes(60)
        assert self.events == []

    def test_a_reload_changes_how_long(self) -> None:
        self.hears()
        self.passes(600)
        self.service.reconfigure(StatusConfig(silent=300))
        self.passes(30)
        assert [event.kind for event in self.events] == [SILENT]


class Trouble(Service):
    """With the file."""

    def test_a_damaged_file_is_moved_aside_and_hinders_no_start(self) -> None:
        self.hears()
        self.end()
        for junk in (b"junk" * 5_000, self.file.read_bytes()[:5_000]):
            self.file.write_bytes(junk)
            self.begin()
            assert self.service.register.all() == []
            self.hears()
            self.end()
            self.begin()
            assert len(self.service.register) == 1
            self.end()
        assert len(list(self.directory.glob("photometers.db.damaged-*"))) >= 2
        assert all("was damaged" in line for line in self.said(LogLevel.error))

    def test_entries_of_another_kind_count_as_damage(self) -> None:
        for statement in (
            "UPDATE photometer SET entry = x'93c0'",
            # Its name is no UTF-8.
            "UPDATE photometer SET entry = x'95a1ff000000cb0000000000000000'",
            "UPDATE total SET value = 9e999 WHERE name = 'next number'",
            "UPDATE total SET value = 'junk' WHERE name = 'listened'",
            "DROP TABLE photometer; CREATE TABLE photometer (number, entry);"
            " INSERT INTO photometer VALUES (1, NULL)",
            # Python cannot read what SQLite says of it.
            "PRAGMA writable_schema = ON;"
            " UPDATE sqlite_schema SET sql = CAST(x'ff' AS TEXT), name = CAST(x'ff' AS TEXT)",
            "PRAGMA user_version = 99",
            "DROP TABLE photometer; CREATE TABLE photometer (a); PRAGMA user_version = 7",
        ):
            self.hears()
            self.end()
            with closing(sqlite3.connect(self.file)) as db:
                db.executescript(statement)
            self.begin()
            assert self.service.register.all() == [], statement
        assert len(self.said(LogLevel.error)) == 8

    def test_the_reserve_of_the_spool_is_not_taken(self) -> None:
        pages = RESERVE // 4_096
        self.patch(os, "statvfs", lambda path: SimpleNamespace(f_bavail=pages - 1, f_frsize=4_096))
        self.hears()
        self.end()
        [line] = self.said(LogLevel.error)
        assert "less than 32 MB are left on the disk" in line
        self.begin()
        assert self.service.register.all() == []
        self.patch(os, "statvfs", lambda path: SimpleNamespace(f_bavail=pages, f_frsize=4_096))
        self.hears()
        self.end()
        self.begin()
        assert len(self.service.register) == 1

    def test_a_block_that_is_none_is_a_gap_and_begins_anew(self) -> None:
        for junk in ("x'0102'", "'text'", "7"):
            self.hears()
            self.end()
            with closing(sqlite3.connect(self.file)) as db:
                db.execute(f"UPDATE mean SET records = {junk}")
                db.commit()
            self.begin()
            assert self.night("stars1", NIGHT, NIGHT + 300) == []
            found = self.do(lambda: self.service.history.sparklines(["stars1"], NIGHT, NIGHT + 300))
            assert set(found["stars1"]) == {None}
            self.hears()
            self.end()
            self.begin()
            assert [each.count for each in self.night("stars1", NIGHT, NIGHT + 300)] == [1]
            self.file.unlink()

    def test_a_file_that_is_damaged_while_we_run_has_everyone_again_after_the_next_save(self) -> None:
        self.hears("stars1")
        self.passes(SECONDS)
        self.hears("stars2")
        # As SQLite finds it when it reads a page.
        self.service._database.close()
        self.file.write_bytes(b"junk" * 5_000)
        self.passes(2 * SECONDS)
        self.begin()
        assert {each.name for each in self.service.register.all()} == {"stars1", "stars2"}

    def test_a_file_that_somebody_deletes_is_made_again(self) -> None:
        self.hears("stars1")
        self.passes(SECONDS)
        for path in self.directory.iterdir():
            path.unlink()
        self.hears("stars2")
        self.passes(2 * SECONDS)
        self.begin()
        assert {each.name for each in self.service.register.all()} == {"stars1", "stars2"}
        assert [line.split(" was ")[1] for line in self.said()] == [
            "deleted or replaced; tessflux makes a new one"
        ]

    def test_a_disk_that_fails_hinders_nothing_and_is_tried_again(self) -> None:
        self.end()
        self.file.unlink()
        self.file.mkdir()
        self.begin()
        self.hears()
        self.passes(2 * SECONDS)
        assert self.service.register.get("stars1")
        assert self.night() == []
        self.file.rmdir()
        self.passes(SECONDS)
        errors = self.said(LogLevel.error)
        assert [line.split(":")[0] for line in errors] == [
            "The register of photometers cannot be kept",
            "Cannot read the history of photometers",
        ]
        assert self.said(LogLevel.info) == ["The register of photometers can be saved again"]
        self.begin()
        assert self.service.register.get("stars1")

    def test_the_file_is_read_by_nobody_else(self) -> None:
        self.hears()
        self.end()
        assert self.file.stat().st_mode & 0o007 == 0

    def test_a_disk_that_does_not_answer_keeps_nobody_from_being_heard(self) -> None:
        never: Deferred[None] = Deferred()
        with mock.patch.object(self.service, "_in_thread", side_effect=lambda *_: never):
            self.hears("stars1")
            self.passes(2 * SECONDS)
            self.hears("stars2")
            self.passes(2 * SECONDS)
        assert len(self.service.register) == 2
        never.callback(None)


class Bounds(SynchronousTestCase):
    """With many photometers."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / FILE_NAME

    def fill(self, database: Database, photometers: int, buckets: range) -> None:
        record = [1.0] * 14
        for bucket in buckets:
            database.save(Kept(sums={bucket: dict.fromkeys(range(photometers), record)}), 0)

    def test_the_oldest_means_go_when_the_file_has_its_size(self) -> None:
        bound = 1_000_000
        database = Database(str(self.path.parent), max_bytes=bound)
        self.fill(database, 1_000, range(1_000, 1_200))
        assert 0.8 * bound < self.path.stat().st_size <= 1.2 * bound
        found = [each.start // SECONDS // 1_000 for each in database.night(7, range(900, 1_300))]
        assert len(found) > 50
        assert found == list(range(1_200 - len(found), 1_200))
        database.close()

    def test_everyone_may_be_kept_though_there_is_no_room_for_means(self) -> None:
        database = Database(str(self.path.parent), max_bytes=50_000)
        everyone = [Photometer(f"stars{number}", number, NOW, NOW, 0.0) for number in range(2_000)]
        database.save(Kept(everyone, sums={5: {1: [1.0] * 14}}), 0)
        assert len(database.load().photometers) == 2_000
        assert database.night(1, [5]) == []
        database.close()

    def test_a_night_and_the_sparklines_are_read_quickly(self) -> None:
        """Of a thousand photometers; measured in the time of this thread, with room for a slow machine."""
        database = Database(str(self.path.parent))
        night = range(10_000, 10_144)
        self.fill(database, 1_000, night)
        database.night(7, night)
        began = thread_time()
        assert len(database.night(500, night)) == 144
        one_night = thread_time() - began
        began = thread_time()
        lines = database.magnitudes(range(1_000), night)
        sparklines = thread_time() - began
        assert [len(line) for line in lines] == [144] * 1_000
        assert None not in lines[999]
        assert one_night < 0.05
        assert sparklines < 0.5
        database.close()

    def test_100_000_photometers_are_kept_in_a_bounded_memory(self) -> None:
        hearing = Hearing()
        last = pack({"seq": 1.0, "mag": 20.0, "freq": 1.0, "tamb": 5.0, "tsky": 1.0, "wdBm": -60.0})
        before = _resident()
        count = 100_000
        everyone = [
            Photometer(
                f"stars{n}", n, NOW + n, NOW + n, n * 1.0, last=bytes(bytearray(last)), stored=Day(9, n)
            )
            for n in range(count)
        ]
        hearing.register.restore(Kept(everyone, next_number=count))
        del everyone
        # 50 MB, and 10 for the rest.
        assert _resident() - before < 60_000_000
        hearing.register.listen(1e6)
        began = perf_counter()
        assert len(hearing.register.all()) == count
        assert hearing.register.look(7_200) == []
        [event] = hearing.register.look(7_200)
        assert len(event.names) == count
        assert perf_counter() - began < 5
        database = Database(str(self.path.parent))
        database.save(hearing.register.keep(), 0)
        assert len(database.load().photometers) == count
        database.close()
        assert os.path.getsize(self.path) < 30_000_000


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
