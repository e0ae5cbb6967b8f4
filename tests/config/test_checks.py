"""What the keys of a config must agree on, and what its operator is warned of."""

from contextlib import suppress
from pathlib import Path

import pytest

from tessflux.config import Secret
from tessflux.config.loading import load as load_file
from tessflux.errors import ConfigError
from tests.certificates import self_signed
from tests.config.conftest import Load, Problems

TCP = "[mqtt]\nbroker = tcp:localhost:1883\n"
TLS = "[mqtt]\nbroker = mqtts://h\n"
INFLUX = TCP + "[influxdb]\n"
PASSWORD = "Zq9-hunter2-zQ"

TWO = ("org = stars", "bucket = sky", "token = t")
"""Of an InfluxDB 2."""
KEEP = "keep the keys of one of them"

LOGINS = pytest.mark.parametrize(("section", "start"), [("mqtt", TCP), ("influxdb", INFLUX)])
MODES = {0o644: True, 0o604: True, 0o640: False, 0o600: False}
"""Of a file: whether everyone can read it. That a group can is how a daemon reads what root keeps."""


def filled(text: str, pem: str) -> str:
    """The text with the paths of a certificate and of a token."""
    token = Path(pem).with_name("token")
    token.write_text("t0ken==")
    token.chmod(0o640)
    return text.replace("{pem}", pem).replace("{token}", str(token))


def lines(start: str, *more: str) -> str:
    return start + "\n".join((*more, ""))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (
            lines(TCP, "share_group = tess", "client_id = b"),
            3,
            "[mqtt] share_group: needs share_member beside it, a different one for each daemon, from 0 to 15",
        ),
        (
            lines(TCP, "share_group = tess", "share_member = 15"),
            3,
            "[mqtt] share_group: needs client_id beside it, a different one for each daemon; one that has a"
            " session keeps its name",
        ),
        (lines(TCP, "share_member = 1"), 3, "[mqtt] share_member: needs share_group beside it"),
        (
            lines(TCP, "topics = a/b, $share/tess/a"),
            3,
            "[mqtt] topics: name the group of a shared subscription in share_group",
        ),
        (
            lines(TCP, "register_topics = $share/tess/register"),
            3,
            "[mqtt] register_topics: name the group of a shared subscription in share_group",
        ),
        (lines(TLS, "tls_cert = {pem}"), 3, "[mqtt] tls_cert: needs tls_key beside it"),
        (lines(TLS, "tls_key = {pem}"), 3, "[mqtt] tls_key: needs tls_cert beside it"),
        (
            lines(TCP, "tls_ca = {pem}"),
            3,
            "[mqtt] tls_ca: the server has no TLS; write broker = tls:HOST:PORT, or drop it",
        ),
        (
            lines(INFLUX, "tls_ca = {pem}", "url = http://h"),
            4,
            "[influxdb] tls_ca: the server has no TLS; write url = https://HOST:PORT, or drop it",
        ),
        (lines(TLS, "tls_ca = /dev/null"), 3, "[mqtt] tls_ca: holds no certificate in PEM form"),
        (
            lines(INFLUX, "url = https://h", "tls_ca = /dev/null"),
            5,
            "[influxdb] tls_ca: holds no certificate in PEM form",
        ),
        (
            lines(TLS, "tls_cert = {pem}", "tls_key = /dev/null"),
            4,
            "[mqtt] tls_key: it and tls_cert are not a certificate and its key in PEM form, unencrypted",
        ),
        (
            lines(TCP, "username = me", "password = x", "password_file = {pem}"),
            5,
            "[mqtt] password_file: password is given too; keep one of them",
        ),
        (
            lines(INFLUX, "username = me", "password = x", "password_file = {pem}"),
            6,
            "[influxdb] password_file: password is given too; keep one of them",
        ),
        # InfluxDB 1, 2 and 3.
        (
            lines(INFLUX, *TWO, "dbname = tessdb"),
            7,
            f"[influxdb] dbname: is for InfluxDB 1, but bucket is for InfluxDB 2; {KEEP}",
        ),
        (
            lines(INFLUX, *TWO, "schema = {pem}"),
            7,
            f"[influxdb] schema: is for InfluxDB 1, but bucket is for InfluxDB 2; {KEEP}",
        ),
        (
            lines(INFLUX, "username = me", "database = sky"),
            4,
            f"[influxdb] username: is for InfluxDB 1, but database is for InfluxDB 3; {KEEP}",
        ),
        (
            lines(
                INFLUX, "url = http://h", "[influxdb copy]", "url = http://h", "database = sky", "retpol = a"
            ),
            8,
            f"[influxdb copy] retpol: is for InfluxDB 1, but database is for InfluxDB 3; {KEEP}",
        ),
        (
            lines(INFLUX, "org = stars", "token = t"),
            4,
            "[influxdb] org: needs bucket beside it, as InfluxDB 2 does",
        ),
        (
            lines(INFLUX, "bucket = sky"),
            4,
            "[influxdb] bucket: needs org and token beside it, as InfluxDB 2 does",
        ),
        (
            lines(INFLUX, "token = t"),
            4,
            "[influxdb] token: needs org and bucket beside it (InfluxDB 2) or database (InfluxDB 3), and no"
            " dbname, username or schema",
        ),
        (
            lines(INFLUX, "dbname = tessdb", "token_file = {token}"),
            5,
            "[influxdb] token_file: needs org and bucket beside it (InfluxDB 2) or database (InfluxDB 3), and"
            " no dbname, username or schema",
        ),
        (
            lines(INFLUX, *TWO, "token_file = {token}"),
            7,
            "[influxdb] token_file: token is given too; keep one of them",
        ),
        (
            lines(INFLUX, "create = yes"),
            4,
            "[influxdb] create: needs org and bucket beside it; it is for InfluxDB 2",
        ),
        (
            lines(INFLUX, *TWO, "retention = 30"),
            7,
            "[influxdb] retention: needs create = yes beside it; it is for a bucket that is made",
        ),
    ],
)
def test_keys_that_do_not_agree_are_a_problem(
    problems: Problems, pem: str, text: str, line: int, problem: str
) -> None:
    assert problems(filled(text, pem)) == [(line, problem)]


@pytest.mark.parametrize(
    "text",
    [
        lines(TCP, "share_group = tess", "share_member = 0", "client_id = b"),
        lines(TLS, "tls_ca = {pem}", "tls_cert = {pem}", "tls_key = {pem}"),
        lines(INFLUX, "url = https://h", "tls_ca = {pem}"),
        lines(INFLUX, "tls_ca = {pem}"),
        lines(TCP, "username = me"),
        lines(INFLUX, "username = me"),
        lines(TCP, "username = me", "password =", "password_file = {pem}"),
        lines(INFLUX, *TWO),
        lines(INFLUX, *TWO, "create = yes", "retention = 30"),
        lines(INFLUX, *TWO, "create = no", "retention = 0", "username =", "schema ="),
        lines(INFLUX, "database = sky", "token = ", "token_file = {token}"),
        lines(INFLUX, "database = sky"),
        lines(INFLUX, "create = no"),
        lines(INFLUX, "url = http://h, https://h", "tls_ca = {pem}"),
    ],
)
def test_keys_that_agree_are_taken_without_a_word(load: Load, pem: str, text: str) -> None:
    assert load(filled(text, pem)).warnings == ()


@pytest.mark.parametrize("key", ["tls_cert", "tls_key"])
def test_no_certificate_is_for_a_broker_without_tls(problems: Problems, pem: str, key: str) -> None:
    advice = "the server has no TLS; write broker = tls:HOST:PORT, or drop it"
    assert (3, f"[mqtt] {key}: {advice}") in problems(lines(TCP, f"{key} = {pem}"))


def test_a_wrong_address_is_the_only_problem_of_keys_that_need_tls(problems: Problems, pem: str) -> None:
    [(line, _)] = problems(f"[mqtt]\nbroker = nowhere\ntls_ca = {pem}\n")
    assert line == 2


@pytest.mark.parametrize("kind", [b" TRUSTED CERTIFICATE", b" X509 CERTIFICATE"])
def test_authorities_in_another_form_are_a_problem_before_they_are_needed(
    problems: Problems, tmp_path: Path, kind: bytes
) -> None:
    path = tmp_path / "other.pem"
    path.write_bytes(self_signed() + self_signed().replace(b" CERTIFICATE", kind))
    assert problems(lines(TLS, f"tls_ca = {path}")) == [
        (3, "[mqtt] tls_ca: holds no certificate in PEM form")
    ]


def test_qos_2_means_1_and_a_warning(load: Load, file: Path) -> None:
    loaded = load(lines(TCP, "qos = 2"))
    assert loaded.mqtt.qos == 1
    text = "[mqtt] qos = 2 means 1: duplicates are recognised, so QoS 2 would bring nothing"
    assert loaded.warnings == (f"{file}:3: {text}",)


# Slips of the pen


QUOTES = "has quotes, which are part of it; drop them"
COMMENT = "has a # in it, which is part of it; a comment needs a line of its own"
SEPARATOR = "has a blank, ; or | in it, which separates nothing; commas separate the items of a list"
NAME = "is no list, pattern or word with a meaning; it stands for the one photometer with exactly this name"
STAR = "has a *, which is no wildcard; + stands for any one level, # at the end for all levels below"
CAPITALS = "is not in capitals, in which photometers write STARS4ALL"
LEVEL = "has an empty level; drop the / that is too much"
TOPIC = "is no list, pattern or placeholder; a level is a name or +, which stands for any one level"
NO_REGISTER = "does not end in /register, by which register messages are recognised"
ONE_LEVEL = "has a single level, on which no photometer publishes"


@pytest.mark.parametrize(
    ("section", "key", "value", "warnings"),
    [
        ("mqtt", "whitelist", "stars1 stars17", [f"'stars1 stars17' {SEPARATOR}"]),
        ("mqtt", "blacklist", "Stars1 Stars17", [f"'stars1 stars17' {SEPARATOR}"]),
        ("mqtt", "whitelist", "stars1;stars17, stars3", [f"'stars1;stars17' {SEPARATOR}"]),
        ("mqtt", "whitelist", "stars1|stars17", [f"'stars1|stars17' {SEPARATOR}"]),
        ("mqtt", "whitelist", "stars1 # mine", [f"'stars1 # mine' {COMMENT}"]),
        ("mqtt", "whitelist", "stars1, #stars17", [f"'#stars17' {COMMENT}"]),
        ("mqtt", "whitelist", "stars1\n  stars17 # roof", [f"'stars17 # roof' {COMMENT}"]),
        ("mqtt", "whitelist", '"stars1", "stars17"', [f"""'"stars1"' {QUOTES}"""]),
        ("mqtt", "whitelist", '"stars1, stars17"', [f"""'"stars1' {QUOTES}"""]),
        ("mqtt", "whitelist", "''", [f"""\"''" {QUOTES}"""]),
        ("mqtt", "whitelist", "\u201cstars1\u201d", [f"'\u201cstars1\u201d' {QUOTES}"]),
        ("mqtt", "whitelist", "stars*", [f"'stars*' {NAME}"]),
        ("mqtt", "whitelist", "+", [f"'+' {NAME}"]),
        ("mqtt", "whitelist", "STARS4ALL/stars1/reading", [f"'stars4all/stars1/reading' {NAME}"]),
        ("mqtt", "whitelist", "a b, c*, d e", [f"'a b' {SEPARATOR}", f"'c*' {NAME}"]),
        ("mqtt", "topics", "A/+/reading B/+/reading", [f"'A/+/reading B/+/reading' {SEPARATOR}"]),
        ("mqtt", "topics", "A/+/reading;B/+/reading", [f"'A/+/reading;B/+/reading' {SEPARATOR}"]),
        ("mqtt", "topics", "STARS4ALL/*/reading", [f"'STARS4ALL/*/reading' {STAR}"]),
        ("mqtt", "topics", "A/+/reading, /STARS4ALL/+/reading", [f"'/STARS4ALL/+/reading' {LEVEL}"]),
        ("mqtt", "topics", "STARS4ALL/+/reading/", [f"'STARS4ALL/+/reading/' {LEVEL}"]),
        ("mqtt", "topics", "STARS4ALL//+/reading", [f"'STARS4ALL//+/reading' {LEVEL}"]),
        ("mqtt", "topics", '"STARS4ALL/+/reading"', [f"""'"STARS4ALL/+/reading"' {QUOTES}"""]),
        ("mqtt", "topics", "stars4all/+/reading", [f"'stars4all/+/reading' {CAPITALS}"]),
        ("mqtt", "topics", "STARS4ALL/+/reading,1", [f"'1' {ONE_LEVEL}"]),
        ("mqtt", "topics", "none", [f"'none' {ONE_LEVEL}"]),
        ("mqtt", "topics", "[A/+/reading, B/+/reading]", [f"'B/+/reading]' {TOPIC}"]),
        ("mqtt", "register_topics", "stars4all/register", [f"'stars4all/register' {CAPITALS}"]),
        ("mqtt", "register_topics", "A/register, A/+/reading", [f"'A/+/reading' {NO_REGISTER}"]),
        ("mqtt", "share_group", "'tess'", [f"""\"'tess'" {QUOTES}"""]),
        ("influxdb", "dbname", "tessdb # x", [f"'tessdb # x' {COMMENT}"]),
        ("influxdb", "dbname", '"tessdb"', [f"""'"tessdb"' {QUOTES}"""]),
        ("influxdb", "retpol", "two_days\t# x", [rf"'two_days\t# x' {COMMENT}"]),
        ("influxdb", "measurement", "'readings'", [f"""\"'readings'" {QUOTES}"""]),
        ("influxdb", "measurement", "readings # x", [f"'readings # x' {COMMENT}"]),
        ("global", "log_file", "/var/log/tessflux.log # x", [f"'/var/log/tessflux.log # x' {COMMENT}"]),
        ("spool", "directory", "/srv/spool # x", [f"'/srv/spool # x' {COMMENT}"]),
    ],
)
def test_a_value_that_looks_like_a_slip_is_taken_with_a_warning(
    load: Load, file: Path, section: str, key: str, value: str, warnings: list[str]
) -> None:
    """It may be the true name, so it is no problem; but else nothing is stored, and everything looks well."""
    more = "share_member = 0\nclient_id = b\n" if key == "share_group" else ""
    text = f"{TCP}{more}[{section}]\n" if section != "mqtt" else f"{TCP}{more}"
    line = text.count("\n") + 1
    assert load(f"{text}{key} = {value}\n").warnings == tuple(
        f"{file}:{line}: [{section}] {key}: {warning}" for warning in warnings
    )


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("mqtt", "whitelist", "stars1, PRU21 ,TASBC3,sqm-1738,test_sqm1,TESS-Madrid-01,uñconf,x.y-z_,3"),
        ("mqtt", "whitelist", "stars1 ; mine"),
        ("mqtt", "topics", "STARS4ALL/+/reading, STARS4ALL/#, +/a/+/#, a-b_c.d/e/5, año/1"),
        ("mqtt", "register_topics", "A/register, A/+/register, A/#, A/+"),
        ("mqtt", "register_topics", ""),
        ("mqtt", "username", "o'hara#1"),
        ("influxdb", "dbname", "sky of tess"),
        ("influxdb", "measurement", 'a"b#c'),
        ("influxdb", "url", "http://h/o'"),
        ("global", "log_file", "/var/log/tess#1/log"),
    ],
)
def test_a_usual_value_gives_no_warning(load: Load, section: str, key: str, value: str) -> None:
    text = f"{TCP}[{section}]\n" if section != "mqtt" else TCP
    assert load(f"{text}{key} = {value}\n").warnings == ()


@pytest.mark.parametrize(
    "items",
    [
        *("[]", "{}", "()", "[stars1, stars2]", "(stars1, stars2)", '["stars1"]'),
        *("none", "ALL", "any", "null", "off", "true", "-", "--", "stars1, none"),
        *("stars1:stars2", "stars1&stars2", "stars1=stars2", "stars1+stars2", "stars1..20"),
        *("stars1\uff0cstars2", "stars1\u3001stars2", "stars1\u2013stars9"),
        *("stars[0-9]", "^stars1$", "stars%", "<stars1>", "stars.*", "stars\\d", "stars1!", "@stars1", "."),
    ],
)
def test_what_is_no_usual_name_is_warned_of(load: Load, items: str) -> None:
    for key in "whitelist", "blacklist":
        assert load(f"{TCP}{key} = {items}\n").warnings


@pytest.mark.parametrize(
    "items",
    [
        *("[]", "all", "1", "STARS4ALL", "[A/+/reading]", '["A/+/reading"]', "('A/+/reading')"),
        *("A/<name>/reading", "A/{name}/reading", "A/$name/reading", "$queue/A/+/reading", "$SYS/up"),
        *("A/?/reading", "A/stars[0-9]/reading", "A/%/reading", "A/.+/reading", "A/-/reading", "A/^/#"),
        *("A/+/reading:1", "A/+/reading=1", "A/+/reading\u200b", "\u2060A/+/reading", "A/+/rea\u00adding"),
    ],
)
def test_what_is_no_usual_topic_is_warned_of_or_refused(load: Load, items: str) -> None:
    with suppress(ConfigError):
        assert load(f"{TCP}topics = {items}\n").warnings


@pytest.mark.parametrize(
    ("items", "warned"),
    [
        ("STARS4ALL/register", True),
        ("STARS4ALL/+/status, STARS4ALL/register", True),
        ("STARS4ALL/+/reading, STARS4ALL/register", False),
        ("STARS4ALL/#", False),
    ],
)
def test_topics_of_which_none_brings_readings_are_warned_of(
    load: Load, file: Path, items: str, warned: bool
) -> None:
    text = "photometers publish no readings on register or status; add STARS4ALL/+/reading"
    assert load(f"{TCP}topics = {items}\n").warnings == (f"{file}:3: [mqtt] topics: {text}",) * warned


@pytest.mark.parametrize(
    ("more", "warned"), [("", True), ("register_topics = A/register\n", True), ("register_topics =\n", False)]
)
def test_readings_in_the_measurement_of_register_messages_are_warned_of(
    load: Load, more: str, warned: bool
) -> None:
    warnings = load(f"{TCP}{more}[influxdb]\nmeasurement = photometers\n").warnings
    text = "[influxdb] measurement: what photometers say of themselves goes there as well"
    assert [text in warning for warning in warnings] == [True] * warned


def test_a_warning_shows_the_name_of_a_variable_and_not_what_it_holds(load: Load, file: Path) -> None:
    assert load(f"{TCP}whitelist = ${{PW}}\n", PW=f"{PASSWORD} x").warnings == (
        f"{file}:3: [mqtt] whitelist: '${{PW}}' {SEPARATOR}",
    )


def test_a_warning_shows_no_item_at_any_length(load: Load, file: Path) -> None:
    assert load(f"{TCP}topics = {'x ' * 100}y\n").warnings == (
        f"{file}:3: [mqtt] topics: '{'x ' * 40}...' {SEPARATOR}",
    )


def test_a_photometer_in_both_lists_is_stored_by_neither(load: Load, file: Path) -> None:
    assert load(f"{TCP}whitelist = stars1, stars2\nblacklist = stars3, Stars2\n").warnings == (
        f"{file}:4: [mqtt] blacklist: 'stars2' is in the whitelist too; its readings are not stored",
    )


# Passwords


@LOGINS
def test_a_password_file_gives_its_first_line(load: Load, tmp_path: Path, section: str, start: str) -> None:
    path = tmp_path / "secret"
    for ending in ("", "\n", "\r\n", "\nsecond line\n"):
        path.write_bytes(f" {PASSWORD} ñ{ending}".encode())
        path.chmod(0o640)
        loaded = load(lines(start, "username = me", "password =", f"password_file = {path}"))
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
    problems: Problems, tmp_path: Path, content: bytes, part: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    [(line, found)] = problems(lines(TCP, "username = me", f"password_file = {path}"))
    assert line == 4
    assert found.startswith(f"[mqtt] password_file = '{path}': ")
    assert part in found


def test_the_longest_password_is_taken(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x" * 65_535 + "\r\n")
    loaded = load(lines(TCP, "username = me", f"password_file = {path}"))
    assert loaded.mqtt.password.reveal() == "x" * 65_535


@LOGINS
@pytest.mark.parametrize("key", ["password", "password_file"])
def test_a_password_without_a_username_is_warned_of(
    load: Load, pem: str, section: str, start: str, key: str
) -> None:
    value = {"password": PASSWORD, "password_file": pem}[key]
    (warning,) = load(lines(start, f"{key} = {value}")).warnings
    assert f"[{section}] {key}: without a username it is not used; give both or none" in warning


@LOGINS
@pytest.mark.parametrize(
    ("password", "literal"), [(PASSWORD, True), (PASSWORD + "${PW}", True), ("${PW}", False), ("", False)]
)
def test_a_password_that_everyone_can_read_is_warned_of(
    file: Path, section: str, start: str, password: str, literal: bool
) -> None:
    """A variable is no secret of the file."""
    text = lines(start, "username = me", f"password = {password}")
    file.write_text(text)
    advice = "every user of this machine can read it; chmod 640 the file, or use password_file"
    warning = f"{file}:{text.count(chr(10))}: [{section}] password: {advice}"
    for mode, everyone in MODES.items():
        file.chmod(mode)
        assert load_file(str(file), {"PW": "x"}).warnings == ((warning,) if literal and everyone else ())


@pytest.mark.parametrize(
    ("section", "key", "more"),
    [
        ("mqtt", "password_file", (TLS, "username = me")),
        ("mqtt", "tls_key", (TLS, "tls_cert = {pem}")),
        ("influxdb", "password_file", (INFLUX, "username = me")),
        ("influxdb", "token_file", (INFLUX, "database = sky")),
    ],
)
def test_a_file_of_a_secret_that_everyone_can_read_is_warned_of(
    load: Load, file: Path, pem: str, section: str, key: str, more: tuple[str, ...]
) -> None:
    secret = file.parent / "secret"
    secret.write_bytes(b"t0ken==" if key == "token_file" else Path(pem).read_bytes())
    text = lines(*more, f"{key} = {secret}").replace("{pem}", pem)
    advice = "every user of this machine can read the file; chmod 640 it"
    warning = f"{file}:{text.count(chr(10))}: [{section}] {key}: {advice}"
    for mode, everyone in MODES.items():
        secret.chmod(mode)
        assert load(text).warnings == ((warning,) if everyone else ())


@LOGINS
def test_half_a_password_is_warned_of(load: Load, section: str, start: str) -> None:
    loaded = load(lines(start, "username = me ; not he", f"password = {PASSWORD} ;tail"))
    assert getattr(loaded, section).password.reveal() == PASSWORD
    (warning,) = loaded.warnings
    assert f"[{section}] password: a blank and ; begin a comment" in warning
    assert "tail" not in warning


@LOGINS
def test_a_comment_that_is_part_of_a_password_is_warned_of(load: Load, section: str, start: str) -> None:
    loaded = load(lines(start, "username = me", f"password = {PASSWORD}\t# mine"))
    assert getattr(loaded, section).password.reveal() == f"{PASSWORD}\t# mine"
    (warning,) = loaded.warnings
    assert warning.endswith(f":{start.count(chr(10)) + 2}: [{section}] password: {COMMENT}")


@pytest.mark.parametrize("more", [";", ";x", " x", "#x", "#", "'", "${HASH}"])
def test_a_password_may_look_as_it_likes(load: Load, more: str) -> None:
    loaded = load(lines(TCP, "username = me", f"password = {PASSWORD}{more}"), HASH=" # x")
    assert loaded.mqtt.password.reveal() == PASSWORD + more.replace("${HASH}", " # x")
    assert loaded.warnings == ()


# Tokens


def test_a_token_is_a_password_of_its_own_kind(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{PASSWORD}==\n")
    path.chmod(0o640)
    for line, secret in (
        (f"token = {PASSWORD}==", Secret(f"{PASSWORD}==")),
        ("token = ${TOKEN}==", Secret(f"{PASSWORD}==")),
        (f"token_file = {path}", Secret(f"{PASSWORD}==", str(path))),
    ):
        loaded = load(lines(INFLUX, "database = sky", line), TOKEN=PASSWORD)
        assert loaded.influxdb.password == secret
        assert loaded.warnings == ()
        assert PASSWORD not in repr(loaded)


def test_a_token_that_everyone_can_read_is_warned_of(file: Path) -> None:
    file.write_text(lines(INFLUX, "database = sky", f"token = {PASSWORD}"))
    file.chmod(0o644)
    advice = "every user of this machine can read it; chmod 640 the file, or use token_file"
    assert load_file(str(file), {}).warnings == (f"{file}:5: [influxdb] token: {advice}",)


def test_what_cannot_be_a_token_is_a_problem_that_does_not_show_it(
    problems: Problems, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(f"{PASSWORD} x\n")
    wrong = "must be a token: it has no blanks and no letters outside ASCII"
    for line, key in (
        (f"token = {PASSWORD} x", "token"),
        (f"token = {PASSWORD}ñ", "token"),
        (f"token_file = {path}", f"token_file = '{path}'"),
    ):
        assert problems(lines(INFLUX, "database = sky", line)) == [(5, f"[influxdb] {key}: {wrong}")]


# Who sees a password


def test_a_config_shows_no_password(load: Load) -> None:
    loaded = load(lines(TCP, "username = me", f"password = {PASSWORD}"))
    assert loaded.mqtt.password.reveal() == PASSWORD
    assert PASSWORD not in f"{loaded!r}{loaded.mqtt.connection}"


@pytest.mark.parametrize(
    "more",
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
def test_no_problem_shows_a_password(file: Path, more: list[str]) -> None:
    start = "[mqtt]\n" if more[0].startswith("broker") else TCP
    file.write_text(lines(start, *more))
    with pytest.raises(ConfigError) as caught:
        load_file(str(file), {"PW": PASSWORD})
    shown = f"{caught.value}{caught.value!r}{caught.value.__cause__}{caught.value.__context__}"
    assert PASSWORD not in shown
