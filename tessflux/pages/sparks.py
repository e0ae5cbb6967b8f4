"""The sparklines of the first page, which change once in five minutes: until then each is drawn once, however
many pages show it and however often they are asked for."""

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

from tessflux.limits import SPARKLINES
from tessflux.pages.chart import sparkline
from tessflux.pages.html import Html
from tessflux.pages.night import DAY
from tessflux.pages.slices import Work, in_slices
from tessflux.photometers import SECONDS, History

STEP = 3
"""Five minutes between two points."""

Lines = Mapping[str, Sequence[float | None]]


class Sparks:
    """Those that are drawn; of more than SPARKLINES all are drawn anew."""

    def __init__(self, history: History, clock: IReactorTime) -> None:
        self._history, self._clock = history, clock
        self._end = 0.0
        self._drawn: dict[str, Html] = {}

    async def of(self, names: Sequence[str], now: float) -> Mapping[str, Html]:
        """The last 24 hours of these photometers; of which nothing can be read, that has none."""
        end = now // SECONDS * SECONDS
        if end != self._end or len(self._drawn) + len(names) > SPARKLINES:
            self._end, self._drawn = end, {}
        drawn = self._drawn
        if missing := [name for name in names if name not in drawn]:
            lines = await self._history.sparklines(missing, end - DAY, end, every=STEP)
            drawn.update(await in_slices(_draw(lines), self._clock))
        return drawn


def _draw(lines: Lines) -> Work[dict[str, Html]]:
    drawn = {}
    for name, line in lines.items():
        drawn[name] = sparkline(line, f"Darkness of the last 24 hours at {name}")
        yield
    return drawn
