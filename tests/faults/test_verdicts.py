"""Every verdict that a real InfluxDB can be made to give: no reading is lost."""

import random
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from servers import Influxd, Mosquitto

from tessflux.influx.verdict import WANTS_TLS
from tessflux.readings import Admitted
from tessflux.spool.group import Group
from tessflux.spool.journal import Journal, second_look
from tests.certificates import authority, issued
from tests.faults.accounting import check_account
from tests.faults.proxy import Proxy
from tests.faults.scripted import GOOD, Answer, Request, ScriptedServer
from tests.faults.site import FaultSite, now_ms
from tests.real.site import Publisher, Site, wait_until

NO_READINGS = "takes no readings"


class Guarded(Influxd):
    """It asks for a password, and is queried by its administrator."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, http={"auth-enabled": True})

    def start(self) -> None:
        super().start()
        super().query("CREATE USER boss WITH PASSWORD 'boss' WITH ALL PRIVILEGES")

    def query(self, text: str, db: str = "", **parameters: str) -> list[dict[str, Any]]:
        return super().query(text, db, u="boss", p="boss", **parameters)


@contextmanager
def installed(directory: Path, influxd: Influxd) -> Iterator[tuple[FaultSite, Publisher]]:
    """The daemon's files, with nothing between it and its servers."""
    with Mosquitto(directory / "mosquitto", settings=["max_queued_messages 0"]) as mosquitto, influxd:
        site = FaultSite(directory, mosquitto, influxd, cast(Proxy, mosquitto), cast(Proxy, influxd))
        with closing(Publisher(mosquitto)) as publisher:
            try:
                yield site, publisher
            finally:
                site.end()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[tuple[FaultSite, Publisher]]:
    """An InfluxDB with its defaults."""
    with installed(tmp_path, Influxd(tmp_path / "influxd")) as installation:
        yield installation


def try_again(site: Site) -> None:
    """Make the next attempt at once, also if one is still under way."""
    before = site.logged().count("Delivery is paused")
    site.signal(signal.SIGUSR1)
    # Python may call the handler of the second signal before that of the first.
    wait_until(lambda: site.logged().count("Delivery is paused") > before, "the delivery is paused")
    site.signal(signal.SIGUSR2)


def test_a_database_that_is_dropped_is_created_anew(plain: tuple[FaultSite, Publisher]) -> None:
    site, publisher = plain
    site.start()
    site.wait_for_log("takes readings into tessdb")
    site.influxd.query('DROP DATABASE "tessdb"')
    site.publish(publisher, 50)
    site.wait_for_all()
    account = site.end_well()
    assert (account.delivered, account.quarantined) == (50, 0)
    assert site.logged().count("Ran the data definition file") == 2


def test_a_retention_policy_that_is_missing_is_created_by_the_file(
    plain: tuple[FaultSite, Publisher],
) -> None:
    site, publisher = plain
    site.influxd.query('CREATE DATABASE "tessdb"')
    site.schema.write_text(
        'CREATE DATABASE "tessdb";\n-- kept for long\n'
        'CREATE RETENTION POLICY "years" ON "tessdb" DURATION 520w REPLICATION 1 DEFAULT;\n'
    )
    site.configure(influxdb={"retpol": "years"})
    site.start()
    site.publish(publisher, 50)
    site.wait_for_all()
    assert site.end_well().delivered == 50
    assert NO_READINGS not in site.logged()


@pytest.mark.parametrize(
    ("reason", "statement"),
    [
        ("404 database not found", 'CREATE DATABASE "tessdb" WITH NAME "years"'),
        (
            "500 retention policy not found",
            'CREATE RETENTION POLICY "years" ON "tessdb" DURATION INF REPLICATION 1 DEFAULT',
        ),
    ],
)
def test_without_a_file_readings_wait_until_an_operator_creates_what_is_missing(
    plain: tuple[FaultSite, Publisher], reason: str, statement: str
) -> None:
    site, publisher = plain
    if "POLICY" in statement:
        site.influxd.query('CREATE DATABASE "tessdb"')
    site.configure(influxdb={"schema": "", "retpol": "years"})
    site.start()
    site.publish(publisher, 50)
    site.wait_for_log(NO_READINGS)
    assert reason in site.logged()
    assert "create it, or name a data definition file" in site.logged()
    site.influxd.query(statement)
    try_again(site)
    site.wait_for_all()
    assert site.end_well().delivered == 50
    assert site.logged().count(NO_READINGS) == 1


def test_a_wrong_password_and_a_missing_right_can_be_corrected_while_it_runs(tmp_path: Path) -> None:
    with installed(tmp_path, Guarded(tmp_path / "influxd")) as (site, publisher):
        site.influxd.query('CREATE DATABASE "tessdb"')
        site.influxd.query("CREATE USER tess WITH PASSWORD 'XrightX'")
        password = tmp_path / "password"
        password.write_text("XwrongX\n")
        site.configure(influxdb={"username": "tess", "password_file": password, "schema": ""})
        site.start()
        site.publish(publisher, 50)
        site.wait_for_log("401 authorization failed")
        password.write_text("XrightX\n")
        try_again(site)
        site.wait_for_log(f"{NO_READINGS}: 403 ")
        site.influxd.query('GRANT ALL ON "tessdb" TO "tess"')
        try_again(site)
        site.wait_for_all()
        assert site.end_well().delivered == 50
        assert site.logged().count(NO_READINGS) == 2
        assert "check username, password and the user's rights" in site.logged()
        assert "XrightX" not in site.logged()
        assert "XwrongX" not in site.logged()


def test_every_kind_of_bad_line_in_one_spool_ends_in_quarantine_or_is_counted(
    plain: tuple[FaultSite, Publisher],
) -> None:
    """Field type conflicts, lines that cannot be read, and lines that are too old, among good ones."""
    site, _ = plain
    now = now_ms()
    site.influxd.query('CREATE DATABASE "tessdb" WITH DURATION 1h')
    site.write("tessdb", f"readings,name=old vbat=7i {now}")
    lines = [f"readings,name=stars{n % 7} seq={n}.0,mag=12.5 {now + n}" for n in range(400)]
    for n in range(0, 400, 4):
        lines[n] = lines[n].replace("mag", "vbat")
        lines[n + 1] = lines[n + 1].replace("mag=", "mag=x")
        lines[n + 2] = f"readings,name=stars{n % 7} seq={n}.0 {now - 36_000_000 + n}"
    shuffled = random.Random(7).sample(lines, len(lines))
    site.spool.mkdir()
    with closing(Journal(str(site.spool), max_size=2**30, quarantine=1_000)) as journal:
        journal.commit(Group(lines=shuffled, admitted=[Admitted("x", n, n) for n in range(400)]), 0)
    site.start()
    with closing(second_look(str(site.spool))) as db:
        count = "SELECT count(*) FROM quarantine"
        wait_until(lambda: db.execute(count).fetchone()[0] == 200, "200 lines in quarantine")
        refused = {row[0].decode() for row in db.execute("SELECT payload FROM quarantine")}
    site.stop()
    assert refused == {line for n, line in enumerate(lines) if n % 4 < 2}
    assert sorted(row["seq"] for row in site.rows() if row["seq"] is not None) == list(range(3, 400, 4))
    account = check_account(site.logged())
    assert (account.before, account.delivered, account.expired, account.quarantined) == (400, 100, 100, 200)


def test_requests_that_are_larger_than_max_body_size_are_sent_in_parts(tmp_path: Path) -> None:
    with installed(tmp_path, Influxd(tmp_path / "influxd", http={"max-body-size": 1_000})) as (
        site,
        publisher,
    ):
        site.configure(influxdb={"batch": 1_000, "flush_interval": 0.5})
        site.start()
        site.publish(publisher, 300)
        site.wait_for_all()
        account = site.end_well()
        assert (account.delivered, account.quarantined) == (300, 0)
        assert "lines at once are too many (413 " in site.logged()


def test_a_max_body_size_smaller_than_any_reading_loses_none(tmp_path: Path) -> None:
    with installed(tmp_path, Influxd(tmp_path / "influxd", http={"max-body-size": 50})) as (site, publisher):
        site.start()
        site.publish(publisher, 50)
        site.wait_for_log("max-body-size")
        site.influxd.stop()
        site.influxd = Influxd(tmp_path / "influxd", port=site.influxd.port)
        with site.influxd:
            try_again(site)
            site.wait_for_all()
            account = site.end_well()
        assert (account.delivered, account.quarantined) == (50, 0)


def test_an_influxdb_whose_write_queue_is_full_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """It writes one request at a time and queues one more, and two slow clients take both places."""
    limits: dict[str, str | int | bool] = {
        "max-concurrent-write-limit": 1,
        "max-enqueued-write-limit": 1,
        "enqueued-write-timeout": 100_000_000,
    }
    with installed(tmp_path, Influxd(tmp_path / "influxd", http=limits)) as (site, publisher):
        site.start()
        site.wait_for_log("takes readings into tessdb")
        with ExitStack() as others:
            for _ in range(2):
                other = others.enter_context(socket.create_connection(("127.0.0.1", site.influxd.port)))
                other.sendall(b"POST /write?db=tessdb HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow")
            site.publish(publisher, 50)
            site.wait_for_log("503 ")
        site.wait_for_all()
        assert site.end_well().delivered == 50
        assert "it is busy" in site.logged()


def test_a_database_behind_tls_is_trusted_only_with_its_authority(tmp_path: Path) -> None:
    pem, ca = tmp_path / "influxd.pem", tmp_path / "ca.pem"
    pem.write_bytes(issued("localhost"))
    ca.write_bytes(authority())
    https: dict[str, str | int | bool] = {"https-enabled": True, "https-certificate": str(pem)}
    with installed(tmp_path, Influxd(tmp_path / "influxd", http=https)) as (site, publisher):
        url = f"https://localhost:{site.influxd.port}"
        site.configure(influxdb={"url": url})
        assert "TLS: " in site.run("--check").stdout
        site.start()
        site.publish(publisher, 50)
        site.wait_for_log(NO_READINGS)
        assert "certificate verify failed" in site.logged()
        wait_until(lambda: len(site.waiting()) == 50, "all are on disk")
        site.configure(influxdb={"url": url, "tls_ca": ca})
        site.signal(signal.SIGHUP)
        site.wait_for_log("takes readings into tessdb")
        assert site.run("--check").returncode == 0
        site.stop()
        site.influxd.stop()
        # Without TLS the test can query it.
        site.influxd = Influxd(tmp_path / "influxd", port=site.influxd.port)
        with site.influxd:
            differences = site.differences()
        assert not differences, differences
        assert check_account(site.logged()).delivered == 50


@pytest.mark.parametrize(
    ("wrong", "right", "said"), [("http", "https", WANTS_TLS), ("https", "http", "no TLS")]
)
def test_the_wrong_one_of_http_and_https_is_said_as_such_and_loses_nothing(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    """Also if the server was changed while readings wait for it."""
    pem, ca = tmp_path / "influxd.pem", tmp_path / "ca.pem"
    pem.write_bytes(issued("localhost"))
    ca.write_bytes(authority())
    https: dict[str, str | int | bool] = {"https-enabled": right == "https", "https-certificate": str(pem)}
    with installed(tmp_path, Influxd(tmp_path / "influxd", http=https)) as (site, publisher):
        address = f"localhost:{site.influxd.port}"
        site.configure(influxdb={"url": f"{wrong}://{address}"})
        advice = f"must begin with {right}://"
        lines = [line for line in site.run("--check").stdout.splitlines() if advice in line]
        assert lines
        assert all(said in line for line in lines)
        site.start()
        site.publish(publisher, 50)
        site.wait_for_log(advice)
        wait_until(lambda: len(site.waiting()) == 50, "all are on disk")
        trusted = {"tls_ca": ca} if right == "https" else {}
        site.configure(influxdb={"url": f"{right}://{address}", **trusted})
        site.signal(signal.SIGHUP)
        site.wait_for_log("takes readings into tessdb")
        site.stop()
        account = check_account(site.logged())
        assert (account.delivered, account.quarantined) == (50, 0)


def written(requests: Sequence[Request]) -> set[bytes]:
    """The lines in these requests."""
    return {line for request in requests for line in request.body.split(b"\n") if line}


def test_endless_answers_take_no_memory(plain: tuple[FaultSite, Publisher]) -> None:
    site, publisher = plain
    endless = [Answer(500, b"x" * 1_000_000, repeat=100), Answer(endless_headers=True)]
    with ScriptedServer([GOOD]) as server:
        site.configure(influxdb={"url": server.url, "schema": ""})
        site.start()
        site.wait_for_log("takes readings into tessdb")
        before = site.memory()
        server.then(*endless)
        site.publish(publisher, 50)
        for reason in ("500 xxx", "more than"):
            site.wait_for_log(f"{NO_READINGS}: {reason}")
            try_again(site)
        server.wait_for_requests(1 + len(endless) + 1)
        assert site.memory("VmHWM") - before < 20
        wait_until(lambda: len(written(server.requests[3:])) == 50, "all are delivered")
        site.stop()
        assert not site.waiting()
        assert check_account(site.logged()).delivered == 50


def test_check_comes_to_its_end_whatever_the_database_sends(plain: tuple[FaultSite, Publisher]) -> None:
    site, _ = plain
    for endless, said in (
        (Answer(200, b"x" * 1_000_000, repeat=100), "write      200 xxx"),
        (Answer(endless_headers=True), "database   URL: "),
        (Answer(silent=True), "database   URL: no answer within 1 s"),
    ):
        with ScriptedServer(otherwise=endless) as server:
            site.configure(influxdb={"url": server.url, "timeout": 1})
            found = site.run("--check")
            assert found.returncode == 69
            assert said in found.stdout.replace(server.url, "URL")
            assert "Traceback" not in found.stdout + found.stderr


def test_a_stranger_gets_no_reading_and_the_check_says_what_answered(
    plain: tuple[FaultSite, Publisher],
) -> None:
    """A web server that answers 204 to whatever comes, in place of the database and behind its ping."""
    site, publisher = plain
    stranger = "204 from nginx/1.22.1, but nothing shows that it is a database"
    with ScriptedServer(otherwise=Answer(headers={"Server": "nginx/1.22.1"})) as server:
        site.configure(influxdb={"url": server.url, "schema": ""})
        site.start()
        site.publish(publisher, 50)
        site.wait_for_log(stranger)
        site.stop()
        assert check_account(site.logged()).delivered == 0
        found = site.run("--check")
        assert found.returncode == 69
        assert stranger in found.stdout
    site.configure()
    site.start()
    site.wait_for_all()
    assert site.end_well().delivered == 50
