"""The example files that come with tessflux: complete, true, and usable as they are."""

import re
from pathlib import Path
from typing import Any

from tessflux.config import (
    AlarmConfig,
    BrokerAddress,
    GlobalConfig,
    InfluxConfig,
    MqttConfig,
    SiteConfig,
    SpoolConfig,
    StatusConfig,
)
from tessflux.config.loading import load
from tessflux.config.sections import KEYS, OUTPUT

ETC = Path(__file__).parents[2] / "etc/tessflux"
EXAMPLE = ETC / "config.example"
LOCAL_BROKER = BrokerAddress("tcp", "localhost", 1883, "")


def shown_in_example() -> dict[tuple[str, str], str]:
    """Every `key = value` of the example, commented out or not."""
    section, shown = "", {}
    for line in EXAMPLE.read_text().splitlines():
        if match := re.fullmatch(r"\[([\w ]+)\]", line):
            section = match[1]
        elif match := re.fullmatch(r"#?(\w+) =(.*)", line):
            assert (section, match[1]) not in shown
            shown[section, match[1]] = match[2].strip()
    return shown


def test_the_example_names_every_key_and_no_other() -> None:
    known = {(section, key) for section, keys in KEYS.items() for key in keys if section != OUTPUT}
    assert set(shown_in_example()) == known


def test_the_example_shows_the_defaults() -> None:
    deliberate = {
        ("global", "log_file"): "/var/log/tessflux/tessflux.log",
        ("influxdb", "url"): "http://localhost:8086",
        ("influxdb", "schema"): "/etc/tessflux/influxdb",
        ("mqtt", "broker"): "tcp:localhost:1883",
    }
    defaults: dict[str, Any] = {
        "global": GlobalConfig(),
        "influxdb": InfluxConfig(),
        "mqtt": MqttConfig(LOCAL_BROKER),
        "spool": SpoolConfig(),
        "status": StatusConfig(),
        "alarm": AlarmConfig(),
        "site": SiteConfig(),
    }
    for (section, key), text in shown_in_example().items():
        if (section, key) in deliberate:
            assert text == deliberate[section, key]
        else:
            field = "password" if key in ("password_file", "token", "token_file") else key
            assert KEYS[section][key](text) == getattr(defaults[section], field), key


def test_the_example_says_of_every_key_whether_a_reload_applies_it() -> None:
    text = EXAMPLE.read_text()
    blocks = re.split(r"\n\n+", text[text.index("[global]") :])
    with_keys = [block for block in blocks if re.search(r"(?m)^#?\w+ =", block)]
    assert len(with_keys) > 30
    for block in with_keys:
        assert ("RESTART" if "#directory" in block else "SIGHUP applies") in block


def test_the_example_works_unchanged_where_its_data_definition_file_is(tmp_path: Path) -> None:
    schema = ETC / "influxdb.example"
    copy = tmp_path / "config"
    copy.write_text(EXAMPLE.read_text().replace("/etc/tessflux/influxdb", str(schema)))
    loaded = load(str(copy), {})
    assert loaded.mqtt.broker == LOCAL_BROKER
    assert loaded.influxdb == InfluxConfig(url="http://localhost:8086", schema=str(schema))
    assert loaded.warnings == ()


def test_the_data_definition_file_only_makes_what_is_missing() -> None:
    text = (ETC / "influxdb.example").read_text()
    statements = re.sub(r"--.*", "", text).split(";")
    assert [" ".join(statement.split()) for statement in statements] == [
        'CREATE DATABASE "tessdb"',
        'CREATE RETENTION POLICY "forever" ON "tessdb" DURATION INF REPLICATION 1 DEFAULT',
        'CREATE RETENTION POLICY "two_days" ON "tessdb" DURATION 2d REPLICATION 1',
        "",
    ]
