"""HTTP for the `influxdb` package, with a bound on the length and the time of every answer, and with the TLS
policy of `tessflux.tls`.

The requests library reads whatever comes for as long as it comes, and its timeout applies to each piece. So
the file that a connection reads from is replaced, which bounds status line, headers and body alike.
"""

import io
import socket
import ssl
import time
from functools import partial
from http.client import HTTPResponse
from typing import Any, Never

import requests
from cryptography import x509
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tessflux.limits import ANSWER_BYTES, HEADER_BYTES
from tessflux.tls import check_host


class Endless(Exception):
    """An answer was too long, or took too long. It is no OSError, which urllib3 would replace by an error of
    its own."""


class _BoundedFile(io.RawIOBase):
    """One answer from a socket: pieces of it are read for `seconds` in all."""

    def __init__(self, source: io.RawIOBase, seconds: float) -> None:
        self._source, self._seconds = source, seconds
        self._bytes = HEADER_BYTES + ANSWER_BYTES
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._end:
            self._time_out()
        try:
            received = self._source.readinto(buffer)
        except TimeoutError:
            self._time_out()
        self._bytes -= received or 0
        if self._bytes < 0:
            raise Endless(f"an answer of more than {HEADER_BYTES + ANSWER_BYTES} bytes")
        return received

    def _time_out(self) -> Never:
        raise Endless(f"no answer within {self._seconds:g} s")

    def close(self) -> None:
        self._source.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedFile(self.fp.detach(), sock.gettimeout() or 0.0))

    def begin(self) -> None:
        super().begin()
        # We did not ask for compression, and a few bytes may unpack to gigabytes.
        del self.headers["Content-Encoding"]


class _Connection(HTTPConnection):
    response_class = _BoundedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _BoundedResponse

    def connect(self) -> None:
        """Connect; raises CertificateRefused, before anything is sent."""
        super().connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        certificate = self.sock.getpeercert(binary_form=True)
        assert certificate is not None
        check_host(x509.load_der_x509_certificate(certificate), self.host.strip("[]"))


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _context(ca_file: str) -> ssl.SSLContext:
    """Trusts whom `tessflux.tls.trust` trusts. Raises OSError if the file cannot be used."""
    # Not create_default_context: as of Python 3.13 it refuses an authority without keyUsage, and trusts
    # the certificates between an authority and a server as well.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # `check_host` does that.
    context.check_hostname = False
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.set_default_verify_paths()
    return context


class _Adapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, cert_reqs="CERT_REQUIRED", **kwargs)
        # Not among the options: older versions of urllib3 would give it to connections without TLS too.
        secure = partial(_SecurePool, assert_hostname=False)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": secure}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Trust nobody besides: requests would add the authorities that come with it."""


class BoundedSession(requests.Session):
    """Uses no proxy and no password from the environment, as the writing of readings uses none, and follows
    no redirection. Raises Endless besides what requests raises."""

    def __init__(self, ca_file: str) -> None:
        # Before requests mounts its own adapters.
        self._tls = _context(ca_file)
        super().__init__()
        self.trust_env = False
        self.max_redirects = 0
        self.headers["Accept-Encoding"] = "identity"

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """Put the statement into the body: it may hold a password, and every proxy logs addresses."""
        if method == "POST" and options.get("params"):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            options |= {
                "params": None,
                "data": options["params"],
                "headers": {**(options.get("headers") or {}), **form},
            }
        return super().request(method, url, **options)

    def mount(self, prefix: str | bytes, adapter: Any) -> None:
        """Use the bounded connections, whatever adapter the package asks for."""
        super().mount(prefix, _Adapter(self._tls))
