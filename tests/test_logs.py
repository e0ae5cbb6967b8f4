"""One event is one line in the file and on the console, from the level on that its namespace has."""

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure

from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import Config, GlobalConfig, InfluxConfig, MqttConfig, SpoolConfig
from tessflux.errors import CannotCreate
from tessflux.limits import LOG_LINE, TRACEBACK_LINES
from tessflux.logs import Logs, escape, format_for_journal, format_line, levels

ALL = {"": "debug"}
SOFT_HYPHEN = 0xAD
LEVELS = ["debug", "info", "warn", "error", "critical"]


class Open(Protocol):
    """Makes logs that show everything, or from these levels on."""

    def __call__(self, path: Path | str, levels: dict[str, str] = ALL, *, console: bool = False) -> Logs: ...


@pytest.fixture
def opened() -> Iterator[Open]:
    """How the tests open logs; their files are closed afterwards."""
    opened: list[Logs] = []

    def open_logs(path: Path | str, levels: dict[str, str] = ALL, *, console: bool = False) -> Logs:
        logs = Logs(console=console, path=str(path))
        logs.set_levels(levels)
        opened.append(logs)
        return logs

    yield open_logs
    for logs in opened:
        logs.reopen("")


def logger(logs: Logs, namespace: str = "mqtt") -> Logger:
    """A logger whose events go to these logs and nowhere else."""
    return Logger(namespace=namespace, observer=logs._observer)


def messages(path: Path) -> list[str]:
    """The lines of a file without their times."""
    return [line.split(" ", 1)[1] for line in path.read_text("utf-8").splitlines()]


# Lines


def test_a_line_tells_the_time_the_namespace_and_the_level() -> None:
    event: LogEvent = {
        "log_time": 0.0,
        "log_namespace": "mqtt",
        "log_level": LogLevel.warn,
        "log_format": "{name} is silent",
        "name": "stars1",
    }
    line = format_line(event)
    assert re.fullmatch(r"19\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[mqtt#warn\] stars1 is silent\n", line)


def test_an_event_without_anything_is_a_line_too() -> None:
    assert format_line({}) == "- [-#info] \n"


def test_an_event_that_cannot_be_formatted_is_still_one_line() -> None:
    line = format_line({"log_format": "{missing}", "log_namespace": "mqtt"})
    assert line.count("\n") == 1
    assert "missing" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ñuñoa-β 🔭", "ñuñoa-β 🔭"),
        ("a\nb", r"a\x0ab"),
        ("a\r\nb", r"a\x0d\x0ab"),
        ("tab\there", r"tab\x09here"),
        ("nul\0", r"nul\x00"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x7f", r"\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("\x85", r"\x85"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("stars\u202e1\u202c", r"stars\u202e1\u202c"),
        ("\u2066\u2069\u200e\u200f", r"\u2066\u2069\u200e\u200f"),
        ("stars\u200b1\ufeff", r"stars\u200b1\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_what_would_not_be_seen_as_it_is_is_shown_as_escapes(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_every_control_character_is_escaped_and_no_letter() -> None:
    shown = {code for code in range(0x180) if escape(chr(code)) == chr(code)}
    assert shown == {*range(0x20, 0x7F), *range(0xA1, 0x180)} - {SOFT_HYPHEN}


def test_no_character_that_turns_or_hides_others_is_left() -> None:
    """Those that Unicode calls format characters, of which there are some two hundred."""
    formats = [chr(code) for code in range(sys.maxunicode + 1) if category(chr(code)) == "Cf"]
    assert len(formats) > 100
    assert not [each for each in formats if each in escape(each)]


@given(st.text())
def test_whatever_a_text_holds_it_stays_on_one_line(text: str) -> None:
    line = format_line({"log_format": "{text}", "text": text})
    assert len(line.splitlines()) == 1
    assert line.endswith("\n")


def test_a_bug_of_ours_shows_its_traceback_below_its_line() -> None:
    try:
        raise RuntimeError("oh")
    except RuntimeError:
        event: LogEvent = {"log_format": "it broke", "log_failure": Failure(), "log_level": LogLevel.critical}
    first, *traceback = format_line(event).splitlines()
    assert first == "- [-#critical] it broke"
    assert traceback[0] == "  Traceback (most recent call last):"
    assert traceback[-1] == "  builtins.RuntimeError: oh"


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warn", 4), ("error", 3), ("critical", 2)]
)
def test_the_journal_gets_the_level_as_a_number_and_no_time(level: str, priority: int) -> None:
    event: LogEvent = {
        "log_time": 0.0,
        "log_namespace": "mqtt",
        "log_level": LogLevel.levelWithName(level),
        "log_format": "{name} is silent",
        "name": "stars1\n<0>",
    }
    assert format_for_journal(event) == f"<{priority}>[mqtt#{level}] stars1\\x0a<0> is silent\n"


def test_each_line_of_a_traceback_is_an_entry_of_the_journal_with_the_same_priority() -> None:
    try:
        raise RuntimeError("oh")
    except RuntimeError:
        event: LogEvent = {"log_format": "it broke", "log_failure": Failure(), "log_level": LogLevel.critical}
    lines = format_for_journal(event).splitlines()
    assert lines[0] == "<2>[-#critical] it broke"
    assert lines[-1] == "<2>  builtins.RuntimeError: oh"
    assert all(line.startswith("<2>") for line in lines)


@pytest.mark.parametrize("text", ["x" * 65_535, "\x1b" * 65_535, "\x1b" * (LOG_LINE // 2)])
def test_a_long_text_makes_no_long_line(text: str) -> None:
    line = format_line({"log_format": "{text}", "text": text})
    assert len(line) < LOG_LINE + 50
    assert line.endswith(f"... ({len(text)} characters)\n")


def test_the_longest_text_is_shown_whole() -> None:
    assert format_line({"log_format": "{text}", "text": "x" * LOG_LINE}).endswith(f" {'x' * LOG_LINE}\n")


def test_no_line_of_a_traceback_passes_for_an_event_or_controls_a_terminal() -> None:
    try:
        raise RuntimeError("\n1970-01-01T00:00:00+0000 [mqtt#info] forged \x1b[2J\u2028" * 1_000)
    except RuntimeError:
        text = format_line({"log_format": "it broke", "log_failure": Failure()})
    first, *traceback = text.splitlines()
    assert first == "- [-#info] it broke"
    assert len(traceback) == TRACEBACK_LINES
    assert all(line.startswith("  ") and line.isprintable() for line in traceback)


# Levels


def config(log_level: str, mqtt: str, influxdb: str) -> Config:
    return Config(
        path="/etc/tessflux/config",
        global_=GlobalConfig(log_level=log_level),
        mqtt=MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""), log_level=mqtt),
        outputs={"influxdb": InfluxConfig(log_level=influxdb)},
        spool=SpoolConfig(),
        warnings=(),
    )


def test_each_section_sets_the_level_of_its_namespace() -> None:
    assert levels(config("info", "debug", "error")) == {
        "": "info", "mqtt": "debug", "influxdb": "error", "twisted": "warn",
        "log_legacy": "warn", "stdout": "info",
    }  # fmt: skip


def test_events_below_the_level_of_their_namespace_are_not_shown(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = opened(path, levels(config("warn", "debug", "error")))
    namespaces = ["spool", "mqtt", "mqtt.session", "mqttx", "influxdb", "twisted.web.client"]
    for namespace in namespaces:
        for level in LEVELS:
            logger(logs, namespace).emit(LogLevel.levelWithName(level), "{namespace}", namespace=namespace)
    shown: dict[str, list[str]] = {namespace: [] for namespace in namespaces}
    for line in messages(path):
        tag, namespace = line.split()
        shown[namespace].append(tag.strip("[]").split("#")[1])
    assert shown == {
        "spool": LEVELS[2:],
        "mqtt": LEVELS,
        "mqtt.session": LEVELS,
        "mqttx": LEVELS[2:],
        "influxdb": LEVELS[3:],
        "twisted.web.client": LEVELS[2:],
    }


def test_other_levels_hold_from_the_next_event_on(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = opened(path, {"": "info"})
    logger(logs).debug("one")
    logs.set_levels({"": "info", "mqtt": "debug"})
    logger(logs).debug("two")
    logs.set_levels({"": "info"})
    logger(logs).debug("three")
    assert messages(path) == ["[mqtt#debug] two"]


# Files


def test_a_line_is_in_the_file_as_soon_as_it_is_logged(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("earlier [x#info] line\n")
    log = logger(opened(path))
    log.info("{what}", what="ñuñoa")
    assert messages(path) == ["[x#info] line", "[mqtt#info] ñuñoa"]


def test_half_a_surrogate_pair_does_not_lose_the_line(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logger(opened(path)).info("{what}", what="\ud800")
    assert messages(path) == ["[mqtt#info] \\ud800"]


def test_after_a_rename_reopening_begins_a_new_file(opened: Open, tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    logs = opened(path)
    logger(logs).info("one")
    path.rename(rotated)
    logger(logs).info("two")
    logs.reopen(str(path))
    logger(logs).info("three")
    assert messages(rotated) == ["[mqtt#info] one", "[mqtt#info] two"]
    assert messages(path) == ["[mqtt#info] three"]


def test_the_log_moves_to_another_file_or_to_none(opened: Open, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    logs = opened(old)
    logger(logs).info("one")
    logs.reopen(str(new))
    logger(logs).info("two")
    logs.reopen("")
    logger(logs).info("three")
    assert (messages(old), messages(new)) == (["[mqtt#info] one"], ["[mqtt#info] two"])


def test_reopening_keeps_no_file_open(opened: Open, tmp_path: Path) -> None:
    logs = opened(tmp_path / "log")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        logs.reopen(str(tmp_path / "log"))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("place", "reason"), [("", "Is a directory"), ("no/such/log", "No such file or directory")]
)
def test_a_file_that_cannot_be_opened_is_an_error_for_the_operator(
    opened: Open, tmp_path: Path, place: str, reason: str
) -> None:
    path = tmp_path / place
    with pytest.raises(CannotCreate) as caught:
        opened(path)
    assert (
        str(caught.value)
        == f"cannot open the log file {path}: {reason}; see [global] log_file, and who owns its directory"
    )
    assert caught.value.exit_code == 73


def test_when_reopening_fails_the_old_file_goes_on(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = opened(path)
    with pytest.raises(CannotCreate):
        logs.reopen(str(tmp_path))
    logger(logs).info("still here")
    assert messages(path) == ["[mqtt#info] still here"]


def test_a_full_disk_stops_neither_an_event_nor_reopening(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = opened("/dev/full")
    logger(logs).error("lost")
    logs.reopen(str(path))
    logger(logs).info("kept")
    assert messages(path) == ["[mqtt#info] kept"]


# The console


def test_the_console_shows_the_same_lines(
    opened: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    logger(opened(path, console=True)).info("both")
    logger(opened("", console=True)).info("console only")
    logger(opened(path)).info("file only")
    shown = capsys.readouterr().out
    assert [line.split(" ", 1)[1] for line in shown.splitlines()] == [
        "[mqtt#info] both", "[mqtt#info] console only"
    ]  # fmt: skip
    assert messages(path) == ["[mqtt#info] both", "[mqtt#info] file only"]


class Gone(io.StringIO):
    """What is left of a terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_console_that_is_gone_stops_nothing(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = logger(opened(path, console=True))
    monkeypatch.setattr(sys, "stdout", Gone())
    log.info("ñuñoa")
    assert messages(path) == ["[mqtt#info] ñuñoa"]


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"\xf1u\xf1oa-\u03b2 \U0001f52d \ud800"),
        ("latin-1", r"ñuñoa-\u03b2 \U0001f52d \ud800"),
        ("utf-8", r"ñuñoa-β 🔭 \ud800"),
    ],
)
def test_a_console_shows_what_it_has_no_character_for_as_escapes(
    opened: Open, monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    terminal = io.BytesIO()
    log = logger(opened("", console=True))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal, encoding=encoding))
    log.info("{name}", name="ñuñoa-β 🔭 \ud800")
    log.info("next")
    said = [line.split(" ", 1)[1] for line in terminal.getvalue().decode(encoding).splitlines()]
    assert said == [f"[mqtt#info] {shown}", "[mqtt#info] next"]


PROCESS = """
import sys
from twisted.logger import Logger
from tessflux.logs import Logs

Logger(namespace="mqtt").warn("before")
logs = Logs(console=False, path=sys.argv[1])
logs.set_levels({"": "info"})
logs.begin()
Logger(namespace="mqtt").info("after")
Logger(namespace="mqtt").debug("too much")
print("an answer")
"""


def test_from_begin_on_every_event_of_the_process_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(path)], capture_output=True, timeout=60, cwd=root
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"an answer\n", b"")
    assert messages(path) == ["[mqtt#warn] before", "[mqtt#info] after"]
