"""Real programs: what they get, and that none of them can do harm."""

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux.alarms.command import PATH, Command, Ended
from tessflux.alarms.notice import RAISED, Notice
from tessflux.limits import ALARM_OUTPUT
from tests.real.site import wait_until
from tests.status.site import NOW

NOTICE = Notice("broker", RAISED, "", "it is gone", NOW, NOW)
Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes a program of a text."""

    def make(text: str) -> str:
        path = tmp_path / "alarm"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only its parent has not noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_gets_the_event_and_nothing_of_ours(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "secret")
    path = script(f'/usr/bin/env -0 > {tmp_path}/env; cat > {tmp_path}/stdin; pwd; echo "$#"')
    ended = Command().run(path, NOTICE)
    assert (ended.problem, ended.output) == ("", "/ | 0")
    variables = dict(each.split("=", 1) for each in (tmp_path / "env").read_text().split("\0")[:-1])
    known = {"PATH", "LANG", "HOME", "USER", "LOGNAME", "PWD", "OLDPWD", "SHLVL", "_"}
    fields = {key for key in variables if key.startswith("TESSFLUX_")}
    assert fields == {
        f"TESSFLUX_{name}" for name in ("EVENT", "STATE", "SUBJECT", "TEXT", "TIME", "SINCE", "MORE", "HOST")
    }
    assert variables.keys() <= known | fields
    assert variables["PATH"] == PATH
    given = json.loads((tmp_path / "stdin").read_text())
    assert {f"TESSFLUX_{name.upper()}": str(value) for name, value in given.items()} == {
        key: variables[key] for key in fields
    }


def test_a_hostile_name_is_only_data(script: Script, tmp_path: Path) -> None:
    name = f"$(touch {tmp_path}/hacked); `touch {tmp_path}/hacked` \0\n--help"
    ended = Command().run(script('printf "%s" "$TESSFLUX_SUBJECT"'), Notice("silent", RAISED, name, "", 0, 0))
    assert ended.output == f"$(touch {tmp_path}/hacked); `touch {tmp_path}/hacked` \\x00 --help"
    assert not (tmp_path / "hacked").exists()


def test_one_that_fails_says_how(script: Script) -> None:
    ended = Command().run(script("echo no route; echo to host >&2; exit 3"), NOTICE)
    assert (ended.problem, ended.output) == ("failed with exit code 3", "no route | to host")
    assert Command().run(script("kill -SEGV $$"), NOTICE).problem == "was ended by signal 11"


def test_one_that_is_not_ours_to_kill_has_ended_as_well(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `exec sudo mail` of a tessflux that is not root."""

    def killpg(_pid: int, _signal: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", killpg)
    assert Command().run(script("echo told"), NOTICE) == Ended("", "told")


def test_one_that_does_not_read_what_it_gets_may_do_so(script: Script) -> None:
    assert Command().run(script("exec 0<&-"), NOTICE).problem == ""


def test_one_that_cannot_be_run_says_why(script: Script, tmp_path: Path) -> None:
    assert Command().run(str(tmp_path / "none"), NOTICE).problem == "cannot be run: No such file or directory"
    path = script("")
    os.chmod(path, stat.S_IRUSR)
    assert Command().run(path, NOTICE).problem == "cannot be run: Permission denied"
    Path(path).write_text("echo without a first line")
    os.chmod(path, 0o755)
    assert Command().run(path, NOTICE).problem == "cannot be run: Exec format error"


def test_one_that_hangs_is_killed_with_all_it_has_started(script: Script) -> None:
    ended = Command(seconds=0.5).run(script("sleep 600 & echo $!; trap '' TERM; sleep 600"), NOTICE)
    assert ended.problem == "did not end within 0.5 s and was killed"
    assert not ended.stopped
    wait_until(lambda: has_ended(int(ended.output)), "its end")


def test_a_child_that_stays_is_ended_and_not_waited_for(script: Script) -> None:
    began = time.monotonic()
    ended = Command().run(script("sleep 600 & echo $!"), NOTICE)
    assert ended.problem == ""
    wait_until(lambda: has_ended(int(ended.output)), "its end")
    assert time.monotonic() - began < 10


def test_a_child_that_leaves_the_group_keeps_nobody_waiting(script: Script) -> None:
    began = time.monotonic()
    ended = Command().run(script("setsid sleep 60 & echo $!"), NOTICE)
    os.kill(int(ended.output), 9)
    assert ended.problem == ""
    assert time.monotonic() - began < 10


def test_one_that_writes_megabytes_is_read_and_forgotten(script: Script) -> None:
    ended = Command().run(script("head -c 20000000 /dev/zero | tr '\\0' x; exit 1"), NOTICE)
    assert ended.problem == "failed with exit code 1"
    assert ended.output == "x" * ALARM_OUTPUT


def test_one_that_closes_its_output_is_waited_for_without_work(script: Script) -> None:
    began = time.thread_time()
    ended = Command().run(script("exec >&- 2>&-; sleep 1; exit 4"), NOTICE)
    assert ended.problem == "failed with exit code 4"
    assert time.thread_time() - began < 0.3


def test_a_stop_ends_it_at_once(script: Script) -> None:
    command = Command()
    threading.Timer(0.2, command.stop).start()
    began = time.monotonic()
    ended = command.run(script("sleep 600"), NOTICE)
    assert ended.stopped
    assert time.monotonic() - began < 10
    assert not Command().run(script("exit 1"), NOTICE).stopped
