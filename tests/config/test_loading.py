"""The config file: what is taken, what is refused and how, and what nobody gets to see."""

import dataclasses
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessflux.config import sections
from tessflux.config.sections import BrokerAddress, Config, Secret
from tessflux.errors import ConfigError, Problem
from tests.certificates import self_signed

ROOT = Path(__file__).parents[2]
HOME_BROKER = BrokerAddress("tcp", "localhost", 1883, "")
MINIMAL = "[mqtt]\nbroker = tcp:localhost:1883\n"
PASSWORD = "Zq9-hunter2-zQ"

Loader = Callable[..., Config]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
def load(file: Path) -> Loader:
    """Load a text as if it stood in the config file."""

    def load_text(text: str | bytes, environ: Mapping[str, str] | None = None) -> Config:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(0o640)
        return sections.load(str(file), environ or {})

    return load_text


def problems(load: Loader, text: str | bytes, **environ: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        load(text, environ)
    return [(problem.line, problem.text) for problem in caught.value.problems]


def problem(load: Loader, text: str | bytes, **environ: str) -> tuple[int, str]:
    (only,) = problems(load, text, **environ)
    return only


def in_section(section: str, *lines: str) -> str:
    """A whole config of which the given lines are the first wrong ones, beginning in line 4."""
    return MINIMAL + "\n".join((f"[{section}]", *lines, ""))


def with_broker(*lines: str) -> str:
    """A config whose [mqtt] goes on with the given lines, beginning in line 3."""
    return MINIMAL + "\n".join((*lines, ""))


# ---- whole files ----


def test_a_broker_is_all_that_a_config_needs(load: Loader, file: Path) -> None:
    assert load(MINIMAL) == Config(
        path=str(file),
        global_=sections.GlobalConfig(),
        mqtt=sections.MqttConfig(HOME_BROKER, client_id=f"tessflux-{socket.gethostname()}"),
        influxdb=sections.InfluxConfig(),
        spool=sections.SpoolConfig(),
        warnings=(),
    )


def test_a_config_of_2017_means_what_it_meant() -> None:
    loaded = sections.load(str(Path(__file__).parent / "config-2017"), {})
    assert loaded.global_ == sections.GlobalConfig(log_file="/var/log/tessflux.log")
    assert loaded.influxdb == sections.InfluxConfig(
        url="http://localhost:8086",
        dbname="tessdb",
        retpol="two_days",
        measurement="readings",
        batch=10,
    )
    assert loaded.mqtt == sections.MqttConfig(
        BrokerAddress("tcp", "test.mosquitto.org", 1883, ""),
        client_id=f"tessflux-{socket.gethostname()}",
        keepalive=60,
        topics=("STARS4ALL/+/reading",),
    )
    assert loaded.warnings == ()


def test_the_first_config_of_2017_knew_no_users_and_no_retention_policy(load: Loader, tmp_path: Path) -> None:
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
    assert loaded.influxdb == sections.InfluxConfig(
        url="http://localhost:8086", schema=str(schema), dbname="pruebas", batch=1
    )


def test_every_key_can_be_set(load: Loader, tmp_path: Path) -> None:
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
validation = no
whitelist = Stars1, STARS2
blacklist = noisy
silence = 0
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
    assert loaded.global_ == sections.GlobalConfig("/var/log/other.log", "debug")
    assert loaded.influxdb == sections.InfluxConfig(
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
    assert loaded.mqtt == sections.MqttConfig(
        BrokerAddress("tls", "broker.example.org", 8883, ""),
        username="reader",
        password=Secret(PASSWORD),
        client_id="roof",
        version="5",
        keepalive=30,
        qos=0,
        topics=("STARS4ALL/+/reading", "other/#"),
        validation=False,
        whitelist=frozenset({"stars1", "stars2"}),
        blacklist=frozenset({"noisy"}),
        silence=0.0,
        tls_ca=paths["ca"],
        tls_cert=paths["cert"],
        tls_key=paths["key"],
        stats=False,
        log_level="error",
    )
    assert loaded.spool == sections.SpoolConfig("/srv/spool", 512 * 2**20, 0)


# ---- files that are not there, or no text ----


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
        sections.load(path, {})
    (found,) = caught.value.problems
    assert (found.file, found.line) == (path, 0)
    assert part in found.text
    assert caught.value.exit_code == 78


def test_a_file_that_is_not_utf_8_is_a_problem_with_its_line(load: Loader) -> None:
    line, text = problem(load, MINIMAL.encode() + "# año\n".encode("latin1"))
    assert line == 3
    assert "iconv" in text


def test_the_path_of_a_config_stays_right_when_the_daemon_changes_its_directory(
    load: Loader, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(MINIMAL)
    monkeypatch.chdir(file.parent)
    assert sections.load("config", {}).path == str(file)


def test_a_mark_of_byte_order_is_no_part_of_the_text(load: Loader) -> None:
    assert load("\ufeff" + MINIMAL).mqtt.broker == HOME_BROKER


# ---- values ----


def test_a_wrong_value_is_shown_but_not_at_any_length(load: Loader) -> None:
    line, text = problem(load, with_broker(f"keepalive = {'9' * 5000}"))
    assert line == 3
    shown = "9" * 80 + "..."
    assert text == f"[mqtt] keepalive = '{shown}': must be a whole number from 1 to 65535"


def test_a_list_goes_on_in_lines_that_begin_with_a_blank(load: Loader) -> None:
    loaded = load(with_broker("topics = a/+,", "  b/#", "", "# a comment", "\tc,", "qos = 0"))
    assert loaded.mqtt.topics == ("a/+", "b/#", "c")
    assert loaded.mqtt.qos == 0


@pytest.mark.parametrize("key", ["keepalive", "username", "client_id"])
def test_other_values_stand_on_one_line(load: Loader, key: str) -> None:
    line, text = problem(load, with_broker(f"{key} = 1", "  qos = 0"))
    assert line == 3
    assert text.startswith(f"[mqtt] {key} = '1\\nqos = 0': must stand on one line")


def test_all_problems_come_at_once_in_the_order_of_the_file(load: Loader) -> None:
    found = problems(
        load,
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
""",
    )
    assert [line for line, _ in found] == [0, 2, 4, 5, 7, 8, 9, 11]
    assert found[0][1].startswith("[mqtt] broker is missing; say where the broker listens: tcp:")


def test_a_problem_begins_with_file_and_line(load: Loader, file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(with_broker("qos = 3"))
    expected = "[mqtt] qos = '3': must be a whole number from 0 to 2"
    assert caught.value.problems == (Problem(str(file), 3, expected),)
    assert str(caught.value) == f"{file}:3: {expected}"


# ---- keys that must agree ----


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "a.pem"
    path.write_bytes(self_signed())
    return str(path)


def test_a_share_group_and_a_number_in_it_come_together(load: Loader) -> None:
    loaded = load(with_broker("share_group = tess", "share_member = 15", "client_id = b")).mqtt
    assert (loaded.share_group, loaded.share_member) == ("tess", 15)
    (line, found) = problem(load, with_broker("share_group = tess", "client_id = b"))
    assert (line, found[:53]) == (3, "[mqtt] share_group: needs share_member beside it, for")
    assert problem(load, with_broker("share_group = tess", "share_member = 15")) == (
        3,
        "[mqtt] share_group: needs client_id beside it, for each daemon another; one that has a session"
        " keeps its name",
    )
    assert problem(load, with_broker("share_member = 1")) == (
        3,
        "[mqtt] share_member: needs share_group beside it",
    )


def test_a_shared_subscription_has_its_group_under_its_own_key(load: Loader) -> None:
    assert problem(load, with_broker("topics = a/b, $share/tess/a")) == (
        3,
        "[mqtt] topics: name the group of a shared subscription in share_group",
    )
    for group in ("a/b", "a+", "#"):
        _, found = problem(load, with_broker(f"share_group = {group}", "share_member = 0", "client_id = b"))
        assert found == f"[mqtt] share_group = {group!r}: must have none of the characters / + #"


@pytest.mark.parametrize("key", ["tls_ca", "tls_cert", "tls_key"])
def test_certificates_need_a_broker_with_tls(load: Loader, pem: str, key: str) -> None:
    found = problems(load, with_broker(f"{key} = {pem}"))
    expected = f"[mqtt] {key}: the server has no TLS; write broker = tls:HOST:PORT, or drop it"
    assert (3, expected) in found


def test_a_certificate_for_a_url_without_tls_is_a_problem(load: Loader, pem: str) -> None:
    text = in_section("influxdb", f"tls_ca = {pem}", "url = http://h")
    assert problem(load, text) == (
        4,
        "[influxdb] tls_ca: the server has no TLS; write url = https://HOST:PORT, or drop it",
    )


def test_certificate_and_key_come_together(load: Loader, pem: str) -> None:
    start = "[mqtt]\nbroker = mqtts://h\n"
    assert problem(load, f"{start}tls_cert = {pem}") == (
        3,
        "[mqtt] tls_cert: needs tls_key beside it",
    )
    assert problem(load, f"{start}tls_key = {pem}") == (
        3,
        "[mqtt] tls_key: needs tls_cert beside it",
    )
    assert load(f"{start}tls_cert = {pem}\ntls_key = {pem}").mqtt.tls_cert == pem


@pytest.mark.parametrize("key", ["tls_ca", "tls_cert", "tls_key"])
def test_a_certificate_that_cannot_be_read_is_named(load: Loader, pem: str, key: str) -> None:
    text = "[mqtt]\nbroker = mqtts://h\n" + "".join(
        f"{each} = {pem}\n" if each != key else f"{each} = /no/such.pem\n"
        for each in ("tls_ca", "tls_cert", "tls_key")
    )
    _, found = problem(load, text)
    assert found.startswith(f"[mqtt] {key} = '/no/such.pem': the file cannot be read")


def test_a_file_without_a_certificate_is_a_problem_before_it_is_needed(load: Loader, pem: str) -> None:
    start = "[mqtt]\nbroker = mqtts://h\n"
    assert problem(load, f"{start}tls_ca = /dev/null") == (
        3,
        "[mqtt] tls_ca: holds no certificate in PEM form",
    )
    other = Path(pem).with_name("other.pem")
    for kind in (b" TRUSTED CERTIFICATE", b" X509 CERTIFICATE"):
        other.write_bytes(self_signed() + self_signed().replace(b" CERTIFICATE", kind))
        assert problem(load, f"{start}tls_ca = {other}")[1].startswith("[mqtt] tls_ca: holds no certificate")
    line, found = problem(load, f"{start}tls_cert = {pem}\ntls_key = /dev/null")
    assert line == 4
    assert found.startswith("[mqtt] tls_key: with tls_cert it makes no pair")


@pytest.mark.parametrize("section", ["mqtt", "influxdb"])
def test_a_password_without_a_username_is_warned_about_but_not_the_other_way_round(
    load: Loader, section: str
) -> None:
    assert load(in_section("influxdb", "username = me")).influxdb.username == "me"
    assert load(with_broker("username = me")).mqtt.username == "me"
    start = MINIMAL if section == "mqtt" else MINIMAL + "[influxdb]\n"
    (warning,) = load(f"{start}password = {PASSWORD}\n").warnings
    assert f"[{section}] password: without a username it is not used" in warning
    assert PASSWORD not in warning


def test_qos_2_means_1_and_a_warning(load: Loader, file: Path) -> None:
    loaded = load(with_broker("qos = 2"))
    assert loaded.mqtt.qos == 1
    text = "[mqtt] qos = 2 means 1: what is delivered twice is recognised, so QoS 2 would bring nothing"
    assert loaded.warnings == (f"{file}:3: {text}",)


# ---- secrets and variables ----


@pytest.mark.parametrize("section", ["mqtt", "influxdb"])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nsecond line\n"])
def test_a_password_file_gives_its_first_line(
    load: Loader, tmp_path: Path, section: str, ending: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {PASSWORD} ñ{ending}".encode())
    start = MINIMAL if section == "mqtt" else MINIMAL + "[influxdb]\n"
    loaded = load(f"{start}username = me\npassword =\npassword_file = {path}\n")
    assert getattr(loaded, section).password == Secret(f" {PASSWORD} ñ", str(path))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty first line"),
        (b"\nsecond\n", "empty first line"),
        (b"\xff" + PASSWORD.encode(), "is not UTF-8 text"),
        (b"x" * 65_536, "longer than 65535 bytes"),
    ],
)
def test_a_password_file_without_a_password_is_a_problem(
    load: Loader, tmp_path: Path, content: bytes, part: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    line, found = problem(load, with_broker("username = me", f"password_file = {path}"))
    assert line == 4
    assert found.startswith(f"[mqtt] password_file = '{path}': ")
    assert part in found


def test_the_longest_password_is_taken(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x" * 65_535 + "\r\n")
    loaded = load(with_broker("username = me", f"password_file = {path}"))
    assert loaded.mqtt.password.reveal() == "x" * 65_535


def test_a_password_in_two_places_is_a_problem(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(PASSWORD)
    text = with_broker("username = me", "password = x", f"password_file = {path}")
    assert problem(load, text) == (
        5,
        "[mqtt] password_file: password is given too; keep one of them",
    )


def test_variables_are_replaced_in_any_value_and_only_once(load: Loader) -> None:
    environ = {"HOST": "broker.example", "PW": "${HOST}", "N": "3", "E": ""}
    loaded = load(
        "[mqtt]\nbroker = tcp:${HOST}:1883\nusername = a$b$${N}$\n"
        "password = ${PW}\nkeepalive = ${N}0\nclient_id = ${E}x${not a name}${\n",
        environ,
    )
    assert loaded.mqtt.broker.host == "broker.example"
    assert loaded.mqtt.username == "a$b$3$"
    assert loaded.mqtt.password.reveal() == "${HOST}"
    assert loaded.mqtt.keepalive == 30
    assert loaded.mqtt.client_id == "x${not a name}${"


def test_a_missing_variable_is_a_problem(load: Loader) -> None:
    text = with_broker("username = ${WHO}", "password = ${A}${B}")
    assert problems(load, text) == [
        (3, "[mqtt] username = '${WHO}': set the environment variable WHO"),
        (4, "[mqtt] password: set the environment variable A and B"),
    ]


@pytest.mark.parametrize("value", ["a\x1bb", "a\0b", "a\nb", "\udcff"])
def test_a_variable_that_holds_no_line_of_text_is_a_problem(load: Loader, value: str) -> None:
    line, found = problem(load, with_broker("username = ${X}"), X=value)
    assert line == 3
    assert found.startswith("[mqtt] username = '${X}': must")


def test_a_config_shows_no_password(load: Loader) -> None:
    loaded = load(with_broker("username = me", f"password = {PASSWORD}"))
    assert loaded.mqtt.password.reveal() == PASSWORD
    assert PASSWORD not in repr(loaded)
    assert PASSWORD not in str(dataclasses.asdict(loaded))


@pytest.mark.parametrize(
    "lines",
    [
        [f"password = {PASSWORD}", "keepalive = 0"],
        [f"password = {PASSWORD}\x01", "username = me"],
        ["password =", f"  {PASSWORD}", "  qos = 1", "username = me"],
        [f"password = {PASSWORD}", f"password = {PASSWORD}", "username = me"],
        [f"pasword = {PASSWORD}"],
        [f"password_file = {PASSWORD}", "username = me"],
        ["tls_cert = /x", "tls_key =", "  -----BEGIN PRIVATE KEY-----", f"  {PASSWORD}"],
        [f"password {PASSWORD}"],
        [PASSWORD],
        [f"[{PASSWORD}!"],
        [f"broker = mqtt://me:{PASSWORD}@h"],
        [f"broker = mqtt://me:x/{PASSWORD}@h"],
        [f"broker = mqtt://h:{PASSWORD}"],
        ["[influxdb]", f"url = http://me:{PASSWORD}@h"],
        ["[influxdb]", f"url = http://me:x/{PASSWORD}@h"],
        ["[influxdb]", f"url = http://h/?u=me&p={PASSWORD}"],
        ["keepalive = ${PW}"],
        ["log_level = ${PW}"],
        ["tls_ca = /${PW}"],
        ["topics = ${PW}/#/x"],
        ["whitelist = ${PW}\x02"],
    ],
)
def test_no_problem_shows_a_password(load: Loader, lines: list[str]) -> None:
    start = "[mqtt]\n" if lines[0].startswith("broker") else MINIMAL
    with pytest.raises(ConfigError) as caught:
        load(start + "\n".join(lines), {"PW": PASSWORD})
    shown = f"{caught.value}{caught.value!r}{caught.value.__cause__}{caught.value.__context__}"
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    ("password", "mode", "warned"),
    [
        (PASSWORD, 0o644, True),
        (PASSWORD, 0o604, True),
        (PASSWORD + "${PW}", 0o644, True),
        (PASSWORD, 0o640, False),
        (PASSWORD, 0o600, False),
        ("${PW}", 0o644, False),
        ("", 0o644, False),
    ],
)
def test_a_password_that_everyone_can_read_is_warned_of(
    file: Path, password: str, mode: int, warned: bool
) -> None:
    file.write_text(in_section("influxdb", "username = me", f"password = {password}"))
    os.chmod(file, mode)
    expected = (
        f"{file}:5: [influxdb] password: every user of this machine can read it; "
        "chmod 640 the file, or use password_file"
    )
    assert sections.load(str(file), {"PW": "x"}).warnings == ((expected,) if warned else ())


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640, 0o600])
@pytest.mark.parametrize("key", ["password_file", "tls_key"])
def test_a_file_of_a_secret_that_everyone_can_read_is_warned_of(
    load: Loader, file: Path, pem: str, key: str, mode: int
) -> None:
    """That a group can is how a daemon reads what root keeps."""
    secret = file.parent / "secret"
    secret.write_bytes(Path(pem).read_bytes())
    secret.chmod(mode)
    lines = {"password_file": ["username = me"], "tls_key": [f"tls_cert = {pem}"]}[key]
    text = "\n".join(["[mqtt]", "broker = tls:h:1", *lines, f"{key} = {secret}"])
    expected = f"{file}:4: [mqtt] {key}: every user of this machine can read the file; chmod 640 it"
    assert load(text).warnings == ((expected,) if mode & 0o004 else ())


def test_half_a_password_is_warned_of(load: Loader, file: Path) -> None:
    loaded = load(with_broker("username = me ; not he", f"password = {PASSWORD} ;tail"))
    assert loaded.mqtt.password.reveal() == PASSWORD
    (warning,) = loaded.warnings
    assert warning.startswith(
        f"{file}:4: [mqtt] password: a blank and ; begin a comment, which is no part of it;"
    )
    assert "tail" not in warning


@pytest.mark.parametrize("password", [PASSWORD + ";", f"{PASSWORD};x", f"{PASSWORD} x"])
def test_a_password_may_hold_blanks_and_semicolons_that_do_not_meet(load: Loader, password: str) -> None:
    loaded = load(with_broker("username = me", f"password = {password}"))
    assert (loaded.mqtt.password.reveal(), loaded.warnings) == (password, ())


# ---- whatever stands in the file ----

WORDS = sorted({key for keys in sections.KEYS.values() for key in keys})
LINES = st.one_of(
    st.sampled_from([f"[{section}]" for section in sections.KEYS]),
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
    loaded: sections.Config | ConfigError
    try:
        loaded = sections.load(str(file), {})
    except ConfigError as error:
        loaded = error
    if isinstance(loaded, ConfigError):
        assert loaded.problems
        assert all(0 <= found.line <= data.count(b"\n") + 1 for found in loaded.problems)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", str(loaded))
    else:
        assert loaded.mqtt.topics
        assert loaded.mqtt.client_id
