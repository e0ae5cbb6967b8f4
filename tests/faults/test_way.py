"""The network fails somewhere on a reading's way: every reading is stored once, and right."""

from collections.abc import Callable

import pytest

from tests.faults.proxy import Proxy
from tests.faults.relay import TO_CLIENT, TO_SERVER
from tests.faults.site import FaultSite
from tests.real.site import Publisher, reading, register, wait_until

Play = Callable[[Proxy], None]

FAILURES: dict[str, Play] = {
    "reset": lambda proxy: proxy.reset(),
    "cut in a request": lambda proxy: proxy.cut_request(500),
    "refused": lambda proxy: proxy.refuse(),
    "cut in an answer": lambda proxy: proxy.cut_response(30),
    "garbage for an answer": lambda proxy: proxy.garbage(),
}
SLOWNESS: tuple[Play, ...] = (lambda proxy: proxy.trickle(997, 0.001), lambda proxy: proxy.delay(0.05))


def test_a_slow_way_is_a_way(bench: FaultSite, publisher: Publisher) -> None:
    """Fast, late and in small pieces, on either side: nothing is logged about it."""
    bench.start()
    for play in (Proxy.heal, *SLOWNESS):
        for proxy in (bench.broker, bench.database):
            play(proxy)
            bench.publish(publisher, 50)
            bench.publish(publisher, 50, qos=0)
            bench.wait_for_all()
            proxy.heal()
    account = bench.end_well()
    assert (account.received, account.stored, account.delivered) == (600, 600, 600)
    assert "takes no readings" not in bench.logged()
    assert "Lost the connection to the broker" not in bench.logged()


@pytest.mark.parametrize("name", FAILURES)
def test_a_database_whose_connection_fails_gets_every_row_once(
    bench: FaultSite, publisher: Publisher, name: str
) -> None:
    # Garbage may look like the beginning of an answer, of which the rest is waited for.
    bench.configure(influxdb={"timeout": 1})
    bench.start()
    bench.wait_for_log("takes readings into")
    FAILURES[name](bench.database)
    bench.publish(publisher, 50)
    bench.publish(publisher, 50, qos=0)
    # It is logged, unless one retry at once was enough.
    wait_until(lambda: "takes no readings" in bench.logged() or bench.count() == 100, name)
    bench.database.heal()
    bench.wait_for_all()
    bench.end_well()


def test_a_database_that_falls_silent_is_asked_again(bench: FaultSite, publisher: Publisher) -> None:
    """It stores what it is sent, but its answers do not come; then they do, too late."""
    bench.configure(influxdb={"timeout": 1})
    bench.start()
    bench.wait_for_log("takes readings into")
    bench.database.silence(TO_CLIENT)
    bench.publish(publisher, 100)
    bench.wait_for_log("no answer within 1 s")
    wait_until(lambda: bench.count() > 0, "the first of them are stored")
    bench.database.heal()
    bench.publish(publisher, 10, qos=0)
    bench.wait_for_all()
    bench.end_well()


@pytest.mark.parametrize("name", ["reset", "cut in a request", "cut in an answer", "garbage for an answer"])
def test_a_broker_whose_connection_fails_brings_every_reading_at_qos_1_once(
    bench: FaultSite, publisher: Publisher, name: str
) -> None:
    # Garbage may look like the beginning of a message, of which the rest is waited for.
    bench.configure(mqtt={"keepalive": 1})
    bench.start()
    bench.publish(publisher, 10)
    bench.wait_for_all()
    FAILURES[name](bench.broker)
    bench.publish(publisher, 200)
    wait_until(lambda: "Lost the connection to the broker" in bench.logged(), name)
    bench.broker.heal()
    bench.publish(publisher, 100)
    bench.wait_for_all()
    bench.end_well()


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_broker_sends_again_is_stored_once_though_the_photometer_has_booted(
    bench: FaultSite, publisher: Publisher, killed: bool
) -> None:
    """The acknowledgements do not reach the broker. It sends the register message again, too."""
    bench.configure(mqtt={"topics": "STARS4ALL/+/reading,STARS4ALL/register"})
    bench.start()
    bench.broker.silence(TO_SERVER)
    boot = [register("stars1"), *(reading("stars1", seq, 50_000) for seq in (2, 3, 4))]
    publisher.publish(boot, qos=1)
    bench.wait_for_rows(3)
    if killed:
        bench.kill()
    bench.broker.cut_now()
    bench.broker.heal()
    if killed:
        bench.launch()
    bench.wait_for_log("in our earlier session")
    publisher.publish([register("stars1")])
    publisher.publish([reading("stars1", 5, 50_000)], qos=1)
    bench.wait_for_rows(4)
    bench.stop()
    assert bench.count() == 4
    assert "'duplicate': 3" in bench.logged()


def test_a_broker_that_falls_silent_sends_again_what_was_not_acknowledged(
    bench: FaultSite, publisher: Publisher
) -> None:
    """It waits for acknowledgements that do not come; when they do, its connection is gone."""
    bench.configure(mqtt={"keepalive": 1})
    bench.start()
    bench.publish(publisher, 10)
    bench.wait_for_all()
    bench.broker.silence()
    bench.publish(publisher, 100)
    bench.wait_for_log("Lost the connection to the broker")
    bench.broker.heal()
    bench.wait_for_all()
    bench.end_well()
