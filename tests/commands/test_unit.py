"""The unit for systemd: what systemd-analyze says of it, and that it agrees with daemon and init script."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tessflux.app import STOP_LIMITS
from tessflux.commands.shipped import PROGRAM, UNIT, own_files, shipped_files
from tessflux.errors import AlreadyRunning, CannotCreate, ConfigError, UsageError
from tessflux.process.detach import UMASK
from tests.commands.machine import INIT_SCRIPT

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "systemd/tessflux.service"

EXPOSURE = 20
"""Tenths of the points that `systemd-analyze security` gives at most for what the unit may do; 100 is the
worst. Most of them are for the network, and for what the unit gives a reason for."""


def installed(program: str) -> str:
    """The unit as it is installed for a program."""
    files = shipped_files(own_files(), Path(program), unit=True)
    return next(file.content.decode() for file in files if file.target == UNIT)


def settings(text: str) -> dict[str, list[str]]:
    """The values of each key."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    return settings(SHIPPED.read_text())


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is missing; Debian's package systemd has it")
    return program


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Holds the unit for a program that is there, in a directory with a blank, a percent sign, a dollar."""
    program = tmp_path / "our 100% $flux" / "tessflux"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    (tmp_path / "tessflux.service").write_text(installed(str(program)))
    return tmp_path


def test_systemd_understands_it(analyze: str, place: Path) -> None:
    check = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", place / "tessflux.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    # What it says of other units of this machine is none of our business.
    assert not [line for line in check.stderr.splitlines() if "tessflux" in line]
    assert check.returncode == 0, check.stderr


def test_it_may_do_little_more_than_it_must(analyze: str) -> None:
    check = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", SHIPPED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_what_it_must_be_able_to_do_is_not_forbidden(unit: dict[str, list[str]]) -> None:
    """pyOpenSSL makes functions at run time; the kernel is asked for its clock, and for the boot."""
    assert {"MemoryDenyWriteExecute", "ProtectClock", "ProcSubset"}.isdisjoint(unit)
    assert "clock_adjtime" in unit["SystemCallFilter"][-1].split()


def test_it_names_the_program_that_is_installed_as_systemd_writes_it(unit: dict[str, list[str]]) -> None:
    assert sum(PROGRAM in value for values in unit.values() for value in values) == 2
    assert installed(PROGRAM) == SHIPPED.read_text()
    lines = installed("/srv/our 100% $flux/bin/tessflux")
    assert lines.count('"/srv/our 100%% $flux/bin/tessflux" --') == 2


def test_the_init_script_reaches_what_it_starts(unit: dict[str, list[str]]) -> None:
    """By the same config, user and pid file, as long as nobody chooses others; and it may choose some."""
    script = INIT_SCRIPT.read_text()
    defaults = dict(word.split("=") for word in unit["Environment"][0].split())
    assert f"\nCONFIG_FILE={defaults['CONFIG_FILE']}\n" in script
    assert '\n[ -n "$PIDFILE" ] || PIDFILE=/run/${RUN_AS:+tessflux/}tessflux.pid\n' in script
    assert defaults["PIDFILE"] == "/run/tessflux/tessflux.pid"
    assert unit["User"] == unit["RuntimeDirectory"] == unit["StateDirectory"] == ["tessflux"]
    assert unit["EnvironmentFile"] == ["-/etc/default/tessflux"]
    for value in (unit["ExecStart"][0], unit["ExecReload"][1]):
        assert "--config ${CONFIG_FILE}" in value
    assert "--pid-file ${PIDFILE}" in unit["ExecStart"][0]
    assert int(unit["UMask"][0], 8) == UMASK


def test_it_waits_for_a_stop_as_long_as_the_daemon_may_take(unit: dict[str, list[str]]) -> None:
    assert int(unit["TimeoutStopSec"][0]) >= sum(STOP_LIMITS.values()) + 10


def test_only_what_stays_wrong_is_not_started_again(unit: dict[str, list[str]]) -> None:
    final = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
    assert final == {UsageError.exit_code, ConfigError.exit_code}
    assert final.isdisjoint({AlreadyRunning.exit_code, CannotCreate.exit_code})
