"""A session for the `influxdb` package, in which every answer ends: bounded in its bytes and in its time.

requests reads all that comes for as long as it comes, and its timeout is one for each piece. So what a
connection reads from is replaced; this works for the status line, the headers and the body alike.
"""

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any, Never

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tessflux.limits import ANSWER_BYTES, HEADER_BYTES


class Endless(Exception):
    """An answer was too long, or took too long. No OSError, of which urllib3 makes one of its own."""


class _Limited(io.RawIOBase):
    """What comes from a socket for one answer: new pieces of it for `seconds`, its timeout."""

    def __init__(self, source: io.RawIOBase, seconds: float) -> None:
        self._source, self._seconds = source, seconds
        self._bytes = HEADER_BYTES + ANSWER_BYTES
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._end:
            self._too_late()
        try:
            came = self._source.readinto(buffer)
        except TimeoutError:
            self._too_late()
        self._bytes -= came or 0
        if self._bytes < 0:
            raise Endless(f"an answer of more than {HEADER_BYTES + ANSWER_BYTES} bytes")
        return came

    def _too_late(self) -> Never:
        raise Endless(f"no answer within {self._seconds:g} s")

    def close(self) -> None:
        self._source.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Limited(self.fp.detach(), sock.gettimeout() or 0.0))

    def begin(self) -> None:
        super().begin()
        # Nobody asked for compression, and a few bytes may become gigabytes.
        del self.headers["Content-Encoding"]


class _Connection(HTTPConnection):
    response_class = _Answer


class _SecureConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class Session(requests.Session):
    """Knows neither proxies nor passwords of the environment, as the writing of readings does not; follows no
    redirection. Raises Endless besides what requests raises."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = 0
        self.headers["Accept-Encoding"] = "identity"

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send what is to be done in the body: a statement may hold a password, and an address stands in the
        log of every proxy."""
        if method == "POST" and options.get("params"):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            options |= {
                "params": None,
                "data": options["params"],
                "headers": {**(options.get("headers") or {}), **form},
            }
        return super().request(method, url, **options)

    def mount(self, prefix: str | bytes, adapter: Any) -> None:
        """Bound the connections, whatever adapter the package would like."""
        super().mount(prefix, _Adapter())
