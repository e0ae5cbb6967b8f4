"""The spool's files deleted, replaced or cut short under the open spool: what is acknowledged is on disk."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count, product
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tessflux.limits import GROUP_READINGS
from tessflux.spool import file as spoolfile
from tessflux.spool.journal import FILE_NAME, RESERVE, Batch, Journal
from tessflux.spool.store import RETRY
from tessflux.stats import STORED
from tests.log_lines import record
from tests.spool.site import Site, disk_error, lines

Harm = Callable[[Path], None]


def delete(*suffixes: str) -> Harm:
    def harm(path: Path) -> None:
        for suffix in suffixes:
            path.with_name(path.name + suffix).unlink()

    return harm


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("other")
    shutil.copy(path, copy)
    copy.rename(path)


def replace_by_garbage(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"garbage " * 1_000)


def move_away(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def cut(suffix: str, part: float) -> Harm:
    def harm(path: Path) -> None:
        file = path.with_name(path.name + suffix)
        os.truncate(file, int(part * file.stat().st_size))

    return harm


HARMLESS: dict[str, Harm] = {
    "database deleted": delete(""),
    "log deleted": delete("-wal"),
    "index deleted": delete("-shm"),
    "all deleted": delete("", "-wal", "-shm"),
    "replaced by a copy": replace_by_a_copy,
    "replaced by garbage": replace_by_garbage,
    "moved away": move_away,
}
"""What the open file survives as it was."""

HARMFUL: dict[str, Harm] = {
    "database emptied": cut("", 0),
    "database cut": cut("", 0.7),
    "log emptied": cut("-wal", 0),
    "log cut": cut("-wal", 0.7),
}
"""After which some lines may be beyond reading."""


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = record(self, "spool")

    def begin(self, in_database: int = 0) -> Site:
        """A spool with 3,000 lines, of which 1,000 are delivered; so many are no longer in the log."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        site = Site(self, directory.name)
        site.open()
        for stored in range(0, 3_000, GROUP_READINGS):
            site.take(GROUP_READINGS)
            if not stored:
                site.result(site.queue.retire(site.result(site.queue.head(GROUP_READINGS))))
            if site.sent == in_database:
                site.restart()
        return site

    def survivors(self, site: Site) -> list[str]:
        """What a start finds after a power cut: only what is in the files by their names."""
        with TemporaryDirectory() as elsewhere:
            for suffix in ("", "-wal"):
                shutil.copy(f"{site.directory}/{FILE_NAME}{suffix}", elsewhere)
            journal = Journal(elsewhere, max_size=2**30, quarantine=10)
            batch = journal.head(0, 10**6)
            journal.close()
            return list(batch.lines)

    def end(self, site: Site) -> None:
        batch: Batch = site.result(site.queue.head(10**6))
        site.result(site.queue.retire(batch))
        assert site.queue.waiting == 0
        site.stop()
        assert site.stats.received == sum(site.stats.ended.values())


class BetweenTwoCommits(Case):
    def test_all_that_waits_is_in_a_new_file_before_the_next_commit_counts(self) -> None:
        for name, harm in HARMLESS.items():
            for in_database in (0, 2_000, 3_000):
                site = self.begin(in_database)
                harm(site.directory / FILE_NAME)
                site.take(3, qos=1)
                site.settle()
                assert site.events[-4:] == [3000, 3001, 3002, "wake"], name
                assert self.survivors(site)[-2003:] == lines(1000, 3003), name
                assert site.queue.waiting == 2003, name
                (said,) = self.log()
                assert "Somebody deleted, replaced or truncated" in said
                self.end(site)
                self.log = record(self, "spool")

    def test_the_name_of_a_new_file_is_on_disk_before_anything_counts(self) -> None:
        """A power cut must not bring the old name back."""
        site = self.begin(3_000)
        delete("")(site.directory / FILE_NAME)
        site.take(3, qos=1)
        seen: list[tuple[Path, list[object]]] = []
        with mock.patch.object(spoolfile, "_sync", lambda path: seen.append((path, list(site.events)))):
            site.settle()
        [(path, before)] = seen
        assert path == site.directory
        assert site.events[len(before) :] == [3000, 3001, 3002, "wake"]
        self.end(site)

    def test_a_file_that_was_cut_short_is_never_written_on(self) -> None:
        for name, harm in HARMFUL.items():
            # A log that has been moved into the database is empty already.
            for in_database, in_memory in product({0, 2_000, 3_000 * ("database" in name)}, (False, True)):
                site = self.begin(in_database)
                harm(site.directory / FILE_NAME)
                if not in_memory:
                    site.forget_pages()
                site.take(3, qos=1)
                site.settle()
                assert site.events[-4:] == [3000, 3001, 3002, "wake"], name
                assert self.survivors(site)[-3:] == lines(3000, 3003), name
                site.take(2, qos=1)
                site.settle()
                assert self.survivors(site)[-5:] == lines(3000, 3005), name
                # Either all is in the new file, or none of it and the old one is said to have it.
                all_there = self.survivors(site) == lines(1000, 3005)
                assert all_there == ("All that waited is in a new file" in "".join(self.log())), name
                self.end(site)
                self.log = record(self, "spool")

    def test_a_reader_notices_too(self) -> None:
        site = self.begin()
        delete("", "-wal", "-shm")(site.directory / FILE_NAME)
        batch = site.result(site.queue.head(10**6))
        assert batch.lines == lines(1000, 3000)
        assert self.survivors(site)[-2000:] == lines(1000, 3000)
        self.end(site)


class WhileItIsOpened(Case):
    def harm_next_open(self, harm: Harm) -> AbstractContextManager[object]:
        harms = [harm]

        def opened(directory: str, **bounds: int) -> Journal:
            journal = Journal(directory, **bounds)
            if harms:
                harms.pop()(Path(directory) / FILE_NAME)
            return journal

        return mock.patch.object(spoolfile, "Journal", opened)

    def test_a_file_that_is_gone_before_it_was_looked_at_is_noticed_at_the_first_commit(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            site = self.begin()
            site.stop()
            with self.harm_next_open(delete(suffix)):
                site.open()
                site.take(3, qos=1)
                site.settle()
            assert self.survivors(site)[-2003:] == lines(1000, 3003), suffix
            self.end(site)


class DuringACommit(Case):
    def harm_next_commit(self, site: Site, harm: Harm) -> None:
        commit = Journal.commit
        harms = [harm]

        def harmed(*arguments: object) -> int:
            result: int = commit(*arguments)  # type: ignore[arg-type]
            if harms:
                harms.pop()(site.directory / FILE_NAME)
            return result

        self.patch(Journal, "commit", harmed)

    def test_what_was_just_committed_is_in_the_new_file_once(self) -> None:
        for name, harm in HARMLESS.items():
            site = self.begin()
            self.harm_next_commit(site, harm)
            site.take(3, qos=1)
            site.settle()
            assert site.events[-4:] == [3000, 3001, 3002, "wake"], name
            assert self.survivors(site) == lines(1000, 3003), name
            assert (site.queue.waiting, site.stats.total(STORED)) == (2003, 3003)
            self.end(site)

    def test_a_look_that_fails_after_a_commit_does_not_undo_it(self) -> None:
        site = self.begin()
        real, looks = spoolfile.parts, count(1)

        def parts(directory: str) -> list[spoolfile.Part]:
            # A call looks before and after.
            if next(looks) == 2:
                raise OSError(errno.EIO, "Input/output error")
            return real(directory)

        with mock.patch.object(spoolfile, "parts", parts):
            site.take(3, qos=1)
            site.settle()
            site.clock.advance(RETRY)
        assert site.events[-4:] == [3000, 3001, 3002, "wake"]
        assert self.survivors(site)[-2003:] == lines(1000, 3003)
        assert (site.queue.waiting, site.stats.total(STORED)) == (2003, 3003)
        self.end(site)

    def test_on_a_disk_without_room_what_waits_is_delivered_and_forgotten(self) -> None:
        """A commit empties the log to make room; that is nobody's meddling."""
        site = self.begin()
        real = os.statvfs(site.directory)
        little = os.statvfs_result((1, RESERVE - 1, *real[2:4], 1, *real[5:]))
        with mock.patch.object(os, "statvfs", return_value=little):
            site.take(GROUP_READINGS, qos=1)
            site.settle()
            assert "less than 32 MB are left" in self.log()[0]
            with mock.patch.object(Journal, "copy", side_effect=disk_error(sqlite3.SQLITE_FULL)):
                batch: Batch = site.result(site.queue.head(GROUP_READINGS))
                assert batch.lines == lines(1000, 2000)
                assert site.result(site.queue.retire(batch))
        site.clock.advance(RETRY)
        assert site.on_disk() == lines(2000, 4000)
        assert len(self.log(LogLevel.error)) == 1
        assert list(site.directory.glob("*.damaged*")) == []
        self.end(site)

    def test_a_new_file_that_cannot_be_made_is_tried_again_and_nothing_counts_twice(self) -> None:
        for error in (disk_error(sqlite3.SQLITE_FULL), PermissionError("read-only")):
            site = self.begin()
            self.harm_next_commit(site, delete("", "-wal", "-shm"))
            with mock.patch.object(Journal, "copy", side_effect=error):
                site.take(3, qos=1)
                site.settle()
                site.clock.advance(RETRY)
                assert site.events[-1] == "wake"
                assert "disk failed" in self.log()[0]
            site.clock.advance(RETRY)
            assert site.events[-4:] == [3000, 3001, 3002, "wake"]
            assert self.survivors(site)[-2003:] == lines(1000, 3003)
            assert site.queue.waiting == 2003
            self.end(site)
            self.log = record(self, "spool")
