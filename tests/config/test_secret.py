"""A secret: who sees it, when two are equal, and how it follows its file."""

import html
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tessflux.config.secret import LONGEST, Secret


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret("hunter2")
    assert (repr(secret), str(secret), f"{secret}") == ("Secret('***')", "***", "***")
    assert secret.reveal() == "hunter2"


def test_the_login_is_hidden_in_what_a_server_says() -> None:
    for secret, username, said, shown in (
        (Secret("b"), "a", "Basic YTpi, YTpi", "Basic ***, ***"),
        (Secret(), "a", "Basic YTo=", "Basic ***"),
        (Secret(), "", "Basic Og==", "Basic Og=="),
        (Secret("secret"), "", "no secret", "no ***"),
        (Secret("secret"), "me", "me:secret may not", "me:*** may not"),
        (Secret(), "me", "me: may not", "me: may not"),
    ):
        assert secret.hide(username, said) == shown


PASSWORD = """p@s/s w&r<d>'"\\ñ€😀+%"""


@pytest.mark.parametrize(
    "said",
    [
        PASSWORD,
        json.dumps(PASSWORD),
        json.dumps(PASSWORD, ensure_ascii=False),
        # As PHP and as Go write JSON.
        json.dumps(PASSWORD).replace("/", r"\/"),
        json.dumps(PASSWORD).replace("&", r"\u0026").replace("<", r"\u003C").replace(">", r"\u003e"),
        repr(PASSWORD),
        html.escape(PASSWORD),
        html.escape(PASSWORD, quote=False),
        # As Go and PHP write HTML.
        html.escape(PASSWORD, quote=False).replace("'", "&#39;").replace('"', "&#34;"),
        html.escape(PASSWORD).replace("&#x27;", "&#039;"),
        quote(PASSWORD),
        quote(PASSWORD, safe="").lower(),
        quote_plus(PASSWORD),
        "".join(f"&#{ord(each)};" if ord(each) > 127 else html.escape(each) for each in PASSWORD),
    ],
)
def test_a_password_is_hidden_however_a_server_writes_it(said: str) -> None:
    assert Secret(PASSWORD).hide("me", f"no: me:{said}!").strip("no: me!'\"") == "***"
    basic = Secret(PASSWORD).basic("me")
    assert Secret(PASSWORD).hide("me", f"Basic {quote(basic, safe='')}") == "Basic ***"


def test_secrets_are_equal_when_value_and_file_are() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a", "/1") != Secret("a", "/2")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret()


def test_a_byte_order_mark_is_no_character_of_a_password(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for text, expected in (
        ("pa\u00df\r\n", "pa\u00df"),
        ("\ufeff\n", "\ufeff"),
        ("x" * LONGEST, "x" * LONGEST),
    ):
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert Secret.from_file(str(path)).reveal() == expected
    for text in ("", "\n", "x" * (LONGEST + 1)):
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        with pytest.raises(ValueError, match=r"the file has an empty first line|longer than"):
            Secret.from_file(str(path))


def test_a_refreshed_secret_is_what_its_file_says_now(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old\n")
    secret = Secret.from_file(str(path))
    path.write_text("new\n")
    assert secret.refreshed() == Secret("new", str(path))
    path.write_text("")
    assert secret.refreshed() is secret
    path.unlink()
    assert secret.refreshed() is secret
    literal = Secret("literal")
    assert literal.refreshed() is literal
