"""The pages in a real browser, of a daemon at work: Debian's chromium without a window."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_core_python.selenium import Axe
from browser import Browser
from past_nights import Past, network
from screenshots import five, pages, running, take

from tests.real.site import wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="chromium is missing; as root: apt-get install chromium chromium-driver",
)

NAMES = "return [...document.querySelectorAll('tbody th')].map((each) => each.textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages of 250 photometers, of which the first five have nights behind them."""
    many = [Past(each, period=21_600) for each in network(250)[5:]]
    with running(tmp_path_factory.mktemp("pages"), five(time.time()) + many, 3, 2, "2h") as url:
        yield url


@pytest.fixture(autouse=True)
def nothing_is_wrong(browser: Browser, url: str) -> Iterator[None]:
    """Whatever is done: nothing is asked for elsewhere, and the console is silent."""
    browser.requested()
    browser.complaints()
    yield
    elsewhere = [each for each in browser.requested() if urlsplit(each).netloc != urlsplit(url).netloc]
    assert not [each for each in elsewhere if not each.startswith(("data:", "about:"))]
    assert browser.complaints() == []


def names(browser: Browser) -> list[str]:
    found: list[str] = browser.run(NAMES)
    return found


def test_the_table_filters_while_one_types(browser: Browser, url: str) -> None:
    browser.look(url)
    assert names(browser)[:3] == ["stars1", "stars2", "stars3"]
    assert len(names(browser)) == 200
    browser.type("#q", "stars24")
    wait_until(lambda: len(names(browser)) == 11, "only stars24 and stars240 to stars249 are there")
    assert browser.run("return document.activeElement.id") == "q"
    assert browser.run("return location.search") == "?q=stars24"


def test_the_table_sorts_and_turns_its_pages(browser: Browser, url: str) -> None:
    browser.look(url)
    browser.click("#by-name")
    wait_until(lambda: names(browser)[0] == "stars250", "the last name is the first")
    assert (
        browser.run("return document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "descending"
    )
    browser.click("#page-next")
    wait_until(lambda: names(browser)[-1] == "stars1", "the second page is there")
    browser.click("#by-heard")
    wait_until(
        lambda: set(names(browser)[:3]) == {"stars1", "stars2", "stars3"}, "who was heard last is first"
    )


def test_without_javascript_the_form_and_the_links_do_the_same(browser: Browser, url: str) -> None:
    browser.javascript(False)
    try:
        browser.look(url)
        browser.type("#q", "stars7\n")
        wait_until(lambda: browser.driver.current_url.endswith("?q=stars7"), "the form was sent")
        assert browser.texts("tbody th") == ["stars7", *(f"stars7{each}" for each in range(10))]
        browser.click("#by-name")
        wait_until(lambda: "sort=-name" in browser.driver.current_url, "the link was followed")
        assert browser.texts("tbody th")[0] == "stars79"
    finally:
        browser.javascript(True)


def test_a_page_refreshes_by_itself_and_keeps_what_is_open(browser: Browser, url: str) -> None:
    browser.look(f"{url}/photometers/stars1")
    # A minute is long for a test: the page is told to hurry, before its first timer ends.
    browser.run("document.querySelector('details').open = true; window.marked = true")
    browser.run("document.querySelector('main').dataset.mark = 'old'")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(
        lambda: browser.run("return document.querySelector('main').dataset.mark === undefined"), "it is new"
    )
    assert browser.run("return document.querySelector('details').open && window.marked")
    browser.look(url)
    browser.run("document.querySelector('main').dataset.mark = 'old'")
    wait_until(
        lambda: browser.run("return document.querySelector('main').dataset.mark === undefined"),
        "the first page is new after ten seconds",
    )


@pytest.mark.parametrize("dark", [False, True], ids=["day", "night"])
@pytest.mark.parametrize("width", [1120, 360])
@pytest.mark.parametrize(
    "path", ["/?q=stars24", "/photometers/stars2", "/photometers/stars250", "/?q=nothing"]
)
def test_everybody_can_read_them(browser: Browser, url: str, path: str, width: int, dark: bool) -> None:
    """axe finds nothing, in both themes, and a phone need not be scrolled sideways."""
    browser.look(url + path, width=width, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    found = Axe().run(browser.driver)["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found] == []


def test_a_photometer_that_is_called_like_a_script_is_only_a_name(browser: Browser, url: str) -> None:
    browser.look(f"{url}/photometers/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert browser.run("return document.querySelector('h1 bdi').textContent") == "<script>alert(1)</script>"
    assert [each for each in browser.complaints() if "404" not in each] == []


@pytest.mark.parametrize("name", ["front", "clear", "cloudy", "nowhere", "four"])
def test_pictures_of_it_are_made(browser: Browser, url: str, tmp_path: Path, name: str) -> None:
    """On a desk and on a phone, in both themes; nothing is wider than the window."""
    take(browser, url + pages(time.time())[name], tmp_path, name)
    pictures = list(tmp_path.glob("*.png"))
    assert len(pictures) == 4
    assert all(20_000 < picture.stat().st_size < 500_000 for picture in pictures)
