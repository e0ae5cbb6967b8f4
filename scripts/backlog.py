"""How right the times are of readings that waited, in a network as large and irregular as in life.

A thousand simulated photometers publish every 2 to 60 s. tessflux is stopped for some minutes, in the middle
of which the broker restarts, and killed while what waited comes. Later its network stalls for as long, it is
killed in the middle of that, and then the connection breaks. The photometers boot three times: in each of the
two, and between them. Then the database is compared with what the photometers wrote down.

The rule: all that is measured was really published, through a real broker, into a real database.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark import machine
from benchmark.bridges import Tessflux
from benchmark.site import Site
from punctuality import IN_FLIGHT_MS, MOST, Comparison, Published, compare, ledger
from servers import Influxd, Mosquitto, Program

from tests.faults.proxy import Proxy

PERIOD = "2-60"
JITTER = 0.05

LIVE_SECONDS = 90.0
"""How long all is well at least: the slowest photometer publishes in this time."""

DEADLINE = 300.0
"""Seconds after which nothing more will arrive: several of the longest pauses of tessflux."""

LOOK_SECONDS = 5.0
POLL_SECONDS = 0.02

NOT_RIGHT = 1
"""The exit code if a reading is lost, doubled or in the wrong order."""


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Daemon:
    """One tessflux with a network, a spool and a database of its own."""

    def __init__(self, tessflux: Tessflux, directory: Path, mosquitto: Mosquitto, influxd: Influxd) -> None:
        self.name = tessflux.name
        directory.mkdir()
        self.network = Proxy(directory, "network", mosquitto.port)
        site = Site(directory, directory, mosquitto, influxd, self.network.port)
        own = {"influxdb.dbname": self.name, "mqtt.client_id": f"tessflux-{self.name}"}
        self.program: Program = tessflux.but(own).program(site, 1, 0)
        self._influxd = influxd
        influxd.query(f'CREATE DATABASE "{self.name}"')

    def subscribe(self) -> None:
        """Start it, and wait until it listens."""
        before = self._subscriptions()
        self.program.start()
        wait_until(lambda: self._subscriptions() > before, f"{self.name} subscribes")

    def _subscriptions(self) -> int:
        log = self.program.log
        return log.read_text().count("Subscribed to") if log.exists() else 0

    def compare(self, published: Sequence[Published], excused: Sequence[range]) -> Comparison:
        """What is in its database, against the ledger."""
        rows = self._influxd.select('SELECT seq, tsky FROM readings GROUP BY "name"', self.name)
        return compare(published, rows, excused)


def wait_until(condition: Callable[[], bool], what: str, pause: float = POLL_SECONDS) -> None:
    """Return when it is so; say it if that takes too long, and go on."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            print(f"it never happened: {what}", file=sys.stderr)
            return
        time.sleep(pause)


@dataclass(frozen=True)
class Schedule:
    """For how many seconds all is well, three times, and nothing gets through, twice."""

    live: float
    away: float

    @classmethod
    def of(cls, minutes: float) -> "Schedule":
        return cls(max(minutes * 30, LIVE_SECONDS), minutes * 60)

    @property
    def reboots(self) -> str:
        """In the first absence, before the second, and in that."""
        moments = (
            self.live + 0.3 * self.away,
            self.live + self.away + 0.5 * self.live,
            2 * self.live + 1.4 * self.away,
        )
        return ",".join(f"{moment:g}" for moment in moments)


class World:
    """The servers, the photometers and the daemons."""

    def __init__(
        self,
        mosquitto: Mosquitto,
        daemons: Sequence[Daemon],
        photometers: Program,
        ledger: Path,
        schedule: Schedule,
    ) -> None:
        self.daemons = daemons
        self.excused: list[range] = []
        """When the broker was not there."""
        self.windows: dict[str, tuple[int, int]] = {}
        """Between which times what was published had to wait, by how."""
        self._mosquitto, self._photometers = mosquitto, photometers
        self._ledger, self._schedule = ledger, schedule

    def play(self) -> None:
        """Let all of it happen."""
        live, away = self._schedule.live, self._schedule.away
        for daemon in self.daemons:
            daemon.subscribe()
        self._photometers.start()
        with self._window("did not wait"):
            _say(f"all is well for {live:g} s")
            time.sleep(live)
        with self._window("waited at the broker"):
            _say(f"tessflux is away for {away:g} s")
            for daemon in self.daemons:
                daemon.program.stop()
            time.sleep(away / 2)
            self._restart_broker()
            time.sleep(away / 2)
            for daemon in self.daemons:
                daemon.subscribe()
                daemon.program.kill()
                daemon.subscribe()
        _say(f"all is well for {live:g} s")
        time.sleep(live)
        with self._window("waited in the network"):
            _say(f"the network stalls for {away:g} s")
            for daemon in self.daemons:
                daemon.network.silence()
            time.sleep(away / 2)
            for daemon in self.daemons:
                daemon.program.kill()
                daemon.program.start()
            time.sleep(away / 2)
            for daemon in self.daemons:
                daemon.network.cut_now()
                daemon.network.heal()
        _say(f"all is well for {live:g} s")
        time.sleep(live)
        self._photometers.stop()

    def compare(self) -> dict[str, Comparison]:
        """What is in each database once everything has arrived."""
        published = ledger(self._ledger.read_text())
        found = {}
        for daemon in self.daemons:

            def complete(daemon: Daemon = daemon) -> bool:
                found[daemon.name] = daemon.compare(published, self.excused)
                return not found[daemon.name].lost

            wait_until(complete, f"{daemon.name} stores everything", LOOK_SECONDS)
            daemon.program.stop()
        return found

    def _restart_broker(self) -> None:
        stopped = now_ms()
        self._mosquitto.restart()
        self.excused.append(range(stopped - IN_FLIGHT_MS, now_ms()))

    @contextmanager
    def _window(self, name: str) -> Iterator[None]:
        began = now_ms()
        yield
        self.windows[name] = (began, now_ms())


def _say(what: str) -> None:
    print(f"{time.strftime('%X')} {what}", file=sys.stderr, flush=True)


@contextmanager
def world(
    directory: Path, tessfluxes: Sequence[Tessflux], photometers: int, schedule: Schedule
) -> Iterator[World]:
    """All that is needed, none of which outlives the block."""
    with ExitStack() as stack:
        settings = ["max_queued_messages 0", "upgrade_outgoing_qos true"]
        mosquitto = stack.enter_context(Mosquitto(directory / "mosquitto", settings=settings))
        influxd = stack.enter_context(Influxd(directory / "influxd"))
        daemons = [Daemon(each, directory / each.name, mosquitto, influxd) for each in tessfluxes]
        options = {
            "broker": mosquitto.address,
            "photometers": photometers,
            "period": PERIOD,
            "jitter": JITTER,
            "reboots": schedule.reboots,
            "ledger": directory / "ledger",
        }
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        simulator = [sys.executable, "-m", "tessflux.simulator", *arguments]
        program = Program("simulator", simulator, directory / "simulator.log")
        stack.callback(program.kill)
        for daemon in daemons:
            stack.enter_context(daemon.network)
            stack.callback(daemon.program.kill)
        yield World(mosquitto, daemons, program, directory / "ledger", schedule)


def report(found: dict[str, Comparison], windows: dict[str, tuple[int, int]]) -> str:
    """A table of the errors in Markdown, and what is wrong besides."""
    heads = ["", "readings", "median s", f"{MOST:.0%} within s", "worst s", "within half a period"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, comparison in found.items():
        for window, (since, until) in windows.items():
            errors = comparison.errors(since, until)
            numbers = (f"{value:.2f}" for value in (errors.median, errors.most, errors.worst))
            lines.append([f"{name}, {window}", f"{errors.count:,}", *numbers, f"{errors.close:.1%}"])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    wrong = "\n".join(f"- {name}: {comparison}" for name, comparison in found.items())
    return f"{table}\n\n{wrong}"


def main() -> int:
    """Do it all, print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/backlog", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="for which nothing gets through, twice (%(default)g)")
    add("--photometers", type=int, default=1_000, help="how many (%(default)s)")
    add(
        "--tessflux",
        metavar="NAME=PART,...",
        type=Tessflux.parse,
        action="append",
        help="which, instead of this one, also several; a PART is another checkout or SECTION.KEY=VALUE",
    )
    options = parser.parse_args()
    tessfluxes = options.tessflux or [Tessflux()]
    with tempfile.TemporaryDirectory(prefix="tessflux-backlog-") as name:
        directory = Path(name)
        about = {"command": shlex.join(["scripts/backlog", *sys.argv[1:]]), **machine.about(directory)}
        with world(directory, tessfluxes, options.photometers, Schedule.of(options.minutes)) as everything:
            everything.play()
            found = everything.compare()
    print("\n".join(f"- {name}: {value}" for name, value in about.items()))
    print("", report(found, everything.windows), sep="\n")
    for name, comparison in found.items():
        for each in (*comparison.lost, *comparison.extra, *comparison.misplaced):
            print(f"{name}: wrong: {each}", file=sys.stderr)
    return NOT_RIGHT if any(each.wrong for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
