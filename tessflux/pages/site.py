"""The paths of the pages, and what each asks whom for.

    GET  /                    is all well, the way of a reading, the photometers
    GET  /photometers/NAME    the nights of one; ?night=YYYY-MM-DD
    GET  /v1/photometers      the photometers as JSON; ?q= in the name, state=, unheard= (seconds), sort=,
                              page=, per_page=
    GET  /page.css, /page.js, /icon.svg

One page is made at a time, and what is asked for again within AGE is not made again: however many pages are
open, the time belongs to the readings.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from importlib import resources

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from tessflux.config import Place
from tessflux.limits import STATUS_PAGES
from tessflux.pages.frame import ICON, PHOTOMETERS, SCRIPT, STYLE
from tessflux.pages.front import front
from tessflux.pages.listing import listing, where
from tessflux.pages.night import Night, night_at, night_of, noon_offset
from tessflux.pages.photometer import Shown, nobody, photometer_page, small_nights
from tessflux.pages.selection import LISTED, Selection, View, select, view
from tessflux.pages.slices import in_slices
from tessflux.pages.sparks import Sparks
from tessflux.photometers import History, Register
from tessflux.readings import Said
from tessflux.status import Answer, Page, Pages, Query, Recent, Snapshot

LIST = "/v1/photometers"

HTML = "text/html; charset=utf-8"

AGE = 5.0
"""Seconds for which a page is shown to whoever asks for the same."""

SaidBy = Callable[[str], Said | None]
"""What a photometer says of itself, by its name."""


class PhotometerPages:
    """Everything that shows photometers; `places` gives those of the config that is in use, `said` what a
    photometer says of itself."""

    def __init__(
        self,
        recent: Recent,
        register: Register,
        history: History,
        *,
        places: Callable[[], Mapping[str, Place]],
        said: SaidBy,
        clock: IReactorTime,
    ) -> None:
        self._recent, self._register, self._history = recent, register, history
        self._places, self._said, self._clock = places, said, clock
        self._sparks = Sparks(history, clock)
        self._one = DeferredLock()
        self._made: dict[object, tuple[float, Answer]] = {}
        """When each was made; the oldest is the first."""

    def pages(self) -> Pages:
        """What each path answers."""
        return {
            "/": self.front,
            PHOTOMETERS: self.photometer,
            LIST: self.list,
            STYLE: _file("page.css", "text/css; charset=utf-8"),
            SCRIPT: _file("page.js", "text/javascript; charset=utf-8"),
            ICON: _file("icon.svg", "image/svg+xml"),
        }

    async def front(self, rest: str, query: Query) -> Answer:
        """The first page."""
        return await self._once(("front", view(query)), self._front)

    async def photometer(self, rest: str, query: Query) -> Answer:
        """The page of one photometer."""
        name = (rest or query.get("name", "")).lower()
        return await self._once((PHOTOMETERS, name, query.get("night", "")), self._photometer)

    async def list(self, rest: str, query: Query) -> Answer:
        """Photometers as JSON."""
        return await self._once(("list", view(query, most=LISTED)), self._list)

    async def _once(self, key: tuple[object, ...], make: Callable[..., Awaitable[Answer]]) -> Answer:
        """An answer that is AGE old at most."""

        async def answer() -> Answer:
            now = self._clock.seconds()
            while self._made:
                oldest = next(iter(self._made))
                if now - self._made[oldest][0] < AGE and len(self._made) <= STATUS_PAGES:
                    break
                del self._made[oldest]
            if key not in self._made:
                self._made[key] = now, await make(await self._recent.get(), *key[1:])
            return self._made[key][1]

        found: Answer = await self._one.run(lambda: Deferred.fromCoroutine(answer()))
        return found

    async def _select(self, view: View, now: float) -> Selection:
        register = self._register
        return await in_slices(select(register.all(), view, now=now, listened=register.listened), self._clock)

    async def _front(self, snapshot: Snapshot, view: View) -> Answer:
        chosen = await self._select(view, snapshot.time)
        sparks = await self._sparks.of([each.name for each in chosen.photometers], snapshot.time)
        return Answer(await in_slices(front(snapshot, view, chosen, sparks), self._clock), content_type=HTML)

    async def _list(self, snapshot: Snapshot, view: View) -> Answer:
        now = snapshot.time
        chosen = await self._select(view, now)
        work = listing(chosen, self._places(), self._said, now=now, listened=self._register.listened)
        return Answer(await in_slices(work, self._clock), content_type="application/json")

    async def _photometer(self, snapshot: Snapshot, name: str, asked: str) -> Answer:
        photometer = self._register.get(name)
        if photometer is None:
            return Answer(nobody(snapshot, name), 404, HTML)
        place = where(photometer, self._places())
        offset = noon_offset(place, snapshot.time)
        tonight = night_at(snapshot.time, offset)
        night = _asked_night(asked, tonight, offset)
        first, last = small_nights(night, tonight)[0], small_nights(night, tonight)[-1]
        means = await self._history.night(name, first.start, last.end)
        shown = Shown(photometer, self._said(name), place, night, tonight, means)
        return Answer(await in_slices(photometer_page(snapshot, shown), self._clock), content_type=HTML)


def _asked_night(asked: str, tonight: Night, offset: float) -> Night:
    """That of the date, or tonight if it is none or in the future."""
    try:
        night = night_of(date.fromisoformat(asked), offset)
        # There must be nights before and after it to lead to.
        night.before(30)
    except (ValueError, OverflowError):
        return tonight
    return min(night, tonight, key=lambda each: each.date)


def _file(name: str, content_type: str) -> Page:
    """A file of the package, read once."""
    answer = Answer((resources.files("tessflux.pages") / name).read_bytes(), content_type=content_type)

    async def page(rest: str, query: Query) -> Answer:
        return answer

    return page
