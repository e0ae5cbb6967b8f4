"""One process per spool, and one per pid file."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from tessflux.errors import AlreadyRunning, CannotCreate
from tessflux.process.lock import Lock, PidFile, lock_spool

OURS = f"{os.getpid()}\n"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def lock(spool: Path) -> Lock:
    """The lock of the spool, for the test to release."""
    return lock_spool(str(spool))


# The spool


def test_the_directory_is_created_for_its_user_alone_and_names_the_process_that_locks_it(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "a" / "spool"
    lock = lock_spool(str(directory))
    assert stat.S_IMODE(directory.stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE((directory / "lock").stat().st_mode) & 0o137 == 0
    assert (directory / "lock").read_text() == OURS
    assert not os.get_inheritable(lock.descriptor)
    lock.release()


def test_a_second_process_learns_which_one_uses_the_spool(lock: Lock, spool: Path) -> None:
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}\) uses the spool in {spool}"):
        lock_spool(str(spool))
    assert (spool / "lock").read_text() == OURS
    lock.release()


@pytest.mark.parametrize(
    ("content", "owner"), [(None, "process unknown"), (b"1\n", "process 1\\)"), (b"\xff", "process")]
)
def test_the_lock_holds_whatever_happens_to_the_file_that_names_its_owner(
    lock: Lock, spool: Path, content: bytes | None, owner: str
) -> None:
    (spool / "lock").unlink()
    if content is not None:
        (spool / "lock").write_bytes(content)
    with pytest.raises(AlreadyRunning, match=owner):
        lock_spool(str(spool))
    lock.release()
    lock_spool(str(spool)).release()


def test_a_file_that_a_killed_process_left_does_no_harm(spool: Path) -> None:
    spool.mkdir()
    (spool / "lock").write_text("123456789012345\n")
    lock = lock_spool(str(spool))
    assert (spool / "lock").read_text() == OURS
    lock.release()


def test_the_lock_holds_as_long_as_one_of_its_descriptors_is_open(lock: Lock, spool: Path) -> None:
    """The daemon detaches after it has the lock: the end of its parent must not release it."""
    child = os.dup(lock.descriptor)
    lock.release()
    with pytest.raises(AlreadyRunning):
        lock_spool(str(spool))
    os.close(child)
    lock_spool(str(spool)).release()


def test_the_owner_is_not_written_through_a_link(spool: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("important")
    spool.mkdir()
    (spool / "lock").symlink_to(victim)
    lock_spool(str(spool)).release()
    assert victim.read_text() == "important"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_can_be_no_directory_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match=str(tmp_path / place)):
        lock_spool(str(tmp_path / place))


# The pid file


def test_a_second_process_learns_which_one_holds_the_pid_file(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    first = PidFile(str(path))
    first.write()
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()} holds {path}"):
        PidFile(str(path))
    first.remove()
    assert not path.exists()
    PidFile(str(path)).remove()


def test_a_pid_file_that_was_replaced_while_we_locked_it_is_locked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that stops may remove its file after we have opened it and before we lock it."""
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
