"""A configured secret is nowhere but where the operator put it, whether all is well or not."""

import base64
import json
import signal
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import Influxd, Mosquitto, find_program
from twisted.python.failure import Failure

from tessflux.config import load
from tessflux.errors import ConfigError
from tessflux.influx.client import InfluxClient
from tessflux.influx.http import Http
from tessflux.logs import format_line
from tessflux.mqtt.pahoclient import PahoClient, Socket
from tests.certificates import self_signed
from tests.faults.scripted import Answer, ScriptedServer
from tests.real.site import Publisher, Site, payload, reading, wait_until

BROKER, BROKER_WRONG, BROKER_URL = "Br0ker;pass=1", "Br0ker-wrong-2", "Br0ker-url-3"
DATABASE, DATABASE_WRONG, DATABASE_URL = "D4tabase ñ漢 1", "D4tabase-wrong-2", "D4tabase-url-3"
TOKEN = "T0ken-of-the-database-1=="
NEW_USER, LOST_USER = "Sch3ma-user-1", "Sch3maUser2"
STRAY = "Str4y-line-1"
SECRETS = [value for name, value in sorted(globals().items()) if name.isupper() and isinstance(value, str)]
VARIABLE = "TESSFLUX_TEST_PASSWORD"


def shown(text: str) -> list[str]:
    """The secrets that a text shows, as they are or as HTTP and URLs write them."""
    forms = {
        form: secret
        for secret in SECRETS
        for form in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            secret.replace(" ", "+"),
            *(base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("tessflux", "admin")),
            base64.b64encode(secret.encode()).decode().rstrip("="),
        )
    }
    return sorted({secret for form, secret in forms.items() if form in text})


def test_a_secret_is_found_in_each_of_its_forms() -> None:
    login = base64.b64encode(f"admin:{DATABASE}".encode()).decode()
    for text in (f"x{DATABASE}", quote(DATABASE), f"p={DATABASE.replace(' ', '+')}", f"Basic {login}"):
        assert shown(text) == [DATABASE]
    assert shown("nothing") == []


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose broker and database ask for passwords."""
    passwords = tmp_path / "passwords"
    monkeypatch.setenv(VARIABLE, DATABASE)
    command = [find_program("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), "tessflux", BROKER]
    subprocess.run(command, check=True, capture_output=True)
    asks = ["allow_anonymous false", f"password_file {passwords}"]
    with (
        Mosquitto(tmp_path / "mosquitto", settings=asks) as mosquitto,
        Influxd(tmp_path / "influxd", http={"auth-enabled": True}) as influxd,
    ):
        influxd.query(f"CREATE USER admin WITH PASSWORD '{DATABASE}' WITH ALL PRIVILEGES")
        site = Site(tmp_path, mosquitto, influxd)
        yield site
        site.end()


def test_a_daemon_shows_no_secret_in_good_times_and_bad(locked: Site, tmp_path: Path) -> None:
    site, said = locked, []
    secret_file = tmp_path / "secret"
    secret_file.write_text(f"{BROKER}\n")
    secret_file.chmod(0o600)
    site.schema.write_text(
        f"CREATE USER reader WITH PASSWORD '{NEW_USER}'; CREATE USER lost WITH PASSWORD {LOST_USER};"
        f" SET PASSWORD = '{NEW_USER}'; CREATE DATABASE \"tessdb\""
    )
    # Both wrong, in the config itself.
    wrong = {"mqtt": {"username": "tessflux", "password": BROKER_WRONG}}
    site.configure(**wrong, influxdb={"username": "admin", "password": DATABASE_WRONG})
    site.launch()
    site.wait_for_log("Cannot use the broker")
    site.wait_for_log("authorization failed")
    said += commands(site, "--check", "refused", "export")
    # Broken, with secrets where none belongs.
    for section, keys in STRAYS:
        site.configure(**{section: keys})
        broken = site.logged().count("The config stays as it was")
        site.signal(signal.SIGHUP)
        site.wait_for_log("The config stays as it was", broken + 1)
        said += commands(site, "--check")
    # Right, in the config, in a file and in the environment.
    site.configure(
        mqtt={"username": "tessflux", "password": BROKER},
        influxdb={"username": "admin", "password": f"${{{VARIABLE}}}"},
    )
    site.signal(signal.SIGHUP)
    site.wait_for_log("Subscribed to")
    site.wait_for_log("(CREATE USER lost ...)")
    said += commands(site, "--check")
    site.schema.write_text('CREATE DATABASE "tessdb"')
    site.configure(
        mqtt={"username": "tessflux", "password_file": secret_file},
        influxdb={"username": "admin", "password": f"${{{VARIABLE}}}", "timeout": 20},
    )
    site.signal(signal.SIGHUP)
    site.wait_for_log("takes readings into")
    publish(site, reading("stars1", 1, 1), ("STARS4ALL/stars2/reading", "{"))
    wait_until(lambda: count(site) == 1, f"the reading arrives:\n{site.logged()}")
    # The servers are away.
    site.influxd.stop()
    publish(site, reading("stars1", 2, 2), ("STARS4ALL/stars3/reading", payload("stars3", 1, -1)))
    site.wait_for_log("takes no readings: ", 3)
    site.mosquitto.stop()
    site.wait_for_log("Lost the connection to the broker")
    said += commands(site, "--check", "refused", "refused --json", "refused --export", "export")
    assert len(said[-1]) > 50
    process = Path(f"/proc/{site.process.pid}")
    said.append((process / "cmdline").read_text())
    # Nobody else got our environment or arguments.
    assert not [task for task in (process / "task").iterdir() if (task / "children").read_text()]
    site.stop()
    assert shown(site.logged()) == []
    assert [text for text in said if shown(text)] == []
    for file in site.spool.iterdir():
        assert shown(file.read_bytes().decode(errors="replace")) == [], file


def test_what_a_server_says_is_shown_without_the_login_and_without_control_characters(
    site: Site, scripted: ScriptedServer
) -> None:
    login = base64.b64encode(f"admin:{DATABASE}".encode()).decode()
    said = f"no: \x1b[2J\x9b1m\u202e\n1970-01-01T00:00:00+0000 [mqtt#info] forged; Basic {login}\n"
    scripted.otherwise = Answer(500, said.encode())
    site.configure(influxdb={"url": scripted.url, "schema": "", "username": "admin", "password": DATABASE})
    site.start()
    site.wait_for_log(r"no: \x1b[2J\x9b1m\u202e\x0a1970-01-01T00:00:00+0000 [mqtt#info] forged; Basic ***")
    checked = site.run("--check")
    site.stop()
    for text in (site.logged(), checked.stdout + checked.stderr):
        assert shown(text) == []
        assert text.replace("\n", "").isprintable()
        assert not [line for line in text.splitlines() if line.startswith("1970")]


def test_a_token_that_a_server_quotes_is_hidden(site: Site, scripted: ScriptedServer) -> None:
    scripted.otherwise = Answer(500, json.dumps({"error": f"what is {TOKEN}? Bearer {TOKEN}"}).encode())
    site.configure(influxdb={"url": scripted.url, "schema": "", "database": "sky", "token": TOKEN})
    site.start()
    site.wait_for_log("500 what is ***? Bearer *** (")
    checked = site.run("--check")
    site.stop()
    assert scripted.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    for text in (site.logged(), checked.stdout + checked.stderr):
        assert "***" in text
        assert shown(text) == []


STRAYS: list[tuple[str, dict[str, object]]] = [
    ("mqtt", {"broker": f"mqtt://tessflux:{BROKER_URL}@127.0.0.1"}),
    ("influxdb", {"url": f"http://admin:{DATABASE_URL}@127.0.0.1:8086"}),
    ("mqtt", {"username": "tessflux", "password_file": STRAY}),
    ("influxdb", {"database": "sky", "token": f"{TOKEN} {STRAY}"}),
    ("influxdb", {"database": "sky", "token_file": STRAY}),
    ("influxdb", {"database": "sky", "token": TOKEN, "dbname": "tessdb"}),
    ("influxdb", {"token": TOKEN}),
    ("mqtt", {"username": "tessflux", "pasword": STRAY}),
    ("mqtt", {"username": "tessflux", "password": f"{BROKER}\n{STRAY}"}),
    ("mqtt", {"username": "tessflux", "password": f"{BROKER}\n  {STRAY}"}),
    ("mqtt", {"username": "tessflux", "password": f"{BROKER}${{NO_SUCH_VARIABLE}}"}),
]
"""Configs that are wrong, and have a secret near what is wrong."""


def commands(site: Site, *each: str) -> list[str]:
    """All that these commands print."""
    results = [site.run(*command.split()) for command in each]
    return [result.stdout + result.stderr for result in results]


def publish(site: Site, *messages: tuple[str, str]) -> None:
    publisher = Publisher(site.mosquitto, "tessflux", BROKER)
    publisher.publish(messages, qos=1)
    publisher.close()


def count(site: Site) -> int:
    query = "SELECT count(seq) FROM readings"
    return sum(row["count"] for row in site.influxd.select(query, "tessdb", u="admin", p=DATABASE))


def test_nothing_that_knows_a_secret_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in its repr, not in an exception that holds it, and not in the log of one."""
    key = tmp_path / "key"
    key.write_bytes(self_signed())
    file = tmp_path / "config"
    file.write_text(
        f"[mqtt]\nbroker = tls:h:1\ntls_cert = {key}\ntls_key = {key}\n"
        f"username = tessflux\npassword = {BROKER}\n"
        f"[influxdb]\nurl = http://h\nusername = admin\npassword = ${{{VARIABLE}}}\n"
        f"[influxdb b]\nurl = http://h\norg = o\nbucket = b\ntoken = {TOKEN}\n"
    )
    config = load(str(file), {VARIABLE: DATABASE})
    mqtt = config.mqtt
    session = PahoClient(Socket(lambda data: None, lambda: None), mqtt, keep=True)
    http = Http(config.influxdb, None, None)  # type: ignore[arg-type]
    client = InfluxClient(config.influxdb, http)
    other = Http(config.outputs["influxdb b"], None, None)  # type: ignore[arg-type]
    private = key.read_text().split("PRIVATE KEY-----")[1].split("\n")[1]
    for known in (config, config.mqtt, config.influxdb, mqtt.password, session, http, client, other):
        for text in (repr(known), str(known), f"{known}", trace(RuntimeError(known))):
            assert shown(text) == []
            assert private not in text
    file.write_text(file.read_text() + "flush_interval = never\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file), {VARIABLE: DATABASE})
    assert shown(trace(caught.value) + repr(caught.value.problems)) == []


def trace(error: Exception) -> str:
    """What Python prints, and what we log, about an exception."""
    return "".join(traceback.format_exception(error)) + format_line(
        {"log_format": "{error}", "error": error, "log_failure": Failure(error)}
    )
