"""What all pages have around them, and words that several of them use. Pure."""

from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from tessflux.pages.html import Child, Html, tag
from tessflux.pages.selection import HEARD, REFUSED, SILENT
from tessflux.words import measure

STYLE, SCRIPT, ICON = "/page.css", "/page.js", "/icon.svg"

PHOTOMETERS = "/photometers/"

MARKS = {HEARD: "●", SILENT: "▲", REFUSED: "✕"}
"""What each state of a photometer looks like, also to who sees no colours."""


def page(title: str, *content: Child, now: float, version: str, refresh: int) -> bytes:
    """A whole page, which asks for itself again every `refresh` seconds."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href=ICON, type="image/svg+xml"),
        tag("link", rel="stylesheet", href=STYLE),
        tag("script", src=SCRIPT, defer=True),
        tag("noscript", tag("meta", http_equiv="refresh", content="60")),
    )
    body = tag(
        "body",
        tag("a", "To the content", href="#main", class_="skip"),
        tag(
            "header",
            tag("a", "tessflux", href="/", class_="home"),
            tag("p", "", id="notice", role="status"),
            tag("p", tag("span", moment(now), class_="at"), class_="time"),
        ),
        tag("main", *content, id="main", data_refresh=float(refresh), tabindex="-1"),
        tag("footer", tag("p", f"tessflux {version}. All times are UTC.")),
    )
    text = f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
    return text.encode("utf-8", "replace")


def moment(now: float) -> str:
    """A time with its date."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: float) -> str:
    """A time of day."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M}"


def href(name: str, **query: str) -> str:
    """Where the page of a photometer is, whatever it is called."""
    if not name.strip("."):
        # A browser would go up a folder.
        return f"{PHOTOMETERS}?{urlencode({'name': name, **query})}"
    path = PHOTOMETERS + quote(name, safe="", errors="replace")
    return f"{path}?{urlencode(query)}" if query else path


def mark(state: str) -> Html:
    """The state of a photometer."""
    return _STATES[state]


_STATES = {
    state: tag(
        "span",
        tag("span", sign, class_="mark", aria_hidden="true"),
        " ",
        tag("span", state, class_="word"),
        class_=f"is {state}",
    )
    for state, sign in MARKS.items()
}


def with_sign(value: float, digits: int = 1) -> str:
    """A number as people write it, with a minus sign."""
    return measure(value, digits).replace("-", "\N{MINUS SIGN}")
