"""Whatever is in a payload, it becomes one line with the right content, or none."""

from itertools import islice
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from servers import Influxd

from tests.faults.hostile_payloads import Checker, Payloads, Point, read_line

CAUSES = {"not JSON", "bad name", "incomplete", "not a number", "implausible", "bad time", "register message"}


def test_20_000_hostile_payloads_become_one_line_each_or_none() -> None:
    """CI tries a million."""
    checker = Checker()
    for payload in islice(Payloads(20260301), 20_000):
        checker.take(payload)
    assert checker.ended.total() == 20_000
    # Were they too mild or too wild, they would test nothing.
    assert checker.ended["stored"] > 5_000
    assert min(checker.ended[cause] for cause in CAUSES) > 20


@pytest.mark.parametrize(
    "line",
    [
        "readings,name=a seq=1.0 1\n",
        "readings,name=a seq=1.0 1\nreadings,name=b seq=1.0 1",
        "readings,name=a b seq=1.0 1",
        "readings,name=a,tag=b seq=1.0 1",
        "readings,name=a=b seq=1.0 1",
        "readings,name=a\\ seq=1.0 1",
        "readings,name= seq=1.0 1",
        "readings seq=1.0 1",
        "readings,name=a seq=1i 1",
        'readings,name=a seq="1" 1',
        "readings,name=a seq=nan 1",
        "readings,name=a seq=1e 1",
        "readings,name=a seq=1.0,seq=2.0 1",
        "readings,name=a seq=1.0",
        "readings,name=a  1",
    ],
)
def test_the_parser_that_checks_the_lines_is_strict(line: str) -> None:
    with pytest.raises(AssertionError):
        read_line(line)


def test_influxdb_takes_every_line_and_gives_back_the_same_names_and_values(tmp_path: Path) -> None:
    checker = Checker()
    made = [found for payload in islice(Payloads(7), 25_000) if (found := checker.take(payload))]
    assert len(made) > 5_000
    with Influxd(tmp_path / "influxd") as influxd:
        influxd.query('CREATE DATABASE "tessdb"')
        body = "\n".join(line for line, _ in made).encode()
        with urlopen(Request(f"{influxd.url}/write?db=tessdb&precision=ms", body), timeout=30) as answer:
            assert answer.status == 204
        stored = [
            Point(
                "readings",
                row.pop("name"),
                {key: float(value) for key, value in row.items() if key != "time" and value is not None},
                row["time"],
            )
            for row in influxd.select("SELECT * FROM readings GROUP BY *", "tessdb")
        ]
    assert sorted(stored, key=lambda point: (point.name, point.time)) == sorted(
        (point for _, point in made), key=lambda point: (point.name, point.time)
    )
