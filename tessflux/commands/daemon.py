"""The running daemon, asked over its socket. Raises NoDaemon and NotAllowed."""

import socket
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from os.path import realpath
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from tessflux.config import Config
from tessflux.errors import NoDaemon, NotAllowed
from tessflux.status import STATUS, Snapshot, socket_paths

TIMEOUT = 25.0
"""Seconds for an answer: the daemon gives one within 20, even if its disk does not answer."""

T = TypeVar("T")


class Daemon:
    """Whoever listens at a path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def status(self) -> bytes:
        """What can be seen of it: a Snapshot as JSON."""
        return self._page(STATUS, None)

    def snapshot(self) -> Snapshot:
        """The same, decoded."""
        return self.get(STATUS, Snapshot)

    def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        """What a page has as JSON, decoded."""
        try:
            return msgspec.json.decode(self._page(path, query), type=kind)
        except msgspec.DecodeError as error:
            raise NoDaemon(
                f"at {self._path} answers another version of tessflux; restart it after an upgrade ({error})"
            ) from None

    def _page(self, path: str, query: Mapping[str, str] | None) -> bytes:
        code, body = self.ask("GET", path, query)
        if code != HTTPStatus.OK:
            raise NoDaemon(f"the daemon at {self._path} answers: {body.decode(errors='replace').strip()}")
        return body

    def ask(self, method: str, path: str, query: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """The code and the body of its answer."""
        connection = _Connection(self._path)
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except PermissionError:
            raise NotAllowed(
                f"you may not ask the daemon at {self._path}: be root, or in the group of its user"
            ) from None
        except TimeoutError:
            raise NoDaemon(
                f"the daemon at {self._path} does not answer within {TIMEOUT:.0f} s; its log may say why"
            ) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NoDaemon(f"no daemon answers at {self._path} ({reason})") from None
        finally:
            connection.close()


def find(config: Config) -> Daemon:
    """The daemon that runs with this config: whose spool is that of the config."""
    others = []
    denied: NotAllowed | None = None
    for path in socket_paths(config.status, config.spool.directory):
        daemon = Daemon(path)
        try:
            directory = daemon.snapshot().spool.directory
        except NotAllowed as error:
            denied = error
        except NoDaemon as error:
            others.append(str(error))
        else:
            if realpath(directory) == realpath(config.spool.directory):
                return daemon
            others.append(f"the daemon at {path} has another spool, {directory}")
    # Whoever may not ask would be misled by hearing that nobody is there.
    raise denied or NoDaemon(f"{'; '.join(others)}. Does tessflux run, and with this config?")


class _Connection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
