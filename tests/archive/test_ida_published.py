"""Files that people published, and what tessflux writes from the same readings, line by line.

`published/` has the headers and some readings of two files of the TESS network (ODbL 1.0). Names, observers,
places, positions and MAC addresses in them are invented.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tessflux.archive import Registration, Row
from tessflux.archive.ida import Subject, file_lines
from tessflux.config import Place, SiteConfig

PUBLISHED = Path(__file__).parent / "published"
HEADER = 35
FIELDS = ("tamb", "tsky", "freq", "mag", "zp", "seq")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


FIRST = (
    "stars9001",
    "2021-03",
    Place(40.1234567, -3.1234567, 0.0, "Europe/Madrid", "Villanada / Provincia / Tierra de Nadie / Spain"),
    SiteConfig(observer="Ana Inventada", organization="Club Imaginario"),
    [Registration(0, {"mac": "5C:CF:7F:00:00:01", "firmware": "1.0", "zp": 20.45})],
)
SECOND = (
    "stars9002",
    "2023-01",
    Place(33.123456, -111.123456, 0.0, "America/Phoenix"),
    SiteConfig(),
    [
        Registration(0, {"mac": "18:FE:34:00:00:02", "firmware": "1.0", "zp": 20.5}),
        Registration(ms("2023-01-08T18:55:00"), {"mac": "18:FE:34:00:00:02", "firmware": "1.0", "zp": 20.38}),
    ],
)

OURS = {
    # The parts are separated by " / " since 2023, and the first of the five is the place in the town.
    "stars9001": {
        8: "# Location name: None / Villanada / Provincia / Tierra de Nadie / Spain",
        15: "# Filters per channel: UV/IR-740",
    },
    "stars9002": {
        8: "# Location name: None / None / None / None / None",
        15: "# Filters per channel: UV/IR-740",
        23: "# Comment: Until 2023-01-08T18:55:00.000 UTC it was MAC address 18:FE:34:00:00:02,"
        " zero point 20.5",
        25: "# Comment:",
    },
}
"""The lines that differ, by their number: what tessflux writes there."""


@pytest.mark.parametrize(("name", "month", "place", "site", "registrations"), [FIRST, SECOND])
def test_what_we_write_is_what_people_published_line_by_line(
    name: str, month: str, place: Place, site: SiteConfig, registrations: Sequence[Registration]
) -> None:
    published = (PUBLISHED / name / f"{name}_{month}.dat").read_text(encoding="utf-8").splitlines()
    rows = []
    for line in published[HEADER:]:
        utc, _, *numbers = line.split(";")
        # A reading does not bring its zero point: that must come from what the photometer said of itself.
        values = {key: float(text) for key, text in zip(FIELDS, numbers, strict=True) if key != "zp"}
        rows.append(Row(ms(utc), values))
    start, end = ms(f"{month}-01"), rows[-1].time + 1
    written = "".join(file_lines(Subject(name, 1, place, site, registrations), start, end, rows)).splitlines()
    expected = [OURS[name].get(number, line.rstrip()) for number, line in enumerate(published, 1)]
    assert written == expected
    for number in OURS[name]:
        key, published_key = written[number - 1].split(":")[0], published[number - 1].split(":")[0]
        assert key == published_key
