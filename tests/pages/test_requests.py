"""Requests for pages as strangers may send them: the answer is never more than text, and nothing is left."""

import random
from urllib.parse import quote

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tessflux.pages import PhotometerPages
from tessflux.pages.slices import PAUSE
from tessflux.status import Recent, Site, Snapshot
from tests.faults.hostile_payloads import names
from tests.pages import site
from tests.pages.site import KNOWN_TAGS, SKY, Tree, photometer
from tests.pages.test_site import FakeHistory, FakeRegister
from tests.status.site import ask

REQUESTS = 2_000

PATHS = ("/", "/photometers/", "/v1/photometers", "/page.css", "/photometers")
KEYS = ("q", "state", "sort", "page", "per_page", "unheard", "night", "name", "", "=", "x" * 100)
VALUES = (
    *("1", "-1", "0", "9" * 30, "1e9", "NaN", "silent", "-heard", "2025-11-27", "9999-12-31", "0001-01-01"),
    *("<script>alert(1)</script>", '"><svg onload=x>', "javascript:x", "../../etc/passwd", "%00", "{}", "²"),
)


class RequestsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.random = random.Random(8)
        self.names = names(self.random, 500)
        # No photometer is known by a name that is not printable.
        printable = [name.lower() for name in self.names if name.isprintable()]
        everyone = [photometer(name, **SKY) for name in self.random.sample(printable, 40)]
        pages = PhotometerPages(
            Recent(self.take, self.clock),
            FakeRegister(everyone),  # type: ignore[arg-type]
            FakeHistory(),  # type: ignore[arg-type]
            places=dict,
            said=lambda name: None,
            clock=self.clock,
        )
        self.site = Site(pages.pages(), {}, knows_host=lambda _: True, clock=self.clock)
        self.logged: list[LogEvent] = []
        observer: ILogObserver = self.logged.append  # type: ignore[assignment]
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def take(self) -> Snapshot:
        return site.WELL

    def target(self) -> str:
        one = self.random.choice
        path, count = one(PATHS), self.random.choice((0, 1, 1, 2, 5))
        if path == "/photometers/":
            path += quote(one([*self.names, *VALUES]), safe=one(("", "/<>\"'")), errors="replace")
        values = [*self.names, *VALUES]
        pairs = (f"{quote(one(KEYS))}={quote(one(values), errors='replace')}" for _ in range(count))
        return f"{path}?{'&'.join(pairs)}" if count else path

    def test_whatever_is_asked_for_the_answer_is_text(self) -> None:
        codes = set()
        for _ in range(REQUESTS):
            target = self.target()
            visitor = ask(self.site, target)
            began = self.clock.seconds()
            while visitor.connected:
                self.clock.advance(PAUSE)
            assert self.clock.seconds() - began < 1, target
            self.clock.advance(0.5)
            codes.add(visitor.code)
            if visitor.headers["Content-Type"].startswith("text/html"):
                tree = Tree(visitor.body)
                assert tree.tags <= KNOWN_TAGS, target
                assert not [name for _, name, _ in tree.attributes if name.startswith("on")], target
            self.clock.advance(2 * (self.random.random() < 0.1))
        assert codes == {200, 404}
        assert self.logged == []
        self.clock.advance(60)
        assert self.clock.getDelayedCalls() == []
