"""How many readings a second come from the broker into the database, and what one costs.

The same readings, in turns, on a private mosquitto and influxd: tessflux at QoS 0 and 1 with its spool on
disk, and `mosquitto_sub -q 1`, which only counts what the same broker gives. Broker, database and publisher
share the machine, so compare figures of one run, not of two.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers import Influxd, Mosquitto

SCRIPTS = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE = 120.0
"""Seconds after which what has not come is lost."""


@dataclass(frozen=True)
class Result:
    """One round of one contender. CPU in microseconds a reading, memory in MiB."""

    rate: float
    cpu: float
    lost: int
    doubled: int
    memory: float


@dataclass(frozen=True)
class Work:
    """What every contender gets."""

    readings: int
    photometers: int
    directory: Path
    mosquitto: Mosquitto
    influxd: Influxd


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_memory(pid: int) -> float:
    """The most that a process had in memory, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status has no VmHWM")


def wait_until(condition: Callable[[], bool], pause: float) -> bool:
    """Whether it came true before DEADLINE."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(pause)
    return False


class Flood:
    """The publisher, ready to begin."""

    def __init__(self, work: Work, qos: int) -> None:
        arguments = [work.mosquitto.port, work.readings, qos, work.photometers]
        self._process = subprocess.Popen(
            [sys.executable, SCRIPTS / "flood.py", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def run(self) -> None:
        """Publish everything."""
        self._process.communicate(b"\n")


def tessflux(work: Work, qos: int) -> Result:
    """Publish at `qos`, wait for the database."""
    name = f"bench{time.monotonic_ns()}"
    database, spool = name, work.directory / name
    work.influxd.query(f'CREATE DATABASE "{database}"')
    config = work.directory / "config"
    config.write_text(
        # The end of a round is when the last reading is there, which must not wait for company.
        f"[influxdb]\nurl = {work.influxd.url}\ndbname = {database}\nflush_interval = 0.1\n"
        f"[mqtt]\nbroker = tcp:127.0.0.1:{work.mosquitto.port}\nclient_id = {name}\n"
        f"[spool]\ndirectory = {spool}\n"
    )
    log = work.directory / f"{name}.log"

    def count(column: str) -> int:
        series = work.influxd.query(f"SELECT count({column}) FROM readings", db=database)
        return int(series[0]["values"][0][1]) if series else 0

    def has_last() -> bool:
        # The order is kept, so all are there when the last is. Counting all the time would cost the
        # database as much as storing.
        series = work.influxd.query(
            f"SELECT last(freq) FROM readings WHERE \"name\" = 'stars{work.readings % work.photometers}'",
            db=database,
        )
        return bool(series) and series[0]["values"][0][1] == work.readings

    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "tessflux", "-k", "-c", config], stdout=output, stderr=output
        )
    try:
        if not wait_until(lambda: "Subscribed to" in log.read_text(), 0.05):
            raise SystemExit(f"tessflux did not start:\n{log.read_text()}")
        flood = Flood(work, qos)
        cpu, began = cpu_seconds(daemon.pid), time.monotonic()
        flood.run()
        wait_until(has_last, 0.05)
        seconds = time.monotonic() - began
        cpu = cpu_seconds(daemon.pid) - cpu
        memory = peak_memory(daemon.pid)
    finally:
        daemon.terminate()
        daemon.wait()
        forget(work, name)
    stored = count("freq")
    distinct = count("distinct(freq)")
    work.influxd.query(f'DROP DATABASE "{database}"')
    return Result(
        stored / seconds, cpu / work.readings * 1e6, work.readings - distinct, stored - distinct, memory
    )


def forget(work: Work, client_id: str) -> None:
    """End a session, or the broker would keep all that follows for it too."""
    command = ["mosquitto_sub", "-p", str(work.mosquitto.port), "-i", client_id, "-t", "none", "-E"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def mosquitto_sub(work: Work) -> Result:
    """What the broker gives to a program that throws it away."""
    command = ["mosquitto_sub", "-q", "1", "-p", str(work.mosquitto.port), "-i", "bench", "-c"]
    command += ["-t", "STARS4ALL/+/reading"]
    # The first one only subscribes, so that nothing is missed however late the second connects.
    subprocess.run([*command, "-E"], check=True, stdout=subprocess.DEVNULL)
    flood = Flood(work, 1)
    began = time.monotonic()
    subscriber = subprocess.Popen([*command, "-C", str(work.readings)], stdout=subprocess.DEVNULL)
    flood.run()
    try:
        subscriber.wait(DEADLINE)
    finally:
        subscriber.kill()
        forget(work, "bench")
    seconds = time.monotonic() - began
    return Result(work.readings / seconds, 0, 0, 0, 0)


def main() -> int:
    """Run the rounds; fails only on a lost or doubled reading, never on a time."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--readings", type=int, default=300_000, help="in one round (%(default)s)")
    parser.add_argument("--photometers", type=int, default=1_000, help="that publish them (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (%(default)s)")
    options = parser.parse_args()
    contenders: dict[str, Callable[[Work], Result]] = {
        "mosquitto_sub -q 1": mosquitto_sub,
        "tessflux QoS 1": lambda work: tessflux(work, 1),
        "tessflux QoS 0": lambda work: tessflux(work, 0),
    }
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory(prefix="tessflux-bench-") as directory:
        path = Path(directory)
        with (
            Mosquitto(path / "mosquitto", settings=["max_queued_messages 0"]) as mosquitto,
            Influxd(path / "influxd") as influxd,
        ):
            work = Work(options.readings, options.photometers, path, mosquitto, influxd)
            for number in range(options.rounds):
                for name, run in contenders.items():
                    results[name].append(run(work))
                    print(f"round {number + 1}: {name}: {results[name][-1].rate:,.0f}/s", file=sys.stderr)
    return report(results)


def report(results: dict[str, list[Result]]) -> int:
    """Print medians with their range."""
    floor = statistics.median(result.rate for result in results["mosquitto_sub -q 1"])
    print(f"{'':<20}{'readings/s':>24}{'ratio':>7}{'CPU us':>8}{'MiB':>6}{'lost':>6}{'doubled':>9}")
    bad = 0
    for name, rounds in results.items():
        rates = [result.rate for result in rounds]
        rate = statistics.median(rates)
        spread = f"{rate:,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"
        lost, doubled = sum(result.lost for result in rounds), sum(result.doubled for result in rounds)
        cpu = statistics.median(result.cpu for result in rounds)
        memory = max(result.memory for result in rounds)
        of_mosquitto = f"{rate / floor:.2f}"
        if memory:
            print(f"{name:<20}{spread:>24}{of_mosquitto:>7}{cpu:>8.1f}{memory:>6.0f}{lost:>6}{doubled:>9}")
        else:
            print(f"{name:<20}{spread:>24}{of_mosquitto:>7}")
        bad += lost + doubled
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
