"""`tessflux data`: what is asked for wrongly, where the readings go, and how far that has come."""

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tessflux import cli
from tessflux.archive import Extent, Row
from tessflux.commands.data import Wanted, data
from tessflux.commands.progress import bar, with_progress
from tessflux.config import load
from tessflux.errors import CannotCreate
from tests.faults.scripted import Answer, ScriptedServer
from tests.real.site import wait_until

NOTHING = Answer(200, b'{"results":[{"statement_id":0}]}')


@pytest.fixture
def database() -> Iterator[ScriptedServer]:
    """An InfluxDB without readings."""
    with ScriptedServer(otherwise=NOTHING) as server:
        yield server


@pytest.fixture
def config(database: ScriptedServer, tmp_path: Path) -> Path:
    file = tmp_path / "config"
    file.write_text(f"[influxdb]\nurl = {database.url}\n[mqtt]\nbroker = tcp:127.0.0.1:1\n")
    return file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "--from yesterday must be a date, or a time such as"),
        (["--to", "2026-02-30"], "--to 2026-02-30 must be a date"),
        (["--month", "10"], "--month 10 must be a month"),
        (["--night", "2026-10"], "--night 2026-10 must be the day"),
        (["--from", "2026-10-02", "--to", "2026-10-01"], "--to 2026-10-01 must be after --from 2026-10-02"),
        (["--month", "2026-10", "--to", "2026-10-01"], "take one of --month, --night, and --from with --to"),
        (["--month", "2026-10", "--night", "2026-10-01"], "take one of"),
        (["--output", "nope"], "has no output nope; there are: influxdb"),
        (["stars\udcff\x1b[31m"], "no photometer has a name such as stars\\udcff\\x1b[31m"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_before_anybody_is_asked(
    arguments: list[str],
    said: str,
    config: Path,
    database: ScriptedServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = [] if not arguments[0].startswith("--") else ["stars1"]
    assert cli.main(["data", *name, "-c", str(config), *arguments]) == 64
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert database.requests == []


def test_a_database_without_readings_has_no_names_to_offer(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "stars1", "-c", str(config)]) == 66
    assert capsys.readouterr().err == "tessflux: there are no readings of stars1\n"


@pytest.mark.parametrize(
    ("arguments", "period"),
    [
        (["--from", "2300-01-01"], "from 2262-04-11T23:47:16.854Z to 2262-04-11T23:47:16.854Z"),
        (["--to", "1960-01-01"], "from 1970-01-01T00:00:00.000Z to 1970-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_that_no_database_has_is_one_without_readings(
    arguments: list[str],
    period: str,
    config: Path,
    database: ScriptedServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database.then(NOTHING, NOTHING, *answers())
    assert cli.main(["data", "stars1", "-c", str(config), *arguments]) == 66
    assert f"there are no readings of stars1 {period}; the first is of" in capsys.readouterr().err


def answers() -> list[Answer]:
    """What an InfluxDB says to the questions about a photometer that has a single reading."""
    return [table(f'"time","{column}"', "[0,7]") for column in ("seq", "seq", "last", "seq")]


def table(columns: str, rows: str) -> Answer:
    return Answer(200, f'{{"results":[{{"series":[{{"columns":[{columns}],"values":[{rows}]}}]}}]}}'.encode())


def test_the_readings_go_to_standard_output(
    config: Path, database: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    database.then(*answers())
    assert cli.main(["data", "stars1", "-c", str(config)]) == 0
    assert capsys.readouterr() == ("time (ISO 8601 UTC),seq\r\n1970-01-01T00:00:00.000Z,7\r\n", "")


def test_a_disk_that_is_full_is_said(
    config: Path, database: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    database.then(*answers())
    assert cli.main(["data", "stars1", "-c", str(config), "-o", "/dev/full"]) == 73
    assert capsys.readouterr().err == "tessflux: /dev/full: No space left on device\n"


def test_when_the_database_goes_amid_the_readings_there_is_no_file(
    config: Path, database: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database.then(*answers(), Answer(500, b'{"error":"out of memory"}'))
    file = tmp_path / "stars1.csv"
    assert cli.main(["data", "stars1", "-c", str(config), "-o", str(file)]) == 69
    assert capsys.readouterr().err == f"tessflux: [influxdb] {database.url}: out of memory\n"
    assert sorted(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_it_amid_the_readings_there_is_no_file(
    config: Path, database: ScriptedServer, tmp_path: Path, number: signal.Signals
) -> None:
    database.then(*answers()[:3], Answer(silent=True))
    # A shell has what it runs in the background ignore SIGINT.
    command = ["env", f"--default-signal={number.name[3:]}", sys.executable]
    command += ["-m", "tessflux", "data", "stars1", "-c", str(config)]
    with subprocess.Popen([*command, "-o", str(tmp_path / "stars1.csv")], stderr=subprocess.PIPE) as process:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "the file of what has come")
        process.send_signal(number)
        assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == [config]


def test_a_bar_shows_which_part_of_the_time_has_been_read() -> None:
    extent = Extent(1_000, 10_999, frozenset())
    assert bar(1_000, extent) == f"[{'.' * 30}]   0%"
    assert bar(6_000, extent) == f"[{'#' * 15}{'.' * 15}]  50%"
    assert bar(10_999, extent) == f"[{'#' * 30}] 100%"
    assert bar(5, Extent(5, 5, frozenset())) == f"[{'#' * 30}] 100%"


def test_the_progress_is_shown_now_and_then_and_gone_in_the_end() -> None:
    rows = [Row(number, {}) for number in range(2_500)]
    terminal, seconds = io.StringIO(), count()
    passed = list(with_progress(rows, Extent(0, 2_499, frozenset()), terminal, lambda: float(next(seconds))))
    assert passed == rows
    *shown, last = terminal.getvalue().split("\r\x1b[K")[1:]
    assert [text.rpartition("  ")[2] for text in shown] == [
        f"{each} readings" for each in ("0", "500", "1,000", "1,500", "2,000")
    ]
    assert last == ""


@pytest.mark.parametrize("form", ["csv", "ida"])
def test_it_is_gone_before_a_failure_is_said(
    form: str, config: Path, database: ScriptedServer, tmp_path: Path
) -> None:
    many = ",".join(f"[{number * 1_000_000},7]" for number in range(2_000))
    extent = [
        table('"time","seq"', "[0,7]"),
        table('"time","seq"', "[2000000000,7]"),
        table('"time","last"', "[0,7]"),
    ]
    rows = table('"time","seq"', many)
    file = tmp_path / "stars1" / "stars1_1970-01.dat"
    file.parent.mkdir()
    file.symlink_to("/dev/full")
    if form == "ida":
        database.then(NOTHING, *extent, NOTHING, *extent, rows)
    else:
        database.then(*extent, rows)
    target, terminal = tmp_path if form == "ida" else file, io.StringIO()
    shown = ""
    try:
        data(load(str(config), {}), Wanted("stars1", form=form), str(target), terminal)
    except CannotCreate:
        # Here, where it would be said, and no longer when the error is forgotten.
        shown = terminal.getvalue()
    assert shown.endswith("\r\x1b[K")


def test_without_a_terminal_the_rows_pass_all_the_same() -> None:
    rows = [Row(0, {}), Row(1, {})]
    assert list(with_progress(rows, Extent(0, 1, frozenset()), None, lambda: 0.0)) == rows
