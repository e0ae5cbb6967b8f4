"""Files by month: which there are, what is in them, and what is left where one cannot be written."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tessflux.archive import Extent, Period, Registration, Row
from tessflux.archive.months import Written, months, write_months
from tessflux.config import Place, SiteConfig
from tessflux.errors import CannotCreate, Unavailable
from tests.archive import oracle

PLACE = Place(40.4, -3.7, 650.0, "Europe/Madrid", "Madrid")
MINUTE, YEAR = 60_000, 31_536_000_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


class FakeSource:
    """Has these readings of everybody."""

    def __init__(self, rows: Sequence[Row], registrations: Sequence[Registration] = ()) -> None:
        self.rows, self.said = rows, registrations

    def names(self) -> Sequence[str]:
        raise NotImplementedError

    def extent(self, name: str, start: int, end: int) -> Extent | None:
        found = list(self.readings(name, start, end))
        fields = frozenset[str]().union(*(row.values for row in found))
        return Extent(found[0].time, found[-1].time, fields) if found else None

    def readings(self, name: str, start: int, end: int) -> Iterator[Row]:
        return (row for row in self.rows if start <= row.time < end)

    def registrations(self, name: str) -> Sequence[Registration]:
        return self.said


def write(source: FakeSource, directory: Path, name: str = "stars1") -> list[Written]:
    extent = source.extent(name, 0, 2 * ms("2100-01-01"))
    assert extent is not None
    return list(
        write_months(
            source, name, extent, directory, PLACE, SiteConfig(), watched=lambda rows: (row for row in rows)
        )
    )


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-10-01", "2026-11-01", ["2026-10 2026-10-01 2026-11-01"]),
        ("2026-10-31T23:59", "2026-11-01", ["2026-10 2026-10-31T23:59 2026-11-01"]),
        (
            "2026-11-30T23:59",
            "2027-02-01T00:01",
            [
                "2026-11 2026-11-30T23:59 2026-12-01",
                "2026-12 2026-12-01 2027-01-01",
                "2027-01 2027-01-01 2027-02-01",
                "2027-02 2027-02-01 2027-02-01T00:01",
            ],
        ),
        ("2026-10-01", "2026-10-01", []),
    ],
)
def test_months_are_those_of_utc_and_end_with_the_period(start: str, end: str, expected: list[str]) -> None:
    found = list(months(Period(ms(start), ms(end))))
    assert found == [
        (label, Period(ms(first), ms(last))) for label, first, last in (line.split() for line in expected)
    ]


def test_each_month_with_readings_has_a_file_that_the_tools_of_the_network_read(tmp_path: Path) -> None:
    rows = [
        Row(ms(time), {"mag": 20.0 + number, "freq": 1.5, "seq": float(number)})
        for number, time in enumerate(("2026-09-30T23:59", "2026-10-01", "2026-10-31T23:59:59", "2026-12-01"))
    ]
    written = write(FakeSource(rows, [Registration(0, {"mac": "A", "zp": 20.5})]), tmp_path)
    assert [(str(path.relative_to(tmp_path)), readings) for path, readings in written] == [
        ("stars1/stars1_2026-09.dat", 1),
        ("stars1/stars1_2026-10.dat", 2),
        ("stars1/stars1_2026-12.dat", 1),
    ]
    found = [oracle.read(path)[1] for path, _ in written]
    assert {time: values for each in found for time, values in each.items()} == {
        row.time: {**row.values, "zp": 20.5} for row in rows
    }


def test_a_month_has_four_channels_if_one_of_its_readings_has(tmp_path: Path) -> None:
    rows = [
        Row(ms("2026-10-01"), {"mag": 20.0, "seq": 1.0}),
        Row(ms("2026-11-01"), {"mag": 20.5, "seq": 2.0}),
        Row(ms("2026-11-02"), {"mag1": 20.1, "mag4": 21.1, "seq": 3.0}),
    ]
    read = [oracle.read(path) for path, _ in write(FakeSource(rows), tmp_path)]
    assert [(header["Number of channels"], list(found.values())) for header, found in read] == [
        (1, [{"mag": 20.0, "seq": 1.0}]),
        (4, [{"mag1": 20.5, "seq": 2.0}, {"mag1": 20.1, "mag4": 21.1, "seq": 3.0}]),
    ]


@pytest.mark.parametrize("key", ["mag1", "freq3"])
def test_a_tess4c_has_four_channels_also_while_some_of_them_are_broken(tmp_path: Path, key: str) -> None:
    (written,) = write(FakeSource([Row(ms("2026-10-01"), {key: 20.0, "seq": 1.0})]), tmp_path)
    header, found = oracle.read(written.path)
    assert (header["Number of channels"], list(found.values())) == (4, [{key: 20.0, "seq": 1.0}])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("my backyard", "my backyard/my backyard_2026-10.dat"),
        ("../../etc/cron", "_._.._etc_cron/_._.._etc_cron_2026-10.dat"),
        ("..", "_./_._2026-10.dat"),
        ("/", "_/__2026-10.dat"),
    ],
)
def test_no_name_leads_out_of_the_directory(name: str, path: str, tmp_path: Path) -> None:
    (written,) = write(FakeSource([Row(ms("2026-10-01"), {"mag": 20.0})]), tmp_path / "out", name)
    assert written.path == tmp_path / "out" / path
    assert written.path.is_file()


def test_a_file_is_written_as_a_whole_or_stays_what_it_was(tmp_path: Path) -> None:
    class Breaking(FakeSource):
        def readings(self, name: str, start: int, end: int) -> Iterator[Row]:
            yield from self.rows[:1]
            raise Unavailable("it went away")

        def extent(self, name: str, start: int, end: int) -> Extent:
            return Extent(self.rows[0].time, self.rows[-1].time, frozenset({"mag"}))

    rows = [Row(ms("2026-10-01") + minute * MINUTE, {"mag": 20.0}) for minute in range(3)]
    (written,) = write(FakeSource(rows), tmp_path)
    before = written.path.read_bytes()
    with pytest.raises(Unavailable, match="it went away"):
        write(Breaking(rows), tmp_path)
    assert written.path.read_bytes() == before
    assert list(written.path.parent.iterdir()) == [written.path]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match=r"file/stars1: (Not a directory|File exists)"):
        write(FakeSource([Row(ms("2026-10-01"), {"mag": 20.0})]), tmp_path / "file")
