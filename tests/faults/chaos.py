"""What torture breaks, and when: a seed decides the order, the kinds and the sizes of all faults.

The sufferers have each their own rhythm: the daemon, the connection from the broker, the disk, and each
database with the connection to it. Faults of different sufferers overlap; one has one fault at a time.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tessflux.config import FIRST_OUTPUT
from tests.faults.outputs import Output
from tests.faults.relay import BOTH, TO_CLIENT, TO_SERVER
from tests.faults.site import now_ms
from tests.faults.world import FLUSH_INTERVAL, World
from tests.real.site import wait_until

TICK = 0.05

DAEMON, BROKER, DISK = "daemon", "broker", "disk"
"""Sufferers; the others have the names of outputs."""

FREEZES, RESTART = "freezes", "restart"

Heal = Callable[[], object]
Play = Callable[[], Heal | None]
"""Does something bad, and returns how to end it; None when it could not be done now."""


@dataclass
class Fault:
    """One fault of one sufferer, from `began` to `ended`, in milliseconds since 1970 UTC."""

    sufferer: str
    name: str
    began: int
    ended: int = 0


class Sufferer:
    """It is well for `well` seconds on average, then ill for up to `ill` seconds."""

    def __init__(
        self, name: str, plays: Mapping[str, Play], well: float, ill: float, chance: random.Random
    ) -> None:
        self._name, self._plays, self._well, self._ill, self._chance = name, plays, well, ill, chance
        self._next = time.monotonic() + chance.expovariate(1 / well)
        self._heal: Heal | None = None
        self.faults: list[Fault] = []

    def turn(self) -> None:
        """Begin or end a fault, if it is time."""
        if time.monotonic() < self._next:
            return
        if self._heal is not None:
            self.heal()
            return
        name = self._chance.choice(list(self._plays))
        fault = Fault(self._name, name, now_ms())
        self._heal = self._plays[name]()
        if self._heal is None:
            self._next = time.monotonic() + TICK
            return
        self.faults.append(fault)
        self._next = time.monotonic() + self._chance.uniform(0.1, self._ill)

    def heal(self) -> None:
        """End what is going on."""
        if self._heal is not None:
            self._heal()
            self._heal = None
            self.faults[-1].ended = now_ms()
        self._next = time.monotonic() + self._chance.expovariate(1 / self._well)


class Chaos:
    """Call `turn` often, and `heal` at the end."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._chance = random.Random(seed)
        rhythms: dict[str, tuple[Mapping[str, Play], float, float]] = {
            DAEMON: (self._on_daemon(), 5, 3),
            BROKER: (self._on_broker(), 15, 6),
            DISK: ({"disk full": self._fill}, 20, 8),
            **{output.name: (self._on_database(output), 4, 6) for output in world.outputs},
        }
        self.sufferers = {
            name: Sufferer(name, plays, well, ill, random.Random(self._chance.random()))
            for name, (plays, well, ill) in rhythms.items()
        }

    def turn(self) -> None:
        for sufferer in self.sufferers.values():
            sufferer.turn()
        self._world.supervise()

    def heal(self) -> None:
        """End all faults."""
        for sufferer in self.sufferers.values():
            sufferer.heal()

    def faults(self) -> list[Fault]:
        """What was played so far."""
        return [fault for sufferer in self.sufferers.values() for fault in sufferer.faults]

    def _on_daemon(self) -> dict[str, Play]:
        world = self._world
        return {
            "kill": lambda: _nothing if world.kill() else None,
            # The second one hits it as it starts, or soon after.
            "kill twice": lambda: world.kill if world.kill() else None,
            "stop": lambda: _nothing if world.stop() else None,
            FREEZES: lambda: _frozen(world.pid) if world.hears_signals else None,
            "pause": self._pause,
            "reload": self._reload,
            "reload of a broken file": self._reload_broken,
        }

    def _pause(self) -> Heal | None:
        if not self._world.signal(signal.SIGUSR1):
            return None
        return lambda: self._world.signal(signal.SIGUSR2)

    def _reload(self) -> Heal | None:
        return _nothing if self._reconfigure() else None

    def _reconfigure(self, **mqtt: object) -> bool:
        """Reload other harmless settings."""
        chance = self._chance
        for_outputs: dict[str, dict[str, object]] = {
            output.section: {
                "batch": chance.choice((1, 10, 500, 5000)),
                "flush_interval": chance.choice((0.1, 0.2, FLUSH_INTERVAL)),
                "timeout": chance.choice((1, 2)),
            }
            for output in self._world.outputs
        }
        for_outputs[FIRST_OUTPUT]["log_level"] = chance.choice(("info", "debug"))
        self._world.configure(
            {
                **for_outputs,
                "mqtt": {**mqtt, "silence": chance.choice((30, 600))},
                "spool": {"max_size": chance.choice(("64M", "1G"))},
            }
        )
        return self._world.signal(signal.SIGHUP)

    def _reload_broken(self) -> Heal | None:
        world = self._world
        if not world.hears_signals:
            return None
        before = world.config.read_text()
        before_it = world.run.text().count("The config stays as it was")
        world.config.write_text(before.replace("[mqtt]", "[mqtt]\nnonsense = 1"))
        world.signal(signal.SIGHUP)
        try:
            wait_until(
                lambda: world.run.text().count("The config stays as it was") > before_it,
                "the daemon logs that the config is wrong",
            )
        finally:
            world.config.write_text(before)
        return _nothing

    def _on_database(self, output: Output) -> dict[str, Play]:
        proxy, server, chance = output.proxy, output.server, self._chance
        return {
            "refuses": _played(proxy.refuse, proxy.heal),
            "resets": _played(proxy.reset, proxy.heal),
            "silent": _played(lambda: proxy.silence(chance.choice((BOTH, TO_SERVER, TO_CLIENT))), proxy.heal),
            "late": _played(lambda: proxy.delay(chance.uniform(0.01, 3)), proxy.heal),
            "trickles": _played(lambda: proxy.trickle(chance.randint(100, 9000), 0.01), proxy.heal),
            "cut in requests": _played(
                lambda: proxy.cut_request(chance.randint(0, 20_000), chance.randint(1, 3)), proxy.heal
            ),
            "cut in answers": _played(
                lambda: proxy.cut_response(chance.randint(0, 300), chance.randint(1, 3)), proxy.heal
            ),
            "garbage": _played(proxy.garbage, proxy.heal),
            "cut": _played(proxy.cut_now, _nothing),
            FREEZES: lambda: _frozen(server.pid),
            RESTART: _played(server.stop, server.start),
            "kill": _played(server.kill, server.start),
        }

    def _on_broker(self) -> dict[str, Play]:
        proxy, mosquitto, chance = self._world.broker, self._world.mosquitto, self._chance

        def healed(heal: Heal) -> Heal:
            def end() -> None:
                heal()
                # The daemon backs off after each failure, and would be away for most of the time. A change
                # of the config that needs another connection makes it try at once.
                self._reconfigure(
                    keepalive=chance.choice((5, 6, 7, 8)), version=chance.choice(("3.1.1", "5"))
                )

            return end

        passes, restarts = healed(proxy.heal), healed(mosquitto.start)
        return {
            "refuses": _played(proxy.refuse, passes),
            "resets": _played(proxy.reset, passes),
            "silent": _played(lambda: proxy.silence(chance.choice((BOTH, TO_SERVER, TO_CLIENT))), passes),
            "late": _played(lambda: proxy.delay(chance.uniform(0.01, 1)), passes),
            "trickles": _played(lambda: proxy.trickle(chance.randint(100, 5000), 0.01), passes),
            "cut in acknowledgements": _played(
                lambda: proxy.cut_request(chance.randint(0, 5_000), chance.randint(1, 3)), passes
            ),
            "cut in messages": _played(
                lambda: proxy.cut_response(chance.randint(0, 50_000), chance.randint(1, 3)), passes
            ),
            "garbage": _played(proxy.garbage, passes),
            "cut": _played(proxy.cut_now, _nothing),
            FREEZES: lambda: healed(_frozen(mosquitto.pid)),
            # Never killed: mosquitto does not promise to keep what it has in memory.
            RESTART: _played(mosquitto.stop, restarts),
        }

    def _fill(self) -> Heal | None:
        world = self._world
        if not world.hears_signals:
            return None
        world.disk.fill(world.pid, world.run.log, self._chance.choice((4_096, 100_000, 1_000_000)))
        return lambda: world.disk.free(world.pid)


def _nothing() -> None:
    """It is over already."""


def _frozen(pid: int) -> Heal:
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def _played(play: Callable[[], object], heal: Heal) -> Play:
    def begin() -> Heal:
        play()
        return heal

    return begin
