"""The paths of the pages: what is asked for, how often it is made, and who waits."""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tessflux.config import Place
from tessflux.limits import STATUS_PAGES
from tessflux.pages import Listing, PhotometerPages
from tessflux.pages.slices import PAUSE
from tessflux.photometers import Mean, Photometer
from tessflux.readings import Said
from tessflux.status import Answer, Query, Recent, Snapshot
from tests.pages import site
from tests.pages.site import NOW, SKY, Tree, photometer

PLACE = (28.7, -17.9)

SAID = Said(int(NOW * 1_000) - 90_000, b'{"mac":"5C:CF:7F:08:0A:01","zp":20.44}')


class FakeRegister:
    """Knows these photometers."""

    listened = 1_000.0

    def __init__(self, everyone: Sequence[Photometer]) -> None:
        self.everyone = {each.name: each for each in everyone}

    def all(self) -> list[Photometer]:
        return list(self.everyone.values())

    def get(self, name: str) -> Photometer | None:
        return self.everyone.get(name)


class FakeHistory:
    """Notes what it is asked for; it has the `lines` of these."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.lines: dict[str, list[float | None]] = {}

    async def night(self, name: str, start: float, end: float) -> list[Mean]:
        self.asked.append((name, start, end))
        return []

    async def sparklines(
        self, names: Sequence[str], start: float, end: float, *, every: int
    ) -> dict[str, list[float | None]]:
        self.asked.append((tuple(names), start, end, every))
        return {name: self.lines[name] for name in names if name in self.lines}


def let_it_be_made(clock: Clock) -> None:
    """Pass the time of the pauses between slices."""
    while clock.getDelayedCalls():
        clock.advance(PAUSE)


class SiteTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.taken = 0
        self.register = FakeRegister(
            [photometer(f"stars{number}", number=number, **SKY) for number in range(1, 31)]
        )
        self.history = FakeHistory()
        pages = PhotometerPages(
            Recent(self.take, self.clock),
            self.register,  # type: ignore[arg-type]
            self.history,  # type: ignore[arg-type]
            places=lambda: {"stars2": Place(*PLACE)},
            said={"stars2": SAID}.get,
            clock=self.clock,
        )
        self.pages = pages.pages()
        self.addCleanup(self.nothing_is_left)

    def nothing_is_left(self) -> None:
        assert self.clock.getDelayedCalls() == []

    async def take(self) -> Snapshot:
        self.taken += 1
        return replace(site.WELL, time=NOW + self.clock.seconds())

    def begin(self, path: str, rest: str = "", **query: str) -> Deferred[Answer]:
        async def answer(page: Awaitable[Answer]) -> Answer:
            return await page

        return Deferred.fromCoroutine(answer(self.pages[path](rest, query)))

    def get(self, path: str, rest: str = "", **query: str) -> Answer:
        answer = self.begin(path, rest, **query)
        let_it_be_made(self.clock)
        return self.successResultOf(answer)

    def test_the_first_page_has_the_sparklines_of_whom_it_shows(self) -> None:
        page = self.get("/", q="stars1", sort="-name")
        assert page.content_type == "text/html; charset=utf-8"
        [(names, start, end, every)] = self.history.asked
        assert (names[0], names[-1], len(names)) == ("stars19", "stars1", 11)
        assert (end - start, every) == (86400, 3)

    def test_a_sparkline_is_read_and_drawn_once_in_five_minutes(self) -> None:
        self.history.lines = {f"stars{number}": [20.0] * 96 for number in range(1, 31) if number != 12}

        def shown(**query: str) -> int:
            self.clock.advance(2)
            return self.get("/", **query).body.count(b'class="spark"')

        assert shown(q="stars1") == 10
        assert shown(q="stars1", sort="-name") == 10
        assert shown(q="stars2") == 11
        assert [len(names) for names, *_ in self.history.asked] == [11, 1, 11]
        assert self.history.asked[1][0] == ("stars12",), "what could not be read is asked for again"
        self.clock.advance(300)
        assert shown(q="stars2") == 11
        assert len(self.history.asked[3][0]) == 11

    def test_what_photometers_say_of_themselves_is_listed(self) -> None:
        listed = msgspec.json.decode(self.get("/v1/photometers", q="stars2").body, type=Listing).photometers
        by_name = {each.name: each for each in listed}
        said = {"mac": "5C:CF:7F:08:0A:01", "zp": 20.44}
        assert (by_name["stars2"].said, by_name["stars2"].said_since) == (said, NOW - 90)
        assert (by_name["stars20"].said, by_name["stars20"].said_since) == ({}, None)
        assert b"5C:CF:7F:08:0A:01" in self.get("/photometers/", "stars2").body

    def test_a_page_is_shown_for_five_seconds(self) -> None:
        first = self.get("/")
        self.clock.advance(4.9)
        assert self.get("/") is first
        assert self.get("/", q="stars1") is not first
        self.clock.advance(0.2)
        assert self.get("/") is not first
        # The second and the third one are of the same second.
        assert self.taken == 2

    def test_few_pages_are_kept(self) -> None:
        first = self.get("/")
        for number in range(STATUS_PAGES - 1):
            self.get("/", q=str(number))
        assert self.get("/") is first
        self.get("/", q="one more")
        self.get("/", q="and another")
        assert self.get("/") is not first

    def test_pages_that_are_asked_for_together_are_made_one_after_the_other(self) -> None:
        queries: list[Query] = [{"q": f"stars{number}"} for number in range(30)]
        answers = [self.begin("/", **query) for query in queries]
        let_it_be_made(self.clock)
        for answer in answers:
            self.successResultOf(answer)
        assert self.taken == 1

    def test_a_page_that_fails_hinders_no_other(self) -> None:
        self.register.everyone["broken"] = None  # type: ignore[assignment]
        self.failureResultOf(self.begin("/"), AttributeError)
        del self.register.everyone["broken"]
        assert self.get("/").code == 200

    def test_a_photometer_has_a_page_with_a_week_of_nights(self) -> None:
        tree = Tree(self.get("/photometers/", "STARS2").body)
        assert "28.70° N, 17.90° W" in tree.text
        [(name, start, end)] = self.history.asked
        assert (name, end - start) == ("stars2", 7 * 86400)
        assert start < NOW < end

    def test_a_night_can_be_asked_for_and_nonsense_is_tonight(self) -> None:
        assert (
            "The night of 3 November 2025"
            in Tree(self.get("/photometers/", "stars2", night="2025-11-03").body).text
        )
        for nonsense in ("2999-01-01", "0001-01-01", "9999-12-31", "yesterday", "<b>", "2025-02-30"):
            assert "Tonight" in Tree(self.get("/photometers/", "stars2", night=nonsense).body).text

    def test_who_is_not_known_is_not_found(self) -> None:
        answer = self.get("/photometers/", "<b>nobody</b>")
        assert answer.code == 404
        assert "No photometer is called <b>nobody</b>" in Tree(answer.body).text
        assert self.get("/photometers/", name="stars2").code == 200

    def test_the_list_is_json_in_parts(self) -> None:
        answer = self.get("/v1/photometers", per_page="7", page="2")
        listing = msgspec.json.decode(answer.body, type=Listing)
        assert (listing.total, listing.page, listing.pages) == (30, 2, 5)
        assert [each.name for each in listing.photometers][:2] == ["stars8", "stars9"]
        everyone = msgspec.json.decode(self.get("/v1/photometers").body, type=Listing)
        second = everyone.photometers[1]
        assert (second.name, second.place, second.values, second.stored) == ("stars2", PLACE, SKY, 100)
        assert (second.state, second.heard, second.unheard) == ("heard", NOW - 5, 0.0)

    def test_what_pages_need_is_here(self) -> None:
        for path in ("/page.css", "/page.js", "/icon.svg"):
            assert self.get(path).code == 200


class Counting(Clock):
    """Counts the pauses."""

    pauses = 0

    def callLater(self, *args: Any, **kwargs: Any) -> IDelayedCall:
        self.pauses += 1
        return super().callLater(*args, **kwargs)


class EveryoneTest(SynchronousTestCase):
    """100,000 photometers."""

    def test_a_page_of_100_000_photometers_is_made_in_many_slices(self) -> None:
        clock = Counting()
        everyone = [photometer(f"stars{number}", number=number, **SKY) for number in range(100_000)]

        async def take() -> Snapshot:
            return site.WELL

        pages = PhotometerPages(
            Recent(take, clock),
            FakeRegister(everyone),  # type: ignore[arg-type]
            FakeHistory(),  # type: ignore[arg-type]
            places=dict,
            said=lambda name: None,
            clock=clock,
        )

        async def ask() -> Answer:
            return await pages.pages()["/"]("", {"page": "500"})

        answer = Deferred.fromCoroutine(ask())
        clock.advance(0)
        self.assertNoResult(answer)
        let_it_be_made(clock)
        assert b"stars99999" in self.successResultOf(answer).body
        assert clock.pauses > 15
        assert clock.seconds() >= clock.pauses * PAUSE * 0.99, "commits have their turn in each pause"
