"""One process a spool, and a reload that is all or nothing."""

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tessflux.app import App, lock_spool
from tessflux.config import load
from tessflux.errors import AlreadyRunning, CannotCreate
from tessflux.logs import Logs
from tests.log_lines import record


def test_the_directory_is_made_and_belongs_to_the_process_that_locks_it(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "spool"
    lock = lock_spool(str(directory))
    try:
        assert stat.S_IMODE(directory.stat().st_mode) & 0o027 == 0
        assert stat.S_IMODE((directory / "lock").stat().st_mode) & 0o137 == 0
        assert (directory / "lock").read_text() == f"{os.getpid()}\n"
        assert not os.get_inheritable(lock)
    finally:
        os.close(lock)


def test_a_second_process_is_told_who_has_the_spool_and_leaves_it_alone(tmp_path: Path) -> None:
    lock = lock_spool(str(tmp_path))
    try:
        with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}\) uses the spool in {tmp_path}"):
            lock_spool(str(tmp_path))
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        os.close(lock)


def test_a_lock_that_a_killed_process_left_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012345\n")
    lock = lock_spool(str(tmp_path))
    try:
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        os.close(lock)
    os.close(lock_spool(str(tmp_path)))


def test_the_lock_holds_as_long_as_one_descriptor_of_it_is_open(tmp_path: Path) -> None:
    """A daemon detaches after it has the lock: the parent's end must not give it up."""
    lock = lock_spool(str(tmp_path))
    child = os.dup(lock)
    os.close(lock)
    with pytest.raises(AlreadyRunning):
        lock_spool(str(tmp_path))
    os.close(child)
    os.close(lock_spool(str(tmp_path)))


def test_a_lock_without_a_readable_owner_is_respected_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"\xff")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning):
            lock_spool(str(tmp_path))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_no_directory_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match=str(tmp_path / place)):
        lock_spool(str(tmp_path / place))


class Reactor(Clock):
    """Its thread pool does everything at once."""

    def getThreadPool(self) -> "Reactor":
        return self

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], None], call: Callable[..., Any], *args: Any
    ) -> None:
        try:
            result = call(*args)
        except Exception:
            on_result(False, Failure())
        else:
            on_result(True, result)

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        call(*args)


class Reload(SynchronousTestCase):
    """An App that was never started: a reload changes it all the same, and nothing is sent anywhere."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.reactor = Reactor()
        self.said = record(self, "tessflux")
        self.write(log="first.log", level="info")
        config = load(str(self.directory / "config"), {})
        self.logs = Logs(console=False, path=config.global_.log_file)
        self.addCleanup(self.logs.reopen, "")
        self.app = App(config, self.logs, self.reactor)

    def write(self, *, log: str, level: str, spool: str = "spool") -> None:
        (self.directory / "config").write_text(
            f"[global]\nlog_file = {self.directory / log}\nlog_level = {level}\n"
            f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {self.directory / spool}\n"
        )

    def reload(self) -> list[str]:
        """The log files that are there afterwards; they are gone before."""
        for path in self.directory.glob("*.log"):
            path.unlink()
        self.app.reload()
        assert self.reactor.getDelayedCalls() == []
        return [path.name for path in self.directory.glob("*.log")]

    def test_another_config_is_used_and_the_log_reopened(self) -> None:
        self.write(log="second.log", level="debug")
        assert self.reload() == ["second.log"]
        assert self.said(LogLevel.info) == [f"Reloaded {self.directory / 'config'}"]

    def test_a_wrong_config_changes_nothing_but_the_log_is_reopened(self) -> None:
        self.write(log="second.log", level="loud")
        assert self.reload() == ["first.log"]
        (said,) = self.said()
        assert said.startswith("The config stays as it was: ")
        assert "log_level" in said
        assert self.said(LogLevel.info) == []

    def test_a_log_file_that_cannot_be_opened_changes_nothing(self) -> None:
        self.write(log="no/such/directory.log", level="debug")
        assert self.reload() == ["first.log"]
        (said,) = self.said()
        assert "cannot open the log file" in said
        assert self.said(LogLevel.info) == []

    def test_the_spool_stays_where_it_is(self) -> None:
        self.write(log="first.log", level="info", spool="elsewhere")
        self.reload()
        assert self.said() == ["[spool] directory changes only at a restart"]
