"""Torture: all that may fail fails, under load, for as long as you like; then the databases are compared.

A real mosquitto, a real influxd, a real VictoriaMetrics and a server that answers at random, a proxy before
each, the daemon as a process under a supervisor. The exit code is 0 if in no database anything is doubled,
altered or misplaced, nothing lost at QoS 1, nothing lost at QoS 0 without excuse (see `excuses`), and the
account of every run that ended in order adds up. Otherwise all is kept.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tessflux.config import FIRST_OUTPUT
from tests.faults.chaos import TICK, Chaos
from tests.faults.excuses import Findings, excuses, findings
from tests.faults.ledger import Comparison, Ledger
from tests.faults.load import Load
from tests.faults.outputs import Influx
from tests.faults.site import now_ms
from tests.faults.world import World

EARLY_MS = 15_000
"""By how much a reckoned time may be before the publication. While the broker is away, the publisher here
keeps what it publishes at QoS 1, and mixes up the order with QoS 0, as no photometer does.
tests/real/test_backlog.py looks at how exact the times of photometers are."""

DRAIN_SECONDS = 300.0
"""How long after the last fault all must be in the databases: several of the daemon's longest pauses."""


def torture(world: World, options: argparse.Namespace) -> tuple[Chaos, Load, dict[str, Comparison], Findings]:
    """Do it all; returns also the databases beside the ledger, and what is wrong."""
    ledger = Ledger(options.photometers, early=EARLY_MS)
    chaos = Chaos(world, options.seed)
    load = Load(world.mosquitto.port, ledger, options.rate, options.seed)
    world.start()
    _wait(world, lambda: "Subscribed to" in world.run.text(), "the daemon subscribes")
    load.start()
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        chaos.turn()
        time.sleep(TICK)
    chaos.heal()
    load.stop()
    _drain(world, ledger)
    world.restarts = False
    world.stop()
    world.look_through_the_logs()
    databases = {output.name: Comparison(ledger, output.rounded) for output in world.outputs}
    for output in world.outputs:
        for rows in output.rows(options.photometers):
            databases[output.name].check(rows, now_ms())
    differences = {name: database.differences() for name, database in databases.items()}
    found = findings(ledger, differences, load.unsent, excuses(world.runs, chaos.faults(), now_ms()))
    found.problems += world.problems
    for output in world.outputs:
        found.problems += [f"{output.name}: {wrong}" for wrong in load.said.problems(output.zero_points())]
    return chaos, load, databases, found


def _wait(world: World, condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            world.problems.append(f"it never happened: {what}")
            return
        world.supervise()
        time.sleep(TICK)


def _drain(world: World, ledger: Ledger) -> None:
    """Wait for the last reading: the order is kept, so all others were stored before it, but for those whose
    time is not known yet. What is to be sent again then is sent before the daemon stops."""
    last = ledger.sample(len(ledger) - 1)
    where = f"\"name\" = '{last.name}' AND freq = {last.fields['freq']}"
    first = world.outputs[0]
    assert isinstance(first, Influx)
    _wait(world, lambda: first.select(where), "the last reading arrives")
    _wait(world, lambda: world.left() == 0, "nothing waits in the spool")


def main() -> int:
    """Run the torture, print what it did and found."""
    parser = argparse.ArgumentParser(prog="tests/faults/torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="of faults (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule (%(default)s)")
    parser.add_argument("--rate", type=float, default=500, help="messages a second (%(default)s)")
    parser.add_argument("--photometers", type=int, default=200, help="that publish (%(default)s)")
    parser.add_argument(
        "--outputs", type=int, choices=(1, 2, 3), default=3, help="the first so many databases (%(default)s)"
    )
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="tessflux-torture-"))
    world = World(directory, options.outputs, options.seed)
    try:
        chaos, load, databases, found = torture(world, options)
        if found.problems:
            _keep_spool(world)
    except BaseException:
        _keep_spool(world)
        print(f"torture: everything is kept in {directory}", file=sys.stderr)
        raise
    finally:
        world.close()
    report(options, world, chaos, load, databases, found)
    if found.problems:
        _keep_faults(world, chaos)
        print(f"FAILED; everything is kept in {directory}")
        return 1
    shutil.rmtree(directory)
    print("passed")
    return 0


def _keep_spool(world: World) -> None:
    """The small disk goes with this process."""
    spool = world.directory / "disk" / "spool"
    if world.disk.is_mounted and spool.exists():
        shutil.copytree(spool, world.directory / "spool-at-the-end", dirs_exist_ok=True)


def _keep_faults(world: World, chaos: Chaos) -> None:
    """When each began and ended, in the local time of the logs."""
    with (world.directory / "faults").open("w") as file:
        for fault in sorted(chaos.faults(), key=lambda fault: fault.began):
            began, ended = (
                datetime.fromtimestamp(time / 1000).isoformat(timespec="milliseconds")
                for time in (fault.began, fault.ended)
            )
            file.write(f"{began} to {ended} {fault.sufferer}: {fault.name}\n")


def report(
    options: argparse.Namespace,
    world: World,
    chaos: Chaos,
    load: Load,
    databases: dict[str, Comparison],
    found: Findings,
) -> None:
    """Print it for people."""
    ends = [run.end for run in world.runs]
    print(f"seed {options.seed}, {options.seconds:g} s, {options.rate:g} messages/s")
    print(f"runs of the daemon: {len(ends)}, killed {ends.count('killed')}, stopped {ends.count('stopped')}")
    for name, count in sorted(Counter(f"{each.sufferer}: {each.name}" for each in chaos.faults()).items()):
        print(f"  {name}: {count}")
    print(f"readings published: QoS 0 {found.published[0]:,} ({found.unsent:,} to no broker), ", end="")
    print(f"QoS 1 {found.published[1]:,}; and {load.duplicates:,} duplicates, ", end="")
    print(f"{load.registers:,} register messages with {load.said.changes:,} changes, ", end="")
    print(f"{load.rubbish:,} bad payloads")
    print(f"QoS 0 that had to arrive: {found.had_to_arrive:,}")
    for name, database in databases.items():
        print(f"  {name}: {database.differences()}")
    errors = sorted(map(abs, databases[FIRST_OUTPUT].errors)) or [0]
    median, most, worst = (errors[int(share * (len(errors) - 1))] for share in (0.5, 0.95, 1))
    print(f"times off by: median {median} ms, 95 % within {most} ms, worst {worst} ms")
    print("lost at QoS 0, by excuse:", dict(found.excused) or "none")
    for problem in found.problems:
        print(f"PROBLEM: {problem}")


if __name__ == "__main__":
    sys.exit(main())
