"""The file that says where photometers stand: a line for each, `NAME LATITUDE LONGITUDE`.

Degrees are decimal, north and east positive. A name may have blanks in it. A line that is empty or begins
with # says nothing.
"""

from collections.abc import Mapping

from tessflux.config.converters import readable_file, unreadable
from tessflux.limits import PLACES_BYTES

Place = tuple[float, float]


def read_places(value: str) -> Mapping[str, Place]:
    """By name in lower case, what the file at this absolute path says; nothing for "". The last line of a
    name counts."""
    if not readable_file(value):
        return {}
    try:
        with open(value, encoding="utf-8") as file:
            text = file.read(PLACES_BYTES + 1)
    except OSError as error:
        raise ValueError(unreadable(error)) from None
    except UnicodeDecodeError:
        raise ValueError("the file must be UTF-8 text, with lines like: stars1 40.45 -3.73") from None
    if len(text) > PLACES_BYTES:
        raise ValueError(f"the file must not be larger than {PLACES_BYTES // 2**20} MB")
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, place = _place(number, line)
            found[name] = place
    return found


def _place(number: int, line: str) -> tuple[str, Place]:
    parts = line.rsplit(maxsplit=2)
    try:
        name, latitude, longitude = parts[0], float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise ValueError(
            f"line {number} of the file must be NAME LATITUDE LONGITUDE in degrees, like: stars1 40.45 -3.73"
        ) from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ValueError(
            f"line {number} of the file must have a latitude from -90 to 90, and a longitude from -180 to 180"
        )
    return name.strip().lower(), (latitude, longitude)
