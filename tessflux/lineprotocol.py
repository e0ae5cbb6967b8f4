"""A reading -> one line of InfluxDB line protocol. Pure.

    measurement,name=<photometer> <field>=<float>,... <milliseconds since 1970 UTC>

A backslash escapes a comma, a blank or an equals sign and is itself not escaped: InfluxDB looks only at
the character before each of these. So a name must not end in a backslash, which the parser sees to.
"""

import re
from collections.abc import Mapping

import msgspec

_encode = msgspec.json.Encoder().encode

_NAME = re.compile(r"(?<!\\),name=(.*?)(?<!\\) ")


def escape(text: str) -> str:
    """Make `text` safe as a tag's value; it has no control characters and does not end in a backslash."""
    return text.replace(",", r"\,").replace(" ", r"\ ").replace("=", r"\=")


def series(measurement: str, name: str) -> str:
    """The part of a line that says whose reading it is."""
    # A measurement has no equals sign to escape.
    place = measurement.replace(",", r"\,").replace(" ", r"\ ")
    return f"{place},name={escape(name)}"


def values(fields: Mapping[str, float]) -> str:
    """The part of a line that says what was measured: floats, in the shortest form that is exact."""
    # JSON writes the same numbers, and msgspec in half the time of joining them here: a tenth of all.
    return _encode(fields)[1:-1].decode().replace('":', "=").replace('"', "")


def photometer(line: str) -> str:
    """Whose reading a line is; "" for a line of another kind."""
    found = _NAME.search(line)
    return re.sub(r"\\([, =])", r"\1", found[1]) if found else ""
