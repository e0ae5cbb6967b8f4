"""INI text -> entries with their lines, and everything that is wrong with them. Pure.

The grammar is that of Python 2's RawConfigParser, which the tessflux of 2017 used: `[section]`, `key = value`
or `key: value`, comments on lines of their own (`#`, `;`) and after a value (a blank and `;`), continuation
lines that begin with a blank, `""` for an empty value, keys in any case. configparser is not used because it
stops at the first duplicate and does not keep line numbers.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tessflux.errors import Problem

# What a section or a key can look like. Problems quote nothing else from the file.
_WORD = r"(\w[\w .-]{0,39}?)"
_SECTION = re.compile(rf"\[\s*{_WORD}\s*\]\s*(?:[#;].*)?")
_ENTRY = re.compile(rf"{_WORD}\s*[:=](.*)", re.DOTALL)


@dataclass
class Entry:
    """One `key = value`; the parts of a value that came in several lines are joined by newlines."""

    section: str
    key: str
    value: str = field(repr=False)  # It may be a password.
    line: int
    commented: bool = False
    """Whether a comment after the value was cut off, or what looks like one."""


Entries = dict[tuple[str, str], Entry]


def read(file: str, text: str, known: Mapping[str, Collection[str]]) -> tuple[Entries, list[Problem]]:
    """The entries of `text` that are `known` (section -> keys), and the problems of all others."""
    reader = _Reader(file, known)
    # Not splitlines(): it ends lines where no editor does, and the numbers would be wrong.
    for number, line in enumerate(text.split("\n"), 1):
        reader.take(number, line)
    for entry in reader.entries.values():
        entry.value = entry.value.strip()
    return reader.entries, reader.problems


class _Reader:
    def __init__(self, file: str, known: Mapping[str, Collection[str]]) -> None:
        self.entries: Entries = {}
        self.problems: list[Problem] = []
        self._file = file
        self._known = known
        self._section = self._form = ""
        self._skipping = False
        self._sections: dict[str, int] = {}
        self._last: Entry | None = None

    def take(self, number: int, line: str) -> None:
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            return
        if line[0].isspace() and self._last is not None:
            value, commented = _value(stripped)
            self._last.value += "\n" + value
            self._last.commented |= commented
        elif stripped[0] == "[":
            self._begin_section(number, stripped)
        elif not self._skipping:
            self._begin_entry(number, stripped)

    def _begin_section(self, number: int, line: str) -> None:
        self._last = None
        match = _SECTION.fullmatch(line)
        section = match[1].lower() if match else ""
        self._form = form_of(section, self._known)
        self._skipping = not self._form
        if match is None:
            self._problem(number, "write a section as [name], on a line of its own")
        elif self._skipping:
            advice = _nearest(section, self._known, "sections", "[{}]")
            self._problem(number, f"unknown section [{section}]; {advice}")
        elif section in self._sections:
            first = self._sections[section]
            self._problem(number, f"section [{section}] is already in line {first}: merge the two")
        self._section = section
        self._sections.setdefault(section, number)

    def _begin_entry(self, number: int, line: str) -> None:
        match = _ENTRY.fullmatch(line)
        if match is None:
            self._last = None
            where = f"in [{self._section}]: " if self._section else ""
            # The line is not quoted: it may be a misplaced password.
            self._problem(number, f"{where}this line is not a `key = value`, a [section] or a # comment")
            return
        key = match[1].lower()
        value, commented = _value(match[2])
        self._last = Entry(self._section, key, value, number, commented)
        place = (self._section, key)
        if not self._section:
            sections = ", ".join(f"[{section}]" for section in self._known)
            self._problem(number, f"{key} is above the first section: put it under one of {sections}")
        elif key not in self._known[self._form]:
            self._problem(number, f"[{self._section}] {key}: unknown key; {self._advice(key)}")
        elif place in self.entries:
            first = self.entries[place].line
            self._problem(
                number,
                f"[{self._section}] {key} is already in line {first}: keep one of them",
            )
        else:
            self.entries[place] = self._last

    def _advice(self, key: str) -> str:
        homes = [section for section, keys in self._known.items() if key in keys]
        if homes:
            return f"it belongs in {' or '.join(f'[{home}]' for home in homes)}"
        return _nearest(key, self._known[self._form], "keys here", "{}")

    def _problem(self, number: int, text: str) -> None:
        self.problems.append(Problem(self._file, number, text))


def form_of(section: str, known: Collection[str]) -> str:
    """Which of the known sections this one is: `first NAME` stands for many; "" if it is none."""
    if section in known:
        return section
    first, _, name = section.partition(" ")
    form = f"{first} NAME"
    return form if name.strip() and form in known else ""


def _nearest(word: str, known: Collection[str], what: str, form: str) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {form.format(near[0])}?"
    return f"the {what} are {', '.join(form.format(each) for each in known)}"


def _value(text: str) -> tuple[str, bool]:
    """The value, and whether a comment followed it."""
    value, commented = re.subn(r"\s;.*", "", text.strip(), flags=re.DOTALL)
    value = value.strip()
    return "" if value == '""' else value, bool(commented)
