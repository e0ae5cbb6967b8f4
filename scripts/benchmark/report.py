"""What was measured -> a table in Markdown for each case. Pure.

Every figure is the median of the rounds, with the least and the greatest in brackets where they differ.
"""

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass

from benchmark.plan import Row


@dataclass(frozen=True)
class Metric:
    """How a value is called and written."""

    head: str
    digits: int = 0


METRICS = {
    "rate": Metric("readings/s"),
    "ratio": Metric("ratio", 2),
    "cpu": Metric("CPU us a reading", 1),
    "broker_cpu": Metric("broker's", 1),
    "database_cpu": Metric("database's", 1),
    "p50": Metric("p50 ms"),
    "p99": Metric("p99 ms"),
    "longest": Metric("longest ms"),
    "metrics": Metric("/metrics ms", 1),
    "metrics_longest": Metric("longest", 1),
    "front": Metric("/ ms", 1),
    "front_longest": Metric("longest", 1),
    "photometer": Metric("/photometers/NAME ms", 1),
    "photometer_longest": Metric("longest", 1),
    "live_rate": Metric("live ones/s"),
    "seconds": Metric("seconds", 2),
    "memory": Metric("peak MiB", 1),
    "before": Metric("MiB before", 1),
    "during": Metric("during", 1),
    "after": Metric("after", 1),
    "growth": Metric("growth", 1),
    "rest": Metric("MiB at rest", 1),
    "percent": Metric("CPU %", 3),
    "wake_ups": Metric("wake-ups/s"),
    "behind": Metric("s behind", 1),
    "calls": Metric("writes a reading", 2),
    "syncs": Metric("syncs a reading", 2),
    "bytes": Metric("bytes a reading"),
    "disk_bytes": Metric("by the kernel"),
    "hourly": Metric("MiB an hour", 1),
}
"""All values that a turn can give, in the order of the columns."""


@dataclass(frozen=True)
class Figure:
    """A value over the rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(statistics.median(values), min(values), max(values))


def figures(row: Row, rows: Iterable[Row]) -> dict[str, Figure]:
    """By the names of METRICS. A ratio is that of the rates of one round, since the machine is noisy."""
    if not row.rounds:
        return {}
    values = {name: [each.values[name] for each in row.rounds] for name in row.rounds[0].values}
    base = (row.turn.case, row.turn.setting, row.turn.base)
    for other in rows:
        if other.rounds and (other.turn.case, other.turn.setting, other.turn.bridge) == base:
            pairs = zip(row.rounds, other.rounds, strict=False)
            values["ratio"] = [ours.values["rate"] / its.values["rate"] for ours, its in pairs]
    return {name: Figure.of(values[name]) for name in METRICS if name in values}


def lost_or_doubled(rows: Iterable[Row], except_for: Collection[str]) -> int:
    """How many readings, by other bridges than these."""
    rounds = [each for row in rows if row.turn.bridge not in except_for for each in row.rounds]
    return sum(each.lost + each.doubled for each in rounds)


def tables(rows: Sequence[Row]) -> str:
    """A table for each case, aligned for those who read it as it is."""
    cases = dict.fromkeys(row.turn.case for row in rows)
    return "\n\n".join(
        f"### {case}\n\n{_table([row for row in rows if row.turn.case == case])}" for case in cases
    )


def _table(rows: Sequence[Row]) -> str:
    found = [figures(row, rows) for row in rows]
    names = [name for name in METRICS if any(name in each for each in found)]
    heads = ["", "bridge", *(METRICS[name].head for name in names), "lost", "doubled"]
    cells = [
        [
            row.turn.setting,
            row.turn.bridge,
            *(_cell(METRICS[name], each.get(name)) for name in names),
            f"{sum(each.lost for each in row.rounds):,}" if row.rounds else "not measured",
            f"{sum(each.doubled for each in row.rounds):,}",
        ]
        for row, each in zip(rows, found, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    rule = ["-" * width if number < 2 else "-" * (width - 1) + ":" for number, width in enumerate(widths)]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in (heads, rule, *cells)
    )


def _cell(metric: Metric, figure: Figure | None) -> str:
    if figure is None:
        return ""
    median, least, greatest = (f"{value:,.{metric.digits}f}" for value in astuple(figure))
    return median if least == greatest else f"{median} ({least}-{greatest})"
