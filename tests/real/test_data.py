"""`tessflux data`: what comes out of a real database is what went into it."""

import csv
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from math import isclose
from pathlib import Path
from urllib.parse import urlencode

import pytest
from databases import DEDUPLICATE, QuestDB
from servers import Influxd, ServerFailed, VictoriaMetrics, ask, ini

from tessflux import cli
from tessflux.archive import EVER, Extent, Registration, Row, Source, iso, open_source
from tessflux.config import InfluxConfig
from tessflux.sky import sky
from tests.archive import oracle
from tests.archive.site import ODD_NAMES, line
from tests.real.site import wait_until

Database = Influxd | VictoriaMetrics | QuestDB

START = 1_726_928_000_123
"""21 September 2024, 14:13:20.123 UTC."""
HOUR, MINUTE = 3_600_000, 60_000
STEP = 5_000
"""The shortest time between readings: a day of them is more than a page."""
UNUSUAL = (1 / 3, 0.1 + 0.2, 12345.123456789012, 16.0, 0.0, 0.0625)


def values(number: int) -> dict[str, float]:
    """Of one reading: a TESS4C's are those of even numbers."""
    found = {"seq": float(number), "tamb": -number / 9}
    if number % 2:
        return found | {"mag": number / 7, "freq": UNUSUAL[number % len(UNUSUAL)]}
    return found | {
        f"{key}{digit}": number / digit + 0.1 for key in ("mag", "freq") for digit in (1, 2, 3, 4)
    }


ROWS: Mapping[str, list[Row]] = {
    # Not each has every field, and two are in the same second.
    "stars1": [Row(START + n * 7 * HOUR + n % 3, values(2 * n + 1)) for n in range(20)]
    + [Row(START + 200 * HOUR, {"mag": 20.0, "seq": 1.0}), Row(START + 200 * HOUR + 1, {"seq": 2.0})],
    "stars4": [Row(START + n * MINUTE, values(2 * n)) for n in range(10)],
    **{name: [Row(START + n, {"seq": float(n)})] for n, name in enumerate(ODD_NAMES)},
}


@pytest.fixture(scope="module", params=["InfluxDB", "VictoriaMetrics", "QuestDB"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One that has ROWS."""
    directory = tmp_path_factory.mktemp("database")
    server: Database
    if request.param == "InfluxDB":
        server = Influxd(directory)
    elif request.param == "VictoriaMetrics":
        server = VictoriaMetrics(directory, flags=[DEDUPLICATE])
    else:
        try:
            server = QuestDB(directory)
        except ServerFailed as error:
            pytest.skip(str(error))
    with server:
        if isinstance(server, Influxd):
            server.query('CREATE DATABASE "tessdb"')
        write(server, [line(name, *row[::-1]) for name, rows in sent(server).items() for row in rows])
        yield server


def write(database: Database, lines: Iterable[str]) -> None:
    """Write lines, and wait until they can be read."""
    text = "\n".join([*lines, line("last", {"seq": 1.0}, START)])
    ask(f"{database.url}/write?db=tessdb&precision=ms", text.encode())
    if isinstance(database, VictoriaMetrics):
        ask(f"{database.url}/internal/force_flush")
    wait_until(lambda: "last" in source(database).names(), "what was written")


def source(database: Database) -> Source:
    return open_source(InfluxConfig(url=database.url))


def sent(database: Database) -> Mapping[str, list[Row]]:
    """What it has. Of what is written into it, QuestDB takes a backslash for an escape."""
    backslashes = not isinstance(database, QuestDB)
    return {name: rows for name, rows in ROWS.items() if backslashes or "\\" not in name}


def same(found: Iterable[Row], wanted: Iterable[Row], database: Database) -> bool:
    """Whether these are the same readings: exactly, but VictoriaMetrics rounds."""
    found, wanted = list(found), list(wanted)
    if not isinstance(database, VictoriaMetrics):
        return found == wanted
    keys = [[(row.time, row.values.keys()) for row in rows] for rows in (found, wanted)]
    return keys[0] == keys[1] and all(
        isclose(row.values[key], value, rel_tol=1e-12, abs_tol=1e-11)
        for row, other in zip(found, wanted, strict=True)
        for key, value in other.values.items()
    )


def extent_of(rows: list[Row]) -> Extent:
    return Extent(rows[0].time, rows[-1].time, frozenset(key for row in rows for key in row.values))


def test_every_reading_comes_out_with_its_values_and_its_millisecond(database: Database) -> None:
    """Whatever is in the name."""
    asked, rows = source(database), sent(database)
    assert {*rows, "last"} <= set(asked.names())
    assert asked.names() == sorted(asked.names())
    for name in rows:
        assert asked.extent(name, *EVER) == extent_of(rows[name])
        period = rows[name][0].time, rows[name][-1].time + 1
        assert same(asked.readings(name, *period), rows[name], database), name


@pytest.mark.parametrize("begin", [START + 7 * HOUR, START + 7 * HOUR + 1, START + 7 * HOUR + 2])
@pytest.mark.parametrize("end", [START + 200 * HOUR, START + 200 * HOUR + 1, START + 21 * HOUR])
def test_a_period_has_its_begin_and_not_its_end(database: Database, begin: int, end: int) -> None:
    asked = source(database)
    rows = [row for row in ROWS["stars1"] if begin <= row.time < end]
    assert same(asked.readings("stars1", begin, end), rows, database)
    assert asked.extent("stars1", begin, end) == extent_of(rows)


def test_a_period_of_years_has_its_first_millisecond_and_not_its_last(database: Database) -> None:
    """Some of these numbers of milliseconds become smaller by being made seconds and milliseconds again."""
    first = START - 4 * 365 * 24 * HOUR
    write(database, [line("old", {"seq": 1.0}, first)])
    asked, extent = source(database), Extent(first, first, frozenset({"seq"}))
    for length in range(68_000_000_000, 68_000_000_050):
        assert asked.extent("old", first, first + length) == extent
        assert asked.extent("old", first + 1 - length, first + 1) == extent
        assert asked.extent("old", first - length, first) is None
        assert asked.extent("old", first + 1, first + 1 + length) is None


def test_where_there_is_nothing_nothing_comes(database: Database) -> None:
    asked = source(database)
    for name, *period in (
        ("stars1", START - HOUR, START),
        ("stars1", START + 1, START + HOUR),
        ("stars1", EVER.start, EVER.start),
        ("stars1", EVER.end, EVER.end),
        ("stars1", 0, 1),
        ("star", *EVER),
        ("", *EVER),
    ):
        assert asked.extent(name, *period) is None
    assert list(asked.readings("stars1", START - HOUR, START)) == []
    assert asked.registrations("stars1") == []


def test_what_a_photometer_says_of_itself_comes_out_too(database: Database) -> None:
    """Texts as well, where the database has texts."""
    said = {"zp": 20.44, "latitude": 40.4, "longitude": -3.7}
    written = line("talks", said, START, "photometers").replace("zp=", 'mac="5C:CF:7F:08:0A:01",zp=')
    write(database, [written, line("talks", {"zp": 20.5}, START + HOUR, "photometers")])
    texts = {} if isinstance(database, VictoriaMetrics) else {"mac": "5C:CF:7F:08:0A:01"}
    wanted = [Registration(START, {**texts, **said}), Registration(START + HOUR, {"zp": 20.5})]
    wait_until(lambda: source(database).registrations("talks") == wanted, "both")
    assert source(database).registrations("stars1") == []


@pytest.fixture
def config(database: Database, tmp_path: Path) -> Path:
    """The config of a tessflux that writes into it; stars1 stands in the Canary Islands."""
    places = tmp_path / "places"
    places.write_text("name,latitude,longitude,zone\nstars1,28.3,-16.5,Atlantic/Canary\n")
    file = tmp_path / "config"
    file.write_text(
        ini(
            {
                "influxdb": {"url": "http://127.0.0.1:1"},
                "influxdb archive": {"url": database.url},
                "mqtt": {"broker": "tcp:127.0.0.1:1"},
                "spool": {"directory": tmp_path / "spool"},
                "site": {"places": places},
            }
        )
    )
    return file


def table(config: Path, *arguments: str) -> list[list[str]]:
    """The CSV that the command writes into a file."""
    file = config.with_name("out.csv")
    command = ["data", *arguments, "--output", "archive", "-c", str(config), "-o", str(file)]
    assert cli.main(command) == 0
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.reader(text, strict=True))


@pytest.mark.parametrize(
    ("arguments", "begin", "end"),
    [
        ([], 0, 2**60),
        # 14:13 is in the night that began at 11:00 UTC, noon of the Canaries in summer.
        (["--night", "2024-09-21"], START, START + 20 * HOUR),
        (["--night", "2024-09-20"], START - 24 * HOUR, START - 3 * HOUR),
        (["--month", "2024-09"], START, START + 220 * HOUR),
        (["--from", "2024-09-22", "--to", "2024-09-22"], START + 10 * HOUR, START + 33 * HOUR),
        (["--from", "2024-09-29T22:13:20.124Z"], START + 200 * HOUR + 1, 2**60),
    ],
)
def test_the_csv_has_the_readings_of_the_time_that_was_asked_for(
    config: Path, arguments: list[str], begin: int, end: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for row in ROWS["stars1"] if begin <= row.time < end]
    if not rows:
        command = ["data", "stars1", "--output", "archive", "-c", str(config), *arguments]
        assert cli.main(command) == 66
        assert "there are no readings of stars1 from 2024-09-20T11:00" in capsys.readouterr().err
        return
    _, *lines = table(config, "STARS1", *arguments)
    assert [cells[0] for cells in lines] == [iso(row.time) for row in rows]
    assert [float(cells[1]) for cells in lines] == [row.values["seq"] for row in rows]


@pytest.mark.parametrize(("name", "channels"), [("stars1", 1), ("stars4", 4)])
def test_an_ida_file_has_the_readings_of_a_month(
    database: Database, config: Path, name: str, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config.with_name("places").write_text("name,latitude,longitude\nstars1,28.3,-16.5\nstars4,40.4,-3.7\n")
    directory = config.with_name("ida")
    command = ["data", name, "--output", "archive", "-c", str(config), "-o", str(directory)]
    assert cli.main([*command, "--format", "ida"]) == 0
    file = directory / name / f"{name}_2024-09.dat"
    assert capsys.readouterr().out == f"{file}: {len(ROWS[name])} readings\n"
    header, found = oracle.read(file)
    assert header["Number of channels"] == channels
    assert same((Row(time, values) for time, values in found.items()), ROWS[name], database)


def test_sun_and_moon_stand_beside_the_readings(config: Path) -> None:
    head, first, *_ = table(config, "stars1", "--sun-moon")
    assert head[-3:] == ["sun_altitude (degrees)", "moon_altitude (degrees)", "moon_lit (0 to 1)"]
    there = sky(START / 1000, 28.3, -16.5)
    assert [float(cell) for cell in first[-3:]] == [
        pytest.approx(value, abs=0.05) for value in (there.sun, there.moon, there.lit)
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["stars9"], 66, "there are no readings of stars9; there are: stars4, stars1, ..."),
        (["stars1' OR \"name\" = 'stars4"], 66, "there are no readings of stars1' OR"),
        (
            ["stars1", "--month", "2023-01"],
            66,
            "there are no readings of stars1 from 2023-01-01T00:00:00.000Z to 2023-02-01T00:00:00.000Z;"
            " the first is of 2024-09-21T14:13:20.123Z, the last of 2024-09-29T22:13:20.124Z",
        ),
        (["stars4", "--sun-moon"], 64, "where stars4 stands is not known"),
        (["stars1", "--sun-moon", "--format", "ida"], 64, "IDA files have no columns for --sun-moon"),
        (["stars4", "-o", "/nowhere/stars4.csv"], 73, "/nowhere/stars4.csv: No such file or directory"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(
    config: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", *arguments, "--output", "archive", "-c", str(config)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"tessflux: {said}")
    assert printed.err.count("\n") == 1


def test_many_readings_take_no_more_memory_than_a_few(database: Database, config: Path) -> None:
    """A year of them would be 525,600."""
    count, part = 40_000, 20_000
    for begin in range(0, count, part):
        numbers = range(begin, begin + part)
        write(database, [line("many", values(2 * n + 1), START + n * STEP) for n in numbers])
    end = START + count * STEP
    wait_until(lambda: source(database).extent("many", end - STEP, end), "the last of them")
    out = config.with_name("many.csv")
    command = ["data", "many", "--output", "archive", "-c", str(config), "-o", str(out)]
    script = (
        "import sys; from pathlib import Path; from tessflux import cli; code = cli.main(sys.argv[1:]);"
        " print(Path('/proc/self/status').read_text()); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert out.read_text().count("\n") == count + 1
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", ran.stdout)
    # All of them as rows would take 28 MB more.
    assert int(kilobytes) < 78 * 1024


def test_a_retention_policy_is_the_one_of_the_config_or_that_which_was_named(
    influxd: Influxd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    influxd.query('CREATE DATABASE "tessdb"')
    influxd.query('CREATE RETENTION POLICY "odd \\"name" ON "tessdb" DURATION INF REPLICATION 1')
    for policy, number in (("autogen", 1.0), ('odd "name', 2.0)):
        place = urlencode({"db": "tessdb", "precision": "ms", "rp": policy})
        ask(f"{influxd.url}/write?{place}", line("stars1", {"seq": number}, START).encode())
    file = tmp_path / "config"
    broker = {"mqtt": {"broker": "tcp:127.0.0.1:1"}}
    for keys, more, value in (
        ({}, [], "1"),
        ({"retpol": 'odd "name'}, [], "2"),
        ({"retpol": 'odd "name'}, ["--retpol", "autogen"], "1"),
        ({}, ["--retpol", 'odd "name'], "2"),
    ):
        file.write_text(ini({"influxdb": {"url": influxd.url, **keys}, **broker}))
        assert cli.main(["data", "stars1", "-c", str(file), *more]) == 0
        assert capsys.readouterr().out.splitlines()[1] == f"{iso(START)},{value}"
    assert cli.main(["data", "stars1", "-c", str(file), "--retpol", "none"]) == 69
    assert f"{influxd.url}: retention policy not found: none" in capsys.readouterr().err


def test_whoever_may_not_read_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Influxd(tmp_path / "influxd", http={"auth-enabled": True}) as server:
        server.query("CREATE USER root WITH PASSWORD 'root' WITH ALL PRIVILEGES")
        root = {"u": "root", "p": "root"}
        server.query("CREATE DATABASE tessdb; CREATE USER writer WITH PASSWORD 'geheim'", **root)
        server.query("GRANT WRITE ON tessdb TO writer", **root)
        file = tmp_path / "config"
        for login, said in (
            ({"username": "writer", "password": "geheim"}, "may read"),
            ({"username": "writer", "password": "falsch"}, "401 authorization failed"),
            # That of the package's defaults would be let in.
            ({}, "401 unable to parse authentication credentials"),
        ):
            sections = {"influxdb": {"url": server.url, **login}, "mqtt": {"broker": "tcp:127.0.0.1:1"}}
            file.write_text(ini(sections))
            file.chmod(0o600)
            assert cli.main(["data", "stars1", "-c", str(file)]) == 69
            printed = capsys.readouterr().err
            assert said in printed
            assert printed.count("\n") == 1
