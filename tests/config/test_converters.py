"""The values of a config file, key by key: which are accepted, and the problem with each of the others."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tessflux.config.converters import expand
from tessflux.config.secret import Secret
from tessflux.config.sections import KEYS
from tessflux.readings.reading import Reading, Refused, parse

WRONG = [
    ("global", "log_level", "loud", "must be one of debug, info, warn, error, critical"),
    ("global", "log_level", "", "must be one of debug, info, warn, error, critical"),
    ("global", "log_file", "tessflux.log", "must be an absolute path"),
    ("influxdb", "url", "localhost:8086", "must begin with http:// or https://"),
    ("influxdb", "schema", "influxdb", "must be an absolute path"),
    ("influxdb", "schema", "/no/such/file", "cannot be read (No such file or directory)"),
    ("influxdb", "schema", "/", "cannot be read (Is a directory)"),
    ("influxdb", "password_file", "secret", "must be an absolute path"),
    ("influxdb", "password_file", "/no/such/file", "cannot be read (No such file or directory)"),
    ("influxdb", "dbname", "", "must not be empty"),
    ("influxdb", "url", "http://a, b", "must begin with http:// or https://"),
    ("influxdb", "token_file", "secret", "must be an absolute path"),
    ("influxdb", "token", "two words", "must be a token"),
    ("influxdb", "create", "maybe", "must be yes or no"),
    ("influxdb", "retention", "-1", "must be a whole number from 0 to 36500"),
    ("influxdb", "measurement", "", "must not be empty"),
    # InfluxDB takes a backslash before a comma or a blank away, QuestDB and VictoriaMetrics others too.
    ("influxdb", "measurement", r"my\ own", "must not begin with # or =; it must have no backslash"),
    ("influxdb", "measurement", r"my\own", "must not begin with # or =; it must have no backslash"),
    ("influxdb", "measurement", "=own", "must not begin with # or ="),
    ("influxdb", "batch", "0", "must be a whole number from 1 to 1000000000"),
    ("influxdb", "batch", "1.5", "must be a whole number from 1"),
    ("influxdb", "batch", "9" * 5000, "must be a whole number from 1"),
    ("influxdb", "batch", "", "must be a whole number from 1"),
    ("influxdb", "batch", "1_000", "must be a whole number from 1"),
    ("influxdb", "batch", "\u0661\u0660", "must be a whole number from 1"),
    ("influxdb", "flush_interval", "0", "must be a number of seconds, or one with s, m, h or d: 0.01 to 60"),
    ("influxdb", "flush_interval", "61", "must be a number of seconds, or one with s, m, h or d: 0.01 to 60"),
    ("influxdb", "timeout", "nan", "must be a number of seconds, or one with s, m, h or d: 1 to 600"),
    ("influxdb", "timeout", "inf", "must be a number of seconds, or one with s, m, h or d: 1 to 600"),
    ("influxdb", "timeout", "1_0", "must be a number of seconds, or one with s, m, h or d: 1 to 600"),
    (
        "influxdb",
        "timeout",
        "\uff11\uff10",
        "must be a number of seconds, or one with s, m, h or d: 1 to 600",
    ),
    ("influxdb", "extra_fields", "alt, moon", "must name only ain, alt, az"),
    (
        "status",
        "silent",
        "9",
        "must be a number of seconds, or one with s, m, h or d: 0, or 10 to 604800 seconds",
    ),
    ("status", "silent", "8d", "must be a number of seconds, or one with s, m, h or d"),
    ("status", "silent", "2 hours", "must be a number of seconds, or one with s, m, h or d"),
    ("status", "silent", "1.2.3h", "must be a number of seconds, or one with s, m, h or d"),
    ("status", "silent", "-2h", "must be a number of seconds, or one with s, m, h or d"),
    ("status", "silent", "\uff12h", "must be a number of seconds, or one with s, m, h or d"),
    ("status", "silent", "", "must be a number of seconds, or one with s, m, h or d"),
    ("alarm", "command", "alarm", "must be an absolute path"),
    ("alarm", "command", "/no/such/file", "must be a program that the user of the daemon may run"),
    ("alarm", "command", "/bin", "must be a program that the user of the daemon may run"),
    ("alarm", "command", "/etc/passwd", "must be a program that the user of the daemon may run"),
    ("alarm", "command", "/bin/echo wrong", "must be a program that the user of the daemon may run"),
    ("alarm", "spool", "100%", "must be a part from 1% to 99%, or 0"),
    ("alarm", "spool", "0.5", "must be a part from 1% to 99%, or 0"),
    ("alarm", "spool", "", "must be a part from 1% to 99%, or 0"),
    (
        "alarm",
        "broker",
        "4s",
        "must be a number of seconds, or one with s, m, h or d: 0, or 5 to 604800 seconds",
    ),
    ("alarm", "per_hour", "0", "must be a whole number from 1 to 3600"),
    ("status", "history", "367", "must be a whole number from 0 to 366"),
    ("influxdb", "stats", "maybe", "must be yes or no"),
    ("mqtt", "version", "4", "must be one of 3.1.1, 5"),
    ("mqtt", "keepalive", "0", "must be a whole number from 1 to 65535"),
    ("mqtt", "keepalive", "65536", "must be a whole number from 1 to 65535"),
    ("mqtt", "qos", "3", "must be a whole number from 0 to 2"),
    ("mqtt", "topics", "", "must name at least one topic"),
    ("mqtt", "topics", " , ,", "must name at least one topic"),
    ("mqtt", "topics", "a/#/b", "# must be the whole last level"),
    ("mqtt", "topics", "a/b#", "# must be the whole last level"),
    ("mqtt", "topics", "a/#b", "# must be the whole last level"),
    ("mqtt", "topics", "a/b+/c", "+ must be a whole level"),
    ("mqtt", "topics", "good, a/+b", "+ must be a whole level"),
    ("mqtt", "topics", "A/+/reading # mine", "# must be the whole last level of a topic"),
    ("mqtt", "topics", "ñ" * 32_768, "must not be longer than 65535 bytes"),
    # `--check` adds to it.
    ("mqtt", "client_id", "ñ" * 32_751, "must not be longer than 65500 bytes"),
    *((section, "username", "ñ" * 32_768, "longer than 65535 bytes") for section in ("mqtt", "influxdb")),
    *((section, "password", "ñ" * 32_768, "longer than 65535 bytes") for section in ("mqtt", "influxdb")),
    ("mqtt", "whitelist", "stars1, " + "x" * 65, "must hold names of photometers, with commas between"),
    ("mqtt", "whitelist", "stars1 " * 10, "a name has at most 64 printable characters"),
    ("mqtt", "blacklist", "stars1\tstars17", "must hold names of photometers, with commas between"),
    ("mqtt", "whitelist", "stars1\u200b", "must hold names of photometers, with commas between"),
    ("mqtt", "whitelist", "stars1\\, stars2", "the last of them no backslash"),
    ("mqtt", "validation", "", "must be yes or no"),
    ("mqtt", "silence", "9.9", "must be a number of seconds, or one with s, m, h or d: 0, or 10 to 604800"),
    ("mqtt", "silence", "-1", "must be a number of seconds, or one with s, m, h or d: 0, or 10 to 604800"),
    ("mqtt", "backlog_wait", "3601", "must be a number of seconds, or one with s, m, h or d: 0 to 3600"),
    ("mqtt", "backlog_wait", "auto", "must be a number of seconds, or one with s, m, h or d: 0 to 3600"),
    ("global", "clock_wait", "-1", "must be a number of seconds, or one with s, m, h or d: 0 to 604800"),
    ("global", "clock_wait", "", "must be a number of seconds, or one with s, m, h or d: 0 to 604800"),
    ("spool", "directory", "", "must not be empty"),
    ("spool", "directory", "spool", "must be an absolute path"),
    ("spool", "max_size", "65535K", "must be a size from 64M to 16T"),
    ("spool", "max_size", "17T", "must be a size from 64M to 16T"),
    ("spool", "max_size", "-1G", "must be a size from 64M to 16T"),
    ("spool", "max_size", "1 Gig", "must be a size from 64M to 16T"),
    ("spool", "max_size", "", "must be a size from 64M to 16T"),
    ("spool", "quarantine", "-1", "must be a whole number from 0"),
]


@pytest.mark.parametrize(("section", "key", "text", "part"), WRONG)
def test_a_wrong_value_is_refused_with_what_is_right(section: str, key: str, text: str, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        KEYS[section][key](text)


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        *(("mqtt", "stats", word, True) for word in ("yes", "True", "ON", "1")),
        *(("mqtt", "stats", word, False) for word in ("no", "False", "OFF", "0")),
        ("mqtt", "keepalive", "65535", 65_535),
        ("mqtt", "client_id", "x" * 65_500, "x" * 65_500),
        ("mqtt", "username", "x" * 65_535, "x" * 65_535),
        ("mqtt", "password", "x" * 65_535, Secret("x" * 65_535)),
        ("mqtt", "silence", "10", 10.0),
        ("mqtt", "silence", "10m", 600.0),
        ("influxdb", "flush_interval", "0.01", 0.01),
        ("mqtt", "backlog_wait", "", None),
        ("mqtt", "backlog_wait", "0", 0.0),
        ("global", "clock_wait", "0", 0.0),
        ("mqtt", "topics", "#", ("#",)),
        ("mqtt", "topics", "+", ("+",)),
        ("mqtt", "topics", "+/a/+/#", ("+/a/+/#",)),
        ("mqtt", "topics", "a,b,a", ("a", "b")),
        ("mqtt", "whitelist", " A ,, b,", frozenset({"a", "b"})),
        ("influxdb", "extra_fields", "AZ, azi, vbat", ("az", "vbat")),
        ("spool", "max_size", "67108864", 2**26),
        ("spool", "max_size", "100000K", 100_000 * 2**10),
        ("spool", "max_size", "1 g", 2**30),
        ("spool", "max_size", "16T", 16 * 2**40),
    ],
)
def test_a_right_value_is_taken(section: str, key: str, text: str, value: object) -> None:
    assert KEYS[section][key](text) == value


@example("x" * 64)
@example("x" * 65)
@example(" X\\ ")
@example("stars 12")
@example("a\u00a0b")
@given(st.text(st.characters(codec="utf-8", exclude_characters=",\n"), max_size=70))
def test_a_list_takes_each_name_with_which_a_reading_is_stored_and_no_other(name: str) -> None:
    reading = parse(json.dumps({"name": name, "seq": 1, "mag": 1, "freq": 1}).encode())
    try:
        listed = KEYS["mqtt"]["whitelist"](name)
    except ValueError:
        assert isinstance(reading, Refused)
    else:
        assert listed == ({reading.name} if isinstance(reading, Reading) else frozenset())


def test_whatever_the_text_of_a_value_it_is_taken_or_a_value_error() -> None:
    may_be_unset = (KEYS["mqtt"]["backlog_wait"], KEYS["status"]["listen"])
    converters = {convert for keys in KEYS.values() for convert in keys.values()}

    @given(st.text())
    def check(text: str) -> None:
        for convert in converters:
            with contextlib.suppress(ValueError):
                assert convert(text) is not None or (convert in may_be_unset and not text)

    check()


@pytest.mark.parametrize("text", ["a\x1bb", "a\0b", "a\rb", "\x7f", "\udcff"])
def test_characters_that_are_no_text_are_refused(text: str) -> None:
    for value in (text, "${X}"):
        with pytest.raises(ValueError, match="must hold no control characters"):
            expand(value, {"X": text})


@pytest.mark.parametrize("key", ["schema", "tls_ca", "password_file"])
def test_a_pipe_that_nobody_writes_into_is_refused_and_not_waited_for(tmp_path: Path, key: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="must be a file, not a pipe"):
        KEYS["influxdb"][key](str(pipe))
