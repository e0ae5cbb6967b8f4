"""The command line: which cases, on which bridges, and the exit code."""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import benchmark
from benchmark import bridges, disk, latency, machine, pace, share, throughput, waiting, watched
from benchmark.bridges import Bridge, Command, Tessflux
from benchmark.plan import QUICK, Row, Scale, Turn, take
from benchmark.report import lost_or_doubled, tables

Case = Callable[[Scale, Sequence[Tessflux], Sequence[Bridge], Path], Iterator[Turn]]

CASES: dict[str, Case] = {
    "throughput": throughput.throughput,
    "photometers": throughput.photometers,
    "window": throughput.window,
    "share": share.share,
    "latency": latency.latency,
    "pace": pace.pace,
    "drain": waiting.drain,
    "outage": waiting.outage,
    "start": waiting.start,
    "disk": disk.disk,
    "idle": disk.idle,
    "watched": watched.watched,
}

LOST_OR_DOUBLED, FAILED = 1, 2
"""Exit codes; 2 also for wrong arguments."""


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", type=cases, help=f"which, separated by commas; all: {','.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="every case small, in less than two minutes")
    parser.add_argument("--rounds", type=int, help=f"of which the median counts ({Scale.rounds})")
    parser.add_argument(
        "--tessflux",
        metavar="NAME=PART,...",
        type=Tessflux.parse,
        action="append",
        default=[],
        help="one more tessflux; a PART is another checkout or SECTION.KEY=VALUE",
    )
    parser.add_argument(
        "--peer",
        metavar="NAME=COMMAND",
        type=Command.parse,
        action="append",
        default=[],
        help="one more bridge; scripts/benchmark/bridges.py has the placeholders and recipes",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out those that are on the PATH")
    return parser


def cases(text: str) -> list[str]:
    """The names of some cases; raises ArgumentTypeError."""
    names = text.split(",")
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(f"there is no case {', '.join(sorted(unknown))}")
    return names


def main() -> int:
    """Measure, and print what was measured and on what; returns the exit code."""
    options = arguments().parse_args()
    scale = QUICK if options.quick else Scale()
    if options.rounds:
        scale = replace(scale, rounds=options.rounds)
    tessfluxes = [Tessflux(), *options.tessflux]
    peers = [*([] if options.no_peers else bridges.peers()), *options.peer]
    began = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tessflux-bench-") as name:
        directory = Path(name)
        about = {"command": shlex.join(["scripts/bench", *sys.argv[1:]]), **machine.about(directory)}
        for case in options.case or CASES:
            rows += take(list(CASES[case](scale, tessfluxes, peers, directory)), scale.rounds)
    print(f"all took {time.monotonic() - began:.0f} s", file=sys.stderr)
    print("\n".join(f"- {name}: {value}" for name, value in about.items()), tables(rows), sep="\n\n")
    return exit_code(rows, peers={peer.name for peer in peers})


def exit_code(rows: Sequence[Row], peers: Collection[str]) -> int:
    """It fails for readings that a tessflux, no peer, has lost or doubled, and for what was not measured."""
    if lost_or_doubled(rows, except_for=peers):
        return LOST_OR_DOUBLED
    return FAILED if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
