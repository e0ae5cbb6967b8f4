"""Where the site listens: a Unix socket always, and TCP if the config says so.

That a socket cannot be opened is no reason not to store readings: the log says so, and it is tried again.
"""

import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from tessflux.config import ListenAddress, StatusConfig
from tessflux.logs import RateLimit
from tessflux.status.http import Site

log = Logger(namespace="status")

MODE = 0o660
"""Who may stop the delivery: the daemon's user, its group and root."""

RUN_DIRECTORY = "/run/tessflux"
SOCKET = "status.sock"

BACKLOG = 16
"""Connections that wait in the kernel. The reactor takes all of them at a time, while readings wait."""

REOPEN = 2.0
"""Seconds between two attempts to open a socket: at boot an address may not be there yet, and the file of a
socket may be removed at any time."""

PROBLEM_PERIOD = 3600.0
"""Seconds between two log lines about a socket that cannot be opened."""


def socket_paths(config: StatusConfig, spool: str) -> list[str]:
    """Where the Unix socket may be, the best place first: /run/tessflux if somebody has made it for us, such
    as systemd; the spool's directory is always ours."""
    if config.socket:
        return [config.socket]
    return [f"{RUN_DIRECTORY}/{SOCKET}", f"{spool}/{SOCKET}"]


class Sockets:
    """Call `start` once, `open_missing` now and then, and `stop` at the end."""

    def __init__(self, reactor: Any, unix: Site, tcp: Site, spool: str) -> None:
        self._reactor, self._unix, self._tcp, self._spool = reactor, unix, tcp, spool
        self._config: StatusConfig | None = None
        self._unix_port: Any = None
        self._unix_path = ""
        self._tcp_port: Any = None
        self._problems = RateLimit(reactor, period=PROBLEM_PERIOD, lines=10)

    def start(self, config: StatusConfig) -> None:
        """Open what the config says."""
        self._config = config
        self.open_missing()

    def reconfigure(self, config: StatusConfig) -> None:
        """Open what another config says, and close what it does not. Before the start there is nothing to
        change."""
        if self._config is None:
            return
        before, self._config = self._config, config
        if before.socket != config.socket:
            self._close(self._unix_port, self._unix)
            self._unix_port = None
        if before.listen != config.listen:
            self._close(self._tcp_port, self._tcp)
            self._tcp_port = None
        self._problems.over()
        self.open_missing()

    def open_missing(self) -> None:
        """Try again what could not be opened. A Unix socket whose file is gone is closed now, and opened the
        next time: Twisted closes it in a later turn, and would remove the new file with that."""
        config = self._config
        if config is None:
            return
        if self._unix_port is not None and not os.path.lexists(self._unix_path):
            self._problem("{why}: it is opened anew", f"{self._unix_path} was removed")
            self._close(self._unix_port, self._unix)
            self._unix_port = None
        elif self._unix_port is None:
            self._unix_port = self._open_unix(socket_paths(config, self._spool))
        if self._tcp_port is None and config.listen is not None:
            self._tcp_port = self._open_tcp(config.listen)

    def stop(self) -> None:
        """Close them, and end all connections."""
        self._close(self._unix_port, self._unix)
        self._close(self._tcp_port, self._tcp)

    def _open_unix(self, paths: Sequence[str]) -> Any:
        problems = []
        for path in paths:
            try:
                _remove_unused(Path(path))
                port = self._reactor.listenUNIX(path, self._unix, backlog=BACKLOG, mode=MODE)
            except (OSError, CannotListenError) as error:
                problems.append(f"{path}: {_reason(error)}")
                continue
            self._unix.listens(port)
            self._unix_path = path
            log.info("'tessflux status' finds its answers at {path}", path=path)
            return port
        self._problem(
            "'tessflux status' will find nobody, since no socket can be opened: {why}; set [status] socket",
            "; ".join(problems),
        )
        return None

    def _open_tcp(self, listen: ListenAddress) -> Any:
        try:
            port = self._reactor.listenTCP(listen.port, self._tcp, backlog=BACKLOG, interface=listen.host)
        except (OSError, CannotListenError) as error:
            self._problem(
                "Cannot show the status at {why}; tessflux keeps trying. See [status] listen",
                f"{listen}: {_reason(error)}",
            )
            return None
        self._tcp.listens(port)
        log.info("The status is at http://{listen}/", listen=str(listen))
        return port

    def _problem(self, text: str, why: str) -> None:
        if self._problems.admits(why):
            log.warn(text, why=why)

    @staticmethod
    def _close(port: Any, site: Site) -> None:
        if port is not None:
            maybeDeferred(port.stopListening).addErrback(_close_without_file, port)
            site.end()


def _close_without_file(failure: Failure, port: Any) -> None:
    """Its file was gone, perhaps with its directory: then Twisted leaves the socket open."""
    failure.trap(OSError)
    port.socket.close()


def _remove_unused(path: Path) -> None:
    """Remove a socket that nobody listens to. Raises OSError if somebody does."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
                else:
                    raise OSError("another tessflux listens there")


def _reason(error: Exception) -> str:
    if isinstance(error, CannotListenError):
        error = error.socketError
    return getattr(error, "strerror", None) or str(error)


def own_names() -> frozenset[str]:
    """What this computer is called on its own network, where no stranger gives names."""
    name = socket.gethostname().lower().partition(".")[0]
    return frozenset({name, f"{name}.local"} if name else ())
