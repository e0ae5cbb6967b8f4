"""`tessflux --check`: what it says about the places where the daemon writes."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tessflux.commands import check
from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import Config, GlobalConfig, InfluxConfig, MqttConfig, SpoolConfig
from tessflux.spool.journal import FILE_NAME, RESERVE


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(("free", "good"), [(RESERVE, True), (RESERVE - 1, False)])
def test_a_disk_without_the_room_that_the_spool_leaves_is_said(
    free: int, good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(free))
    mqtt = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))
    config = Config("config", GlobalConfig(), mqtt, InfluxConfig(), SpoolConfig(str(tmp_path)), ())
    said: list[str] = []
    assert check._places(config, said.append) is good
    assert said == [
        f"spool      ok: {tmp_path}"
        if good
        else f"spool      less than 32 MB are left on the disk of {tmp_path}: make room"
    ]


def test_a_spool_that_another_user_has_begun_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).touch()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != FILE_NAME)
    mqtt = MqttConfig(broker=BrokerAddress("tcp", "localhost", 1883, ""))
    config = Config("config", GlobalConfig(), mqtt, InfluxConfig(), SpoolConfig(str(tmp_path)), ())
    said: list[str] = []
    assert not check._places(config, said.append)
    assert said == [f"spool      this user cannot write {tmp_path}; run the check as the user of the daemon"]
