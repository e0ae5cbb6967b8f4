"""Signals at any moment of a delivery and an outage: nothing is lost or doubled, and nothing hangs."""

import signal
from collections.abc import Callable
from random import Random

from tests.faults.site import FaultSite
from tests.real.site import Publisher

Action = Callable[[FaultSite, Random], None]

STEPS = 25


def reload(bench: FaultSite, random: Random) -> None:
    """With or without one more topic, and with another size of a request."""
    topics = random.choice(["STARS4ALL/+/reading", "STARS4ALL/+/reading, more/#"])
    bench.configure(mqtt={"topics": topics}, influxdb={"batch": random.randrange(1, 1000)})
    bench.signal(signal.SIGHUP)


def reload_and_connect_anew(bench: FaultSite, random: Random) -> None:
    bench.configure(mqtt={"keepalive": random.randrange(10, 1000), "version": random.choice(["3.1.1", "5"])})
    bench.signal(signal.SIGHUP)


def reload_nonsense(bench: FaultSite, random: Random) -> None:
    bench.configure(mqtt={"topics": "a/#/b"})
    bench.signal(signal.SIGHUP)
    bench.configure()


def pause(bench: FaultSite, random: Random) -> None:
    bench.signal(signal.SIGUSR1)


def resume(bench: FaultSite, random: Random) -> None:
    bench.signal(signal.SIGUSR2)


def fail(bench: FaultSite, random: Random) -> None:
    """The database goes, in one of several ways."""
    random.choice([bench.database.refuse, bench.database.reset, bench.database.garbage])()


def heal(bench: FaultSite, random: Random) -> None:
    bench.database.heal()


def stop(bench: FaultSite, random: Random) -> None:
    """An orderly stop at any moment; it starts again at once, and gets the next signal meanwhile."""
    bench.stop()
    launch(bench)


def kill(bench: FaultSite, random: Random) -> None:
    bench.kill()
    launch(bench)


def launch(bench: FaultSite) -> None:
    bench.configure()
    bench.launch()
    bench.wait_for_log("starts with")


HARMLESS: list[Action] = [reload, reload_nonsense, pause, resume, fail, heal]
"""What does not touch the connection to the broker."""


def play(bench: FaultSite, publisher: Publisher, actions: list[Action], seed: int, qos: int) -> None:
    random = Random(seed)
    bench.start()
    for _ in range(STEPS):
        bench.publish(publisher, random.randrange(40), qos)
        random.choice(actions)(bench, random)
    bench.database.heal()
    bench.configure()
    bench.signal(signal.SIGHUP)
    # Of a signal to pause and one to resume that are sent together, either may come first: this comes later.
    bench.run("resume").check_returncode()
    bench.wait_for_all()
    bench.end_well()


def test_signals_and_outages_at_any_moment_lose_and_double_nothing_at_qos_1(
    bench: FaultSite, publisher: Publisher
) -> None:
    play(bench, publisher, [*HARMLESS, reload_and_connect_anew, stop, kill], seed=1, qos=1)


def test_reload_and_pause_lose_nothing_at_qos_0_either(bench: FaultSite, publisher: Publisher) -> None:
    play(bench, publisher, HARMLESS, seed=3, qos=0)
