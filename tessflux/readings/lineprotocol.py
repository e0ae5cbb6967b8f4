"""Fields of a photometer -> one line of InfluxDB line protocol, and many lines as one text. Pure.

    measurement,name=<photometer> <field>=<float>,... <milliseconds since 1970 UTC>

A backslash escapes a comma, a blank or an equals sign, and is not escaped itself: InfluxDB looks only at
the character before each of these. So a name must not end in a backslash; `reading` refuses such names. Only
within the quotes of a text is a backslash escaped, as is a quote.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import overload

import msgspec

_encode = msgspec.json.Encoder().encode

_FROM_JSON = bytes.maketrans(b":", b"=")
"""{"seq":7.0,"mag":21.5} becomes seq=7.0,mag=21.5: the name of a field has none of these characters."""

_NAME = re.compile(r"(?<!\\),name=(.*?)(?<!\\) ")


class Lines(Sequence[str]):
    """Lines as one text, as the spool keeps them. It is split only when somebody looks at a single line:
    nearly always the text goes to InfluxDB as it is."""

    def __init__(self, text: str, count: int) -> None:
        self.text, self._count = text, count
        self._lines: list[str] | None = None

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if self._lines is None:
            self._lines = self.text.split("\n") if self._count else []
        return self._lines[index]

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and list(self) == list(other)


def text(lines: Sequence[str]) -> str:
    """Lines as one text."""
    return lines.text if isinstance(lines, Lines) else "\n".join(lines)


def measurement(name: str) -> str:
    """The beginning of a line, in which an equals sign is not escaped."""
    return name.replace(",", r"\,").replace(" ", r"\ ")


def series(place: str, name: str) -> str:
    """The part of a line that says whose reading it is; `place` comes from `measurement`.

    The name must have no control characters and no backslash at its end.
    """
    if not name.isalnum():
        name = name.replace(",", r"\,").replace(" ", r"\ ").replace("=", r"\=")
    return f"{place},name={name}"


def values(fields: Mapping[str, float]) -> str:
    """The part of a line that says what was measured: floats, in the shortest form that is exact."""
    # JSON writes the same numbers, and msgspec takes a third of the time of a loop in Python.
    return _encode(fields).translate(_FROM_JSON, b'{}"').decode()


def values_of_all(structs: Sequence[msgspec.Struct]) -> list[str]:
    """The same of structs that hold nothing but floats. They are written together, and cut apart at the end:
    that takes little more than half the time."""
    text = _encode(structs)[2:-2].translate(_FROM_JSON, b'{"').decode()
    return text.split("},") if structs else []


def fields(values: str) -> dict[str, float]:
    """What was measured, by the names of the fields."""
    pairs = (each.partition("=") for each in values.split(",") if each)
    return {name: float(value) for name, _, value in pairs}


def mixed(fields: Mapping[str, str | float]) -> str:
    """The same for fields that are floats, or texts without control characters."""
    return ",".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: str | float) -> str:
    if isinstance(value, str):
        value = value.replace("\\", r"\\").replace('"', r"\"")
        return f'"{value}"'
    return repr(float(value))


def photometer(line: str) -> str:
    """Whose reading a line is; "" for a line of another kind."""
    found = _NAME.search(line)
    return re.sub(r"\\([, =])", r"\1", found[1]) if found else ""


def time(line: str) -> int:
    """When the reading was taken (ms since 1970 UTC); 0 for a line of another kind."""
    try:
        return int(line.rpartition(" ")[2])
    except ValueError:
        return 0
