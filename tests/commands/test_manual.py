"""The man pages say all that `--help` and config.example say, and mandoc has no fault to find."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tessflux import __version__, arguments
from tessflux.commands import manual
from tessflux.commands.shipped import own_files
from tessflux.config.sections import KEYS, OUTPUT

EXAMPLE = (own_files() / "etc/tessflux/config.example").read_text()
COMMAND_PAGE, CONFIG_PAGE = manual.pages(EXAMPLE).values()
MANDOC = shutil.which("mandoc")
needs_mandoc = pytest.mark.skipif(MANDOC is None, reason="mandoc is missing (Debian: mandoc)")


def mandoc(form: str, page: str) -> str:
    """What it prints of a page."""
    assert MANDOC is not None
    command = [MANDOC, "-T", form]
    return subprocess.run(command, input=page, capture_output=True, text=True, check=False).stdout


def words(text: str) -> str:
    """They alone, in one line: without the `#` of comments and what makes a terminal's letters bold."""
    return " ".join(re.sub(r".\x08|^#|`", "", text, flags=re.MULTILINE).split())


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


@needs_mandoc
@pytest.mark.parametrize("page", [COMMAND_PAGE, CONFIG_PAGE])
def test_mandoc_has_no_fault_to_find(page: str) -> None:
    assert mandoc("lint", page) == ""
    assert f"tessflux {__version__}" in words(mandoc("utf8", page))


@needs_mandoc
def test_the_page_of_the_command_says_all_that_help_says() -> None:
    page = words(mandoc("utf8", COMMAND_PAGE))
    known = {*re.findall(r"[\w-]+", page.lower())}
    of_layout = {"usage", "positional", "arguments", "codes", "try", "then"}
    for parser in parsers(arguments.make_parser()):
        assert words(parser.format_usage()).removeprefix("usage: ") in page
        assert {*re.findall(r"[\w-]+", parser.format_help().lower())} - of_layout <= known


@needs_mandoc
def test_the_page_of_the_config_says_all_that_the_example_says() -> None:
    page = words(mandoc("utf8", CONFIG_PAGE))
    comments = re.findall(r"(?:^# .*\n)+", EXAMPLE, re.MULTILINE)
    assert len(comments) > 50
    for comment in comments:
        assert words(comment).removeprefix("The ").removesuffix(".") in page


def test_the_page_of_the_config_has_an_entry_for_every_key() -> None:
    """Written out below its section."""
    sections = re.split(r"^\.SH \[(\w+)\]\n", CONFIG_PAGE, flags=re.MULTILINE)
    for section, text in zip(sections[1::2], sections[2::2], strict=True):
        assert set(re.findall(r"^\.T[PQ]\n\\fB(\w+)\\fR$", text, re.MULTILINE)) == set(KEYS[section])
    assert {*sections[1::2]} == KEYS.keys() - {OUTPUT}


@needs_mandoc
def test_what_looks_like_roff_is_shown_as_it_is() -> None:
    hostile = ".SH x \\fB \\ 'y' ~/a^b .br"
    pages = manual.pages(f"# Summary.\n#\n# {hostile}\n#\n# 'z {hostile}\n\n[a]\n\n# {hostile}\n#key = \n")
    page = pages["man5/tessflux.5"]
    assert mandoc("lint", page) == ""
    assert words(mandoc("utf8", page)).count(hostile) == 3


@needs_mandoc
def test_what_is_indented_in_a_comment_is_shown_as_it_is() -> None:
    example = "# Summary.\n\n[a]\n\n# Such as:\n#   x,y\n#   1,2\n# And so on.\n# Default: none.\n#key =\n"
    page = manual.pages(example)["man5/tessflux.5"]
    assert mandoc("lint", page) == ""
    lines = [words(line) for line in mandoc("utf8", page).splitlines()]
    assert lines[lines.index("key Such as:") :][:5] == [
        "key Such as:",
        "x,y",
        "1,2",
        "And so on.",
        "Default: none.",
    ]
