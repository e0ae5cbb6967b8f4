"""The page of a photometer: a night in pictures, words and numbers."""

import random
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.pages.chart import night_picture, sparkline, top_of
from tessflux.pages.night import Night, Position, night_at, night_of, noon_offset, skies
from tessflux.pages.photometer import Shown, nobody, photometer_page, small_nights
from tessflux.pages.slices import at_once
from tessflux.photometers import Mean, Photometer
from tessflux.readings import Said
from tests.faults.hostile_payloads import names
from tests.pages import site
from tests.pages.site import KNOWN_TAGS, NOW, SKY, Tree, mean, photometer

MADRID = (40.4, -3.7)
OFFSET = noon_offset(MADRID, NOW)
TONIGHT = night_at(NOW, OFFSET)


def clear(night: Night, until: float = NOW) -> list[Mean]:
    """21.3 from 18:00 to 06:00, too bright before and after."""
    starts = range(int(night.start), int(min(until, night.end)), 300)
    return [mean(at, 21.3 if 6 <= (at - night.start) / 3_600 < 18 else 0.0) for at in starts]


def page(
    means: Sequence[Mean],
    *,
    place: Position | None = MADRID,
    night: Night = TONIGHT,
    of: Photometer | None = None,
    said: Said | None = None,
) -> Tree:
    shown = Shown(of or photometer(**SKY), said, place, night, TONIGHT, means)
    return Tree(at_once(photometer_page(site.WELL, shown)))


def test_what_a_photometer_says_of_itself_is_among_its_facts() -> None:
    said = Said(
        1_764_190_800_000, b'{"mac":"5C:CF:7F:08:0A:01","firmware":"<3.2>","model":"TESS-W","zp":20.4}'
    )
    text = page([], said=said).text
    assert "mac5C:CF:7F:08:0A:01modelTESS-Wfirmware<3.2>zero point20.40" in text
    assert "says so since2025-11-26 21:00 UTC" in text
    four = Said(0, b'{"mac":"x","zp1":20.5,"zp2":20.25,"zp4":19.0}')
    assert "zero point20.50, 20.25, 19.00" in page([], said=four).text
    assert "says so since" not in page([]).text


def test_a_clear_night_is_told_in_words_and_numbers() -> None:
    text = page(clear(TONIGHT)).text
    assert "Tonight, 27 November 2025" in text
    assert "Darkest at 01:55: 21.30 mag/arcsec² over five minutes." in text
    # As an almanac has it: first quarter on the 28th.
    assert "Astronomical night from 18:26 to 05:39. Waxing half Moon, 47% lit." in text
    assert "01:0021.30−30.0 °C−" in text
    assert "14:00too bright" in text


def test_without_a_place_there_are_no_twilight_and_no_moon() -> None:
    tree = page(clear(TONIGHT), place=None)
    assert "Where it stands is not known" in tree.text
    assert not [each for each in tree.values("class") if "dark" in each or "moon" in each]


@pytest.mark.parametrize(
    ("night", "means", "words"),
    [
        (TONIGHT, [], "There is no mean of five minutes yet."),
        (TONIGHT, [], "Fri 21 Nov no readings"),
        (TONIGHT, [], "Thu 27 Nov nothing yet"),
        (TONIGHT.before(2), [], "Nothing is known of this night."),
        (TONIGHT, [mean(TONIGHT.start, 0.0)], "The sky was too bright to be measured."),
    ],
)
def test_an_empty_night_says_why(night: Night, means: list[Mean], words: str) -> None:
    assert words in page(means, night=night).text


def test_four_channels_are_four_lines_with_their_names() -> None:
    means = [mean(TONIGHT.start + 300 * step, 21.2, 21.4, 21.8, 22.1) for step in range(200)]
    four = photometer(mag1=21.2, mag2=21.4, mag3=21.8, mag4=22.1)
    tree = page(means, of=four)
    classes = list(tree.values("class"))
    # In the two large pictures, in that of tonight among the small ones, and in the legend.
    assert [classes.count(f"line c{channel}") for channel in (1, 2, 3, 4)] == [4, 4, 4, 4]
    assert "F1, mag/arcsec²21.20" in tree.text
    assert "F4, mag/arcsec²22.10" in tree.text


def test_a_gap_is_no_line_but_a_hole_with_a_word() -> None:
    means = [each for each in clear(TONIGHT) if not 7 <= (each.start / 1_000 - TONIGHT.start) / 3_600 < 10]
    picture = night_picture(
        TONIGHT, means, skies(TONIGHT, MADRID), now=NOW, top=22, width=960, label="a night"
    )
    assert picture.count('class="line c1"') == 2
    assert picture.count('class="gap"') == 1
    assert "no readings" in picture


def test_darkness_goes_up() -> None:
    means = [mean(TONIGHT.start + 36_000, 20.0), mean(TONIGHT.start + 36_300, 21.0)]
    picture = night_picture(TONIGHT, means, [], now=NOW, top=22, width=960, label="")
    path = picture.partition('class="line c1"')[0].rpartition('d="M')[2].split('"')[0]
    (_, first), (_, second) = (each.split() for each in path.split("L"))
    assert float(second) < float(first)


def test_the_top_of_a_picture_is_above_the_darkest() -> None:
    assert top_of([]) == 23
    assert top_of(clear(TONIGHT)) == 22
    assert top_of([mean(0, 18.8), mean(0, 0.0)]) == 20


def test_an_older_night_has_links_to_its_neighbours_and_nights_around_it() -> None:
    old = night_of(date(2025, 11, 10), OFFSET)
    links = list(page([], night=old).values("href"))
    assert "/photometers/stars1?night=2025-11-09" in links
    assert "/photometers/stars1?night=2025-11-11" in links
    assert [each.date.day for each in small_nights(old, TONIGHT)] == list(range(4, 11))
    assert [each.date.day for each in small_nights(TONIGHT.before(3), TONIGHT)] == list(range(21, 28))


def test_why_messages_were_not_stored_is_said() -> None:
    text = page([], of=photometer(**SKY, refused=4, silent=True)).text
    assert "not a number: last 1 min ago" in text
    assert "silent since 2025-11-28 01:59 UTC" in text


MAGS = st.lists(st.one_of(st.none(), st.floats(-32, 32)), min_size=1, max_size=4)
"""Of a mean, as the history can have them."""


@given(
    st.lists(st.tuples(st.integers(-400, 700), MAGS, st.one_of(st.none(), st.floats(-300, 300)))),
    st.sampled_from([None, MADRID, (90.0, 0.0), (-90.0, 180.0), (0.0, -180.0)]),
)
def test_any_means_at_any_place_make_a_page(
    values: list[tuple[int, list[float | None], float | None]], place: Position | None
) -> None:
    found = {step: mean(TONIGHT.start + 300 * step, *mags, tsky=tsky) for step, mags, tsky in values}
    tree = page([found[step] for step in sorted(found)], place=place)
    assert tree.tags <= KNOWN_TAGS
    assert "nan" not in tree.text


def test_a_hostile_name_is_only_a_name() -> None:
    for name in [*names(random.Random(6), 100), "..", "</title><script>x</script>"]:
        for tree in (page([], of=photometer(name, **SKY)), Tree(nobody(site.WELL, name))):
            assert tree.tags <= KNOWN_TAGS
            allowed = ("/?", "/photometers/", "/page.", "/icon.svg", "#main")
            assert all(each == "/" or each.startswith(allowed) for each in tree.values("href"))


@given(st.lists(st.one_of(st.none(), st.floats(-40, 40)), max_size=300))
def test_any_values_make_a_sparkline(values: list[float | None]) -> None:
    line = sparkline(values, "a night")
    assert ("<svg" in line) is any(each is not None and each >= 12 for each in values)
