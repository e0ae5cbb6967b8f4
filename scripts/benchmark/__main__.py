"""The command line: which turns there are, and in which order they are taken."""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from servers import ServerFailed

import benchmark
from benchmark import disk, document, latency, machine, peers, plot, report, share, throughput, waiting
from benchmark.bridges import Bridge, Tessflux
from benchmark.plan import QUICK, Row, Run, Scale, Turn
from benchmark.site import BenchFailed

Case = Callable[[Scale, Sequence[Tessflux], Sequence[Bridge], Path], Iterator[Turn]]

CASES: dict[str, Case] = {
    "throughput": throughput.throughput,
    "photometers": throughput.photometers,
    "window": throughput.window,
    "share": share.share,
    "latency": latency.latency,
    "drain": waiting.drain,
    "outage": waiting.outage,
    "start": waiting.start,
    "disk": disk.disk,
    "idle": disk.idle,
}


LOST_OR_DOUBLED, FAILED = 1, 2
"""Exit codes; 2 also for wrong arguments."""


def outputs() -> argparse.ArgumentParser:
    """What changes nothing about the figures."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--directory", type=Path, help="where spool and database are, instead of TMPDIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them there")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="put the tables into this document and the plot beside it"
    )
    return parser


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        parents=[outputs()],
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", type=cases, help=f"which, separated by commas; all: {','.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="every case small, in less than two minutes")
    parser.add_argument("--rounds", type=int, help=f"of which the median counts ({Scale.rounds})")
    parser.add_argument("--readings", type=int, help=f"in one turn of throughput ({Scale.readings})")
    parser.add_argument("--waiting", type=int, help=f"readings of a drain and an outage ({Scale.waiting})")
    parser.add_argument("--seconds", type=float, help=f"of one turn of latency ({Scale.seconds:g})")
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
        type=peers.Peer.parse,
        action="append",
        default=[],
        help="one more bridge; scripts/benchmark/peers.py has the placeholders and ready recipes",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out those that are on the PATH")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        action="append",
        help="take the figures of an earlier --json instead of measuring; may be given again",
    )
    return parser


def cases(text: str) -> list[str]:
    """The names of some cases; raises ArgumentTypeError."""
    names = text.split(",")
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(f"there is no case {', '.join(sorted(unknown))}")
    return names


def main() -> int:
    """Measure, or read what was measured, and show it; the exit code, which says nothing of speed."""
    options = arguments().parse_args()
    if options.source:
        show(options, [run for path in options.source for run in report.from_json(path.read_text())])
        return 0
    run = measure(options)
    show(options, [run])
    if report.bad(run.rows, except_for={peer.name for peer in contenders(options)[1]}):
        return LOST_OR_DOUBLED
    return FAILED if any(row.failed for row in run.rows) else 0


def show(options: argparse.Namespace, runs: list[Run]) -> None:
    """In all forms that were asked for."""
    print(report.tables(runs))
    if options.json:
        options.json.write_text(report.as_json(runs))
    if options.svg:
        options.svg.write_text(plot.svg(runs))
    if options.docs:
        picture = options.docs.with_suffix(".svg")
        picture.write_text(plot.svg(runs))
        text = options.docs.read_text()
        options.docs.write_text(document.with_figures(text, runs, picture.name))


def contenders(options: argparse.Namespace) -> tuple[list[Tessflux], list[Bridge]]:
    """All tessfluxes, and all peers."""
    return [Tessflux(), *options.tessflux], [*([] if options.no_peers else peers.found()), *options.peer]


def measure(options: argparse.Namespace) -> Run:
    """On what it was measured, and the figures."""
    changes = {key: getattr(options, key) for key in ("rounds", "readings", "waiting", "seconds")}
    scale = replace(QUICK if options.quick else Scale(), **{k: v for k, v in changes.items() if v})
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tessflux-bench-", dir=options.directory) as directory:
        rows: list[Row] = []
        _, words = outputs().parse_known_args()
        about = {"command": shlex.join(["scripts/bench", *words]), **machine.about(Path(directory))}
        for name in options.case or CASES:
            turns = CASES[name](scale, *contenders(options), Path(directory))
            rows += take(list(turns), scale.rounds)
    print(f"all took {time.monotonic() - began:.0f} s", file=sys.stderr)
    return Run(about, rows)


def take(turns: Sequence[Turn], rounds: int) -> list[Row]:
    """Every turn once, then every turn again, so that what changes meanwhile changes for all.

    A turn that cannot be measured says why, and is left out from then on.
    """
    rows = [Row(turn.case, turn.setting, turn.bridge, turn.base) for turn in turns]
    for number in range(rounds):
        for turn, row in zip(turns, rows, strict=True):
            if row.failed:
                continue
            began = time.monotonic()
            try:
                measured = turn.run()
            except (BenchFailed, ServerFailed, OSError) as error:
                row.failed = True
                found = f"not measured: {error}"
            else:
                row.rounds.append(measured)
                found = "  ".join(f"{name} {value:,.2f}" for name, value in measured.values.items())
            took = time.monotonic() - began
            where = f"{turn.case} {turn.setting}, {turn.bridge}, round {number + 1}"
            print(f"{where}: {found}  [{took:.1f} s]", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
