"""Photometers as JSON: what `/v1/photometers` gives. Pure.

Times are seconds since 1970 UTC. Names and meanings stay; later versions may add to them.
"""

from collections.abc import Callable, Mapping

import msgspec

from tessflux.config import Place
from tessflux.pages.night import Position
from tessflux.pages.selection import Selection, state
from tessflux.pages.slices import Work
from tessflux.photometers import Photometer
from tessflux.readings import Said


class Listed(msgspec.Struct, frozen=True):
    """A photometer. `state` is heard, silent or refused (nothing of it could be stored yet); it was heard
    `first` and `heard` last, and `unheard` for so many seconds in which we could hear. `stored`, `filtered`
    and `refused` count messages of the last 24 hours, `causes` says when there was the last one for each
    cause. `values` are those of its last reading, `place` its degrees north and east. `said` is what it says
    of itself, under the names in the database, and has said `said_since`."""

    name: str
    state: str
    first: float
    heard: float
    unheard: float
    stored: int
    filtered: int
    refused: int
    causes: Mapping[str, float]
    values: Mapping[str, float]
    place: Position | None
    said: Mapping[str, str | float] = {}
    said_since: float | None = None


class Listing(msgspec.Struct, frozen=True):
    """The `photometers` of this `page`, of `pages`; `matching` what was asked for are so many, of `total`."""

    time: float
    total: int
    matching: int
    page: int
    pages: int
    photometers: list[Listed]


def listing(
    chosen: Selection,
    places: Mapping[str, Place],
    said: Callable[[str], Said | None],
    *,
    now: float,
    listened: float,
) -> Work[bytes]:
    """The JSON of a selection."""
    at = int(now * 1_000)
    found = []
    for each in chosen.photometers:
        found.append(_listed(each, where(each, places), said(each.name), at, listened))
        yield
    answer = Listing(now, chosen.total, chosen.matching, chosen.page, chosen.pages, found)
    return msgspec.json.encode(answer)


def where(photometer: Photometer, places: Mapping[str, Place]) -> Position | None:
    """Where it stands: `places` count more than what it said itself."""
    stated = places.get(photometer.name)
    return stated.position if stated else photometer.place


def _listed(each: Photometer, place: Position | None, said: Said | None, now: int, listened: float) -> Listed:
    return Listed(
        name=each.name,
        state=state(each),
        first=each.first / 1_000,
        heard=each.heard / 1_000,
        unheard=max(0.0, listened - each.listened),
        stored=each.stored.total(now),
        filtered=each.filtered.total(now),
        refused=each.refused.total(now),
        causes={cause: at / 1_000 for cause, at in each.causes},
        values=each.values,
        place=place,
        said=said.decoded if said else {},
        said_since=said.time / 1_000 if said else None,
    )
