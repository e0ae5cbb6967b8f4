"""One process a spool, and one a pid file."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from tessflux.errors import AlreadyRunning, CannotCreate
from tessflux.process.lock import PidFile, lock_spool


def test_the_directory_is_made_and_belongs_to_the_process_that_locks_it(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "spool"
    lock = lock_spool(str(directory))
    try:
        assert stat.S_IMODE(directory.stat().st_mode) & 0o027 == 0
        assert stat.S_IMODE((directory / "lock").stat().st_mode) & 0o137 == 0
        assert (directory / "lock").read_text() == f"{os.getpid()}\n"
        assert not os.get_inheritable(lock.descriptor)
    finally:
        lock.release()


def test_no_link_leads_the_lock_to_another_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("important")
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "lock").symlink_to(victim)
    lock_spool(str(spool)).release()
    assert victim.read_text() == "important"


def test_a_second_process_is_told_who_has_the_spool_and_leaves_it_alone(tmp_path: Path) -> None:
    lock = lock_spool(str(tmp_path))
    try:
        with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}\) uses the spool in {tmp_path}"):
            lock_spool(str(tmp_path))
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        lock.release()


def test_a_lock_that_a_killed_process_left_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012345\n")
    lock = lock_spool(str(tmp_path))
    try:
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        lock.release()
    lock_spool(str(tmp_path)).release()


def test_the_lock_holds_as_long_as_one_descriptor_of_it_is_open(tmp_path: Path) -> None:
    """A daemon detaches after it has the lock: the parent's end must not give it up."""
    lock = lock_spool(str(tmp_path))
    child = os.dup(lock.descriptor)
    lock.release()
    with pytest.raises(AlreadyRunning):
        lock_spool(str(tmp_path))
    os.close(child)
    lock_spool(str(tmp_path)).release()


def test_a_lock_without_a_readable_owner_is_respected_all_the_same(tmp_path: Path) -> None:
    lock = lock_spool(str(tmp_path))
    (tmp_path / "lock").write_bytes(b"\xff")
    with pytest.raises(AlreadyRunning):
        lock_spool(str(tmp_path))
    lock.release()


def test_the_lock_holds_also_when_the_file_that_tells_of_it_is_deleted_or_replaced(tmp_path: Path) -> None:
    lock = lock_spool(str(tmp_path))
    (tmp_path / "lock").unlink()
    with pytest.raises(AlreadyRunning, match="process unknown"):
        lock_spool(str(tmp_path))
    (tmp_path / "lock").write_text("1\n")
    with pytest.raises(AlreadyRunning, match="process 1"):
        lock_spool(str(tmp_path))
    lock.release()
    lock_spool(str(tmp_path)).release()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_no_directory_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match=str(tmp_path / place)):
        lock_spool(str(tmp_path / place))


def test_a_pid_file_that_is_locked_is_respected_and_its_owner_named(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    first = PidFile(str(path))
    first.write()
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()} holds {path}"):
        PidFile(str(path))
    first.remove()
    assert not path.exists()
    PidFile(str(path)).remove()


def test_a_file_that_was_replaced_while_it_was_locked_is_not_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who stops removes his file between our opening and our locking it."""
    path = tmp_path / "pid"
    flock = fcntl.flock
    removals = [path.unlink]

    def remove_first(descriptor: int, operation: int) -> None:
        if removals:
            removals.pop()()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    ours = PidFile(str(path))
    assert os.path.samestat(os.fstat(ours.descriptor), path.stat())
    ours.remove()
