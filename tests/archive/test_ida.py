"""IDA files: what is in them, and what the tools of the network read."""

import sys
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessflux.archive import Registration, Row
from tessflux.archive.ida import HEADER_LINES, Subject, file_lines
from tessflux.config import Place, SiteConfig
from tessflux.config.places import read_places
from tests.archive import oracle

ORM = Place(28.7606, -17.8816, 2396.0, "Atlantic/Canary", "Garafía / La Palma / Canary Islands / Spain")
ORM_SITE = SiteConfig(observer="Ana", organization="ORM", doi="10.1/2")
START, END = 1_790_812_800_000, 1_793_491_200_000  # October 2026
FIELDS = {
    1: ["tamb", "tsky", "freq", "mag"],
    4: ["tamb", "tsky", *(f"{key}{digit}" for digit in "1234" for key in ("freq", "mag"))],
}
DAY = 86_400_000
Said = Mapping[str, str | float]


def subject(
    channels: int = 1,
    place: Place | None = ORM,
    registrations: Sequence[Registration] = (),
    site: SiteConfig = ORM_SITE,
) -> Subject:
    return Subject("stars1", channels, place, site, registrations)


def written(subject: Subject, *rows: Row) -> list[str]:
    return "".join(file_lines(subject, START, END, rows)).splitlines()


def read_back(
    tmp_path: Path, subject: Subject, *rows: Row
) -> tuple[Mapping[str, object], Mapping[int, Mapping[str, float]]]:
    folder = tmp_path / "stars1"
    folder.mkdir(exist_ok=True)
    path = folder / "stars1_2026-10.dat"
    path.write_text("".join(file_lines(subject, START, END, rows)), encoding="utf-8")
    return oracle.read(path)


def test_the_header_says_whose_readings_they_are(tmp_path: Path) -> None:
    said: Said = {"mac": "5C:CF:7F:1:2:3", "zp": 20.38, "firmware": "Nov 25 2021 v 3.2"}
    header, rows = read_back(
        tmp_path,
        subject(registrations=[Registration(0, said)]),
        Row(START, {"mag": 21.5, "freq": 0.36, "seq": 7.0}),
    )
    assert rows == {START: {"mag": 21.5, "freq": 0.36, "seq": 7.0, "zp": 20.38}}
    assert header == {
        "URL": "http://www.darksky.org/NSBM/sdf1.0.pdf",
        "Number of header lines": 35,
        "License": "ODbL 1.0 http://opendatacommons.org/licenses/odbl/summary/",
        "Device type": "TESS-W",
        "Instrument ID": "stars1",
        "Data supplier": {"observer": "Ana", "affiliation": "ORM"},
        "Location name": {
            "place": None,
            "town": "Garafía",
            "sub_region": "La Palma",
            "region": "Canary Islands",
            "country": "Spain",
        },
        "Position": {"latitude": 28.7606, "longitude": -17.8816, "height": 2396.0},
        "Local timezone": "Atlantic/Canary",
        "Time Synchronization": "timestamp added by MQTT subscriber",
        "Moving / Stationary position": "STATIONARY",
        "Moving / Fixed look direction": "FIXED",
        "Number of channels": 1,
        "Filters per channel": "UV/IR-740",
        "Measurement direction per channel": {"azimuth": 0.0, "zenital": 0.0},
        "Field of view": 17.0,
        "Number of fields per line": 8,
        "TESS MAC address": "5C:CF:7F:1:2:3",
        "TESS firmware version": "Nov 25 2021 v 3.2",
        "TESS cover offset value": 0.0,
        "TESS zero point": 20.38,
    }


def test_a_tess4c_has_four_channels(tmp_path: Path) -> None:
    said: Said = {"mac": "5C:1", "zp1": 20.1, "zp2": 20.2, "zp3": 20.3, "zp4": 20.4, "model": "TESS4C"}
    light = {"mag1": 21.1, "freq1": 1.1, "mag2": 21.2, "freq2": 1.2, "mag3": 21.3, "freq3": 1.3}
    sky = {"tamb": 5.0, "tsky": -20.25, "seq": 4_294_967_295.0}
    header, rows = read_back(
        tmp_path,
        subject(4, registrations=[Registration(0, said)]),
        Row(START, {**light, "mag4": 21.4, "freq4": 1.4, **sky}),
        # A TESS-W had the name before, and its reading has a zero point of its own.
        Row(START + 1, {"mag": 20.0, "freq": 2.0, "zp": 20.5, "seq": 3.0}),
    )
    zero_points = {"zp1": 20.1, "zp2": 20.2, "zp3": 20.3, "zp4": 20.4}
    assert rows == {
        START: {**light, "mag4": 21.4, "freq4": 1.4, **sky, **zero_points},
        START + 1: {**zero_points, "mag1": 20.0, "freq1": 2.0, "zp1": 20.5, "seq": 3.0},
    }
    assert (header["Device type"], header["TESS zero point"]) == ("TESS4C", [20.1, 20.2, 20.3, 20.4])


def test_what_nobody_knows_is_none_or_nan_and_never_zero() -> None:
    lines = written(subject(place=None, site=SiteConfig()), Row(START, {"mag": 21.5}))
    assert lines[4:10] == [
        "# Device type: TESS-W",
        "# Instrument ID: stars1",
        "# Data supplier: None / None",
        "# Location name: None / None / None / None / None",
        "# Position: None, None, None",
        "# Local timezone: UTC",
    ]
    assert lines[18:22] == [
        "# TESS MAC address: None",
        "# TESS firmware version: None",
        "# TESS cover offset value: 0.0",
        "# TESS zero point: nan",
    ]
    assert lines[35:] == ["2026-10-01T00:00:00.000;2026-10-01T00:00:00.000;nan;nan;nan;21.5;nan;-1"]


@pytest.mark.parametrize(
    ("zone", "utc", "local"),
    [
        ("Europe/Madrid", "2026-10-25T00:59:59", "2026-10-25T02:59:59"),
        ("Europe/Madrid", "2026-10-25T01:00:00", "2026-10-25T02:00:00"),
        ("Europe/Madrid", "2027-03-28T00:59:59", "2027-03-28T01:59:59"),
        ("Europe/Madrid", "2027-03-28T01:00:00", "2027-03-28T03:00:00"),
        ("America/St_Johns", "2026-07-01T00:00:00", "2026-06-30T21:30:00"),
        ("Pacific/Kiritimati", "2026-12-31T12:00:00", "2027-01-01T02:00:00"),
    ],
)
def test_local_time_is_that_of_the_place_also_when_summer_time_begins_and_ends(
    zone: str, utc: str, local: str
) -> None:
    at = int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1_000)
    *_, line = written(subject(place=Place(40.4, -3.7, zone=zone)), Row(at + 7, {}))
    assert line.split(";")[:2] == [f"{utc}.007", f"{local}.007"]


@pytest.fixture
def no_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A computer without tzdata, as some containers are."""
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


def test_utc_needs_no_time_zones_on_the_computer(no_zones: None, tmp_path: Path) -> None:
    places = tmp_path / "places.csv"
    places.write_text("name,latitude,longitude,zone\nstars1,40.4,-3.7,\nstars2,40.4,-3.7,UTC\n")
    for place in (None, *read_places(str(places)).values()):
        *_, line = written(subject(place=place), Row(START, {}))
        assert line.split(";")[:2] == ["2026-10-01T00:00:00.000"] * 2
    places.write_text("name,latitude,longitude,zone\nstars1,40.4,-3.7,Europe/Madrid\n")
    with pytest.raises(ValueError, match="must have a time zone that this computer knows"):
        read_places(str(places))


def test_two_readings_in_the_same_second_stay_two(tmp_path: Path) -> None:
    _, rows = read_back(
        tmp_path, subject(), Row(START, {"mag": 1.0, "seq": 1.0}), Row(START + 1, {"mag": 2.0, "seq": 2.0})
    )
    assert rows == {START: {"mag": 1.0, "seq": 1.0}, START + 1: {"mag": 2.0, "seq": 2.0}}


def test_a_zero_point_is_that_of_the_time_of_the_reading_and_changes_are_in_the_comments() -> None:
    registrations = [
        Registration(START + DAY, {"mac": "A", "zp": 20.0}),
        Registration(START + 2 * DAY, {"mac": "A", "zp": 20.0, "firmware": "2"}),
        Registration(START + 3 * DAY, {"mac": "B", "zp": 20.5}),
        Registration(END, {"mac": "C", "zp": 21.0}),
    ]
    times = [START, START + 3 * DAY - 1, START + 3 * DAY, END - 1]
    lines = written(subject(registrations=registrations), *(Row(time, {}) for time in times))
    assert [line.split(";")[6] for line in lines[35:]] == ["20.0", "20.0", "20.5", "20.5"]
    assert lines[18] == "# TESS MAC address: B"
    assert lines[21:24] == [
        "# TESS zero point: 20.5",
        "# Comment: Until 2026-10-04T00:00:00.000 UTC it was MAC address A, zero point 20.0",
        "# Comment:",
    ]


def test_however_often_a_photometer_changes_the_header_has_its_35_lines() -> None:
    many = [Registration(START + hour * 3_600_000, {"mac": str(hour)}) for hour in range(20)]
    lines = written(subject(registrations=many))
    assert lines[22:29] == [
        "# Comment: Before that it changed 15 times",
        *(f"# Comment: Until 2026-10-01T{hour}:00:00.000 UTC it was {was}" for hour, was in comments(16, 20)),
        "# Comment: DOI 10.1/2",
        "# Comment: MSAS = ZP - 2.5*log10(Frequency)",
    ]
    assert len(lines) == 35


def comments(first: int, last: int) -> list[tuple[int, str]]:
    return [(hour, f"MAC address {hour - 1}, zero point nan") for hour in range(first, last)]


def test_readings_are_taken_one_by_one_as_their_lines_are() -> None:
    taken = []

    def rows() -> Iterator[Row]:
        for minute in range(3):
            taken.append(minute)
            yield Row(START + minute * 60_000, {})

    lines = file_lines(subject(), START, END, rows())
    assert all(next(lines).startswith("#") for _ in range(HEADER_LINES))
    assert taken == []
    assert next(lines)
    assert taken == [0]


words = st.text(max_size=20) | st.sampled_from(["a: b", "a / b/c", "\n# x: y", "x\r\ny", "\u2028", ": ", "/"])
numbers = st.floats(allow_nan=False, allow_infinity=False)
zero_points = st.none() | st.floats(10, 30)


@st.composite
def subjects(draw: st.DrawFn) -> Subject:
    channels = draw(st.sampled_from([1, 4]))
    keys = ["zp"] if channels == 1 else ["zp1", "zp2", "zp3", "zp4"]
    registrations = []
    for time in sorted(draw(st.lists(st.integers(START - DAY, END + DAY), unique=True, max_size=9))):
        said = {key: draw(zero_points) for key in keys} | {"mac": draw(words), "firmware": draw(words)}
        registrations.append(
            Registration(time, {key: value for key, value in said.items() if value is not None})
        )
    place = Place(
        draw(st.floats(-90, 90)),
        draw(st.floats(-180, 180)),
        draw(st.none() | st.floats(-500, 9_000)),
        draw(st.sampled_from(["UTC", "Europe/Madrid", "Asia/Kathmandu"])),
        draw(words),
    )
    site = SiteConfig(draw(words), draw(words), draw(words), draw(words))
    return Subject(draw(words), channels, place, site, registrations)


def zero_point(subject: Subject, key: str, time: int) -> float | str | None:
    """What it should be: of all that was said until then the last, or else the very first."""
    until = [each for each in subject.registrations if each.time <= time]
    chosen = until[-1:] or subject.registrations[:1]
    return chosen[0].said.get(key) if chosen else None


@settings(max_examples=60, deadline=None)
@given(subject=subjects(), data=st.data())
def test_whatever_is_written_is_read_back_to_the_same_readings(
    tmp_path_factory: pytest.TempPathFactory, subject: Subject, data: st.DataObject
) -> None:
    times = sorted(data.draw(st.lists(st.integers(START, END - 1), unique=True, min_size=1, max_size=6)))
    values = st.fixed_dictionaries(
        {"seq": st.integers(0, 2**32 - 1).map(float)},
        optional=dict.fromkeys(FIELDS[subject.channels], numbers),
    )
    rows = [Row(time, data.draw(values)) for time in times]
    header, found = read_back(tmp_path_factory.mktemp("ida"), subject, *rows)
    keys = ["zp"] if subject.channels == 1 else ["zp1", "zp2", "zp3", "zp4"]
    expected = {}
    for row in rows:
        known = {key: zero_point(subject, key, row.time) for key in keys}
        expected[row.time] = {
            **row.values,
            **{key: value for key, value in known.items() if value is not None},
        }
    assert found == expected
    assert header["Number of channels"] == subject.channels
