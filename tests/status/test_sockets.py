"""Where the site listens, and that nothing there keeps tessflux from starting."""

import os
import socket
import stat
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tessflux.config import ListenAddress, StatusConfig
from tessflux.status import Sockets, socket_paths, sockets
from tests.log_lines import record
from tests.status.site import World


class Port:
    """A socket that is open, until it is stopped."""

    def __init__(self, reactor: "Reactor", where: object) -> None:
        self._reactor, self._where = reactor, where
        reactor.open.append(where)
        if isinstance(where, str):
            Path(where).touch()

    def stopListening(self) -> None:
        self._reactor.open.remove(self._where)
        if isinstance(self._where, str):
            Path(self._where).unlink()


class Reactor(MemoryReactorClock):
    """Has the sockets that are open; `fails` are those that cannot be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[object] = []
        self.fails: set[object] = set()

    def _listen(self, where: object) -> Any:
        if where in self.fails:
            raise CannotListenError(None, where, OSError(98, "Address already in use"))
        return Port(self, where)

    def listenUNIX(self, address: str, factory: Any, mode: int = 0, **_: Any) -> Any:  # type: ignore[override]
        assert mode == 0o660
        return self._listen(address)

    def listenTCP(self, port: int, factory: Any, interface: str = "", **_: Any) -> Any:  # type: ignore[override]
        return self._listen((interface, port))


class SocketsTest(SynchronousTestCase):
    """Sockets that open what is possible."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.run_directory, self.spool = Path(directory.name, "run"), directory.name
        self.run_directory.mkdir()
        patched = patch.object(sockets, "RUN_DIRECTORY", str(self.run_directory))
        patched.start()
        self.addCleanup(patched.stop)
        self.said = record(self, "status")
        self.reactor, world = Reactor(), World()
        self.sockets = Sockets(self.reactor, world.unix, world.tcp, self.spool)
        self.in_run, self.in_spool = socket_paths(StatusConfig(), self.spool)

    def test_the_run_directory_is_preferred_and_the_spool_does_otherwise(self) -> None:
        self.sockets.start(StatusConfig())
        assert self.reactor.open == [self.in_run]
        self.reactor.fails = {self.in_run}
        self.sockets.reconfigure(StatusConfig(socket=f"{self.spool}/elsewhere"))
        self.sockets.reconfigure(StatusConfig())
        assert self.reactor.open == [self.in_spool]
        assert self.said() == []

    def test_what_cannot_be_opened_is_said_once_and_tried_again(self) -> None:
        listen = ListenAddress("192.0.2.1", 9273)
        path = f"{self.spool}/no"
        self.reactor.fails = {path, ("192.0.2.1", 9273)}
        self.sockets.start(StatusConfig(path, listen))
        self.sockets.open_missing()
        unix, tcp = self.said()
        assert unix == (
            "'tessflux status' will find nobody, since no socket can be opened:"
            f" {path}: Address already in use; set [status] socket"
        )
        assert tcp.startswith(
            "Cannot show the status at 192.0.2.1:9273: Address already in use; tessflux keeps"
        )
        self.reactor.fails.clear()
        self.sockets.open_missing()
        assert self.reactor.open == [path, ("192.0.2.1", 9273)]
        assert len(self.said(LogLevel.info)) == 2

    def test_a_reload_opens_and_closes_what_the_config_says(self) -> None:
        here, there = ListenAddress("::1", 1), ListenAddress("127.0.0.1", 2)
        self.sockets.start(StatusConfig())
        self.sockets.reconfigure(StatusConfig(listen=here))
        self.sockets.reconfigure(StatusConfig(listen=here))
        assert self.reactor.open == [self.in_run, ("::1", 1)]
        self.sockets.reconfigure(StatusConfig(listen=there))
        assert self.reactor.open == [self.in_run, ("127.0.0.1", 2)]
        self.sockets.reconfigure(StatusConfig())
        assert self.reactor.open == [self.in_run]
        self.sockets.stop()
        assert self.reactor.open == []

    def test_before_the_start_nothing_is_opened(self) -> None:
        self.sockets.reconfigure(StatusConfig())
        self.sockets.open_missing()
        assert self.reactor.open == []

    def test_what_a_killed_daemon_left_is_taken_and_what_another_uses_is_not(self) -> None:
        path = Path(self.spool, "status.sock")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            self.sockets.start(StatusConfig(socket=str(path)))
            assert "another tessflux listens there" in self.said()[0]
            assert stat.S_ISSOCK(path.stat().st_mode)
        self.sockets.open_missing()
        assert not path.is_socket()
        assert self.reactor.open == [str(path)]

    def test_a_file_that_is_no_socket_stays(self) -> None:
        path = Path(self.spool, "status.sock")
        path.write_text("mine")
        self.reactor.fails = {str(path)}
        self.sockets.start(StatusConfig(socket=str(path)))
        assert path.read_text() == "mine"
        assert "Address already in use" in self.said()[0]


class RemovedTest(TestCase):
    """A real socket whose file somebody removes."""

    async def test_it_is_opened_anew_and_no_descriptor_is_left(self) -> None:
        from twisted.internet import reactor

        said = record(self, "status")
        with TemporaryDirectory() as directory:
            path = Path(directory, "run", "status.sock")
            path.parent.mkdir()
            world = World()
            opened = Sockets(reactor, world.unix, world.tcp, directory)
            opened.start(StatusConfig(socket=str(path)))
            before = descriptors()
            for remove in (path.unlink, lambda: rmtree(path.parent)):
                remove()
                opened.open_missing()
                # Twisted closes it in a later turn.
                await deferLater(reactor, 0.05)
                path.parent.mkdir(exist_ok=True)
                opened.open_missing()
                assert path.is_socket()
                assert descriptors() == before
            opened.stop()
            await deferLater(reactor, 0.05)
            assert descriptors() == before - 1
            assert not path.exists()
        assert [line for line in said() if str(path) in line] == [f"{path} was removed: it is opened anew"]


def descriptors() -> int:
    """How many Unix sockets this process has open."""
    links = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return sum(link.startswith("socket:") for link in links)


def test_this_computer_has_its_own_names() -> None:
    with patch.object(socket, "gethostname", return_value="Pi.example.org"):
        assert sockets.own_names() == {"pi", "pi.local"}
    with patch.object(socket, "gethostname", return_value=""):
        assert sockets.own_names() == frozenset()
