"""What brokers say, and what they do not do although they say so: how the daemon and `--check` take it."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Influxd, Mosquitto, free_port

from tests.certificates import authority, issued
from tests.faults.broker import ScriptedBroker
from tests.mqtt.wire import CONNECT, connack, reason_string, server_reference
from tests.real.site import Site, payload, wait_until


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    scripted = ScriptedBroker()
    yield scripted
    scripted.close()


@pytest.fixture
def site(tmp_path: Path, broker: ScriptedBroker) -> Iterator[Site]:
    """A daemon without a database, for that broker."""
    site = Site(tmp_path, Mosquitto(tmp_path / "mosquitto"), Influxd(tmp_path / "influxd"))
    configure(site, broker)
    yield site
    site.end()


def configure(site: Site, broker: ScriptedBroker, **mqtt: object) -> None:
    address = f"tcp:127.0.0.1:{broker.port}"
    site.configure(influxdb={"url": "", "schema": ""}, mqtt={"broker": address, **mqtt})


def checked(site: Site) -> list[str]:
    """What `--check` says of the broker."""
    lines = site.run("--check").stdout.splitlines()
    return [line for line in lines if line.startswith(("broker", "topics", "share"))]


SHARE = {"share_group": "g", "share_member": 1, "client_id": "one"}


def publishing(broker: ScriptedBroker, ended: threading.Event) -> threading.Thread:
    """Readings come as they do in a large network."""

    def publish() -> None:
        seq = 0
        while not ended.wait(0.05):
            seq += 1
            broker.publish("STARS4ALL/stars1/reading", payload("stars1", seq, 1.0).encode())

    thread = threading.Thread(target=publish)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("shares", "line"),
    [
        (True, "share      ok: a shared subscription brings readings"),
        (
            False,
            "share      the broker grants a shared subscription and sends nothing by it, though readings"
            " come: it has no shared subscriptions; leave share_group blank, and divide the topics instead",
        ),
    ],
)
def test_check_finds_a_shared_subscription_that_is_granted_and_brings_nothing(
    site: Site, broker: ScriptedBroker, shares: bool, line: str
) -> None:
    broker.shares = shares
    configure(site, broker, **SHARE)
    ended = threading.Event()
    thread = publishing(broker, ended)
    try:
        assert checked(site)[-1] == line
    finally:
        ended.set()
        thread.join()
    wait_until(lambda: broker.subscribers() == 0, "nothing is left of the check")


def test_without_readings_check_does_not_know_whether_shared_subscriptions_bring_them(
    site: Site, broker: ScriptedBroker
) -> None:
    configure(site, broker, **SHARE)
    assert checked(site)[-1].startswith("share      warning: no reading came within 10 s")


def test_a_shared_subscription_that_never_brings_anything_is_named_by_the_line_of_silence(
    site: Site, broker: ScriptedBroker
) -> None:
    broker.shares = False
    configure(site, broker, **SHARE, silence=10)
    site.start()
    site.wait_for_log(
        "no message for 10 s; some brokers grant a shared subscription and send nothing by it: --check tells"
    )


def test_what_a_broker_grants_less_of_is_said_by_the_daemon_once_and_by_check(
    site: Site, broker: ScriptedBroker
) -> None:
    broker.connack = lambda version: connack(version=version, properties=b"\x11\0\0\0\2\x21\0\x14")
    broker.grant = lambda topic, qos, identifier: 0
    configure(site, broker, version=5)
    session = (
        "the broker keeps our session only 2 s after a connection ends: what is published later is lost until"
        " tessflux is back; raise the session expiry in the broker's config"
    )
    qos = (
        "the broker grants only QoS 0 for STARS4ALL/+/reading: it keeps nothing while tessflux is away; raise"
        " the largest QoS in the broker's config"
    )
    address = f"tcp:127.0.0.1:{broker.port}"
    first, second, third, fourth = checked(site)
    assert first == (f"broker     ok: {address} lets us in by MQTT 5 (it keeps a session 2 s)")
    assert (second, third) == (f"broker     warning: {session}", f"topics     warning: {qos}")
    assert "at QoS 0. " in fourth
    site.start()
    site.wait_for_log(f"At {address} {qos}")
    assert f"At {address} {session}" in site.logged()
    configure(site, broker, version=5, keepalive=30)
    site.signal(signal.SIGHUP)
    site.wait_for_log("Subscribed to", times=2)
    site.stop()
    assert site.logged().count("the broker grants only QoS 0") == 1


@pytest.mark.parametrize("ends_the_connection", [False, True])
def test_a_broker_that_refuses_register_topics_brings_the_readings_all_the_same(
    site: Site, broker: ScriptedBroker, ends_the_connection: bool
) -> None:
    def grant(topic: str, qos: int, identifier: int) -> int:
        if not topic.endswith("register"):
            return qos
        if ends_the_connection:
            raise OSError
        return 0x80

    broker.grant = grant
    site.start()
    says = (
        "nothing comes on STARS4ALL/+/register, STARS4ALL/register, which the broker refuses: what"
        " photometers say of themselves. Readings come all the same. Let it allow us to read them, or drop"
        " them from [mqtt] register_topics"
    )
    site.wait_for_log(says)
    broker.publish("STARS4ALL/stars1/reading", payload("stars1", 1, 1.0).encode())
    wait_until(lambda: '"stored":1' in site.run("status", "--json").stdout, "the reading is stored")
    assert '"problem":"it refuses' not in site.run("status", "--json").stdout
    checked = site.run("--check")
    assert f"registers  warning: {says}" in checked.stdout
    assert checked.returncode == 0


def test_what_a_broker_cannot_do_is_an_error_of_the_check(site: Site, broker: ScriptedBroker) -> None:
    broker.connack = lambda version: connack(version=version, properties=b"\x2a\0\x28\0")
    broker.grant = lambda topic, qos, identifier: 0x9E if topic.startswith("$share") else 0xA2
    configure(site, broker, version=5, **SHARE)
    lines = checked(site)
    assert lines[1:] == [
        "topics     the broker says that it has no shared subscriptions; leave [mqtt] share_group blank",
        "topics     the broker says that it takes no + or # in a topic; name each one in [mqtt] topics",
        "topics     STARS4ALL/+/reading is refused: Wildcard subscription not supported; the broker must"
        " allow us to read it",
        "share      shared subscriptions are refused: Shared subscription not supported; leave share_group"
        " blank",
    ]


def test_that_a_second_connection_fails_is_said_of_the_share_group(
    site: Site, broker: ScriptedBroker
) -> None:
    """The topics are all right."""
    codes = iter((0, 3))
    broker.connack = lambda version: connack(next(codes), version=version)
    configure(site, broker, **SHARE)
    _, topics, share = checked(site)
    assert topics.startswith("topics     ok: ")
    assert share.startswith("share      ")
    assert "the broker refuses: " in share


@pytest.mark.parametrize(
    ("wanted", "other", "how"),
    [("5", "3.1.1", "says so"), ("3.1.1", "5", "says so"), ("5", "3.1.1", "is silent")],
)
def test_check_tries_the_other_version_as_the_daemon_does(
    site: Site, broker: ScriptedBroker, wanted: str, other: str, how: str
) -> None:
    refusal = connack(1) if wanted == "5" else connack(0x84, version="5")
    answer = refusal if how == "says so" else None
    broker.connack = lambda version: connack(version=version) if version == other else answer
    configure(site, broker, version=wanted)
    first, second, third = checked(site)
    assert first == f"broker     ok: tcp:127.0.0.1:{broker.port} lets us in by MQTT {other}"
    what = "does not take" if answer else "gives no answer to"
    assert second == f"broker     warning: it {what} MQTT {wanted}; set [mqtt] version = {other}"
    assert third.startswith("topics     ok: subscribed to STARS4ALL/+/reading at QoS 1")


def test_the_daemon_remembers_over_a_restart_which_version_a_broker_answers(
    site: Site, broker: ScriptedBroker
) -> None:
    broker.connack = lambda version: connack(version=version) if version == "3.1.1" else None
    configure(site, broker, version=5)
    site.start()
    assert "no answer within 10 s" in site.logged()
    site.kill()
    broker.seen.clear()
    site.start()
    assert broker.seen[0] == (CONNECT, "3.1.1")
    site.stop()


def test_a_broker_that_takes_neither_version_is_said_so(site: Site, broker: ScriptedBroker) -> None:
    broker.connack = lambda version: connack(1)
    [line] = checked(site)
    assert line.endswith("takes neither MQTT 3.1.1 nor MQTT 5: it must be updated")


def test_only_a_broker_that_speaks_of_the_login_brings_advice_about_it(
    site: Site, broker: ScriptedBroker
) -> None:
    address = f"tcp:127.0.0.1:{broker.port}"
    broker.connack = lambda version: connack(5, version=version)
    assert checked(site) == [
        f"broker     {address}: the broker refuses: Not authorized; check [mqtt] username and password"
    ]
    configure(site, broker, version=5)
    properties = reason_string("too busy") + server_reference("b.example:1883")
    broker.connack = lambda version: connack(0x9C, version=version, properties=properties)
    assert checked(site) == [
        f"broker     {address}: the broker refuses: Use another server (too busy); it names another broker:"
        " b.example:1883"
    ]
    broker.close()
    [line] = checked(site)
    assert line.endswith("; is the broker running, and is [mqtt] broker right?")


def test_tls_at_a_port_without_it_and_none_at_one_with_it_are_said_as_such(
    site: Site, tmp_path: Path
) -> None:
    """Mosquitto closes without a word in most of these cases."""
    certificate, ca = tmp_path / "good.pem", tmp_path / "ca.pem"
    certificate.write_bytes(issued("localhost"))
    ca.write_bytes(authority())
    tls, websocket = free_port(), free_port()
    lines = [f"listener {tls} 127.0.0.1", f"certfile {certificate}", f"keyfile {certificate}"]
    lines += [f"listener {websocket} 127.0.0.1", "protocol websockets"]
    with Mosquitto(tmp_path / "mosquitto", settings=lines) as mosquitto:
        for broker, words in (
            (f"tls:localhost:{mosquitto.port}", "if the port has none, write tcp: in [mqtt] broker"),
            (f"tls:localhost:{websocket}", "so [mqtt] broker must begin with tcp: or ws://"),
            (f"wss://localhost:{mosquitto.port}", "if the port has none, write ws:// in [mqtt] broker"),
            (f"tcp:localhost:{tls}", "if the port wants TLS, write tls: in [mqtt] broker"),
            (f"ws://localhost:{tls}", "if the port wants TLS, write wss:// in [mqtt] broker"),
            (f"tcp:localhost:{websocket}", "if it has MQTT, write ws://HOST:PORT/PATH in [mqtt] broker"),
        ):
            files = {"tls_ca": ca} if broker.startswith(("tls", "wss")) else {}
            site.configure(influxdb={"url": "", "schema": ""}, mqtt={"broker": broker, **files})
            [line] = checked(site)
            assert line.endswith(words), broker
            assert "username" not in line


def test_a_session_goes_on_while_the_broker_finds_every_low_identifier_in_use(
    site: Site, broker: ScriptedBroker
) -> None:
    """As mochi and comqtt do with the numbers of what waits for us."""
    broker.connack = lambda version: connack(session_present=True, version=version)
    refused: list[int] = []

    def grant(topic: str, qos: int, identifier: int) -> int:
        if identifier < 1_000 or len(refused) < 7:
            refused.append(identifier)
            return 0x91
        return qos

    broker.grant = grant
    configure(site, broker, register_topics="")
    site.launch()
    site.wait_for_log("Packet identifier in use")
    assert site.logged().count("Connected to the broker") == 1
    site.wait_for_log("Subscribed to")
    assert len(set(refused)) == 7
    broker.publish("STARS4ALL/stars1/reading", payload("stars1", 1, 1.0).encode())
    wait_until(lambda: any("seq=1" in line for line in site.waiting()), "a reading is there")
    assert site.logged().count("Connected to the broker") == 1
    site.stop()
