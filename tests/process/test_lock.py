"""One process per spool, and one per pid file."""

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux.errors import AlreadyRunning, CannotCreate
from tessflux.process.lock import Lock, PidFile, SpoolLock, state_of_spool

OURS = f"{os.getpid()}\n"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def lock(spool: Path) -> Lock:
    """The lock of the spool, for the test to release."""
    return SpoolLock(str(spool))


# The spool


def test_the_directory_is_created_for_its_user_alone_and_names_the_process_that_locks_it(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "a" / "spool"
    lock = SpoolLock(str(directory))
    assert stat.S_IMODE(directory.stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE((directory / "lock").stat().st_mode) & 0o137 == 0
    assert (directory / "lock").read_text() == OURS
    assert not os.get_inheritable(lock.descriptor)
    lock.release()


def test_a_second_process_learns_which_one_uses_the_spool(lock: Lock, spool: Path) -> None:
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}\) uses the spool in {spool}"):
        SpoolLock(str(spool))
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
        SpoolLock(str(spool))
    lock.release()
    SpoolLock(str(spool)).release()


def test_a_file_that_a_killed_process_left_does_no_harm(spool: Path) -> None:
    spool.mkdir()
    (spool / "lock").write_text("123456789012345\n")
    lock = SpoolLock(str(spool))
    assert (spool / "lock").read_text() == OURS
    lock.release()


def test_the_lock_holds_as_long_as_one_of_its_descriptors_is_open(lock: Lock, spool: Path) -> None:
    """The daemon detaches after it has the lock: the end of its parent must not release it."""
    child = os.dup(lock.descriptor)
    lock.release()
    with pytest.raises(AlreadyRunning):
        SpoolLock(str(spool))
    os.close(child)
    SpoolLock(str(spool)).release()


def test_the_owner_is_not_written_through_a_link(spool: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("important")
    spool.mkdir()
    (spool / "lock").symlink_to(victim)
    SpoolLock(str(spool)).release()
    assert victim.read_text() == "important"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_can_be_no_directory_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match=str(tmp_path / place)):
        SpoolLock(str(tmp_path / place))


def test_the_state_of_the_owner_is_the_second_line_as_long_as_the_owner_lives(spool: Path) -> None:
    assert state_of_spool(str(spool)) == ""
    lock = SpoolLock(str(spool))
    assert state_of_spool(str(spool)) == ""
    lock.write("delivery is paused")
    assert state_of_spool(str(spool)) == "delivery is paused"
    assert (spool / "lock").read_text() == f"{OURS}delivery is paused\n"
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}\)"):
        SpoolLock(str(spool))
    lock.write()
    assert (spool / "lock").read_text() == OURS
    lock.write("delivery is paused")
    lock.release()
    assert state_of_spool(str(spool)) == ""
    lock = SpoolLock(str(spool))
    assert state_of_spool(str(spool)) == ""
    lock.release()


# The pid file


def test_a_second_process_learns_which_one_holds_the_pid_file(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    first = PidFile(str(path))
    first.write()
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()} holds {path}"):
        PidFile(str(path))
    first.write("odd")
    assert (path.read_text(), Path(f"{path}.state").read_text()) == (OURS, "odd\n")
    first.remove()
    assert list(tmp_path.iterdir()) == []
    Path(f"{path}.state").write_text("of one that was killed\n")
    second = PidFile(str(path))
    second.write()
    assert [each.name for each in tmp_path.iterdir()] == ["pid"]
    second.remove()


def test_the_state_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "pid"
    victim.write_text("important")
    Path(f"{path}.state").symlink_to(victim)
    ours = PidFile(str(path))
    ours.write("odd")
    assert (path.read_text(), victim.read_text()) == (OURS, "important")
    ours.write()
    assert not Path(f"{path}.state").is_symlink()
    ours.remove()


def test_a_pid_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "pid"
    victim.write_text("important")
    victim.chmod(0o600)
    path.symlink_to(victim)
    with pytest.raises(CannotCreate, match="choose another file with --pid-file"):
        PidFile(str(path))
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("important", 0o600)


@pytest.mark.parametrize("odd", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_whatever_is_in_the_place_of_the_state_hinders_nothing(
    tmp_path: Path, odd: Callable[[Path], None]
) -> None:
    path = tmp_path / "pid"
    odd(Path(f"{path}.state"))
    ours = PidFile(str(path))
    ours.write("odd")
    ours.write()
    ours.remove()
    assert not path.exists()


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
