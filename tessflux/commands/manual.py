"""The man pages tessflux(1) and tessflux(5): the words of `--help` and of config.example, in roff.

Pure: text in, text out. What the pages say stands there alone, so they cannot disagree.
"""

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from tessflux import RELEASED, __version__, arguments

_ESCAPES = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})
_OPTION = r"(?<![\w-])--?[a-z][\w-]*"
_CODE = "`[^`]+`"
_VALUE = r"\b[A-Z]{2,}\b"


def pages(example: str) -> dict[str, str]:
    """Both pages, by their place in a directory of man pages; `example` is the text of config.example."""
    return {"man1/tessflux.1": _command_page(), "man5/tessflux.5": _config_page(example)}


def _command_page() -> str:
    parser = arguments.make_parser()
    commands = [*_commands(parser)]
    lines = [".SH NAME", *_prose(f"tessflux - {_as_clause(arguments.DESCRIPTION)}"), ".SH SYNOPSIS"]
    for each in (parser, *(command for _, command in commands)):
        lines += _synopsis(each)
    lines += [".SH DESCRIPTION", *_prose(arguments.DESCRIPTION), ".PP", *_prose(arguments.AS_DAEMON)]
    lines += [".SH OPTIONS", *_options(parser, known=set()), ".SH COMMANDS"]
    for does, command in commands:
        lines += [f".SS {_escaped(command.prog)}", *_prose(does)]
        lines += _options(command, known=set(parser._option_string_actions))
    lines += [".SH SIGNALS", *_table(arguments.SIGNALS)]
    lines += [".SH EXIT STATUS", *_table(arguments.EXIT_CODES), ".PP", *_prose(arguments.OTHER_EXIT_CODES)]
    lines += [".SH EXAMPLES", *_verbatim(arguments.TRY_IT), ".SH SEE ALSO", ".BR tessflux (5)"]
    return _page(1, "User Commands", lines)


def _config_page(example: str) -> str:
    head, *blocks = re.split(r"\n{2,}", example.strip())
    summary, *paragraphs = head.split("\n#\n")
    lines = [".SH NAME", *_prose(f"tessflux - {_as_clause(summary.removeprefix('# '))}")]
    lines += [".SH SYNOPSIS", _italic(arguments.CONFIG_FILE), ".SH DESCRIPTION"]
    for number, paragraph in enumerate(paragraphs):
        lines += [*([".PP"] if number else []), *_comment(paragraph)]
    for block in blocks:
        lines += _block(block)
    lines += [".SH EXAMPLE", *_verbatim(_settings(example)), ".SH SEE ALSO", ".BR tessflux (1)"]
    return _page(5, "File Formats", lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """What each command does, and its parser; next, those of its own commands."""
    for table in parser._actions:
        if isinstance(table, argparse._SubParsersAction):
            for command in table._choices_actions:
                yield command.help or "", table.choices[command.dest]
                yield from _commands(table.choices[command.dest])


def _synopsis(parser: argparse.ArgumentParser) -> list[str]:
    # Python 3.14 colours it for a terminal.
    usage = re.sub(r"\x1b\[[\d;]*m", "", parser.format_usage()).removeprefix("usage: ")
    called, *words = usage.split()
    return [f".SY {called}", *_wrapped(_syntax(" ".join(words))), ".YS"]


def _options(parser: argparse.ArgumentParser, known: set[str]) -> Iterator[str]:
    """All that it takes but its commands, and options that are `known`."""
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help and known.isdisjoint(action.option_strings):
            value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
            names = ", ".join(action.option_strings)
            meaning = _prose(formatter._expand_help(action))
            yield from _item([_syntax(f"{names} {value}".strip())], meaning)


def _block(block: str) -> Iterator[str]:
    """Of config.example: the name of a section, or keys and what they mean, or what is said of several."""
    if block.startswith("["):
        yield f".SH {_escaped(block)}"
        return
    keys = re.findall(r"^#?(\w+) =", block, re.MULTILINE)
    comment, default, means = re.sub(r"(?m)^#?\w+ =.*", "", block).strip().partition("# Default: ")
    yield from _item(map(_bold, keys), _comment(comment)) if keys else (".PP", *_comment(comment))
    if default:
        yield from (".br", *_comment(default + means))


def _settings(example: str) -> Iterator[str]:
    """What is set there, section by section."""
    section = ""
    for line in re.findall(r"^[\[\w].*", example, re.MULTILINE):
        if line.startswith("["):
            section = line
        else:
            yield from (section, line) if section else (line,)
            section = ""


def _table(meanings: Mapping[str, str] | Mapping[int, str]) -> Iterator[str]:
    for name, meaning in meanings.items():
        yield from _item([_bold(str(name))], _prose(meaning))


def _item(names: Iterable[str], meaning: Iterable[str]) -> Iterator[str]:
    """Names, one below the other, and beside them what they mean; all in roff."""
    for number, name in enumerate(names):
        yield from (".TQ" if number else ".TP", name)
    yield from meaning


def _page(section: int, title: str, lines: Iterable[str]) -> str:
    head = f'.TH TESSFLUX {section} {RELEASED} "tessflux {__version__}" "{title}"'
    # Nothing is justified or hyphenated, so what is to be typed stays as it is. .SY minds only HY.
    return "\n".join([head, ".ad l", ".nh", ".nr HY 0", *lines, ""])


def _comment(text: str) -> Iterator[str]:
    """A comment of config.example. What is indented in it is shown as it is."""
    lines = (line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
    for indented, group in groupby(lines, key=lambda line: line.startswith(" ")):
        part = [*group]
        yield from _verbatim(part) if indented else _prose(" ".join(part))


def _verbatim(lines: Iterable[str]) -> list[str]:
    return [".EX", *map(_escaped, lines), ".EE"]


def _prose(text: str) -> list[str]:
    """Text to be filled. What is to be typed is bold: options, and what stands in backticks."""
    return _wrapped(_marked(text, f"{_OPTION}|{_CODE}"))


def _syntax(text: str) -> str:
    """Options in bold, and in italics what stands for a value."""
    return _marked(text, f"{_OPTION}|{_VALUE}")


def _marked(text: str, marks: str) -> str:
    parts = re.split(f"({marks})", text)
    parts[0::2] = map(_escaped, parts[0::2])
    parts[1::2] = (_italic(it) if re.fullmatch(_VALUE, it) else _bold(it.strip("`")) for it in parts[1::2])
    return "".join(parts)


def _wrapped(roff: str) -> list[str]:
    lines = textwrap.wrap(roff, 78, break_on_hyphens=False, break_long_words=False)
    # A point at the begin of a line would make it a request.
    return [rf"\&{line}" if line.startswith(".") else line for line in lines]


def _bold(text: str) -> str:
    return rf"\fB{_escaped(text)}\fR"


def _italic(text: str) -> str:
    return rf"\fI{_escaped(text)}\fR"


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _as_clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].removesuffix(".")
