"""`tessflux --check`: its lines, and what it reports about the places where the daemon writes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from twisted.internet.defer import Deferred

from tessflux.commands.check import check, check_log, check_schema, check_spool, check_state
from tessflux.commands.findings import Findings
from tessflux.config import (
    AlarmConfig,
    BrokerAddress,
    Config,
    GlobalConfig,
    InfluxConfig,
    MqttConfig,
    SpoolConfig,
)
from tessflux.process.lock import SpoolLock
from tessflux.spool.journal import FILE_NAME, RESERVE
from tests.influx.definitions import EXAMPLE_OF_2017

Previewed = Callable[[bytes | str], tuple[list[str], bool]]

NOT_OURS = "this user cannot write {}; run the check as the user of the daemon"


class Usage(NamedTuple):
    free: int


def checked(check: Callable[[str, Findings], None], path: Path) -> tuple[list[str], int]:
    """The lines of one step, and the exit code."""
    lines: list[str] = []
    findings = Findings(lines.append)
    check(str(path), findings)
    return lines, findings.exit_code


def test_the_spool_needs_a_disk_with_some_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = RESERVE
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(free))
    assert checked(check_spool, tmp_path) == ([f"spool      ok: {tmp_path}"], os.EX_OK)
    free -= 1
    text = f"less than 32 MB are left on the disk of {tmp_path}: make room"
    assert checked(check_spool, tmp_path) == ([f"spool      {text}"], os.EX_CANTCREAT)


def test_this_user_must_be_able_to_write_a_spool_that_another_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).touch()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != FILE_NAME)
    text = NOT_OURS.format(tmp_path)
    assert checked(check_spool, tmp_path) == ([f"spool      {text}"], os.EX_CANTCREAT)


def test_the_directories_of_the_spool_may_be_missing_but_not_that_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    assert checked(check_spool, path) == ([f"spool      ok: {path}"], os.EX_OK)
    assert checked(check_log, path) == ([f"log        {NOT_OURS.format(path)}"], os.EX_CANTCREAT)
    path.parent.mkdir()
    assert checked(check_log, path) == ([f"log        ok: {path}"], os.EX_OK)
    assert list(path.parent.iterdir()) == []


def test_the_state_of_a_running_daemon_is_shown_if_it_is_not_as_usual(tmp_path: Path) -> None:
    lock = SpoolLock(str(tmp_path))
    assert checked(check_state, tmp_path) == ([], os.EX_OK)
    lock.write("delivery is paused since 2026-11-26 22:00:35 UTC")
    text = "warning: delivery is paused since 2026-11-26 22:00:35 UTC; to resume it: service tessflux resume"
    assert checked(check_state, tmp_path) == ([f"daemon     {text}"], os.EX_OK)
    lock.release()
    assert checked(check_state, tmp_path) == ([], os.EX_OK)


def test_this_user_must_be_able_to_write_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert checked(check_log, tmp_path / "log")[1] == os.EX_CANTCREAT


def test_every_step_has_its_line_and_one_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check_broker(mqtt: MqttConfig, reactor: object, findings: Findings) -> None:
        findings.ok("broker", str(mqtt.broker))

    monkeypatch.setattr("tessflux.commands.check.check_broker", check_broker)
    log = str(tmp_path / "missing" / "log")
    mqtt = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))
    spool = SpoolConfig(str(tmp_path))
    config = Config(
        "config",
        GlobalConfig(log_file=log),
        mqtt,
        {"influxdb": InfluxConfig()},
        spool,
        ("odd",),
        alarm=AlarmConfig("/bin/true"),
    )
    lines: list[str] = []
    exit_codes: list[int] = []
    Deferred.fromCoroutine(check(config, None, lines.append)).addCallback(exit_codes.append)
    assert exit_codes == [os.EX_CANTCREAT]
    assert lines == [
        "config     ok: config",
        "config     warning: odd",
        f"spool      ok: {tmp_path}",
        f"log        {NOT_OURS.format(log)}",
        "alarm      ok: /bin/true can be run; tessflux test-alarm tries it",
        "broker     ok: tcp:localhost:1883",
        "database   none: [influxdb] url is empty, readings will wait in the spool",
    ]


@pytest.mark.parametrize(
    ("failed", "exit_code"), [([], 0), (["broker"], 69), (["write", "log"], 73), (["spool", "topics"], 73)]
)
def test_the_exit_code_tells_servers_from_places(failed: list[str], exit_code: int) -> None:
    findings = Findings(lambda line: None)
    for step in failed:
        findings.fail(step, "wrong")
    assert findings.exit_code == exit_code


@pytest.fixture
def previewed(tmp_path: Path) -> Previewed:
    """The lines about a data definition file, and whether the step failed."""
    file = tmp_path / "schema"

    def run(text: bytes | str) -> tuple[list[str], bool]:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        lines: list[str] = []
        findings = Findings(lines.append)
        config = InfluxConfig(url="http://127.0.0.1:1", schema=str(file))
        Deferred.fromCoroutine(check_schema(config, findings))
        return [line.removeprefix("schema     ").replace(str(file), "FILE") for line in lines], bool(
            findings.exit_code
        )

    return run


def test_the_data_definition_file_is_shown_as_it_would_run(
    previewed: Previewed,
) -> None:
    assert previewed(EXAMPLE_OF_2017) == (
        [
            'would run: CREATE DATABASE "tessdb"',
            'would run: CREATE RETENTION POLICY "two_days" ON "tessdb" DURATION 2d REPLICATION 1'
            " SHARD DURATION 2h DEFAULT (without DEFAULT if others have written into the database)",
            'would run: CREATE RETENTION POLICY "forever" ON "tessdb" DURATION INF REPLICATION 1'
            " SHARD DURATION 1000w",
            'would run: CREATE USER "tessflux" ...',
            'would run: CREATE USER "grafana" ...',
            'would run: GRANT READ ON "tessdb" TO "grafana"',
            'would run: GRANT WRITE ON "tessdb" TO "tessflux"',
            'warning: never run: statement 4 (DROP RETENTION POLICY "autogen" ...): it defines'
            " nothing that tessflux knows; if you want it, run it in the influx shell",
            "ok: FILE creates tessdb if it is missing",
        ],
        False,
    )


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (
            "CREATE DATABASE tessdb; CRATE DATABASE other; CREATE DATABASE third",
            "FILE: statement 2 (no statement ...): it does not begin like InfluxQL, and is not sent; nothing"
            " after it would run",
        ),
        (
            "CREATE DATABASE tessdb\nCREATE RETENTION POLICY p ON tessdb DURATION 1d REPLICATION 1",
            "FILE: InfluxDB may not understand statement 1 (CREATE DATABASE tessdb CREATE ...): is a"
            " semicolon missing before the next, or a word mistyped?",
        ),
        (
            "CREATE DATABASE tessdb; GRANT READ TO u",
            "FILE: InfluxDB may not understand statement 2 (GRANT READ TO u ...): is a semicolon missing"
            " before the next, or a word mistyped?",
        ),
    ],
)
def test_a_data_definition_file_that_does_not_run_to_its_end_fails(
    previewed: Previewed, text: str, last: str
) -> None:
    lines, failed = previewed(text)
    assert (lines[-1], failed) == (last, True)
    assert "third" not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "found"),
    [("DROP DATABASE tessdb", "no database"), ("CREATE DATABASE a; CREATE DATABASE b", "a, b")],
)
def test_a_data_definition_file_for_another_database_is_warned_of(
    previewed: Previewed, text: str, found: str
) -> None:
    """It may be for what is missing in a database that exists."""
    lines, failed = previewed(text)
    assert (lines[-1], failed) == (f"warning: FILE creates {found}, but dbname is tessdb", False)


def test_a_data_definition_file_that_cannot_be_read_fails(
    previewed: Previewed,
) -> None:
    assert previewed(b"-- a\xf1o") == (["FILE is not UTF-8 text"], True)
