"""Root that runs `tessflux -k` becomes the owner of the spool's directory, and `tessflux` alone is refused.
Other users stay who they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux import cli, run
from tessflux.process import detach, privileges
from tessflux.process.privileges import become_owner_of, refuse_in_place_of_owner

NOBODY = 65_534
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of another user if we are root, or else our own; and code that this user may read."""
    monkeypatch.setattr(privileges, "_CODE", (os.devnull,))
    if IS_ROOT:
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


@pytest.fixture
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the tester's own, which other users may not enter."""
    return tmp_path_factory.mktemp("ours")


def in_child(work: Callable[[], object]) -> str:
    """The result of `work`, or what it raised. It is done in a child, which cannot become root again."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(work()).encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        result = stream.read()
    os.waitpid(pid, 0)
    return result


def identity_after(directory: Path) -> str:
    """User, group and further groups of a process that became the owner of a directory."""

    def become() -> str:
        become_owner_of(directory)
        return f"{os.getresuid()} {os.getresgid()} {os.getgroups()}"

    return in_child(become)


def identity_of(directory: Path) -> str:
    owner = directory.stat()
    return f"{(owner.st_uid,) * 3} {(owner.st_gid,) * 3} "


def test_root_becomes_the_owner_of_a_directory_or_of_the_one_in_which_it_will_be(theirs: Path) -> None:
    for directory in (theirs, theirs / "missing" / "spool"):
        assert identity_after(directory).startswith(identity_of(theirs))
    if IS_ROOT:
        assert identity_after(theirs).endswith(f" [{NOBODY}]"), "no group of root's is left"


def test_root_stays_root_in_its_own_directory(ours: Path) -> None:
    assert identity_after(ours / "spool").startswith(f"{(os.geteuid(),) * 3} ")


def test_the_owner_must_be_able_to_read_the_program(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_CODE", (str(theirs / "missing.py"),))
    assert identity_after(theirs).startswith("CannotCreate") is IS_ROOT


def test_the_owner_of_a_link_counts_and_not_where_it_leads(theirs: Path) -> None:
    link = theirs / "spool"
    link.symlink_to("/etc")
    if IS_ROOT:
        os.lchown(link, NOBODY, NOBODY)
    assert identity_after(link).startswith(identity_of(theirs))


def test_through_a_link_of_roots_own_the_owner_of_its_target_counts(theirs: Path, ours: Path) -> None:
    link = ours / "spool"
    link.symlink_to(theirs)
    assert identity_after(link).startswith(identity_of(theirs))


def test_root_starts_no_daemon_on_the_spool_of_another_user(
    theirs: Path, ours: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = ours / "config"
    monkeypatch.setattr(detach, "detach", lambda pid_file, serve: 42)
    for directory, refused in ((theirs, IS_ROOT), (theirs / "missing", IS_ROOT), (ours, False)):
        config.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {directory}\n")
        assert in_child(lambda: cli.main(["-c", str(config)])) == ("64" if refused else "42")
        said = capfd.readouterr().err
        for part in (f"nobody owns {theirs}, ", "'service tessflux start', with RUN_AS=nobody in /etc"):
            assert (part in said) is refused


def test_a_config_that_only_root_can_read_stops_the_start(
    theirs: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If we are not root, the config is ours and the daemon starts."""
    config = ours / "config"
    config.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {theirs}\n")
    config.chmod(0o600)
    monkeypatch.setattr(run, "until_stopped", lambda config, **_: 42)
    assert in_child(lambda: cli.main(["-k", "-c", str(config)])) == ("78" if IS_ROOT else "42")


def test_a_user_who_may_not_enter_the_directory_above_stays_who_they_are(ours: Path) -> None:
    """What the spool or the lock says of it is for the operator; nothing is raised here."""
    closed = ours / "closed"
    closed.mkdir(mode=0o700 if IS_ROOT else 0)

    def become() -> str:
        if IS_ROOT:
            os.setuid(NOBODY)
        refuse_in_place_of_owner(closed / "spool")
        return str(become_owner_of(closed / "spool"))

    assert in_child(become) == "False"
