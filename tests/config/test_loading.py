"""A whole config file: what it means, and the problems of one that is wrong."""

import re
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessflux.config import (
    AlarmConfig,
    BrokerAddress,
    Config,
    GlobalConfig,
    InfluxConfig,
    MqttConfig,
    Secret,
    SpoolConfig,
    StatusConfig,
)
from tessflux.config.loading import load as load_file
from tessflux.config.sections import KEYS
from tessflux.errors import ConfigError, Problem
from tests.certificates import self_signed
from tests.config.conftest import Load, Problems

HOME_BROKER = BrokerAddress("tcp", "localhost", 1883, "")
OUR_NAME = f"tessflux-{socket.gethostname()}"
MINIMAL = "[mqtt]\nbroker = tcp:localhost:1883\n"
PASSWORD = "Zq9-hunter2-zQ"


def test_a_broker_is_all_that_a_config_needs(load: Load, file: Path) -> None:
    assert load(MINIMAL) == Config(
        path=str(file),
        global_=GlobalConfig(),
        mqtt=MqttConfig(HOME_BROKER, client_id=OUR_NAME),
        outputs={"influxdb": InfluxConfig()},
        spool=SpoolConfig(),
        warnings=(),
    )


def test_a_config_of_2017_means_what_it_meant() -> None:
    loaded = load_file(str(Path(__file__).parent / "config-2017"), {})
    assert loaded.global_ == GlobalConfig(log_file="/var/log/tessflux.log")
    assert loaded.influxdb == InfluxConfig(
        url="http://localhost:8086",
        dbname="tessdb",
        retpol="two_days",
        measurement="readings",
        batch=10,
    )
    assert loaded.mqtt == MqttConfig(
        BrokerAddress("tcp", "test.mosquitto.org", 1883, ""),
        client_id=OUR_NAME,
        keepalive=60,
        topics=("STARS4ALL/+/reading",),
    )
    assert loaded.warnings == ()


def test_a_config_of_3_0_0_means_what_it_meant() -> None:
    loaded = load_file(str(Path(__file__).parent / "config-3.0.0"), {})
    assert loaded.global_ == GlobalConfig(log_file="/var/log/tessflux/tessflux.log", log_level="warn")
    assert loaded.influxdb == InfluxConfig(
        url="http://localhost:8086",
        retpol="forever",
        batch=20,
        flush_interval=2,
        timeout=20,
        extra_fields=("vbat", "az", "alt"),
    )
    assert loaded.mqtt == MqttConfig(
        HOME_BROKER,
        client_id="observatory",
        keepalive=30,
        blacklist=frozenset({"sqm-1738"}),
        new_photometers=4_000,
        silence=300,
    )
    assert loaded.spool == SpoolConfig(max_size=2 * 2**30, quarantine=50_000)
    assert (loaded.status, loaded.alarm) == (StatusConfig(), AlarmConfig())
    assert loaded.warnings == ()


def test_the_first_config_of_2017_knew_no_users_and_no_retention_policy(load: Load, tmp_path: Path) -> None:
    schema = tmp_path / "influxdb"
    schema.touch()
    keep = (Path(__file__).parent / "config-2017").read_text()
    before, influxdb, after = keep.partition("[influxdb]")
    influxdb, mqtt, after = after.partition("[mqtt]")
    for old, new in (
        (r"(?m)^(username|password|retpol).*\n", ""),
        (r"dbname.*", "dbname = pruebas"),
        (r"batch.*", "batch = 1"),
        (r"schema.*", f"schema = {schema}"),
    ):
        influxdb = re.sub(old, new, influxdb)
    loaded = load(f"{before}[influxdb]{influxdb}{mqtt}{after}")
    assert loaded.influxdb == InfluxConfig(
        url="http://localhost:8086", schema=str(schema), dbname="pruebas", batch=1
    )


def test_every_key_can_be_set(load: Load, tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("schema", "ca", "cert", "key", "secret")}
    for path in paths.values():
        Path(path).write_text(f"{PASSWORD}\nsecond line\n")
    for name in ("ca", "cert", "key"):
        Path(paths[name]).write_bytes(self_signed())
    loaded = load(
        f"""
[global]
log_file = /var/log/other.log
log_level = Debug
clock_wait = 0
[influxdb]
url = https://db.example.org:8086/influx/
schema = {paths["schema"]}
dbname = sky
username = writer
password_file = {paths["secret"]}
retpol = forever
measurement = photometers
batch = 500
flush_interval = 0.25
timeout = 5
tls_ca = {paths["ca"]}
extra_fields = azi, alt
stats = off
log_level = warn
[mqtt]
broker = tls:broker.example.org:8883
username = reader
password = {PASSWORD}
client_id = roof
version = 5
keepalive = 30
qos = 0
topics = STARS4ALL/+/reading, other/#
share_group = tess
share_member = 15
validation = no
whitelist = Stars1, STARS2
blacklist = noisy
new_photometers = 9
silence = 0
backlog_wait = 60
tls_ca = {paths["ca"]}
tls_cert = {paths["cert"]}
tls_key = {paths["key"]}
stats = false
log_level = error
[spool]
directory = /srv/spool
max_size = 512M
quarantine = 0
"""
    )
    assert loaded.global_ == GlobalConfig("/var/log/other.log", "debug", clock_wait=0.0)
    assert loaded.influxdb == InfluxConfig(
        url="https://db.example.org:8086/influx",
        schema=paths["schema"],
        dbname="sky",
        username="writer",
        password=Secret(PASSWORD, paths["secret"]),
        retpol="forever",
        measurement="photometers",
        batch=500,
        flush_interval=0.25,
        timeout=5.0,
        tls_ca=paths["ca"],
        extra_fields=("az", "alt"),
        stats=False,
        log_level="warn",
    )
    assert loaded.mqtt == MqttConfig(
        BrokerAddress("tls", "broker.example.org", 8883, ""),
        username="reader",
        password=Secret(PASSWORD),
        client_id="roof",
        version="5",
        keepalive=30,
        qos=0,
        topics=("STARS4ALL/+/reading", "other/#"),
        share_group="tess",
        share_member=15,
        validation=False,
        whitelist=frozenset({"stars1", "stars2"}),
        blacklist=frozenset({"noisy"}),
        new_photometers=9,
        silence=0.0,
        backlog_wait=60.0,
        tls_ca=paths["ca"],
        tls_cert=paths["cert"],
        tls_key=paths["key"],
        stats=False,
        log_level="error",
    )
    assert loaded.spool == SpoolConfig("/srv/spool", 512 * 2**20, 0)


# Files that cannot be read


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("missing", "there is no such file: make it from config.example"),
        ("directory", "the file cannot be read (Is a directory)"),
        ("loop", "the file cannot be read (Too many levels of symbolic links)"),
        ("a\0b", "no file can have this name"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    path = f"{tmp_path}/{name}"
    with pytest.raises(ConfigError) as caught:
        load_file(path, {})
    (found,) = caught.value.problems
    assert (found.file, found.line) == (path, 0)
    assert part in found.text
    assert caught.value.exit_code == 78


def test_a_file_that_is_not_utf_8_is_a_problem_with_its_line(problems: Problems) -> None:
    [(line, text)] = problems(MINIMAL.encode() + "# año\n".encode("latin1"))
    assert line == 3
    assert "iconv" in text


def test_a_byte_order_mark_is_no_part_of_the_text(load: Load) -> None:
    assert load("\ufeff" + MINIMAL).mqtt.broker == HOME_BROKER


def test_the_path_of_a_config_stays_right_when_the_daemon_changes_its_directory(
    load: Load, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(MINIMAL)
    monkeypatch.chdir(file.parent)
    assert load_file("config", {}).path == str(file)


# Problems


def test_a_problem_begins_with_file_and_line(load: Load, file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(MINIMAL + "qos = 3\n")
    expected = "[mqtt] qos = '3': must be a whole number from 0 to 2"
    assert caught.value.problems == (Problem(str(file), 3, expected),)
    assert str(caught.value) == f"{file}:3: {expected}"


def test_all_problems_come_at_once_in_the_order_of_the_file(problems: Problems) -> None:
    found = problems(
        """[global]
log_levl = info
[influxdb]
url = nowhere
batch = none
[mqtt]
topics = a/#/b
qos = 7
keepalive
[spool]
max_size = huge
"""
    )
    assert [line for line, _ in found] == [0, 2, 4, 5, 7, 8, 9, 11]
    assert found[0][1].startswith("[mqtt] broker is missing; say where the broker listens: tcp:")


def test_a_wrong_value_is_shown_but_not_at_any_length(problems: Problems) -> None:
    shown = "9" * 80 + "..."
    assert problems(f"{MINIMAL}keepalive = {'9' * 5000}\n") == [
        (3, f"[mqtt] keepalive = '{shown}': must be a whole number from 1 to 65535")
    ]


# Values in several lines, and variables


def test_a_list_goes_on_in_lines_that_begin_with_a_blank(load: Load) -> None:
    loaded = load(MINIMAL + "topics = a/+,\n  b/#\n\n# a comment\n\tc,\nqos = 0\n")
    assert loaded.mqtt.topics == ("a/+", "b/#", "c")
    assert loaded.mqtt.qos == 0


@pytest.mark.parametrize("key", ["keepalive", "username", "client_id"])
def test_other_values_stand_on_one_line(problems: Problems, key: str) -> None:
    [(line, text)] = problems(f"{MINIMAL}{key} = 1\n  qos = 0\n")
    assert line == 3
    assert text.startswith(f"[mqtt] {key} = '1\\nqos = 0': must stand on one line")


def test_variables_are_replaced_in_any_value_and_only_once(load: Load) -> None:
    loaded = load(
        "[mqtt]\nbroker = tcp:${HOST}:1883\nusername = a$b$${N}$\n"
        "password = ${PW}\nkeepalive = ${N}0\nclient_id = ${E}x${not a name}${\n",
        HOST="broker.example",
        PW="${HOST}",
        N="3",
        E="",
    )
    assert loaded.mqtt.broker.host == "broker.example"
    assert loaded.mqtt.username == "a$b$3$"
    assert loaded.mqtt.password.reveal() == "${HOST}"
    assert loaded.mqtt.keepalive == 30
    assert loaded.mqtt.client_id == "x${not a name}${"


def test_a_missing_variable_is_a_problem(problems: Problems) -> None:
    assert problems(MINIMAL + "username = ${WHO}\npassword = ${A}${B}\n") == [
        (3, "[mqtt] username = '${WHO}': set the environment variable WHO"),
        (4, "[mqtt] password: set the environment variable A and B"),
    ]


@pytest.mark.parametrize("value", ["a\x1bb", "a\0b", "a\nb", "\udcff"])
def test_a_variable_that_holds_no_line_of_text_is_a_problem(problems: Problems, value: str) -> None:
    [(line, found)] = problems(MINIMAL + "username = ${X}\n", X=value)
    assert line == 3
    assert found.startswith("[mqtt] username = '${X}': must")


# Anything at all

WORDS = sorted({key for keys in KEYS.values() for key in keys})
LINES = st.one_of(
    st.sampled_from([f"[{section}]" for section in KEYS]),
    st.builds("{} = {}".format, st.sampled_from(WORDS), st.text(max_size=20)),
    st.builds("{}: {}".format, st.sampled_from(WORDS), st.sampled_from(["1", "no", "/", "a,b"])),
    st.builds("broker = {}:{}".format, st.sampled_from(["tcp", "tls", "unix"]), st.text()),
    st.builds("{} = {}{}".format, st.just("url"), st.sampled_from(["http://", ""]), st.text()),
    st.builds("broker = mqtt://{}".format, st.text()),
    st.text(max_size=30),
)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(str.encode),
    st.lists(LINES, max_size=12).map(lambda lines: "\n".join(lines).encode()),
    st.lists(LINES, max_size=6).map(lambda lines: (MINIMAL + "\n".join(lines)).encode()),
)


@settings(
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=FILES)
def test_any_file_is_a_config_or_a_list_of_problems(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    loaded: Config | ConfigError
    try:
        loaded = load_file(str(file), {})
    except ConfigError as error:
        loaded = error
    if isinstance(loaded, ConfigError):
        assert loaded.problems
        assert all(0 <= found.line <= data.count(b"\n") + 1 for found in loaded.problems)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", str(loaded))
    else:
        assert loaded.mqtt.topics
        assert loaded.mqtt.client_id


def test_a_value_that_is_wrong_may_be_so_by_a_comment_behind_it(problems: Problems) -> None:
    comment = "a comment needs a line of its own"
    broker, keepalive, topics = problems(
        "[mqtt]\nbroker = tcp:h:1883 # c\nkeepalive = 60  # seconds\ntopics = STARS4ALL/+ # all\n"
    )
    assert broker == (2, f"[mqtt] broker: needs a port from 1 to 65535; {comment}")
    assert keepalive[1].endswith(f"from 1 to 65535; {comment}")
    assert topics[1].endswith(f"as in STARS4ALL/#; {comment}")
    [(_, without)] = problems("[mqtt]\nbroker = tcp:h:x\n")
    assert comment not in without
