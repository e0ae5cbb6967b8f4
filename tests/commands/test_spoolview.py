"""What `tessflux export` and `tessflux refused` print, while tessflux runs or not."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tessflux.commands.refused import Form, causes, export, refused, requeue
from tessflux.config.sections import SpoolConfig
from tessflux.errors import CannotCreate
from tessflux.readings import Admitted, Quarantined
from tessflux.spool.group import Group
from tessflux.spool.journal import FILE_NAME, Journal

NOON = 1_732_968_904_123  # 2024-11-30T12:15:04.123Z
FROM_BROKER = Quarantined(NOON, "STARS4ALL/stars1/reading", "stars1", "not JSON", "no object", b"[1]")
NAMELESS = Quarantined(NOON + 1, "STARS4ALL/x/reading", "", "bad name", "no name", b"{}")
FROM_INFLUX = Quarantined(
    NOON + 2, "", "stars2", "refused by InfluxDB", "type conflict", b"stars,name=stars2 x=1 2"
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open all the time, as that of a tessflux that runs."""
    journal = Journal(str(tmp_path), max_size=2**30, quarantine=100)
    yield journal
    journal.close()


def exported(directory: Path) -> str:
    out = io.StringIO()
    export(SpoolConfig(str(directory)), out)
    return out.getvalue()


def printed(directory: Path, form: Form = "table", *, photometer: str = "", cause: str = "") -> list[str]:
    out = io.StringIO()
    refused(SpoolConfig(str(directory)), out, photometer=photometer, cause=cause, form=form)
    # Not splitlines, which takes many other characters for the end of a line.
    *lines, rest = out.getvalue().split("\n")
    assert rest == ""
    return lines


def quarantine(journal: Journal, *rows: Quarantined) -> None:
    journal.commit(Group(quarantined=list(rows)), 0)


def test_the_lines_that_wait_come_out_oldest_first_each_on_its_own_line(
    journal: Journal, tmp_path: Path
) -> None:
    for name in ("b", "a"):
        lines = [f"stars,name={name} seq={number}.0 {number}" for number in range(2)]
        admitted = [Admitted(name, number, number) for number in range(2)]
        journal.commit(Group(lines=lines, admitted=admitted), 0)
    assert exported(tmp_path) == (
        "stars,name=b seq=0.0 0\nstars,name=b seq=1.0 1\nstars,name=a seq=0.0 0\nstars,name=a seq=1.0 1\n"
    )
    journal.commit(Group(), 2)
    assert exported(tmp_path) == "stars,name=a seq=0.0 0\nstars,name=a seq=1.0 1\n"


def test_an_empty_spool_prints_nothing(journal: Journal, tmp_path: Path) -> None:
    assert exported(tmp_path) == ""
    assert printed(tmp_path) == []


def test_it_can_be_looked_into_after_tessflux_has_stopped(journal: Journal, tmp_path: Path) -> None:
    quarantine(journal, FROM_BROKER)
    journal.close()
    assert printed(tmp_path, "payload") == ["[1]"]


def test_the_table_has_time_photometer_or_topic_cause_detail_and_payload(
    journal: Journal, tmp_path: Path
) -> None:
    quarantine(journal, FROM_BROKER, NAMELESS, FROM_INFLUX)
    assert printed(tmp_path) == [
        f"2024-11-30T12:15:04.123+00:00  {'stars1':20}  {'not JSON':20}  no object  [1]",
        f"2024-11-30T12:15:04.124+00:00  {'STARS4ALL/x/reading':20}  {'bad name':20}  no name  {{}}",
        f"2024-11-30T12:15:04.125+00:00  {'stars2':20}  {'refused by InfluxDB':20}  type conflict"
        "  stars,name=stars2 x=1 2",
    ]


def test_the_table_shows_the_beginning_of_a_long_payload(journal: Journal, tmp_path: Path) -> None:
    quarantine(journal, FROM_BROKER._replace(payload=b"x" * 60_000))
    (line,) = printed(tmp_path)
    assert line.endswith("  " + "x" * 200)
    assert printed(tmp_path, "payload") == ["x" * 60_000]


def test_json_has_every_part_under_its_name(journal: Journal, tmp_path: Path) -> None:
    quarantine(journal, FROM_BROKER, NAMELESS)
    first, second = map(json.loads, printed(tmp_path, "json"))
    assert first == {
        "time": "2024-11-30T12:15:04.123+00:00",
        "topic": "STARS4ALL/stars1/reading",
        "photometer": "stars1",
        "cause": "not JSON",
        "detail": "no object",
        "payload": "[1]",
        "retained": False,
    }
    assert (second["photometer"], second["payload"]) == ("", "{}")


NASTY = b'a\nb\r\x1b[2J\x00\x7f \xc3\xb1 \xc2\x85 \xe2\x80\xa8 \xff"'


def test_control_characters_can_neither_break_a_line_nor_reach_the_terminal(
    journal: Journal, tmp_path: Path
) -> None:
    quarantine(journal, FROM_BROKER._replace(payload=NASTY, photometer="\x1b[31m", detail="one\ntwo"))
    shown = r'a\x0ab\x0d\x1b[2J\x00\x7f ñ \x85 \u2028 \xff"'
    assert printed(tmp_path, "payload") == [shown]
    (line,) = printed(tmp_path)
    assert line.endswith(rf"one\x0atwo  {shown}")
    assert r"  \x1b[31m  " in line
    (text,) = printed(tmp_path, "json")
    assert "\x1b" not in text
    assert json.loads(text)["payload"] == 'a\nb\r\x1b[2J\x00\x7f ñ \x85 \u2028 \\xff"'


class Unread(io.StringIO):
    """Output that somebody reads so slowly that tessflux goes on meanwhile."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def write(self, text: str) -> int:
        self._meanwhile()
        return super().write(text)


def test_output_that_nobody_reads_does_not_make_the_log_of_the_spool_grow(
    journal: Journal, tmp_path: Path
) -> None:
    for number in (1, 2):
        journal.commit(Group(lines=[f"stars,name=a seq={number}.0 {number}"]), 0)
    quarantine(journal, FROM_BROKER, NAMELESS)
    begun_anew = []

    def go_on() -> None:
        journal.commit(Group(quarantined=[FROM_INFLUX]), 0)
        busy, *_ = journal._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        begun_anew.append(not busy)

    journal._db.execute("PRAGMA busy_timeout = 0")
    config = SpoolConfig(str(tmp_path))
    export(config, Unread(go_on))
    assert begun_anew == [True, True]
    refused(config, Unread(go_on), photometer="", cause="bad name", form="table")
    assert begun_anew == [True, True, True]


@pytest.mark.parametrize(
    ("photometer", "cause", "times"),
    [
        ("", "", [0, 1, 2]),
        ("stars1", "", [0]),
        (" STARS1 ", "", [0]),
        ("stars", "", []),
        ("", "bad name", [1]),
        ("stars2", "refused by InfluxDB", [2]),
        ("stars2", "not JSON", []),
        ("' OR 1=1 --", "", []),
    ],
)
def test_one_photometer_or_one_cause_can_be_chosen(
    journal: Journal, tmp_path: Path, photometer: str, cause: str, times: list[int]
) -> None:
    rows = [FROM_BROKER, NAMELESS, FROM_INFLUX]
    quarantine(journal, *rows)
    payloads = printed(tmp_path, "payload", photometer=photometer, cause=cause)
    assert payloads == [rows[number].payload.decode() for number in times]


def test_without_a_spool_it_says_which_one_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(CannotCreate, match=str(missing)):
        exported(missing)
    with pytest.raises(CannotCreate, match=str(missing)):
        printed(missing)
    assert not missing.exists()


def test_a_damaged_spool_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"garbage" * 1_000)
    with pytest.raises(CannotCreate, match="not a database"):
        exported(tmp_path)


def test_who_finds_nothing_learns_what_there_is(journal: Journal, tmp_path: Path) -> None:
    quarantine(journal, FROM_BROKER, NAMELESS, FROM_INFLUX, FROM_BROKER)
    spool = SpoolConfig(str(tmp_path))
    assert refused(spool, io.StringIO(), photometer="", cause="not json", form="table") == 0
    assert causes(spool) == ["bad name", "not JSON", "refused by InfluxDB"]


def test_whatever_the_terminal_likes_names_come_out_as_influxdb_takes_them(
    journal: Journal, tmp_path: Path
) -> None:
    line = "stars,name=stärs1 seq=1.0 1"
    journal.commit(Group(lines=[line]), 0)
    config = tmp_path / "config"
    config.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {tmp_path}\n")
    exported = subprocess.run(
        [sys.executable, "-m", "tessflux", "export", "-c", config],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert exported.stdout.decode() == f"{line}\n"


def test_what_is_chosen_is_marked_to_be_tried_again(journal: Journal, tmp_path: Path) -> None:
    quarantine(journal, FROM_BROKER, NAMELESS, FROM_INFLUX)
    spool = SpoolConfig(str(tmp_path))
    assert requeue(spool, photometer=" Stars2 ", cause="") == 1
    assert journal.quarantine.again(10) == {3: FROM_INFLUX}
    assert requeue(spool, photometer="", cause="not JSON") == 1
    assert journal.quarantine.again(10) == {1: FROM_BROKER, 3: FROM_INFLUX}
    assert requeue(spool, photometer="", cause="") == 3


def test_to_mark_a_large_quarantine_the_log_need_not_grow_as_large(journal: Journal, tmp_path: Path) -> None:
    journal.quarantine.bound(rows=100_000, size=2**30)
    for _ in range(20):
        quarantine(journal, *[FROM_BROKER._replace(payload=b"x" * 1_500)] * 1_000)
    assert requeue(SpoolConfig(str(tmp_path)), photometer="", cause="") == 20_000
    assert len(journal.quarantine.again(100_000)) == 20_000
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size < 15_000_000


def test_where_there_is_no_spool_nothing_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match="once tessflux has run"):
        requeue(SpoolConfig(str(tmp_path)), photometer="", cause="")
    assert list(tmp_path.iterdir()) == []
