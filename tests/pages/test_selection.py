"""Which photometers a page shows, and in which order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.pages import selection
from tessflux.pages.selection import Selection, View, select, view
from tessflux.pages.slices import at_once
from tessflux.status.http import _parameters
from tests.pages.site import NOW, SKY, photometer

EVERYONE = [
    photometer("stars10", **{**SKY, "mag": 20.0, "wdBm": -80.0}, heard=NOW - 9, stored=3),
    photometer("stars2", **{**SKY, "mag": 21.5, "wdBm": -50.0}, heard=NOW - 7, stored=900, refused=4),
    photometer("day", **{**SKY, "mag": 0.0}, heard=NOW - 8, stored=50, listened=200.0),
    photometer(
        "pru1", mag1=19.0, mag2=19.5, wdBm=-60.0, heard=NOW - 9_000, stored=0, silent=True, listened=100.0
    ),
    photometer("bad", stored=0, refused=7, heard=NOW - 1),
]


def chosen(**query: str) -> Selection:
    return at_once(select(EVERYONE, view(query), now=NOW, listened=1_000.0))


def names(**query: str) -> list[str]:
    return [each.name for each in chosen(**query).photometers]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("", "bad day pru1 stars2 stars10"),
        ("-name", "stars10 stars2 pru1 day bad"),
        ("heard", "bad stars2 day stars10 pru1"),
        ("stored", "stars2 day stars10 pru1 bad"),
        ("refused", "bad stars2 stars10 day pru1"),
        ("magnitude", "stars2 stars10 pru1 day bad"),
        ("-magnitude", "pru1 stars10 stars2 day bad"),
        ("signal", "stars2 pru1 day stars10 bad"),
        ("nonsense", "bad day pru1 stars2 stars10"),
        ("-nonsense", "bad day pru1 stars2 stars10"),
    ],
)
def test_photometers_are_sorted_and_what_has_no_value_comes_last(sort: str, expected: str) -> None:
    found = names(sort=sort)
    if "magnitude" in sort:
        # The two without a magnitude are last, in any order.
        assert found[:3] == expected.split()[:3]
        assert set(found[3:]) == {"day", "bad"}
    elif sort in ("stored", "refused", "signal"):
        assert found[:2] == expected.split()[:2]
    else:
        assert found == expected.split()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "STARS"}, ["stars2", "stars10"]),
        ({"q": " stars1 "}, ["stars10"]),
        ({"q": "<script>"}, []),
        ({"state": "silent"}, ["pru1"]),
        ({"state": "refused"}, ["bad"]),
        ({"state": "nonsense"}, ["bad", "day", "pru1", "stars2", "stars10"]),
        ({"unheard": "800"}, ["day", "pru1"]),
        ({"unheard": "-1"}, ["bad", "day", "pru1", "stars2", "stars10"]),
    ],
)
def test_photometers_are_found_by_name_state_and_silence(query: dict[str, str], expected: list[str]) -> None:
    assert names(**query) == expected


def test_the_states_are_counted_of_everyone() -> None:
    found = chosen(q="stars2")
    assert (found.total, found.matching) == (5, 1)
    assert found.states == {"heard": 3, "silent": 1, "refused": 1}


@pytest.mark.parametrize("page", ["0", "-3", "x", "9" * 40, "²"])
def test_a_page_that_makes_no_sense_is_the_first(page: str) -> None:
    assert chosen(page=page).page == 1


def test_a_page_behind_the_last_is_the_last() -> None:
    found = at_once(select(EVERYONE, View(page=7, per_page=2), now=NOW, listened=0.0))
    assert (found.page, found.pages, [each.name for each in found.photometers]) == (3, 3, ["stars10"])


@given(
    st.integers(0, 4_500),
    st.sampled_from([each for order in selection.ORDERS for each in (order, f"-{order}")]),
)
def test_pages_show_everyone_once(count: int, sort: str) -> None:
    """However many slices they were sorted in."""
    everyone = [photometer(f"stars{number}", **SKY, stored=number % 7) for number in range(0, count, 3)]
    wanted = view({"sort": sort}, most=500)
    seen: list[str] = []
    for page in range(1, max(1, -(-len(everyone) // 500)) + 1):
        part_view = replace(wanted, page=page)
        part = at_once(select(everyone, part_view, now=NOW, listened=0.0))
        seen += [each.name for each in part.photometers]
    assert sorted(seen) == sorted(each.name for each in everyone)


@given(st.text(), st.text(), st.text(), st.text())
def test_the_address_of_a_view_leads_to_that_view(word: str, state: str, sort: str, page: str) -> None:
    wanted = view({"q": word, "state": state, "sort": sort, "page": page})
    if not any("\ud800" <= each <= "\udfff" for each in wanted.word):
        assert view(_parameters(wanted.href().partition("?")[2])) == wanted
