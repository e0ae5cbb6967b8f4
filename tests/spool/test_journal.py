"""The spool's file: what is committed is there again, whatever happened to the process or to the file."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessflux.commands.requeue import requeue
from tessflux.config.sections import SpoolConfig
from tessflux.readings import Admitted, Episode, Held, Late, Message, Quarantined, Registered, Said
from tessflux.spool import journal as module
from tessflux.spool import registered as registered_module
from tessflux.spool import schema
from tessflux.spool.file import is_damaged, move_aside
from tessflux.spool.group import Group
from tessflux.spool.journal import (
    FILE_NAME,
    RESERVE,
    Batch,
    Journal,
    second_look,
)
from tessflux.spool.quarantine import COLUMNS
from tests.readings.samples import TOPIC, message, payload

MAX_SIZE = 2**30


def waiting(journal: Journal) -> int:
    """How many lines are in the file."""
    return journal.last - journal.first


def group(first: int, count: int, *, names: int = 3) -> Group:
    """Readings number `first` and on, of photometers in turn."""
    numbers = range(first, first + count)
    return Group(
        lines=[f"stars,name=stars{number % names} seq={number}.0 {number}" for number in numbers],
        admitted=[Admitted(f"stars{number % names}", number, number * 7) for number in numbers],
    )


def refused(number: int, payload: bytes = b"{}") -> Quarantined:
    return Quarantined(number, "STARS4ALL/x/reading", f"stars{number}", "not JSON", "why", payload)


class Site:
    """Journals in a directory, all closed at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self._journals: list[Journal] = []

    def open(
        self, *, max_size: int = MAX_SIZE, quarantine: int = 100, last: int = 0, directory: str = ""
    ) -> Journal:
        place = directory or str(self.directory)
        journal = Journal(place, max_size=max_size, quarantine=quarantine, last=last)
        self._journals.append(journal)
        return journal

    def close(self) -> None:
        for journal in self._journals:
            journal.close()

    def query(self, text: str) -> list[tuple[object, ...]]:
        with closing(second_look(str(self.directory))) as db:
            return db.execute(text).fetchall()


@contextmanager
def unwritable(site: Site) -> Iterator[None]:
    """Another program holds the file for longer than the journal waits."""
    with closing(sqlite3.connect(site.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def mark(site: Site, *, photometer: str = "", cause: str = "") -> int:
    """As `tessflux refused --requeue` does."""
    return requeue(SpoolConfig(str(site.directory)), photometer=photometer, cause=cause)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_what_is_committed_comes_out_at_the_head_oldest_first(site: Site) -> None:
    journal = site.open()
    assert journal.commit(group(0, 3), 0) == 0
    journal.commit(group(3, 2), 0)
    assert journal.head(0, 100) == Batch(5, group(0, 5).lines)
    assert journal.head(3, 100) == Batch(5, group(3, 2).lines)
    assert journal.head(5, 100) == Batch(5, [])


def test_an_empty_journal_has_nothing(site: Site) -> None:
    journal = site.open()
    assert (journal.last, waiting(journal), journal.head(0, 10)) == (0, 0, Batch(0, []))
    assert list(journal.admitted()) == []


def test_the_head_is_whole_chunks_up_to_the_limit_but_one_at_least(site: Site) -> None:
    journal = site.open()
    for first in (0, 10, 20):
        journal.commit(group(first, 10), 0)
    assert [journal.head(0, limit).last for limit in (1, 10, 19, 20, 29, 30, 31)] == [
        *(10, 10, 10),
        *(20, 20),
        *(30, 30),
    ]


def test_a_large_group_becomes_chunks_of_a_thousand(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 2_500), 0)
    assert site.query("SELECT id, readings FROM chunk") == [(1_000, 1_000), (2_000, 1_000), (2_500, 500)]
    assert journal.head(0, 5_000) == Batch(2_500, group(0, 2_500).lines)
    assert journal.head(0, 1_500) == Batch(1_000, group(0, 1_000).lines)


def test_lines_up_to_the_retired_number_are_gone_after_the_commit(site: Site) -> None:
    journal = site.open()
    for first in (0, 10, 20):
        journal.commit(group(first, 10), 0)
    assert waiting(journal) == 30
    journal.commit(Group(), 20)
    assert waiting(journal) == 10
    assert journal.head(0, 100) == Batch(30, group(20, 10).lines)
    journal.commit(group(30, 5), 30)
    assert (waiting(journal), journal.head(0, 100)) == (5, Batch(35, group(30, 5).lines))
    journal.commit(Group(), 35)
    assert (waiting(journal), journal.last) == (0, 35)


def test_what_waits_is_known_from_the_first_chunk_alone(site: Site) -> None:
    """The second chunk's own count is made wrong: nobody has looked at it."""
    journal = site.open()
    journal.commit(group(0, 10), 0)
    journal.commit(group(10, 10), 0)
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute("UPDATE chunk SET readings = 999 WHERE id = 20")
    assert waiting(journal) == 20


def test_all_is_there_after_closing_and_opening_again(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 10), 0)
    journal.commit(group(10, 5), 10)
    journal.close()
    again = site.open()
    assert (again.last, waiting(again)) == (15, 5)
    assert again.head(10, 100) == Batch(15, group(10, 5).lines)
    assert list(again.admitted()) == group(0, 15).admitted


def test_the_numbers_go_on_when_everything_was_delivered_before(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 10), 0)
    journal.commit(Group(), 10)
    journal.close()
    again = site.open()
    again.commit(group(10, 1), 10)
    assert again.head(10, 100) == Batch(11, group(10, 1).lines)


def test_every_commit_is_in_a_copy_that_is_made_while_the_file_is_open(site: Site, tmp_path: Path) -> None:
    """This is what a kill -9 leaves: the file and its write-ahead log, closed by nobody."""
    journal = site.open()
    for first in range(0, 50, 5):
        journal.commit(group(first, 5), 0)
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{site.path}{suffix}", copy)
    again = site.open(directory=str(copy))
    assert again.head(0, 100) == Batch(50, group(0, 50).lines)
    assert (again.last, list(again.admitted())) == (50, group(0, 50).admitted)


def test_a_write_ahead_log_that_is_cut_short_loses_only_the_commits_behind_the_cut(
    site: Site, tmp_path: Path
) -> None:
    journal = site.open()
    journal.commit(group(0, 5), 0)
    length = Path(f"{site.path}-wal").stat().st_size
    journal.commit(group(5, 5), 0)
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(site.path, copy)
    log = Path(f"{site.path}-wal").read_bytes()
    (copy / f"{FILE_NAME}-wal").write_bytes(log[: length + 1_000])
    again = site.open(directory=str(copy))
    assert (again.last, again.head(0, 100)) == (5, Batch(5, group(0, 5).lines))


def test_a_commit_is_synced_before_it_returns(site: Site) -> None:
    journal = site.open()
    pragmas = ("journal_mode", "synchronous", "page_size")
    values = [journal._db.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    assert values == ["wal", 2, 4_096]


def test_others_cannot_read_the_files(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 1), 0)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in site.directory.iterdir()}
    assert modes == {FILE_NAME: 0o640, f"{FILE_NAME}-wal": 0o640, f"{FILE_NAME}-shm": 0o640}


# What was seen


def test_readings_that_were_seen_long_ago_shrink_to_the_last_of_each_photometer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEEN_READINGS", 16)
    journal = site.open()
    for first in range(0, 21, 3):
        journal.commit(group(first, 3), 0)
    # The twentieth was the one too many: the oldest two groups have moved, 15 are left.
    assert list(journal.admitted()) == group(3, 18).admitted
    assert site.query("SELECT sum(readings) FROM seen") == [(15,)]
    assert site.query("SELECT name, time, identity FROM photometer ORDER BY time") == [
        ("stars0", 3, 21),
        ("stars1", 4, 28),
        ("stars2", 5, 35),
    ]
    journal.commit(group(21, 3), 0)
    assert list(journal.admitted()) == group(3, 21).admitted
    journal.close()
    again = site.open()
    assert list(again.admitted()) == group(3, 21).admitted
    assert again.last == 24


def test_what_is_seen_stays_bounded_however_much_comes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEN_READINGS", 16)
    journal = site.open()
    for first in range(0, 300, 3):
        journal.commit(group(first, 3), first)
        remembered = list(journal.admitted())
        assert len(remembered) < 16 * 5 // 4 + 3
        assert remembered == group(first + 3 - len(remembered), len(remembered)).admitted
        assert len(remembered) >= min(first + 3, 16)


def test_the_longest_silent_photometer_is_forgotten_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEEN_READINGS", 8)
    monkeypatch.setattr(module, "PHOTOMETERS", 2)
    journal = site.open()
    for first in range(0, 12, 3):
        journal.commit(group(first, 3, names=1_000), 0)
    assert site.query("SELECT name FROM photometer ORDER BY time") == [("stars4",), ("stars5",)]


# Quarantine


def test_the_oldest_payloads_leave_a_full_quarantine_and_are_counted(site: Site) -> None:
    journal = site.open(quarantine=3)
    first = Group(quarantined=[refused(number) for number in range(3)])
    assert journal.commit(first, 0) == 0
    second = Group(quarantined=[refused(number) for number in range(3, 5)])
    assert journal.commit(second, 0) == 2
    assert site.query("SELECT time FROM quarantine ORDER BY id") == [(2,), (3,), (4,)]
    third = Group(quarantined=[refused(number) for number in range(5, 10)])
    assert journal.commit(third, 0) == 5
    assert site.query("SELECT time FROM quarantine ORDER BY id") == [(7,), (8,), (9,)]


def test_a_payload_is_kept_byte_for_byte(site: Site) -> None:
    row = Quarantined(5, "tópico", "", "not JSON", "why", bytes(range(256)), retained=True)
    site.open().commit(Group(quarantined=[row]), 0)
    query = f"SELECT {COLUMNS} FROM quarantine"
    assert site.query(query) == [tuple(row)]


def test_a_quarantine_of_no_rows_keeps_none(site: Site) -> None:
    journal = site.open(quarantine=0)
    assert journal.commit(Group(quarantined=[refused(1), refused(2)]), 0) == 2
    assert site.query("SELECT count(*) FROM quarantine") == [(0,)]


def test_large_payloads_leave_room_for_lines(site: Site) -> None:
    """A photometer that publishes nothing but rubbish must not fill the spool."""
    size = 4 * 2**20
    journal = site.open(max_size=size, quarantine=100_000)
    forgotten = 0
    for number in range(100):
        forgotten += journal.commit(Group(quarantined=[refused(number, b"x" * 65_536)]), 0)
    assert (forgotten, site.query("SELECT count(*) FROM quarantine")) == (85, [(15,)])
    journal.close()
    again = site.open(max_size=size, quarantine=100_000)
    assert again.commit(Group(quarantined=[refused(100, b"x" * 65_536)]), 0) == 1


def test_a_smaller_bound_holds_from_the_next_commit_on(site: Site) -> None:
    journal = site.open(quarantine=10)
    journal.commit(Group(quarantined=[refused(number) for number in range(10)]), 0)
    journal.resize(max_size=MAX_SIZE, quarantine=4)
    assert journal.commit(Group(quarantined=[refused(10)]), 0) == 7


# The largest size


def fill(journal: Journal, count: int) -> tuple[int, Group]:
    """Commit groups of so many readings until one does not fit; returns how many did, and that group."""

    def commit_for_ever() -> None:
        while True:
            journal.commit(group(journal.last, count), 0)

    with pytest.raises(sqlite3.OperationalError) as caught:
        commit_for_ever()
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    assert not is_damaged(caught.value)
    return journal.last, group(journal.last, count)


@pytest.mark.parametrize("count", [1, 100, 1_000, 5_000])
def test_at_its_largest_size_the_file_takes_no_more_and_says_why(site: Site, count: int) -> None:
    size = 1_000_000
    journal = site.open(max_size=size)
    stored, failed = fill(journal, count)
    assert stored > 0
    assert journal.is_full(failed)
    assert (journal.last, waiting(journal)) == (stored, stored)
    assert journal.head(0, 10**9) == Batch(stored, group(0, stored).lines)
    assert list(journal.admitted()) == group(0, stored).admitted
    journal.close()
    assert site.path.stat().st_size <= size


def test_a_file_with_room_is_not_full(site: Site) -> None:
    journal = site.open(max_size=1_000_000)
    journal.commit(group(0, 1_000), 0)
    assert not journal.is_full(group(0, 1_000))
    assert not journal.is_full(Group(quarantined=[refused(1, b"x" * 65_536)]))
    assert journal.is_full(Group(quarantined=[refused(1, b"x" * 1_000_000)]))


def test_a_full_file_takes_lines_again_once_some_are_retired(site: Site) -> None:
    journal = site.open(max_size=1_000_000)
    stored, failed = fill(journal, 1_000)
    # The commit that retires is the one that brings the new lines.
    journal.commit(failed, stored // 1_000 // 2 * 1_000)
    assert journal.last == stored + 1_000
    assert not journal.is_full(group(0, 1))


def test_a_full_file_takes_lines_again_once_it_may_be_larger(site: Site) -> None:
    journal = site.open(max_size=1_000_000)
    stored, failed = fill(journal, 1_000)
    journal.resize(max_size=2_000_000, quarantine=100)
    journal.commit(failed, 0)
    assert journal.last == stored + 1_000


def test_readings_leave_a_part_of_the_disk_free_and_what_is_delivered_may_be_forgotten_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = site.open()
    for first in range(0, 3_000, 1_000):
        journal.commit(group(first, 1_000), 0)
    real = os.statvfs(site.directory)
    monkeypatch.setattr(
        os, "statvfs", lambda _: os.statvfs_result((1, RESERVE - 1, *real[2:4], 1, *real[5:]))
    )
    more = (group(3_000, 100), Group(quarantined=[refused(1)]))
    for each in more:
        with pytest.raises(OSError, match="less than 32 MB are left on the disk"):
            journal.commit(each, 0)
    assert journal.head(0, 10_000).lines == group(0, 3_000).lines
    # The pages of what leaves are free for others, and the file does not grow.
    journal.commit(Group(), 2_000)
    for each in more:
        journal.commit(each, 2_000)
    assert journal.head(0, 10_000).lines == group(2_000, 1_100).lines


def test_room_that_only_the_log_takes_is_given_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as after a long transaction of another program for which the disk was too small."""
    journal = site.open()
    journal.commit(group(0, 10), 0)
    log = journal.path.with_name(f"{FILE_NAME}-wal")
    with closing(second_look(str(site.directory), "rw")) as other:
        other.execute("PRAGMA cache_size = 10")
        other.execute("BEGIN")
        other.executemany("INSERT INTO chunk VALUES (?, 1, ?)", [(n, "x" * 4_000) for n in range(100, 3_000)])
        other.execute("ROLLBACK")
        assert log.stat().st_size > 10_000_000
        real = os.statvfs(site.directory)

        def statvfs(_: object) -> os.statvfs_result:
            free = RESERVE + 1_000_000 - log.stat().st_size
            return os.statvfs_result((1, free, *real[2:4], 1, *real[5:]))

        monkeypatch.setattr(os, "statvfs", statvfs)
        journal.commit(group(10, 5_000), 0)
    assert waiting(journal) == 5_010


# Damage


def zero(path: Path) -> None:
    """Nothing but zeros behind the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(bytes(size - 4_096))


def zero_all(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(4_096 + 100)


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 5_000)


def sql(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(statement)

    damage.__name__ = statement[:20]
    return damage


# Messages whose time is not known


def held(number: int, name: str = "stars1", *, at: int = 0) -> Held:
    """A reading that came late."""
    return Held(message(payload(number, name), received_at=at), Late(name, number, number * 7, 8))


def undated(number: int) -> Held:
    """A message that came before the clock was known."""
    first = Message(TOPIC, payload(number), True, 5, 3, 1_772_323_214_000)
    return Held(first, None, "a boot", 60_000 + number)


def test_held_messages_come_back_as_they_were_in_their_order(site: Site) -> None:
    kept = [held(3), held(4, "stars2"), undated(1), held(5), undated(2)]
    site.open().commit(Group(held=kept), 0)
    journal = site.open()
    assert list(journal.held.oldest("stars1", 10).values()) == [kept[0], kept[3]]
    assert list(journal.held.oldest("", 10).values()) == [kept[2], kept[4]]
    assert list(journal.held.oldest("", 1).values()) == [kept[2]]
    at_start = journal.held.at_start()
    assert (at_start.undated, sorted(at_start.identities)) == (2, [21, 28, 35])
    assert waiting(journal) == 0


def test_an_episode_is_the_last_reading_that_is_held_and_how_many_there_are(site: Site) -> None:
    journal = site.open()
    journal.commit(Group(held=[held(3, at=10), held(4, at=20), held(9, "stars2", at=15), held(2, at=30)]), 0)
    assert journal.held.at_start().episodes == {
        "stars1": Episode(since=30, seq=2, arrival=30, count=3, connection=8),
        "stars2": Episode(since=15, seq=9, arrival=15, connection=8),
    }
    rows = journal.held.late("stars1")
    assert [row[1:] for row in rows] == [(3, 10, 8), (4, 20, 8), (2, 30, 8)]


def test_a_message_is_held_or_stored_and_never_both_or_neither(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0)
    journal = site.open()
    journal.commit(Group(held=[held(3), held(4)]), 0)
    first, *_ = journal.held.oldest("stars1", 10)
    stored = replace(group(3, 1), dated=[first])
    with pytest.raises(sqlite3.Error), unwritable(site):
        journal.commit(stored, 0)
    assert (len(journal.held.oldest("stars1", 10)), waiting(journal)) == (2, 0)
    journal.commit(stored, 0)
    assert (len(journal.held.oldest("stars1", 10)), waiting(journal)) == (1, 1)


def test_held_messages_find_no_room_in_a_full_spool(site: Site) -> None:
    journal = site.open(max_size=1_000_000)
    large = Group(held=[held(number, "s" * 60) for number in range(1_000)])

    def fill() -> None:
        while True:
            journal.commit(large, 0)

    with pytest.raises(sqlite3.Error) as error:
        fill()
    assert error.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    assert journal.is_full(large)
    assert journal.path.stat().st_size <= 1_000_000


# What photometers say of themselves


def registered(number: int, name: str = "stars1", before: bytes = b"") -> Registered:
    said = Said(number, f'{{"zp":{number}.5}}'.encode(), before)
    return Registered(name, f"photometers,name={name} zp={number}.5 {number}", said)


def test_what_photometers_say_is_remembered_with_its_line_in_the_order_in_which_it_changed(
    site: Site,
) -> None:
    journal = site.open()
    for number, name in enumerate(("stars1", "stars2", "stars3", "stars1")):
        one = registered(number, name, before=b"{}")
        journal.commit(Group(lines=[one.line], registered=[one]), 0)
    assert site.open().registered.all() == [
        (name, registered(number, name, b"{}").said)
        for number, name in ((1, "stars2"), (2, "stars3"), (3, "stars1"))
    ]
    assert site.open().head(0, 10).lines[-1] == "photometers,name=stars1 zp=3.5 3"


def test_a_commit_that_fails_remembers_neither(site: Site) -> None:
    journal = site.open()
    one = registered(1)
    with pytest.raises(UnicodeEncodeError):
        journal.commit(Group(lines=[one.line], registered=[one], held=[held(1, "\udc00")]), 0)
    assert (journal.registered.all(), waiting(journal)) == ([], 0)


@pytest.mark.parametrize("damage", ["fields = '{'", "fields = 'null'", "fields = x'00'", "before = '['"])
def test_a_photometer_whose_row_is_damaged_counts_as_unknown(site: Site, damage: str) -> None:
    journal = site.open()
    both = [registered(1, "stars1"), registered(2, "stars2")]
    journal.commit(Group(lines=[each.line for each in both], registered=both), 0)
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute(f"UPDATE registered SET {damage} WHERE name = 'stars1'")
    assert site.open().registered.all() == [("stars2", both[1].said)]


def test_the_photometers_that_changed_longest_ago_are_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_module, "REGISTRATIONS", 3)
    journal = site.open()
    many = [registered(number, f"stars{number}") for number in range(5)]
    journal.commit(Group(lines=[each.line for each in many], registered=many), 0)
    assert [name for name, _ in journal.registered.all()] == ["stars2", "stars3", "stars4"]


# Versions of the file


def test_a_file_of_the_sixth_version_is_taken_over_with_what_is_held(site: Site) -> None:
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript(f"{''.join(schema.VERSIONS[:6])} PRAGMA user_version = 6;")
        with db:
            db.execute("INSERT INTO held VALUES (1, 't', x'7b', 0, 5, 7, NULL, '', 0, 0, 'boot', 9)")
    before = Held(Message("t", b"{", False, 5, 7), None, "boot", 9)
    again = Held(Message("t", b"{", False, 6, 7, dup=True), None, "boot", 10)
    site.open().commit(Group(held=[again]), 0)
    assert site.open().held.oldest("", 10) == {1: before, 2: again}


def test_a_file_of_the_fifth_version_is_taken_over(site: Site) -> None:
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript(f"{''.join(schema.VERSIONS[:5])} PRAGMA user_version = 5;")
        with db:
            db.execute("INSERT INTO chunk VALUES (2, 2, 'a\nb')")
            db.execute("INSERT INTO seen VALUES (2, 0, '[]')")
            db.execute("INSERT INTO output VALUES ('influxdb', 1, 1)")
    journal = site.open()
    assert (journal.last, journal.registered.all()) == (2, [])
    one = registered(1)
    journal.commit(Group(lines=[one.line], registered=[one]), 0)
    assert site.open().head(0, 10) == Batch(3, ["a", "b", one.line])


def test_a_file_of_the_third_version_is_taken_over(site: Site) -> None:
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript(f"{''.join(schema.VERSIONS[:3])} PRAGMA user_version = 3;")
        with db:
            db.execute("INSERT INTO chunk VALUES (2, 2, 'a\nb')")
    journal = site.open()
    assert journal.head(0, 10) == Batch(2, ["a", "b"])
    assert journal.mqtt_version("tcp:h:1883") is None


def test_a_file_of_the_second_version_is_taken_over(site: Site) -> None:
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript(f"{schema.VERSIONS[0]}{schema.VERSIONS[1]} PRAGMA user_version = 2;")
        with db:
            db.execute("INSERT INTO photometer VALUES ('stars9', 5, 6)")
            db.execute("""INSERT INTO seen VALUES (2, 1, '[["stars1",1,7]]')""")
            db.execute("INSERT INTO chunk VALUES (2, 2, 'a\nb')")
    journal = site.open()
    assert list(journal.admitted()) == [Admitted("stars9", 5, 6), Admitted("stars1", 1, 7)]
    journal.commit(Group(lines=["c"], admitted=[Admitted("stars1", 2, 8, seq=40)], held=[held(3)]), 0)
    assert list(site.open().admitted())[-1] == Admitted("stars1", 2, 8, 40)
    assert site.open().head(0, 10) == Batch(3, ["a", "b", "c"])


def test_a_file_of_the_first_version_is_taken_over(site: Site) -> None:
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript(f"{schema.VERSIONS[0]} PRAGMA user_version = 1;")
        with db:
            db.execute("INSERT INTO chunk VALUES (2, 2, 'a\nb')")
            db.execute("INSERT INTO seen VALUES (2, 2, '7 1 stars1\n8 2 stars1')")
            db.execute("INSERT INTO quarantine VALUES (5, 1, 't', 'stars1', 'not JSON', 'why', x'7b')")
    journal = site.open()
    assert (journal.last, journal.head(0, 10)) == (2, Batch(2, ["a", "b"]))
    assert list(journal.admitted()) == [Admitted("stars1", 1, 7), Admitted("stars1", 2, 8)]
    journal.commit(group(2, 1), 2)
    assert journal.head(0, 10).last == 3
    assert mark(site) == 1
    assert journal.quarantine.requeued(10) == {
        5: Quarantined(1, "t", "stars1", "not JSON", "why", b"{", retained=False)
    }


def test_a_damaged_file_of_the_first_version_is_known_as_such(site: Site) -> None:
    with closing(sqlite3.connect(site.path)) as db:
        db.executescript(f"{schema.VERSIONS[0]} PRAGMA user_version = 1;")
        with db:
            db.execute("INSERT INTO seen VALUES (2, 2, '7 1 stars1\n8')")
    with pytest.raises(sqlite3.Error) as caught:
        site.open()
    assert is_damaged(caught.value)


# Out of the quarantine


def test_what_is_marked_can_be_taken_and_leaves_with_the_commit_that_releases_it(site: Site) -> None:
    journal = site.open()
    rows = [refused(number)._replace(retained=number == 2) for number in range(1, 5)]
    journal.commit(Group(quarantined=rows), 0)
    assert mark(site, photometer="stars2") == 1
    assert mark(site, photometer="stars3", cause="no such") == 0
    assert journal.quarantine.requeued(10) == {2: rows[1]}
    assert mark(site, cause="not JSON") == 4
    assert list(journal.quarantine.requeued(2)) == [1, 2]
    journal.commit(Group(lines=["a"], released=[1, 2]), 0)
    assert journal.quarantine.requeued(10) == {3: rows[2], 4: rows[3]}
    assert site.query("SELECT id FROM quarantine") == [(3,), (4,)]


def test_the_room_of_what_was_released_is_free_again(site: Site) -> None:
    journal = site.open(max_size=4 * 2**20)
    large = [refused(number, b"x" * 65_536) for number in range(15)]
    assert journal.commit(Group(quarantined=large), 0) == 0
    assert journal.commit(Group(quarantined=large[:5], released=[1, 2, 3, 4, 5, 99]), 0) == 0
    assert journal.commit(Group(quarantined=large[:1]), 0) == 1


def test_what_was_released_between_others_does_not_make_the_quarantine_full(site: Site) -> None:
    journal = site.open(quarantine=10)
    journal.commit(Group(quarantined=[refused(number) for number in range(6)]), 0)
    for _ in range(5):
        numbers = [number for (number,) in site.query("SELECT id FROM quarantine ORDER BY id DESC LIMIT 3")]
        again = [refused(number) for number in range(3)]
        assert journal.commit(Group(quarantined=again, released=[int(str(n)) for n in numbers]), 0) == 0
    assert site.query("SELECT count(*) FROM quarantine") == [(6,)]
    assert journal.commit(Group(quarantined=[refused(number) for number in range(5)]), 0) == 1


def test_lines_that_come_out_of_quarantine_have_numbers_of_their_own_also_after_a_restart(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 1), 0)
    journal.commit(Group(lines=["a", "b"]), 0)
    journal.close()
    again = site.open()
    again.commit(group(1, 1), 0)
    assert again.head(0, 10) == Batch(4, [*group(0, 1).lines, "a", "b", *group(1, 1).lines])
    assert waiting(again) == 4


# Subscriptions


def test_the_version_of_mqtt_of_the_last_broker_is_remembered(site: Site) -> None:
    journal = site.open()
    journal.remember_mqtt_version("tcp:h:1883", "5", 100.5)
    journal.remember_mqtt_version("tls:h:8883", "5", 200.0)
    journal.remember_mqtt_version("tls:h:8883", "3.1.1", 300.25)
    journal = site.open()
    assert journal.mqtt_version("tls:h:8883") == ("3.1.1", 300.25)
    assert journal.mqtt_version("tcp:h:1883") is None


def test_the_subscriptions_of_a_session_are_remembered_over_a_restart(site: Site) -> None:
    journal = site.open()
    assert journal.subscriptions("me@broker") == frozenset()
    journal.remember_subscriptions("me@broker", frozenset({"a/+", "b"}))
    journal.remember_subscriptions("me@other", frozenset({"c"}))
    journal.remember_subscriptions("me@broker", frozenset({"b", "d/#"}))
    journal.close()
    again = site.open()
    assert again.subscriptions("me@broker") == {"b", "d/#"}
    assert again.subscriptions("me@other") == {"c"}


DAMAGES = [
    zero,
    zero_all,
    cut,
    garbage,
    sql("PRAGMA user_version = 99"),
    sql("UPDATE seen SET entries = 'no entry at all'"),
    sql("UPDATE seen SET entries = CAST(x'30203120ff' AS TEXT)"),
]


def look(journal: Journal) -> None:
    """All that a start does."""
    list(journal.admitted())
    journal.head(0, 1)
    assert waiting(journal) >= 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_known_by_the_error(site: Site, damage: Callable[[Path], None]) -> None:
    journal = site.open()
    for first in range(0, 5_000, 1_000):
        journal.commit(group(first, 1_000), 0)
    journal.close()
    damage(site.path)
    with pytest.raises(sqlite3.Error) as caught:
        look(site.open())
    assert is_damaged(caught.value)


def test_a_page_that_turns_to_zeros_under_an_open_file_is_known_by_the_error(site: Site) -> None:
    journal = site.open()
    for first in range(0, 5_000, 1_000):
        journal.commit(group(first, 1_000), 0)
    # As after a restart: nothing in the log, nothing in the cache.
    journal.close()
    journal = site.open()
    zero(site.path)
    with pytest.raises(sqlite3.Error) as caught:
        journal.head(0, 5_000)
    assert is_damaged(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
        sqlite3.IntegrityError("UNIQUE constraint failed"),
    ],
)
def test_an_error_that_is_not_about_the_file_is_no_damage(error: sqlite3.Error) -> None:
    assert not is_damaged(error)


def test_a_file_that_another_holds_is_no_damage_and_a_failed_commit_changes_nothing(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 3), 0)
    journal._db.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(site.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            journal.commit(group(3, 3), 3)
        other.execute("ROLLBACK")
    assert not is_damaged(caught.value)
    assert (journal.last, waiting(journal)) == (3, 3)
    journal.commit(group(3, 3), 0)
    assert journal.head(0, 100).lines == group(0, 6).lines


def test_a_damaged_file_is_moved_aside_whole_and_a_second_one_does_not_replace_it(tmp_path: Path) -> None:
    asides = []
    for content in (b"first", b"second", b"third"):
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"{FILE_NAME}{suffix}").write_bytes(content + suffix.encode())
        asides.append(move_aside(tmp_path / FILE_NAME))
    assert len(set(asides)) == 3
    assert not list(tmp_path.glob(FILE_NAME)) + list(tmp_path.glob(f"{FILE_NAME}-*"))
    for aside, content in zip(asides, (b"first", b"second", b"third"), strict=True):
        assert aside.name.startswith(f"{FILE_NAME}.damaged-2")
        kept = [Path(f"{aside}{suffix}").read_bytes() for suffix in ("", "-wal", "-shm")]
        assert kept == [content, content + b"-wal", content + b"-shm"]


def test_the_numbers_of_a_new_file_can_go_on_from_those_of_the_old(site: Site) -> None:
    journal = site.open(last=5_000)
    assert (journal.last, waiting(journal)) == (5_000, 0)
    journal.commit(group(0, 3), 5_000)
    assert (waiting(journal), journal.head(5_000, 10)) == (3, Batch(5_003, group(0, 3).lines))
    journal.close()
    again = site.open()
    assert (again.last, waiting(again)) == (5_003, 3)


# A second look


def test_others_can_look_while_the_file_is_written(site: Site) -> None:
    journal = site.open()
    journal.commit(group(0, 3), 0)
    with closing(second_look(str(site.directory))) as db:
        rows = db.execute("SELECT lines FROM chunk")
        assert rows.fetchone() == ("\n".join(group(0, 3).lines),)
        journal.commit(group(3, 3), 3)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM chunk")
    assert site.query("SELECT id FROM chunk") == [(6,)]


def test_there_is_no_look_into_a_spool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        second_look(str(tmp_path))
    assert not list(tmp_path.iterdir())


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("commit"), st.integers(0, 2_200)),
            st.tuples(st.just("retire"), st.integers(1, 3_000)),
            st.tuples(st.just("reopen"), st.just(0)),
        ),
        max_size=12,
    )
)
@settings(max_examples=30)
def test_whatever_is_done_the_lines_that_wait_are_those_committed_and_not_retired(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    site = Site(tmp_path_factory.mktemp("spool"))
    journal = site.open()
    committed = retired = 0
    for step, number in steps:
        if step == "commit":
            journal.commit(group(committed, number), retired)
            committed += number
        elif step == "retire":
            retired = journal.head(retired, number).last
            journal.commit(Group(), retired)
        else:
            journal.close()
            journal = site.open()
        assert (journal.last, waiting(journal)) == (committed, committed - retired)
        assert journal.head(retired, 10**9).lines == group(retired, committed - retired).lines
    site.close()
