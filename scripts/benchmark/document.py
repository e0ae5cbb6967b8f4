"""The part of a document that the benchmark writes, between two marks. Pure."""

import re
from collections.abc import Sequence

from benchmark.plan import Run
from benchmark.report import tables

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def with_figures(text: str, runs: Sequence[Run], plot: str) -> str:
    """The document with new figures; ValueError when it has not both marks once. `plot` is a file's name."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the document must have {BEGIN} and {END} once")
    parts = [
        BEGIN,
        f"The median of the rounds, with the least and the greatest in brackets. {_of_all(runs)}.",
        "\n".join(f"- {_of_one(run, runs)}" for run in runs),
        f"![The figures of the tables as bars]({plot})",
        tables(runs),
        END,
    ]
    return re.sub(f"{BEGIN}.*{END}", lambda _: "\n\n".join(parts), text, flags=re.DOTALL)


def _of_all(runs: Sequence[Run]) -> str:
    """What holds for every run."""
    return "; ".join(f"{name}: {value}" for name, value in runs[0].about.items() if _same(name, runs))


def _of_one(run: Run, runs: Sequence[Run]) -> str:
    """What was measured in a run, how often, and what does not hold for all."""
    counts = {row.case: len(row.rounds) for row in run.rows}
    cases = ", ".join(f"{case} ({count} round{'s' * (count != 1)})" for case, count in counts.items())
    return "; ".join(
        [cases, *(f"{name} {value}" for name, value in run.about.items() if not _same(name, runs))]
    )


def _same(name: str, runs: Sequence[Run]) -> bool:
    return len({run.about.get(name) for run in runs}) == 1
