"""What was measured -> a picture (SVG): a bar to the median, a line from the least to the greatest. Pure."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import cycle, groupby

from benchmark.bridges import CEILING, FLOOR
from benchmark.plan import Row, Run
from benchmark.report import METRICS, Figure, figures
from benchmark.throughput import BROKER
from benchmark.waiting import DATABASE_ALONE

PANELS = (
    ("throughput", "rate", "Throughput: readings a second, more is better"),
    ("throughput", "cpu", "Throughput: CPU of the bridge, microseconds a reading"),
    ("latency", "p99", "Latency: 99 of 100 readings can be queried after so many ms"),
    ("drain", "rate", "Draining what waits: readings a second, more is better"),
    ("photometers", "cpu", "Few and many photometers: CPU, microseconds a reading"),
    ("photometers", "memory", "Few and many photometers: peak memory, MiB"),
    ("window", "rate", "Window of the broker: readings a second, more is better"),
    ("share", "rate", "One and two tessflux in a share group: readings a second, more is better"),
    ("outage", "during", "An outage of the database: peak memory, MiB"),
    ("start", "seconds", "Start with readings that wait: seconds"),
    ("disk", "hourly", "Written to the disk: MiB an hour"),
)
"""Case, metric, title."""

REFERENCES = (BROKER, CEILING.name, FLOOR.name, DATABASE_ALONE)
"""The limits: they are no bridges between a broker and a database. In grey."""

GREY = "#a8b0bd"
COLOURS = ("#2563c9", "#d97a1f", "#2f9461", "#8a5fc7", "#c2405b", "#5b7083")

WIDTH, LEFT, RIGHT = 880, 250, 150
"""Pixels: of all, of the names, of the figures."""

BAR, STEP, HEAD, SETTING = 15, 22, 44, 24
"""Pixels: a bar, a bar with its distance, a panel's head, a setting's head."""

STYLE = (
    "text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12.5px;fill:#2b3440}"
    ".title{font-size:15px;font-weight:600}.setting{font-weight:600;fill:#5b6675}"
    ".axis{font-size:11px;fill:#7b8594}.spread{stroke:#1c2430;stroke-width:1.4}.grid{stroke:#e6e9ee}.lost{fill:#b3261e}"
)


def svg(runs: Sequence[Run]) -> str:
    """One panel under the other, for the cases that were measured."""
    kin = dict.fromkeys(_kin(row) for run in runs for row in run.rows if row.bridge not in REFERENCES)
    colours = {**dict.fromkeys(REFERENCES, GREY), **dict(zip(kin, cycle(COLOURS), strict=False))}
    parts: list[str] = []
    top = 10
    for case, metric, title in PANELS:
        of_case = [(row, figures(row, run.rows)) for run in runs for row in run.rows if row.case == case]
        found = [(row, each[metric]) for row, each in of_case if metric in each]
        if found:
            parts += _panel(title, found, METRICS[metric].digits, colours, top)
            top += _height(found)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{top}" rx="8" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _kin(row: Row) -> str:
    """What has the same colour: all that tessflux does under its own name."""
    return "tessflux" if row.bridge.startswith("tessflux") else row.bridge


def _height(found: Sequence[tuple[Row, Figure]]) -> int:
    settings = sum(1 for _ in groupby(row.setting for row, _ in found))
    return HEAD + settings * SETTING + len(found) * STEP + 30


def _panel(
    title: str, found: Sequence[tuple[Row, Figure]], digits: int, colours: dict[str, str], top: int
) -> Iterator[str]:
    ticks = nice_ticks(max(figure.greatest for _, figure in found))
    scale = (WIDTH - LEFT - RIGHT) / ticks[-1]
    bottom = top + _height(found) - 24
    yield f'<text class="title" x="16" y="{top + 24}">{escape(title)}</text>'
    for tick in ticks:
        x = LEFT + tick * scale
        yield f'<path class="grid" d="M{x:.1f} {top + HEAD - 8}V{bottom - 4}"/>'
        yield f'<text class="axis" x="{x:.1f}" y="{bottom + 8}" text-anchor="middle">{tick:,g}</text>'
    y, setting = top + HEAD, ""
    for row, figure in found:
        if row.setting != setting:
            setting = row.setting
            yield f'<text class="setting" x="16" y="{y + 14}">{escape(setting)}</text>'
            y += SETTING
        yield from _bar(row, figure, digits, colours[_kin(row)], scale, y)
        y += STEP


def _bar(row: Row, figure: Figure, digits: int, colour: str, scale: float, y: int) -> Iterator[str]:
    middle, end = y + BAR / 2, LEFT + figure.median * scale
    least, greatest = LEFT + figure.least * scale, LEFT + figure.greatest * scale
    yield f'<text x="{LEFT - 10}" y="{y + 12}" text-anchor="end">{escape(row.bridge)}</text>'
    yield f'<rect x="{LEFT}" y="{y}" width="{max(end - LEFT, 1):.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
    if greatest - least >= 1:
        ends = "".join(f"M{x:.1f} {middle - 4}V{middle + 4}" for x in (least, greatest))
        yield f'<path class="spread" d="M{least:.1f} {middle}H{greatest:.1f}{ends}"/>'
    lost = sum(each.lost for each in row.rounds)
    note = f' <tspan class="lost">{lost:,} lost</tspan>' if lost else ""
    yield f'<text x="{max(end, greatest) + 7:.1f}" y="{y + 12}">{figure.median:,.{digits}f}{note}</text>'


def nice_ticks(greatest: float) -> list[float]:
    """From 0 in four to eight round steps to what is not less than `greatest`."""
    greatest = greatest if greatest > 0 and math.isfinite(greatest) else 1.0
    power = 10.0 ** math.floor(math.log10(greatest))
    step = next(power * part for part in (0.2, 0.25, 0.5, 1, 2) if greatest <= 6 * power * part)
    return [step * number for number in range(math.ceil(greatest / step - 1e-9) + 1)]
