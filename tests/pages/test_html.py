"""What is given as text stays text."""

from hypothesis import given
from hypothesis import strategies as st

from tessflux.logs import escape
from tessflux.pages.html import Html, around, join, tag
from tests.pages.site import Tree


@given(st.text(), st.text())
def test_whatever_is_given_as_text_is_read_as_that_text(content: str, value: str) -> None:
    tree = Tree(tag("p", content, tag("b", content), title=value, class_="x").encode())
    assert tree.tags == {"p", "b"}
    assert "".join(tree.texts) == escape(content) * 2
    assert tree.attributes == [("p", "title", escape(value)), ("p", "class", "x")]


def test_an_element_is_written_as_html_and_svg_have_it() -> None:
    assert tag("line", x1=1.0, y1=2.346, stroke_width=0.5) == '<line x1="1" y1="2.35" stroke-width="0.5"/>'
    assert tag("input", hidden=True, checked=False, name=None) == "<input hidden/>"
    assert tag("ul", [tag("li", "a"), tag("li", "b")], None) == "<ul><li>a</li><li>b</li></ul>"
    assert join([Html("<br/>"), Html("x")]) == "<br/>x"


@given(st.text(), st.text())
def test_an_element_that_comes_often_is_the_same_as_one_that_comes_once(content: str, value: str) -> None:
    assert around("td", title=value, class_=None)(content, None) == tag("td", content, None, title=value)


def test_what_hides_or_turns_the_writing_round_is_shown() -> None:
    assert tag("bdi", "stars\u202e1\x00") == "<bdi>stars\\u202e1\\x00</bdi>"
