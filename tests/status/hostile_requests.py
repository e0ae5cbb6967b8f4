"""Hostile requests by the hundred thousand, and what must be true of each answer.

    python -m tests.status.hostile_requests --requests 100000 --seed 1

They reach the site over memory, cut into pieces by chance. The same seed gives the same requests. The exit
code is 1 at the first answer that breaks a rule.
"""

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from tessflux.status.http import HEADERS, SECONDS
from tests.status.site import Visitor, World

MARK = b"r3flected"
"""In whatever a stranger can choose."""

METHODS = [b"GET", b"POST"] * 8 + [
    *(
        b"HEAD",
        b"POST",
        b"PUT",
        b"OPTIONS",
        b"TRACE",
        b"CONNECT",
        b"get",
        b"GE T",
        b"",
        b"\x00",
        b"PRI",
        MARK,
    ),
]
PATHS = [
    *(
        b"/",
        b"/healthz",
        b"/readyz",
        b"/v1/status",
        b"/metrics",
        b"/v1/pause",
        b"/v1/reload",
        b"*",
        b"",
        b"//",
    ),
    *(b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/healthz/..%2f", b"/healthz%00", b"/%", b"/%zz"),
    *(b"http://evil.example/healthz", b"/\xff\xfe", b"/healthz?", b"/v1/status?" + b"a=b&" * 2_000),
    *(b"/photometers/<script>" + MARK, b"/%3Cscript%3E" + MARK, b"/" + b"a" * 20_000, b"/" + b"/" * 8_000),
    b'/photometers/"onload=' + MARK,
]
VERSIONS = [b"HTTP/1.1"] * 60 + [
    *(b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 " + MARK, b"http/1.1", b"", b"HTTP/1.1<script>"),
]
HOSTS = [b"127.0.0.1:9273"] * 30 + [
    *(b"localhost", b"[::1]:9273", b"evil.example", b"", b"127.0.0.1@evil.example", b"[", b"[::1", b"\xff"),
    *(b"127.0.0.1:99999999999999", b"a" * 9_000, b"127.0.0.1\x00", b"<script>" + MARK, b"\xe2\x91\xa0"),
]
NAMES = [
    *(b"Cookie", b"Accept", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Connection", b"Upgrade"),
    *(b"Content-Type", b"Host", b"X-Forwarded-Host", b"Authorization", b"Range", b"If-Modified-Since", b""),
    *(b" ", b"X Y", b"X\x00", b"\xff", b"Content-Length ", b"transfer-encoding", b"X-" + b"a" * 300, MARK),
]
VALUES = [
    *(b"0", b"1", b"-1", b"10000000", b"99999999999999999999", b"1, 2", b"+5", b"0x10", b"chunked", b"gzip"),
    *(b"identity", b"Chunked, gzip", b"100-continue", b"close", b"keep-alive, Upgrade", b"h2c", b"websocket"),
    *(b"multipart/form-data; boundary=", b"multipart/form-data", b"application/x-www-form-urlencoded", b"="),
    *(
        b"a=b; " * 500,
        b"Basic \xff",
        b"bytes=0-,1-",
        b"evil.example",
        b"",
        b"\t",
        b"\xff" * 40,
        b"{}{0}%s",
        MARK,
    ),
    *(b"Thu, 99 Foo 99999 99:99:99 GMT", b"a\rb", b"a\nb: c", b"a\x00b", b"x" * 15_000),
]
ENDS = [b"\r\n"] * 150 + [b"\n", b"\r", b"\r\n ", b"\r\r\n", b"\x00"]
BODIES = [b""] * 6 + [
    b"x",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n" * 3,
    b"\xff" * 70_000,
]


class Requests:
    """Without end."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[list[bytes]]:
        while True:
            yield self._pieces(self._request())

    def _request(self) -> bytes:
        one = self._random.choice
        lines = [b" ".join((one(METHODS), one(PATHS), one(VERSIONS))), b"Host: " + one(HOSTS)]
        if self._random.random() < 0.1:
            del lines[1]
        if self._random.random() < 0.1:
            lines.append(one((b"Content-Length: 10000000", b"Transfer-Encoding: chunked")))
        many = self._random.choice((0, 0, 0, 1, 1, 1, 2, 3, 200))
        lines += (
            one(NAMES) + one((b": ", b": ", b": ", b":", b":", b"", b" : ")) + one(VALUES)
            for _ in range(many)
        )
        request = b"".join(line + one(ENDS) for line in lines) + one(ENDS) + one(BODIES)
        if self._random.random() < 0.1:
            where = self._random.randrange(len(request) + 1)
            request = request[:where] + self._random.randbytes(self._random.choice((0, 1, 3, 30)))
        return request

    def _pieces(self, request: bytes) -> list[bytes]:
        if self._random.random() < 0.7 or len(request) > 5_000:
            return [request]
        step = self._random.choice((1, 2, 7, 100))
        return [request[start : start + step] for start in range(0, len(request), step)]


class Checker:
    """Sends requests, and checks what comes back. Raises AssertionError."""

    def __init__(self, seed: int) -> None:
        self.ended: Counter[str] = Counter()
        """By code; those that are never complete have none."""
        self._world = World()
        self._random = random.Random(seed)
        self._logged: list[str] = []
        globalLogPublisher.addObserver(cast(ILogObserver, self._log))

    def _log(self, event: LogEvent) -> None:
        self._logged.append(str(event))

    def close(self) -> None:
        """Nothing may be left of all the connections."""
        globalLogPublisher.removeObserver(cast(ILogObserver, self._log))
        assert self._world.clock.getDelayedCalls() == []

    def take(self, pieces: list[bytes]) -> None:
        """One connection."""
        site = self._random.choice((self._world.tcp, self._world.unix))
        visitor = Visitor(site)
        for piece in pieces:
            visitor.send(piece)
        if visitor.connected:
            assert not visitor.received, visitor.received
            self._world.clock.advance(SECONDS)
        assert not visitor.connected
        assert not self._logged, self._logged[0]
        self._check(visitor)
        if site is self._world.tcp:
            assert self._world.control.done == []
        self._world.control.done.clear()

    def _check(self, visitor: Visitor) -> None:
        received = visitor.received
        if not received:
            self.ended["none"] += 1
            return
        self.ended[str(visitor.code)] += 1
        assert re.match(rb"HTTP/1\.[01] (200|400|403|404|405|413|414) [ -~]+\r\n", received), received
        assert received.count(b"HTTP/1.") == 1, received
        assert MARK not in received
        assert b"Traceback" not in received
        headers = visitor.headers
        assert headers["Connection"] == "close"
        if visitor.body or headers["Content-Length"] != "0":
            assert {name.decode() for name in HEADERS} <= headers.keys()
            assert len(visitor.body) in (0, int(headers["Content-Length"]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    checker, began = Checker(options.seed), time.monotonic()
    for pieces in islice(Requests(options.seed), options.requests):
        try:
            checker.take(pieces)
        except Exception:
            print(f"broken by {b''.join(pieces)!r:.2000}", file=sys.stderr)
            raise
    checker.close()
    print(f"{options.requests} requests in {time.monotonic() - began:.0f} s: {dict(checker.ended)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
