"""HTML and SVG, escaped by construction. Pure.

`tag` escapes every text that it is given, and only what came out of it is taken as it is: so nothing that a
photometer calls itself can become more than a text. What is not printable is shown as an escape, so nothing
hides or turns the writing round.
"""

import html
from collections.abc import Callable, Iterable

from tessflux.logs import escape

EMPTY_TAGS = frozenset(("br", "circle", "input", "line", "link", "meta", "path", "rect", "use"))
"""Those that have no end."""


class Html(str):
    """HTML that is well formed and escaped."""

    __slots__ = ()


Child = str | Iterable[Html] | None
Attribute = str | float | bool | None


def text(value: str) -> Html:
    """A text as HTML."""
    return value if isinstance(value, Html) else Html(_escaped(value))


def _escaped(value: str) -> str:
    # Nearly every text is short and plain.
    return value if value.isalnum() and value.isascii() else html.escape(escape(value))


def join(parts: Iterable[Html]) -> Html:
    """One after the other."""
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element. In the names of attributes `_` stands for `-`, and one at the end for nothing (`class_`).
    An attribute that is None or False is left out, a number has two decimals at most."""
    head = f"<{name}{''.join(_attribute(*each) for each in attributes.items())}"
    if name in EMPTY_TAGS:
        return Html(f"{head}/>")
    return Html(f"{head}>{''.join(map(_child, children))}</{name}>")


def around(name: str, /, **attributes: Attribute) -> Callable[..., Html]:
    """`tag` with these attributes, for an element that a page has hundreds of times."""
    start, end = tag(name, **attributes).removesuffix(f"</{name}>"), f"</{name}>"

    def element(*children: Child) -> Html:
        return Html(f"{start}{''.join(map(_child, children))}{end}")

    return element


def _child(child: Child) -> str:
    if child is None:
        return ""
    return text(child) if isinstance(child, str) else "".join(child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    said = _escaped(value) if isinstance(value, str) else number(value)
    return f' {name}="{said}"'


def number(value: float) -> str:
    """As short as it can be: `12.5`, `3`."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
