"""Pictures of nights, as SVG. Pure.

Darkness goes up, as an astronomer draws it, though it is the larger number. Colours are classes, which the
style has for both themes; no picture needs them to be understood. Each is drawn for a width of its own, so
that its letters are as large on a phone as on a screen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from tessflux.pages.html import Html, join, number, tag
from tessflux.pages.night import (
    BRIGHTEST,
    HOUR,
    Night,
    below,
    channels,
    cold_runs,
    gaps,
    runs,
)
from tessflux.photometers import Mean
from tessflux.sky import Sky

SPAN = 7
"""Magnitudes from the bottom to the top of a picture: the same for every night, so that they compare."""

USUAL_TOP = 23

TWILIGHTS = ((-0.83, "civil"), (-6.0, "nautical"), (-12.0, "astronomical"), (-18.0, "dark"))
"""Below which altitude of the Sun (degrees) which shade begins; with refraction it sets at -0.83."""

COLDEST, WARMEST = -45, 5
"""Degrees between sky and photometer that are shown."""

CHANNELS = ("F1", "F2", "F3", "F4")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """A part of a picture: where it is, and which times and values its edges stand for."""

    left: float
    top: float
    width: float
    height: float
    start: float
    end: float
    low: float
    high: float

    def x(self, time: float) -> float:
        """Where a time is, from the left edge of the box."""
        return (time - self.start) / (self.end - self.start) * self.width

    def y(self, value: float) -> float:
        """Where a value is, from the top edge of the box."""
        return (self.high - value) / (self.high - self.low) * self.height

    def clipped(self, *parts: Iterable[Html]) -> Html:
        """What is drawn in the box, and ends at its edges."""
        return tag("svg", *parts, x=self.left, y=self.top, width=self.width, height=self.height)

    def path(self, points: Points, class_: str) -> Html:
        """A line through these; one alone is a dot."""
        places = [f"{number(round(self.x(at), 1))} {number(round(self.y(value), 1))}" for at, value in points]
        return tag("path", d=f"M{'L'.join(places if len(places) > 1 else places * 2)}", class_=class_)

    def area(self, points: Points, class_: str) -> Html:
        """What is between a line and the bottom."""
        places = [f"{number(round(self.x(at), 1))} {number(round(self.y(value), 1))}" for at, value in points]
        first, last = self.x(points[0][0]), self.x(points[-1][0])
        bottom = number(self.height)
        d = f"M{number(round(first, 1))} {bottom}L{'L'.join(places)}L{number(round(last, 1))} {bottom}Z"
        return tag("path", d=d, class_=class_)

    def stretch(self, start: float, end: float, class_: str) -> Html:
        """From one time to another, over the whole height."""
        left, right = max(0.0, self.x(start)), min(self.width, self.x(end))
        return tag("rect", x=left, y=0.0, width=max(0.0, right - left), height=self.height, class_=class_)


def top_of(means: Iterable[Mean]) -> int:
    """The magnitude at the top of the pictures of these nights: above nearly all that was measured."""
    found = sorted(mag for each in means for mag in each.mags if mag is not None and mag >= BRIGHTEST)
    return ceil(found[int(0.99 * (len(found) - 1))] + 0.3) if found else USUAL_TOP


def night_picture(
    night: Night,
    means: Sequence[Mean],
    night_skies: Sequence[tuple[float, Sky]],
    *,
    now: float,
    top: int,
    width: int,
    label: str,
) -> Html:
    """Magnitudes, twilight and Moon, and below them how much colder the sky was than the photometer."""
    wide = width > 600
    left, right = (44, 40) if wide else (30, 30)
    inner, height = width - left - right, 300 if wide else 240
    main = Box(left, 24, inner, height, night.start, night.end, top - SPAN, top)
    cold = Box(left, 24 + height + 30, inner, 70, night.start, night.end, COLDEST, WARMEST)
    hours = 2 if wide else 4
    return tag(
        "svg",
        _main(main, night, means, night_skies, now),
        _magnitudes(main),
        _moon_axis(main) if night_skies else None,
        _cold(cold, means, night_skies, now),
        _hours(main, cold, hours),
        viewBox=f"0 0 {width} {cold.top + cold.height + 22:.0f}",
        role="img",
        aria_label=label,
        class_=f"night {'wide' if wide else 'narrow'}",
    )


def _main(
    box: Box, night: Night, means: Sequence[Mean], night_skies: Sequence[tuple[float, Sky]], now: float
) -> Html:
    lines = [
        box.path(run, f"line c{channel + 1}")
        for channel in range(channels(means))
        for run in runs(means, channel)
    ]
    holes = gaps(means, night.start, min(now, night.end)) if means else []
    empty = None
    if not means:
        words = "no mean of five minutes yet" if now < night.end else "no readings in this night"
        empty = tag("text", words, x=box.width / 2, y=box.height / 2, class_="empty")
    return box.clipped(
        _shades(box, night_skies),
        [box.stretch(start, end, "gap") for start, end in holes],
        [
            tag("text", "no readings", x=box.x((start + end) / 2), y=box.height - 10, class_="hole")
            for start, end in holes
            if box.x(end) - box.x(start) > 75
        ],
        _grid(box),
        _moon(box, night_skies),
        lines,
        [empty] if empty else [],
        _now(box, now),
    )


def _shades(box: Box, night_skies: Sequence[tuple[float, Sky]]) -> list[Html]:
    whole = "day" if night_skies else "unknown"
    shades = [tag("rect", x=0.0, y=0.0, width=box.width, height=box.height, class_=f"shade {whole}")]
    for altitude, name in TWILIGHTS:
        shades += [box.stretch(start, end, f"shade {name}") for start, end in below(night_skies, altitude)]
    return shades


def _moon(box: Box, night_skies: Sequence[tuple[float, Sky]]) -> list[Html]:
    """Its altitude, from the horizon at the bottom to the zenith at the top."""
    up: list[list[tuple[float, float]]] = [[]]
    for at, each in night_skies:
        if each.moon > 0:
            up[-1].append((at, box.low + (box.high - box.low) * each.moon / 90))
        elif up[-1]:
            up.append([])
    return [part for run in up if len(run) > 1 for part in (box.area(run, "moon"), box.path(run, "moonline"))]


def _grid(box: Box) -> list[Html]:
    return [
        tag("line", x1=0.0, x2=box.width, y1=box.y(value), y2=box.y(value), class_="grid")
        for value in range(ceil(box.low) + 1, int(box.high))
    ]


def _now(box: Box, now: float) -> list[Html]:
    if not box.start < now < box.end:
        return []
    x = box.x(now)
    return [tag("line", x1=x, x2=x, y1=0.0, y2=box.height, class_="now")]


def _magnitudes(box: Box) -> list[Html]:
    labels = [
        tag("text", str(value), x=box.left - 8, y=box.top + box.y(value) + 4, class_="end")
        for value in range(ceil(box.low), int(box.high) + 1)
    ]
    return [tag("text", "mag/arcsec², darker is higher", x=box.left, y=14), *labels]


def _moon_axis(box: Box) -> list[Html]:
    right = box.left + box.width
    labels = [
        tag("text", f"{degrees}°", x=right + 6, y=box.top + box.height * (1 - degrees / 90) + 4)
        for degrees in (0, 30, 60, 90)
    ]
    return [*labels, tag("text", "Moon", x=right + 30, y=14, class_="end")]


def _cold(
    box: Box, means: Sequence[Mean], night_skies: Sequence[tuple[float, Sky]], now: float
) -> list[Html]:
    ticks = [0, -20, -40]
    grid = [
        tag("line", x1=0.0, x2=box.width, y1=box.y(tick), y2=box.y(tick), class_="grid") for tick in ticks
    ]
    labels = [
        tag("text", str(tick).replace("-", "−"), x=box.left - 8, y=box.top + box.y(tick) + 4, class_="end")
        for tick in ticks
    ]
    lines = [box.path(run, "line cold") for run in cold_runs(means)]
    return [
        tag("text", "sky minus ambient, °C: near 0 is cloud", x=box.left, y=box.top - 8),
        box.clipped(_shades(box, night_skies), grid, lines, _now(box, now)),
        *labels,
    ]


def _hours(main: Box, cold: Box, hours: int) -> list[Html]:
    step = hours * HOUR
    first = int(-(-main.start // step) * step)
    found = []
    for at in range(first, int(main.end) + 1, step):
        x = main.left + main.x(at)
        for box in (main, cold):
            bottom = box.top + box.height
            found.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="tick"))
        words = f"{datetime.fromtimestamp(at, UTC):%H:%M}"
        found.append(tag("text", words, x=x, y=cold.top + cold.height + 17, class_="middle"))
    return found


def small_night(
    night: Night, means: Sequence[Mean], night_skies: Sequence[tuple[float, Sky]], *, top: int
) -> Html:
    """The same without words, for many beside each other. It says nothing that is not written beside it."""
    box = Box(0, 0, 168, 72, night.start, night.end, top - SPAN, top)
    lines = [
        box.path(run, f"line c{channel + 1}")
        for channel in range(channels(means))
        for run in runs(means, channel)
    ]
    shades = _shades(box, night_skies)
    return tag(
        "svg",
        shades,
        _moon(box, night_skies),
        lines,
        viewBox="0 0 168 72",
        class_="small",
        aria_hidden="true",
    )


SPARK_LOW, SPARK_HIGH = 12.0, 22.5


def sparkline(values: Sequence[float | None], label: str) -> Html:
    """Magnitudes in a line of text; None and what is too bright are gaps."""
    parts: list[str] = []
    is_down = False
    for place, value in enumerate(values):
        if value is None or value < SPARK_LOW:
            is_down = False
            continue
        y = max(0, int(100 * (SPARK_HIGH - value) / (SPARK_HIGH - SPARK_LOW)))
        # One alone is a dash.
        parts.append(f"L{place} {y}" if is_down else f"M{place} {y}h0.5")
        is_down = True
    if not parts:
        return tag("span", "–", class_="none", title="nothing was measured")
    return tag(
        "svg",
        tag("path", d="".join(parts), vector_effect="non-scaling-stroke"),
        viewBox=f"0 -4 {len(values)} 108",
        preserveAspectRatio="none",
        class_="spark",
        role="img",
        aria_label=label,
    )


def swatch(class_: str) -> Html:
    """A piece of a line or a shade, for a legend."""
    if class_.startswith("shade"):
        piece = tag("rect", x=0.0, y=0.0, width=24.0, height=12.0, class_=class_)
    else:
        piece = tag("path", d="M0 6H24", class_=class_)
    return tag("svg", join([piece]), viewBox="0 0 24 12", class_="swatch", aria_hidden="true")
