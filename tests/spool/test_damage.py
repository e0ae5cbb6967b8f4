"""A damaged file is moved aside, and a new one goes on in its place."""

import sqlite3
from contextlib import closing
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config.sections import SpoolConfig
from tessflux.limits import GROUP_READINGS
from tessflux.spool import file as spoolfile
from tessflux.spool.journal import FILE_NAME, Journal
from tessflux.spool.store import RETRY
from tessflux.stats import STORED
from tests.spool.site import FLUSH, Case, disk_error, line, lines, overwrite, refused


class Damage(Case):
    def open_damaged(self) -> None:
        """The spool is open, and then most of its file turns to zeros."""
        self.site.stop()
        self.site.put_large()
        self.site.open()
        assert self.site.queue.waiting == 6000
        overwrite(self.site.directory / FILE_NAME)
        self.site.forget_pages()
        self.site.sent = 6_000

    def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(self) -> None:
        self.site.stop()
        path = self.site.directory / FILE_NAME
        for content in (b"garbage " * 1_000, b"other garbage " * 1_000):
            path.write_bytes(content)
            assert self.site.open() == []
            assert (self.site.queue.waiting, self.head().lines) == (0, [])
            assert content in [aside.read_bytes() for aside in self.site.asides()]
            self.site.take()
            self.clock.advance(FLUSH)
            assert self.site.on_disk() == [line(self.site.sent - 1)]
            self.site.stop()
        assert len(self.site.asides()) == 2
        said = self.log(LogLevel.error)
        for aside, text in zip(self.site.asides(), sorted(said, key=len), strict=True):
            assert "The spool was damaged (file is not a database). It was moved to" in text
            assert str(aside) in text
        self.site.open()

    def test_a_schema_of_which_python_cannot_read_what_sqlite_says_is_damage(self) -> None:
        self.site.stop()
        with closing(sqlite3.connect(self.site.directory / FILE_NAME)) as db:
            junk = "CAST(x'ff' AS TEXT)"
            db.executescript(
                f"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = {junk}, name = {junk}"
            )
        assert self.site.open() == []
        self.site.take()
        self.clock.advance(FLUSH)
        assert self.site.on_disk() == [line(0)]
        assert len(self.site.asides()) == 1

    def test_a_commit_that_comes_upon_damage_goes_into_a_new_file(self) -> None:
        self.open_damaged()
        self.site.take(3, qos=1)
        self.site.settle()
        assert self.site.events == [6000, 6001, 6002, "wake"]
        assert (self.site.on_disk(), self.site.queue.waiting) == (lines(6000, 6003), 3)
        assert len(self.site.asides()) == 1
        assert self.stats.ended == {(STORED, ""): 3}
        batch = self.head()
        assert batch.lines == lines(6000, 6003)
        self.retire(batch)
        assert (self.head().lines, self.site.queue.waiting) == ([], 0)

    def test_a_head_that_comes_upon_damage_is_empty_and_the_spool_goes_on(self) -> None:
        self.open_damaged()
        assert (self.head().lines, self.site.queue.waiting) == ([], 0)
        assert len(self.site.asides()) == 1
        self.site.take(qos=1)
        self.site.settle()
        assert self.head().lines == [line(6000)]

    def test_a_damage_that_two_calls_come_upon_is_moved_aside_once(self) -> None:
        self.open_damaged()
        self.thread.held = True
        self.site.take(3, qos=1)
        self.site.settle()
        head = Deferred.fromCoroutine(self.site.queue.head(10_000))
        self.thread.release()
        self.clock.advance(RETRY)
        assert self.successResultOf(head).lines == lines(6000, 6003)
        assert self.site.on_disk() == lines(6000, 6003)
        (aside,) = self.site.asides()
        assert aside.stat().st_size > 100000

    def test_a_batch_of_the_former_file_retires_nothing_of_the_new_one(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.damage_next_commit()
        self.site.take(3, qos=1)
        self.site.settle()
        assert self.site.on_disk() == lines(GROUP_READINGS, GROUP_READINGS + 3)
        self.retire(batch)
        self.site.take(qos=1)
        self.site.settle()
        assert self.site.on_disk() == lines(GROUP_READINGS, GROUP_READINGS + 4)
        assert self.site.queue.waiting == 4

    def test_nor_does_one_that_is_retired_before_the_reactor_knows_of_the_new_file(self) -> None:
        self.site.take(GROUP_READINGS)
        batch = self.head()
        self.damage_next_commit()
        self.thread.held = True
        self.site.take(3, qos=1)
        self.site.settle()
        self.thread.work()
        self.retire(batch)
        tidied = Deferred.fromCoroutine(self.site.queue.retire(batch, [refused(1)]))
        self.thread.release()
        self.successResultOf(tidied)
        assert self.site.on_disk() == lines(GROUP_READINGS, GROUP_READINGS + 3)
        assert self.site.queue.waiting == 3

    def test_the_numbers_hold_over_a_restart_after_the_damage(self) -> None:
        self.site.take(GROUP_READINGS)
        self.damage_next_commit()
        self.site.take(3, qos=1)
        self.site.settle()
        self.site.restart()
        assert (self.site.queue.waiting, len(self.head().lines)) == (3, 3)

    def test_a_new_file_has_the_bounds_of_the_last_reload(self) -> None:
        self.site.spool.reconfigure(SpoolConfig(str(self.site.directory), 2**30, 2), FLUSH)
        self.damage_next_commit()
        for _ in range(3):
            self.site.refuse(qos=1)
        self.site.settle()
        assert (len(self.site.asides()), self.site.store.forgotten) == (1, 1)

    def test_a_file_that_cannot_be_moved_is_tried_again(self) -> None:
        self.open_damaged()
        with mock.patch.object(spoolfile, "move_aside", side_effect=PermissionError("read-only file system")):
            self.site.take(qos=1)
            self.site.settle()
            self.clock.advance(RETRY)
            assert (self.site.events, self.site.asides()) == ([], [])
            assert len(self.log()) == 1
            assert "disk failed (read-only file system" in self.log()[0]
        self.clock.advance(RETRY)
        assert (self.site.events, self.site.on_disk()) == ([6000, "wake"], [line(6000)])
        assert (len(self.site.asides()), self.site.queue.waiting) == (1, 1)

    def test_a_new_file_that_cannot_be_begun_is_tried_again(self) -> None:
        self.open_damaged()
        with mock.patch.object(spoolfile, "Journal", side_effect=disk_error(sqlite3.SQLITE_FULL)):
            self.site.take(qos=1)
            self.site.settle()
            self.clock.advance(RETRY)
            assert self.site.events == []
        self.clock.advance(RETRY)
        assert (self.site.events, self.site.on_disk()) == ([6000, "wake"], [line(6000)])
        assert (len(self.site.asides()), self.site.queue.waiting) == (1, 1)

    def test_damage_at_the_stop_loses_nothing(self) -> None:
        self.open_damaged()
        self.site.take(2)
        self.site.result(self.site.spool.stop())
        assert (self.site.on_disk(), self.stats.ended) == (lines(6000, 6002), {(STORED, ""): 2})

    def damage_next_commit(self) -> None:
        """The next commit finds the file damaged."""
        commit = Journal.commit
        errors = [disk_error(sqlite3.SQLITE_CORRUPT)]

        def once(*arguments: Any) -> int:
            if errors:
                raise errors.pop()
            return commit(*arguments)

        self.patch(Journal, "commit", once)
