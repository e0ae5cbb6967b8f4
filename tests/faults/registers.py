"""What photometers say of themselves under torture: what was published, against what a database has. Pure.

Every second register message of a photometer has another zero point, so each that is published tells which it
was. At QoS 0 it may be lost; and a publisher that connects again repeats what came before. But no two points
of a photometer in a row may be alike, and each zero point that was published at QoS 1 must be there.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

TOPIC = "STARS4ALL/register"

LINE = re.compile(r'photometers,name=(\w+) mac="5C:CF:7F:08:0A:01",zp=(\d+\.\d+) (\d{13})')

_CHANGE = 2
"""Messages with the same zero point: a photometer registers twice when it boots."""

_LOWEST, _STEPS = 10.0, 8
"""Eighths are exact as floats, and 160 of them are zero points that can be."""


class Registers:
    """`publish` makes the messages, `problems` compares."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._published: dict[str, dict[float, int]] = {}
        """By photometer, each zero point and the highest QoS at which it was published."""

    def publish(self, name: str, qos: int) -> tuple[str, str]:
        """The next register message of a photometer: topic and payload."""
        number = self._count[name] // _CHANGE
        self._count[name] += 1
        zero_point = _LOWEST + number % (20 * _STEPS) / _STEPS
        published = self._published.setdefault(name, {})
        published[zero_point] = max(qos, published.get(zero_point, 0))
        return TOPIC, f'{{"name":"{name}", "rev":2, "mac":"5C:CF:7F:8:A:1", "calib":{zero_point:.3f}}}'

    @property
    def changes(self) -> int:
        """Zero points that were published."""
        return sum(map(len, self._published.values()))

    def problems(self, found: Mapping[str, Sequence[float]]) -> list[str]:
        """What is wrong with the zero points in a database, those of a photometer in the order of time."""
        wrong = []
        for name in sorted(found.keys() | self._published.keys()):
            points, published = found.get(name, ()), self._published.get(name, {})
            if any(earlier == later for earlier, later in pairwise(points)):
                wrong.append(f"{name} says the same twice: {points}")
            if unknown := set(points) - published.keys():
                wrong.append(f"{name} never said {sorted(unknown)}")
            needed = {zero_point for zero_point, qos in published.items() if qos}
            if lost := needed - set(points):
                wrong.append(f"{name} also said {sorted(lost)}")
        return wrong
