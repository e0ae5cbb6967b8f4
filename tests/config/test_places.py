"""The file that says where photometers stand."""

from pathlib import Path

import pytest

from tessflux.config.places import Place, read_places
from tessflux.limits import PLACES_BYTES

HEAD = "name,latitude,longitude,elevation,zone,town\n"


def read(tmp_path: Path, text: str | bytes) -> object:
    path = tmp_path / "places.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_places(str(path))


def test_a_line_is_a_photometer(tmp_path: Path) -> None:
    lines = [
        'stars1,1,2,3,Europe/Paris,"nowhere"',
        'STARS1,40.453,-3.7263,650,Europe/Madrid,"Madrid, ""La Latina"" / Spain"\r',
        "",
        " , ",
        " My Backyard ,-31.27, 149.07 ,,Australia/Sydney",
        "Ñuñoa,-33.5,-70.6,,,Santiago",
        "ship,-0.5,180,-2.5",
    ]
    assert read(tmp_path, HEAD + "\n".join(lines)) == {
        "stars1": Place(40.453, -3.7263, 650.0, "Europe/Madrid", 'Madrid, "La Latina" / Spain'),
        "my backyard": Place(-31.27, 149.07, None, "Australia/Sydney", ""),
        "ñuñoa": Place(-33.5, -70.6, None, "UTC", "Santiago"),
        "ship": Place(-0.5, 180.0, -2.5, "UTC", ""),
    }


def test_columns_are_found_by_their_names_also_behind_a_mark_of_a_spreadsheet(tmp_path: Path) -> None:
    text = "\ufeffTown,Longitude, Latitude ,Name\nMadrid,-3.7,40.4,stars1\n"
    assert read(tmp_path, text) == {"stars1": Place(40.4, -3.7, town="Madrid")}


def test_no_file_is_no_place() -> None:
    assert read_places("") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1 of the file must name its columns, as does this one: name,latitude,longitude,elevation"),
        ("stars1 40.45 -3.73\n", "line 1 of the file must name its columns"),
        ("name;latitude;longitude\n", "line 1 of the file must name its columns"),
        ("name,latitude\n", "line 1 of the file must name its columns"),
        ("name,latitude,longitude,height\n", "line 1 of the file must name its columns"),
        ("name,latitude,longitude,name\n", "line 1 of the file must name its columns"),
        (HEAD + "stars1,1,2\nstars2,1", "line 3 of the file must have name, latitude, longitude"),
        (HEAD + ",1,2,3", "line 2 of the file must have name, latitude, longitude"),
        (HEAD + 'stars1,1,2,3,UTC,"two\nlines"', "line 3 of the file must have .* no control characters"),
        (HEAD + "stars1,1,two", "line 2 of the file must have a number from -180 to 180 as its longitude"),
        (HEAD + "stars1,90.5,2", "line 2 of the file must have a number from -90 to 90 as its latitude"),
        (HEAD + "stars1,9,-181", "line 2 of the file must have a number from -180 to 180 as its longitude"),
        (HEAD + "stars1,nan,0", "as its latitude"),
        (HEAD + "stars1,1,2,9001", "line 2 of the file must have a number from -500 to 9000 as its elev"),
        (HEAD + "a,1,2,3,Europe/Madird", "line 2 of the file must have a time zone .* Europe/Madird is none"),
        (HEAD + "a,1,2,3,Europe", "must have a time zone"),
        (HEAD + "a,1,2,3,../../etc/passwd", "must have a time zone"),
        (HEAD + "stars1,1,2,3,UTC,Madrid, Spain", "line 2 of the file must have no more than 6 cells"),
        (HEAD + 'stars1,1,2,3,UTC,"Madrid', "line 2 of the file is no CSV .unexpected end"),
        (b"name,latitude,longitude\nstars\xff,1,2", "UTF-8"),
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
        read_places("places.csv")
