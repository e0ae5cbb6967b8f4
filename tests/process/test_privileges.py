"""As root, tessflux -k becomes the owner of the spool's directory, or of that in which it will be."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux import cli, run
from tessflux.process import privileges
from tessflux.process.privileges import become_owner_of

NOBODY = 65_534
ROOT = os.geteuid() == 0


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of another user where we are root, else of our own; and code that this user may read."""
    monkeypatch.setattr(privileges, "_CODE", (os.devnull,))
    if ROOT:
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def told_by_a_child(work: Callable[[], str]) -> str:
    """What another process finds: who has become another user cannot go back."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, work().encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        found = stream.read()
    os.waitpid(pid, 0)
    return found


def who_is_it_in(directory: Path) -> str:
    """User, groups or problem of a process that became the owner."""

    def become() -> str:
        become_owner_of(directory)
        return f"{os.getresuid()} {os.getresgid()} {os.getgroups()}"

    return told_by_a_child(become)


def test_root_becomes_the_owner_and_nobody_else_changes(theirs: Path) -> None:
    owner = theirs.stat()
    users, groups = ((number,) * 3 for number in (owner.st_uid, owner.st_gid))
    for directory in (theirs, theirs / "missing" / "spool"):
        assert who_is_it_in(directory).startswith(f"{users} {groups} ")
    if ROOT:
        assert who_is_it_in(theirs).endswith(f" [{NOBODY}]"), "no group of root's is left"


def test_root_stays_root_in_a_directory_of_its_own(tmp_path: Path) -> None:
    assert who_is_it_in(tmp_path / "spool").startswith(f"{(os.geteuid(),) * 3} ")


def test_a_user_who_may_not_read_the_program_is_told_of(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "_CODE", (str(theirs / "missing.py"),))
    assert (who_is_it_in(theirs)[:12] == "CannotCreate") is ROOT


def test_the_owner_of_a_link_counts_and_not_where_it_leads(theirs: Path) -> None:
    link = theirs / "spool"
    link.symlink_to("/etc")
    if ROOT:
        os.lchown(link, NOBODY, NOBODY)
    assert who_is_it_in(link).startswith(f"{(theirs.stat().st_uid,) * 3} ")


def test_a_link_of_root_leads_to_the_owner(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("root") / "spool"
    link.symlink_to(theirs)
    assert who_is_it_in(link).startswith(f"{(theirs.stat().st_uid,) * 3} ")


def test_what_the_owner_may_not_read_stops_the_start(
    theirs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where we are not root, everything is ours, and the config is read once."""
    config = tmp_path_factory.mktemp("root") / "config"
    config.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {theirs}\n")
    config.chmod(0o600)
    monkeypatch.setattr(run, "daemon", lambda config, **_: 42)
    assert told_by_a_child(lambda: str(cli.main(["-k", "-c", str(config)]))) == ("78" if ROOT else "42")
