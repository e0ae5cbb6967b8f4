"""The part of a document that the benchmark writes, between two marks. Pure."""

import re
from collections.abc import Mapping, Sequence

from benchmark.plan import Row
from benchmark.report import tables

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def with_figures(text: str, about: Mapping[str, str], rows: Sequence[Row], plot: str) -> str:
    """The document with new figures; ValueError when it has not both marks once. `plot` is a file's name."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the document must have {BEGIN} and {END} once")
    where = "; ".join(f"{name} {value}" for name, value in about.items())
    figures = (
        f"{BEGIN}\n\nThe median of the rounds ({_rounds(rows)}), with the least and the greatest in brackets;"
        f" {where}.\n\n"
        f"![The figures of the tables as bars]({plot})\n\n{tables(rows)}\n\n{END}"
    )
    return re.sub(f"{BEGIN}.*{END}", lambda _: figures, text, flags=re.DOTALL)


def _rounds(rows: Sequence[Row]) -> str:
    """How many there were of each case."""
    counts = {row.case: len(row.rounds) for row in rows}
    if len(set(counts.values())) == 1:
        return str(counts[rows[0].case])
    return ", ".join(f"{case} {count}" for case, count in counts.items())
