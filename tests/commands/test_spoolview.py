"""`tessflux export`, `refused` and `refused --requeue` look into the spool, whether tessflux runs or not."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux.cli import main
from tessflux.commands.export import export
from tessflux.commands.refused import Form, refused
from tessflux.commands.requeue import requeue
from tessflux.config import SpoolConfig
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
ROWS = [FROM_BROKER, NAMELESS, FROM_INFLUX]


def exported(spool: SpoolConfig) -> str:
    out = io.StringIO()
    export(spool, out)
    return out.getvalue()


def printed(spool: SpoolConfig, form: Form = "table", *, photometer: str = "", cause: str = "") -> list[str]:
    out = io.StringIO()
    refused(spool, out, lambda line: None, photometer=photometer, cause=cause, form=form)
    # Not splitlines, which takes many other characters for the end of a line.
    *lines, rest = out.getvalue().split("\n")
    assert rest == ""
    return lines


def warning(spool: SpoolConfig, *, cause: str) -> list[str]:
    lines: list[str] = []
    refused(spool, io.StringIO(), lines.append, photometer="", cause=cause, form="table")
    return lines


def quarantine(journal: Journal, *rows: Quarantined) -> None:
    journal.commit(Group(quarantined=list(rows)), 0)


def config_file(spool: SpoolConfig) -> str:
    path = Path(spool.directory) / "config"
    path.write_text(f"[mqtt]\nbroker = tcp:localhost:1883\n[spool]\ndirectory = {spool.directory}\n")
    return str(path)


# export


def test_the_waiting_lines_are_printed_oldest_first_each_on_its_own_line(
    journal: Journal, spool: SpoolConfig
) -> None:
    for name in ("b", "a"):
        lines = [f"stars,name={name} seq={number}.0 {number}" for number in range(2)]
        admitted = [Admitted(name, number, number) for number in range(2)]
        journal.commit(Group(lines=lines, admitted=admitted), 0)
    of_b = "stars,name=b seq=0.0 0\nstars,name=b seq=1.0 1\n"
    of_a = "stars,name=a seq=0.0 0\nstars,name=a seq=1.0 1\n"
    assert exported(spool) == of_b + of_a
    journal.commit(Group(), 2)
    assert exported(spool) == of_a


def test_names_are_printed_in_utf8_whatever_the_encoding_of_the_terminal(
    journal: Journal, spool: SpoolConfig
) -> None:
    line = "stars,name=stärs1 seq=1.0 1"
    journal.commit(Group(lines=[line]), 0)
    result = subprocess.run(
        [sys.executable, "-m", "tessflux", "export", "-c", config_file(spool)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert result.stdout.decode() == f"{line}\n"


# refused


def test_the_table_has_time_photometer_or_topic_cause_detail_and_payload(
    journal: Journal, spool: SpoolConfig
) -> None:
    quarantine(journal, *ROWS)
    assert printed(spool) == [
        f"2024-11-30T12:15:04.123+00:00  {'stars1':20}  {'not JSON':20}  no object  [1]",
        f"2024-11-30T12:15:04.124+00:00  {'STARS4ALL/x/reading':20}  {'bad name':20}  no name  {{}}",
        f"2024-11-30T12:15:04.125+00:00  {'stars2':20}  {'refused by InfluxDB':20}  type conflict"
        "  stars,name=stars2 x=1 2",
    ]


def test_the_table_shows_the_beginning_of_a_long_payload(journal: Journal, spool: SpoolConfig) -> None:
    quarantine(journal, FROM_BROKER._replace(payload=b"x" * 60_000))
    (line,) = printed(spool)
    assert line.endswith("  " + "x" * 200)
    assert printed(spool, "payload") == ["x" * 60_000]


def test_json_has_every_part_under_its_name(journal: Journal, spool: SpoolConfig) -> None:
    quarantine(journal, FROM_BROKER, NAMELESS)
    first, second = map(json.loads, printed(spool, "json"))
    assert first == {
        "time": "2024-11-30T12:15:04.123+00:00",
        "topic": "STARS4ALL/stars1/reading",
        "photometer": "stars1",
        "cause": "not JSON",
        "detail": "no object",
        "payload": "[1]",
        "retained": False,
        "output": "",
    }
    assert (second["photometer"], second["payload"]) == ("", "{}")


def test_control_characters_can_neither_break_a_line_nor_reach_the_terminal(
    journal: Journal, spool: SpoolConfig
) -> None:
    nasty = b'a\nb\r\x1b[2J\x00\x7f \xc3\xb1 \xc2\x85 \xe2\x80\xa8 \xff"'
    quarantine(journal, FROM_BROKER._replace(payload=nasty, photometer="\x1b[31m", detail="one\ntwo"))
    shown = r'a\x0ab\x0d\x1b[2J\x00\x7f ñ \x85 \u2028 \xff"'
    assert printed(spool, "payload") == [shown]
    (line,) = printed(spool)
    assert line.endswith(rf"one\x0atwo  {shown}")
    assert r"  \x1b[31m  " in line
    (text,) = printed(spool, "json")
    assert "\x1b" not in text
    assert json.loads(text)["payload"] == 'a\nb\r\x1b[2J\x00\x7f ñ \x85 \u2028 \\xff"'


SELECTIONS = [
    ("", "", [0, 1, 2]),
    ("stars1", "", [0]),
    (" STARS1 ", "", [0]),
    ("stars", "", []),
    ("", "bad name", [1]),
    ("stars2", "refused by InfluxDB", [2]),
    ("stars2", "not JSON", []),
    ("' OR 1=1 --", "", []),
]
"""A photometer, a cause, and which of `ROWS` they select."""


@pytest.mark.parametrize(("photometer", "cause", "selected"), SELECTIONS)
def test_a_photometer_and_a_cause_can_be_selected(
    journal: Journal, spool: SpoolConfig, photometer: str, cause: str, selected: list[int]
) -> None:
    quarantine(journal, *ROWS)
    payloads = printed(spool, "payload", photometer=photometer, cause=cause)
    assert payloads == [ROWS[number].payload.decode() for number in selected]


def test_a_selection_of_nothing_is_told_which_causes_there_are(journal: Journal, spool: SpoolConfig) -> None:
    assert warning(spool, cause="not json") == ["the quarantine is empty"]
    quarantine(journal, *ROWS, FROM_BROKER)
    assert warning(spool, cause="not json") == [
        "nothing in quarantine matches; the causes there are: bad name, not JSON, refused by InfluxDB"
    ]
    assert warning(spool, cause="not JSON") == []


@pytest.mark.parametrize(
    ("options", "out", "err"),
    [
        (["export"], "stars,name=a seq=1.0 1\n", ""),
        (["refused", "--export"], "[1]\n{}\nstars,name=stars2 x=1 2\n", ""),
        (["refused", "--export", "--photometer", "stars1"], "[1]\n", ""),
        (["refused", "--export", "--cause", "bad name"], "{}\n", ""),
        (["refused", "--requeue", "--photometer", "stars1"], "1 to be tried again: within a few seconds", ""),
        (["refused", "--cause", "dark"], "", "tessflux: nothing in quarantine matches; "),
        (["refused", "--json", "--photometer", "stars1"], '{"time": "2024-11-30T', ""),
        (["refused", "--cause", "bad name"], "2024-11-30T12:15:04.124+00:00  STARS4ALL/x/reading ", ""),
    ],
)
def test_the_command_line_selects_what_is_printed_and_how(
    journal: Journal,
    spool: SpoolConfig,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    out: str,
    err: str,
) -> None:
    journal.commit(Group(lines=["stars,name=a seq=1.0 1"], quarantined=ROWS), 0)
    assert main([*options, "-c", config_file(spool)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(out)
    assert captured.err.startswith(err)
    assert bool(captured.out) == bool(out)
    assert bool(captured.err) == bool(err)


# requeue


@pytest.mark.parametrize(("photometer", "cause", "selected"), SELECTIONS)
def test_what_is_selected_is_marked_to_be_tried_again(
    journal: Journal, spool: SpoolConfig, photometer: str, cause: str, selected: list[int]
) -> None:
    quarantine(journal, *ROWS)
    assert requeue(spool, photometer=photometer, cause=cause) == len(selected)
    assert journal.quarantine.requeued(10) == {number + 1: ROWS[number] for number in selected}
    assert requeue(spool, photometer="", cause="") == 3


def test_a_large_quarantine_is_marked_in_small_transactions(journal: Journal, spool: SpoolConfig) -> None:
    journal.quarantine.bound(rows=100_000, size=2**30)
    for _ in range(20):
        quarantine(journal, *[FROM_BROKER._replace(payload=b"x" * 1_500)] * 1_000)
    assert requeue(spool, photometer="", cause="") == 20_000
    assert len(journal.quarantine.requeued(100_000)) == 20_000
    assert (Path(spool.directory) / f"{FILE_NAME}-wal").stat().st_size < 15_000_000


# Beside a running tessflux, or without one


def test_an_empty_spool_prints_nothing(journal: Journal, spool: SpoolConfig) -> None:
    assert exported(spool) == ""
    assert printed(spool) == []


def test_the_spool_can_be_read_after_tessflux_has_stopped(journal: Journal, spool: SpoolConfig) -> None:
    quarantine(journal, FROM_BROKER)
    journal.close()
    assert printed(spool, "payload") == ["[1]"]


class Unread(io.StringIO):
    """Output that somebody reads so slowly that tessflux goes on meanwhile."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def write(self, text: str) -> int:
        self._meanwhile()
        return super().write(text)


def test_output_that_nobody_reads_does_not_make_the_write_ahead_log_grow(
    journal: Journal, spool: SpoolConfig
) -> None:
    for number in (1, 2):
        journal.commit(Group(lines=[f"stars,name=a seq={number}.0 {number}"]), 0)
    quarantine(journal, FROM_BROKER, NAMELESS)
    restarted = []

    def go_on() -> None:
        journal.commit(Group(quarantined=[FROM_INFLUX]), 0)
        busy, *_ = journal._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        restarted.append(not busy)

    journal._db.execute("PRAGMA busy_timeout = 0")
    export(spool, Unread(go_on))
    assert restarted == [True, True]
    refused(spool, Unread(go_on), print, photometer="", cause="bad name", form="table")
    assert restarted == [True, True, True]


@pytest.mark.parametrize(
    "command",
    [exported, printed, lambda spool: requeue(spool, photometer="", cause="")],
    ids=["export", "refused", "requeue"],
)
def test_a_missing_spool_is_named_and_not_created_and_a_damaged_one_explained(
    tmp_path: Path, command: Callable[[SpoolConfig], object]
) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(CannotCreate, match=rf"the spool in {missing}: .* once tessflux has run"):
        command(SpoolConfig(str(missing)))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE_NAME).write_bytes(b"garbage" * 1_000)
    with pytest.raises(CannotCreate, match="not a database"):
        command(SpoolConfig(str(tmp_path)))
