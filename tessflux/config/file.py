"""A config file -> the values of its keys, and all that is wrong with it. No problem shows a secret."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tessflux.config import addresses, converters, inifile
from tessflux.errors import ConfigError, Problem

# Their values are never shown: a password, or an address into which someone wrote one.
_PRIVATE = frozenset({"password", "token", "broker", "url"})
# They are shown only if they are a path, and not the secret itself that should be in the file.
_SECRET_FILES = frozenset({"password_file", "token_file", "tls_key"})
_LONGEST_QUOTE = 80
# Their values may go on in further lines; with one item a line no comma is needed.
_LISTS = frozenset({converters.names, converters.topics, converters.fields, addresses.http_urls})


class File:
    """A config file on its way to a Config: what it says, the values that are right, and what is wrong."""

    def __init__(self, path: str, keys: Mapping[str, Mapping[str, converters.Converter]]) -> None:
        """Raises ConfigError if the file cannot be read."""
        self.path, self._keys = path, keys
        self._entries, self.problems = inifile.read(path, _contents(path), keys)
        self.values: dict[str, dict[str, Any]] = {section: {} for section in keys if section.islower()}
        for section, _ in self._entries:
            self.values.setdefault(section, {})
        self.warnings: list[str] = []

    def convert(self, environ: Mapping[str, str]) -> None:
        """Turn every entry into its value, or into a problem."""
        for entry in self._entries.values():
            convert = self._keys[inifile.form_of(entry.section, self._keys)][entry.key]
            try:
                value = converters.expand(entry.value, environ)
                if "\n" in value and convert not in _LISTS:
                    raise ValueError(
                        "must stand on one line; "
                        "a line that begins with a blank continues the value of the line above"
                    )
                self.values[entry.section][entry.key] = convert(value)
            except ValueError as error:
                comment = "; a comment needs a line of its own" if re.search(r"\s#", entry.value) else ""
                self.problem(entry.section, entry.key, f"{_quoted(entry)}: {error}{comment}")

    def has(self, section: str, key: str) -> bool:
        """Whether the key is there, with or without a value."""
        return (section, key) in self._entries

    def stated(self, section: str, key: str) -> str:
        """What the file says, "" if the key is absent or blank."""
        entry = self._entries.get((section, key))
        return entry.value if entry else ""

    def commented(self, section: str, key: str) -> bool:
        """Whether a comment follows the value."""
        entry = self._entries.get((section, key))
        return entry is not None and entry.commented

    def sections(self, form: str) -> list[str]:
        """The sections that are there of a form, in their order."""
        return [section for section in self.values if inifile.form_of(section, self._keys) == form]

    def items(self) -> Iterator[tuple[str, str, str]]:
        """Section, key and text of each value that may be shown, or of each item of one that is a list."""
        for section, key in self._entries:
            value = self.values[section].get(key)
            for item in sorted(value) if isinstance(value, frozenset | tuple) else [value]:
                if isinstance(item, str) and key not in _PRIVATE:
                    yield section, key, item

    def shown(self, section: str, key: str, item: str) -> str:
        """An item of the value as a warning shows it: as it stands in the file, where a variable that may
        hold a secret shows only its name."""
        stated = self.stated(section, key)
        return _shortened(item if item in stated.lower() or item in stated else stated)

    def problem(self, section: str, key: str, text: str) -> None:
        """Refuse the file because of this key."""
        self.problems.append(self._remark(section, key, text))

    def warn(self, section: str, key: str, text: str) -> None:
        """Have the log mention this key."""
        self.warnings.append(str(self._remark(section, key, text)))

    def _remark(self, section: str, key: str, text: str) -> Problem:
        entry = self._entries.get((section, key))
        return Problem(self.path, entry.line if entry else 0, f"[{section}] {key}{text}")


def _contents(path: str) -> str:
    line = 0
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8-sig")
    except FileNotFoundError:
        reason = "there is no such file: make it from config.example, or name another with -c"
    except OSError as error:
        reason = converters.unreadable(error)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        reason = "the file is not UTF-8 text; this converts it: iconv -f latin1 -t utf-8"
    except ValueError:
        reason = "no file can have this name"
    raise ConfigError([Problem(path, line, reason)])


def _quoted(entry: inifile.Entry) -> str:
    """The value as a problem shows it, if it may."""
    if entry.key in _PRIVATE or (entry.key in _SECRET_FILES and not os.path.isabs(entry.value)):
        return ""
    return f" = {_shortened(entry.value)}"


def _shortened(value: str) -> str:
    return repr(value if len(value) <= _LONGEST_QUOTE else value[:_LONGEST_QUOTE] + "...")
