"""The broker goes away, refuses, or is not who it should be: tessflux logs why, once, and connects again."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from servers import Influxd, Mosquitto, free_port

from tessflux.spool.journal import second_look
from tests.certificates import authority, issued, self_signed
from tests.faults.site import FaultSite
from tests.real.site import Publisher, Site, payload, reading, wait_until

DYNAMIC_SECURITY = "mosquitto_dynamic_security.so"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Site]:
    """A daemon without a database, whose readings wait in the spool, and a broker that the test starts."""
    site = Site(tmp_path, Mosquitto(tmp_path / "mosquitto"), Influxd(tmp_path / "influxd"))
    yield site
    site.end()
    site.mosquitto.stop()


def configure(site: Site, broker: str = "", **mqtt: object) -> None:
    """Write the config of a daemon without a database."""
    address = broker or f"tcp:127.0.0.1:{site.mosquitto.port}"
    site.configure(influxdb={"url": "", "schema": ""}, mqtt={"broker": address, **mqtt})


def reload(site: Site, broker: str = "", **mqtt: object) -> None:
    configure(site, broker, **mqtt)
    site.signal(signal.SIGHUP)


def start_broker(site: Site, *lines: str) -> None:
    """Start the broker with these lines in its config."""
    site.mosquitto = Mosquitto(site.mosquitto.directory, port=site.mosquitto.port, settings=lines)
    site.mosquitto.start()


def publish(site: Site, *freqs: float) -> None:
    """Publish readings, and wait until the last one is in the spool."""
    publisher = Publisher(site.mosquitto)
    publisher.publish([reading("stars1", int(freq), freq) for freq in freqs], qos=1)
    publisher.close()
    last = freqs[-1]
    wait_until(
        lambda: any(f"freq={last}" in line for line in site.waiting()), f"{last} is there:\n{site.logged()}"
    )


def test_what_a_broker_has_kept_takes_no_memory_though_it_all_comes_before_we_are_subscribed(
    alone: Site,
) -> None:
    start_broker(alone, "max_inflight_messages 0", "max_queued_messages 0")
    configure(alone)
    alone.start()
    alone.stop()
    publisher = Publisher(alone.mosquitto)
    large = b"x" * 60_000
    for first in range(0, 3_000, 500):
        publisher.publish([("STARS4ALL/x/reading", b"%d %s" % (first + n, large)) for n in range(500)], qos=1)
    publisher.close()
    alone.start()
    with closing(second_look(str(alone.spool))) as spool:
        count = "SELECT count(*) FROM quarantine"
        wait_until(lambda: spool.execute(count).fetchone()[0] == 3_000, "all are in quarantine")
    assert alone.memory("VmHWM") < 150


# The broker goes away and comes back


def test_a_broker_that_restarts_with_persistence_brings_what_it_has_kept(
    bench: FaultSite, publisher: Publisher
) -> None:
    bench.start()
    bench.publish(publisher, 50)
    bench.mosquitto.restart()
    bench.wait_for_log("Connected to the broker", times=2)
    bench.stop()
    again = Publisher(bench.mosquitto)
    bench.publish(again, 50)
    again.close()
    bench.mosquitto.restart()
    bench.start()
    assert "in our earlier session" in bench.logged()
    bench.wait_for_all()
    bench.end_well()


def test_a_broker_that_restarts_without_persistence_is_subscribed_anew(alone: Site) -> None:
    start_broker(alone, "persistence false")
    configure(alone)
    alone.start()
    publish(alone, 1.0)
    alone.mosquitto.restart()
    alone.wait_for_log("Subscribed to", times=2)
    assert alone.logged().count("in a new session") == 2
    assert alone.logged().count("Lost the connection to the broker") == 1
    publish(alone, 2.0)
    alone.stop()


def test_another_client_that_takes_the_client_id_loses_it_again_and_nothing_is_lost(
    bench: FaultSite, publisher: Publisher
) -> None:
    """Mosquitto gives no reason; `test_session` shows that the reason of an MQTT 5 broker is logged."""
    bench.configure(mqtt={"client_id": "mine", "version": 5})
    bench.start()
    bench.publish(publisher, 20)
    thief = Client(CallbackAPIVersion.VERSION2, "mine", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    # A session of MQTT 5 ends with its last connection unless that asks for more.
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    thief.connect("127.0.0.1", bench.mosquitto.port, clean_start=False, properties=properties)
    thief.loop_start()
    bench.wait_for_log("Lost the connection to the broker")
    thief.disconnect()
    thief.loop_stop()
    bench.wait_for_log("Subscribed to", times=2)
    bench.publish(publisher, 20)
    bench.wait_for_all()
    bench.end_well()


# The broker refuses


def test_a_wrong_password_is_said_once_and_a_right_one_is_taken_at_a_reload(
    alone: Site, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "tess", "right"], check=True)
    start_broker(alone, "allow_anonymous false", f"password_file {passwords}")
    configure(alone)
    alone.launch()
    alone.wait_for_log(
        "the broker refuses: Not authorized; check [mqtt] username and password; tessflux keeps trying"
    )
    reload(alone, username="tess", password="wrong")
    alone.wait_for_log("the broker refuses", times=2)
    # Once for each config, however often it was tried.
    assert alone.logged().count("the broker refuses") == 2
    reload(alone, username="tess", password="right")
    alone.wait_for_log("Subscribed to")
    assert "right" not in alone.logged()
    alone.stop()


def test_a_topic_that_the_broker_refuses_does_not_stop_the_others(alone: Site, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps(
            {
                "defaultACLAccess": {
                    "publishClientSend": True,
                    "publishClientReceive": True,
                    "subscribe": True,
                    "unsubscribe": True,
                },
                "anonymousGroup": "all",
                "groups": [{"groupname": "all", "roles": [{"rolename": "some"}]}],
                "clients": [],
                "roles": [
                    {
                        "rolename": "some",
                        "acls": [{"acltype": "subscribePattern", "topic": "secret/#", "allow": False}],
                    }
                ],
            }
        )
    )
    (plugin,) = Path("/usr/lib").glob(f"*/{DYNAMIC_SECURITY}")
    start_broker(alone, f"plugin {plugin}", f"plugin_opt_config_file {rules}")
    configure(alone, topics="STARS4ALL/+/reading, secret/+/reading")
    alone.start()
    publish(alone, 1.0)
    assert "The broker refuses {'secret/+/reading': 'Unspecified error'}; the others go on" in alone.logged()
    reload(alone, topics="secret/+/reading")
    alone.wait_for_log("the broker refuses the subscription: {'secret/+/reading'")
    reload(alone)
    alone.wait_for_log("Subscribed to ['STARS4ALL/+/reading']", times=2)
    publish(alone, 2.0)
    alone.stop()


# The subscription outlives the daemon


def test_a_topic_that_leaves_the_config_while_tessflux_is_down_or_reconnects_is_unsubscribed(
    alone: Site,
) -> None:
    alone.mosquitto.start()
    configure(alone, topics="A/+/reading, B/+/reading, STARS4ALL/+/reading")
    alone.start()
    alone.kill()
    configure(alone, topics="B/+/reading, STARS4ALL/+/reading")
    alone.start()
    alone.wait_for_log("Unsubscribed from ['A/+/reading']")
    reload(alone, topics="STARS4ALL/+/reading", keepalive=50)
    alone.wait_for_log("Unsubscribed from ['B/+/reading']")
    publisher = Publisher(alone.mosquitto)
    publisher.publish((f"{topic}/stars2/reading", payload("stars2", 1, 7.0)) for topic in ("A", "B"))
    publisher.close()
    publish(alone, 2.0)
    assert "stars2" not in alone.run("export").stdout
    alone.stop()


# TLS and a Unix socket


def test_tls_believes_the_right_broker_only_and_says_what_is_wrong_with_another(
    alone: Site, tmp_path: Path
) -> None:
    """One daemon; each reload sends it to another listener of the broker."""
    files = {
        "ca": authority(),
        "good": issued("localhost"),
        "other": issued("other.example"),
        "expired": issued("localhost", expired=True),
        "stranger": self_signed("localhost"),
        "client": issued("tessflux.example"),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.pem").write_bytes(text)
    ports = {name: free_port() for name in ("good", "other", "expired", "stranger", "asks")}
    lines = []
    for name, port in ports.items():
        certificate = tmp_path / f"{'good' if name == 'asks' else name}.pem"
        lines += [f"listener {port} 127.0.0.1", f"certfile {certificate}", f"keyfile {certificate}"]
    lines += [f"cafile {tmp_path / 'ca.pem'}", "require_certificate true"]
    lines += [f"listener 0 {tmp_path / 'socket'}"]
    start_broker(alone, *lines)
    ca = tmp_path / "ca.pem"
    configure(alone, f"tls:localhost:{ports['good']}", tls_ca=ca)
    alone.start()
    publish(alone, 1.0)
    for name, problem in (
        ("other", "its certificate is for other.example, not for localhost"),
        ("expired", "TLS: certificate verify failed"),
        ("stranger", "TLS: certificate verify failed"),
        ("asks", "TLS: tlsv13 alert certificate required"),
    ):
        port = ports[name]
        reload(alone, f"tls:localhost:{port}", tls_ca=ca)
        alone.wait_for_log(f"Cannot use the broker tls:localhost:{port}: the connection was lost: {problem}")
        assert alone.logged().count("Subscribed to") == 1, name
    client = tmp_path / "client.pem"
    reload(alone, f"tls:localhost:{ports['asks']}", tls_ca=ca, tls_cert=client, tls_key=client)
    alone.wait_for_log("Subscribed to", times=2)
    publish(alone, 2.0)
    reload(alone, f"unix:{tmp_path / 'socket'}")
    alone.wait_for_log("Subscribed to", times=3)
    publish(alone, 3.0)
    reload(alone, f"mqtts://localhost:{ports['good']}", tls_ca=ca)
    alone.wait_for_log("Subscribed to", times=4)
    publish(alone, 4.0)
    alone.stop()


# Through a WebSocket


def test_a_websocket_brings_every_reading_and_keeps_the_session_over_kill_9(
    alone: Site, tmp_path: Path
) -> None:
    """One daemon; each reload sends it to another listener of the broker."""
    certificate = tmp_path / "good.pem"
    certificate.write_bytes(issued("localhost"))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority())
    plain, tls = free_port(), free_port()
    lines = [f"listener {plain} 127.0.0.1", "protocol websockets"]
    lines += [f"listener {tls} 127.0.0.1", "protocol websockets"]
    lines += [f"certfile {certificate}", f"keyfile {certificate}"]
    start_broker(alone, *lines)
    configure(alone, f"ws://127.0.0.1:{plain}/mqtt")
    alone.start()
    publish(alone, *map(float, range(1, 500)))
    alone.kill()
    with closing(Publisher(alone.mosquitto)) as publisher:
        publisher.publish([reading("stars1", 500, 500.0)], qos=1)
    alone.start()
    wait_until(
        lambda: len(alone.waiting()) == 500,
        "what was published meanwhile comes, and nothing twice",
    )
    reload(alone, f"wss://localhost:{tls}/any/path", tls_ca=ca)
    alone.wait_for_log("Subscribed to", times=2)
    publish(alone, 501.0)
    checked = alone.run("--check").stdout
    assert f"broker     ok: wss://localhost:{tls}/any/path lets us in by MQTT 3.1.1" in checked
    # The words of a server that has no WebSocket, and of one that speaks MQTT only.
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        reload(alone, f"ws://127.0.0.1:{server.server_port}/mqtt")
        alone.wait_for_log("HTTP 501 Not Implemented instead of a WebSocket at /mqtt; check port and path")
        thread.join()
    reload(alone, f"ws://127.0.0.1:{alone.mosquitto.port}/mqtt")
    alone.wait_for_log("no WebSocket: ")
    alone.stop()
