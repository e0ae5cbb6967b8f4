"""The file that says where photometers stand."""

from pathlib import Path

import pytest

from tessflux.config.places import read_places
from tessflux.limits import PLACES_BYTES


def read(tmp_path: Path, text: str | bytes) -> object:
    path = tmp_path / "places"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_places(str(path))


def test_a_line_is_a_name_and_two_numbers(tmp_path: Path) -> None:
    lines = [
        "# stars9 1 2",
        "",
        "stars1 9 9",
        "  My Backyard\t-31.27  149.07  \r",
        "Ñuñoa -33.5 -70.6",
        "stars1 1 2",
    ]
    assert read(tmp_path, "\n".join(lines)) == {
        "stars1": (1.0, 2.0),
        "my backyard": (-31.27, 149.07),
        "ñuñoa": (-33.5, -70.6),
    }


def test_no_file_is_no_place() -> None:
    assert read_places("") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("stars1 1 2\nstars2 1", "line 2 of the file must be NAME LATITUDE LONGITUDE"),
        ("stars1 1 two", "line 1 of the file must be NAME"),
        ("1 2", "line 1 of the file must be NAME"),
        ("stars1 90.5 2", "line 1 of the file must have a latitude"),
        ("stars1 9 -181", "line 1 of the file must have a latitude"),
        ("stars1 nan 0", "line 1 of the file must have a latitude"),
        (b"stars\xff 1 2", "UTF-8"),
        ("x" * (PLACES_BYTES + 1), "must not be larger than 16 MB"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_places(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="absolute path"):
        read_places("places")
