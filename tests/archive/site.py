"""Databases for the tests of what is read: config, rows as line protocol, and what should come out."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tessflux.readings import lineprotocol

ODD_NAMES = (
    "x' OR '1'='1",
    "x'; DROP MEASUREMENT readings; --",
    'a"b" "c',
    "back\\slash x",
    "\\'",
    "ünï cödé ☾",
    "a,b=c d",
    "{name=~'.*'}",
    "/.*/",
    "%27$name",
)
"""Names that a photometer may have, and that mean something else in one language or another."""


def line(name: str, values: Mapping[str, float], moment: int, measurement: str = "readings") -> str:
    """One reading as line protocol, as the daemon writes it."""
    return f"{lineprotocol.series(measurement, name)} {lineprotocol.values(values)} {moment}"


@contextmanager
def https_server(certificate: bytes, directory: Path) -> Iterator[tuple[str, list[str]]]:
    """A server with this certificate and key that knows nothing: its url, and what logins it was told."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers.get("Authorization", ""))
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            pass

    pem = directory / "server.pem"
    pem.write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}", told
        server.shutdown()
        thread.join()
