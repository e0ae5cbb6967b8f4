"""Which photometers to show, and in which order: the query of an address -> a part of the register. Pure.

With 100,000 photometers this takes a tenth of a second, so it is work in slices.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from tessflux.pages.slices import Work
from tessflux.photometers import Photometer
from tessflux.status import Query

SLICE = 1_000
"""Photometers that are looked at in one step."""

PER_PAGE = 200
LISTED = 1_000
"""Photometers in one page, and in one answer as JSON at most."""

SILENT, REFUSED, HEARD = "silent", "refused", "heard"
STATES = (HEARD, SILENT, REFUSED)
"""What can be said of a photometer: it is heard; it was not for so long that this is an event; all that it
publishes is refused."""

LONGEST_WORD = 64
"""Characters of what is looked for."""


def state(photometer: Photometer) -> str:
    """One of STATES."""
    if photometer.silent:
        return SILENT
    return HEARD if photometer.last else REFUSED


def by_name(photometer: Photometer) -> tuple[str, int, str]:
    """stars2 comes before stars10."""
    name = photometer.name
    return name.rstrip("0123456789"), len(name), name


def magnitude(photometer: Photometer) -> float | None:
    """The last one, of a TESS4C that of the first channel; None if the sky was too bright or too dark."""
    values = photometer.values
    found = values.get("mag", values.get("mag1"))
    return found if found is not None and found > 0 else None


def _least_is_last(value: float | None) -> float | None:
    return None if value is None else -value


ORDERS: dict[str, Callable[[Photometer, int], Any]] = {
    "name": lambda each, _: by_name(each),
    "heard": lambda each, _: -each.heard,
    "stored": lambda each, now: -each.stored.total(now),
    "refused": lambda each, now: -each.refused.total(now),
    "magnitude": lambda each, _: _least_is_last(magnitude(each)),
    "signal": lambda each, _: _least_is_last(each.values.get("wdBm")),
}
"""By what photometers can be sorted: the latest, most, darkest and strongest first. It may need the present
time (ms)."""

MEASURED = {"magnitude", "signal"}
"""Orders by what may have no value (None). Then it comes last, also if the order is turned round."""


@dataclass(frozen=True)
class View:
    """What was asked for: photometers with `word` in their name, in this `state` ("" for any), not heard for
    `unheard` seconds of listening, sorted, `page` counted from 1. `backwards` turns the order round."""

    word: str = ""
    state: str = ""
    unheard: float = 0.0
    order: str = "name"
    backwards: bool = False
    page: int = 1
    per_page: int = PER_PAGE

    @property
    def sort(self) -> str:
        """The order as an address has it."""
        return f"{'-' if self.backwards else ''}{self.order}"

    def href(self, path: str = "/", **changes: Any) -> str:
        """The address of this view, or of one that differs in `changes`."""
        view = replace(self, **changes)
        pairs = {
            "q": view.word,
            "state": view.state,
            "sort": view.sort,
            "page": str(view.page),
        }
        usual = {"q": "", "state": "", "sort": "name", "page": "1"}
        query = urlencode(
            {key: value for key, value in pairs.items() if value != usual[key]}, errors="replace"
        )
        return f"{path}?{query}" if query else path


@dataclass(frozen=True)
class Selection:
    """What a view shows: `photometers` of `matching` ones of `total`; `states` counts all. `page` is there,
    of `pages`."""

    photometers: list[Photometer]
    total: int
    matching: int
    states: Mapping[str, int]
    page: int
    pages: int


def view(query: Query, *, most: int = PER_PAGE) -> View:
    """What was asked for, as far as it makes sense."""
    sort = query.get("sort", "")
    order = sort.removeprefix("-")
    asked_state = query.get("state", "")
    return View(
        word=query.get("q", "").lower()[:LONGEST_WORD].strip(),
        state=asked_state if asked_state in STATES else "",
        unheard=_number(query.get("unheard", ""), 0),
        order=order if order in ORDERS else "name",
        backwards=sort.startswith("-") and order in ORDERS,
        page=max(1, _number(query.get("page", ""), 1)),
        per_page=min(most, max(1, _number(query.get("per_page", ""), most))),
    )


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else otherwise


def select(everyone: list[Photometer], view: View, *, now: float, listened: float) -> Work[Selection]:
    """`now` in seconds since 1970 UTC; `listened` as the register has it."""
    states = Counter(dict.fromkeys(STATES, 0))
    at = int(now * 1_000)
    order = ORDERS[view.order]

    def key(photometer: Photometer) -> Any:
        return order(photometer, at)

    def measured(photometer: Photometer) -> tuple[bool, float]:
        value = order(photometer, at)
        return (value is None) is not view.backwards, value or 0.0

    def matches(photometer: Photometer) -> bool:
        return (
            view.word in photometer.name
            and view.state in ("", state(photometer))
            and (not view.unheard or listened - photometer.listened >= view.unheard)
        )

    matches_all = not (view.word or view.state or view.unheard)
    sort_key = measured if view.order in MEASURED else key
    sorted_slices = []
    for slice_ in _sliced(everyone):
        states.update(map(state, slice_))
        found = slice_ if matches_all else list(filter(matches, slice_))
        sorted_slices.append(sorted(found, key=sort_key, reverse=view.backwards))
        yield
    matching = sum(map(len, sorted_slices))
    pages = max(1, -(-matching // view.per_page))
    page = min(view.page, pages)
    end = page * view.per_page
    first = end - view.per_page
    shown: list[Photometer] = []
    for place, each in enumerate(islice(merge(*sorted_slices, key=sort_key, reverse=view.backwards), end)):
        if place >= first:
            shown.append(each)
        if place % SLICE == 0:
            yield
    return Selection(shown, len(everyone), matching, states, page, pages)


def _sliced(everyone: list[Photometer]) -> Iterable[list[Photometer]]:
    return (everyone[start : start + SLICE] for start in range(0, len(everyone), SLICE))
