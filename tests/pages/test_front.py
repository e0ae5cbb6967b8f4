"""The first page, from a snapshot and photometers to HTML."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tessflux.pages.chart import sparkline
from tessflux.pages.front import BAD, WARN, WELL, front, verdict
from tessflux.pages.selection import Selection, select, view
from tessflux.pages.slices import at_once
from tessflux.photometers import Photometer
from tessflux.status import Alarm, Snapshot
from tessflux.words import brightness
from tests.faults.hostile_payloads import names
from tests.pages import site
from tests.pages.site import KNOWN_TAGS, NOW, SKY, Tree, output, photometer

FIVE = [photometer(f"stars{number}", **SKY) for number in range(1, 6)]
SILENT = photometer("stars6", **SKY, silent=True)
REFUSED = photometer("bad", stored=0, refused=3)


def select_all(everyone: Sequence[Photometer], **query: str) -> Selection:
    return at_once(select(list(everyone), view(query), now=NOW, listened=1_000.0))


def page(everyone: Sequence[Photometer], snapshot: Snapshot = site.WELL, **query: str) -> Tree:
    sparks = {each.name: sparkline([None] * 70 + [21.0] * 26, "Darkness") for each in everyone}
    return Tree(at_once(front(snapshot, view(query), select_all(everyone, **query), sparks)))


def changed(**changes: Any) -> Snapshot:
    return replace(site.WELL, **changes)


@pytest.mark.parametrize(
    ("snapshot", "everyone", "expected"),
    [
        (site.WELL, FIVE, (WELL, "All is well: 5 photometers, none of them silent.")),
        (site.WELL, FIVE[:1], (WELL, "All is well: 1 photometer, not silent.")),
        (site.WELL, [*FIVE, REFUSED], (WELL, "All is well: 5 photometers, none of them silent.")),
        (site.WELL, [*FIVE, SILENT], (WARN, "Readings go all the way; 1 of 6 photometers is silent.")),
        (site.WELL, [], (WARN, "All is ready, but no photometer was heard yet.")),
        (changed(problems=["the broker is away"]), FIVE, (BAD, "Readings do not go all the way.")),
        (
            changed(problems=["paused since"], paused="paused since"),
            FIVE,
            (WARN, "Readings are stored on disk, but not all of them are delivered."),
        ),
        (
            changed(alarms=[Alarm("spool", "", NOW - 60, "the spool is 60% full")]),
            FIVE,
            (WARN, "Readings go all the way, but there is something to look at."),
        ),
        (
            changed(messages=replace(site.WELL.messages, last_stored=NOW - 1_500)),
            FIVE,
            (BAD, "Nothing was stored for 25 min."),
        ),
        (
            changed(messages=replace(site.WELL.messages, lost={"the disk": 4})),
            FIVE,
            (WARN, "Readings go all the way, but 4 were lost since the start."),
        ),
    ],
)
def test_a_sentence_says_whether_all_is_well(
    snapshot: Snapshot, everyone: list[Photometer], expected: tuple[str, str]
) -> None:
    assert verdict(snapshot, select_all(everyone)) == expected
    assert expected[1] in page(everyone, snapshot).text


def test_an_alarm_is_named_unless_it_is_a_problem_that_stands_there_already() -> None:
    alarms = [
        Alarm("spool", "", NOW - 60, "the spool is 60% full"),
        Alarm("broker", "", NOW - 60, "the broker is away for 10 min"),
    ]
    text = page(FIVE, changed(alarms=alarms)).text
    assert "the spool is 60% full" in text
    assert "the broker is away for 10 min" not in text


def test_problems_are_named() -> None:
    assert (
        "the broker at tcp:x is away: <refused>"
        in page(FIVE, changed(problems=["the broker at tcp:x is away: <refused>"])).text
    )


def test_a_row_says_what_a_photometer_last_measured() -> None:
    text = page([photometer("stars7", **SKY, heard=NOW - 65, stored=1_440, refused=2)]).text
    assert "stars7● heard1 min 5 s ago21.30−30.5 °C−61 dBm1,4402" in text


def test_what_nobody_can_have_measured_is_short() -> None:
    wild: dict[str, Any] = dict.fromkeys(("mag", "tsky", "wdBm"), 1e308) | {"tamb": -1e308}
    assert "1e+308inf °C1e+308 dBm" in page([photometer("stars7", **wild)]).text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mag": 21.345, "freq": 1.0}, "21.34"),
        ({"mag": 0.0, "freq": 50_000.0}, "too bright"),
        ({"mag": 0.0, "freq": 0.0}, "no signal"),
        ({"mag1": 20.0, "freq1": 2.0}, "20.00"),
        ({"mag": 1e308, "freq": 2.0}, "1e+308"),
        ({}, ""),
    ],
)
def test_zero_is_not_a_magnitude(values: dict[str, float], words: str) -> None:
    assert brightness(values) == words


def test_when_nothing_matches_the_table_says_so() -> None:
    assert "None matches what you look for." in page(FIVE, q="nobody").text
    assert "No photometer was heard yet." in page([]).text


def test_two_hundred_are_on_a_page_and_links_lead_to_the_others() -> None:
    many = [photometer(f"stars{number}", **SKY) for number in range(450)]
    tree = page(many, page="2", sort="-heard", q="stars")
    assert "201 to 400 of 450" in tree.text
    links = set(tree.values("href"))
    assert {"/?q=stars&sort=-heard", "/?q=stars&sort=-heard&page=3", "/?q=stars&sort=heard"} <= links


def test_each_database_is_drawn_and_what_waits_for_it() -> None:
    outputs = [
        output("influxdb"),
        output(
            "influxdb archive", state="away", waiting=1_204, oldest_waiting=NOW - 300, url="http://<b>:8086"
        ),
        output("influxdb paused", paused=NOW - 60),
        output("influxdb none", state="none", url=""),
    ]
    text = page(FIVE, changed(outputs=outputs)).text
    for words in (
        "archive",
        "away for 2 h 30 min",
        "1,204 wait, up to 5 min",
        "paused for 1 min",
        "http://<b>:8086",
    ):
        assert words in text
    more = page(FIVE, changed(outputs=[output(f"influxdb {number}") for number in range(11)])).text
    assert "and 3 more" in more


def test_whatever_photometers_call_themselves_no_page_has_another_tag_or_address() -> None:
    hostile = [
        *names(random.Random(5), 300),
        "<script>alert(1)</script>",
        "..",
        ".",
        "a/../b",
        "\"' onload=x",
    ]
    everyone = [photometer(name, number=number, **SKY) for number, name in enumerate(hostile)]
    harmless = [photometer(f"stars{number}", number=number, **SKY) for number in range(len(everyone))]
    assert page(everyone).count == page(harmless).count
    for key, value in (("q", ""), ("q", "<b>"), ("state", '"><i>'), ("sort", '"><i>')):
        tree = page(everyone, site.WELL, **{key: value})
        assert tree.tags <= KNOWN_TAGS
        assert not [name for _, name, _ in tree.attributes if name.startswith("on")]
        allowed = ("/?", "/photometers/", "/page.", "/icon.svg", "#main")
        assert all(each == "/" or each.startswith(allowed) for each in tree.values("href"))
        assert set(tree.values("src")) == {"/page.js"}
        assert not list(tree.values("style"))
