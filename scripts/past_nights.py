"""A register of photometers with nights behind them, as tessflux would have kept it: simulated readings of
the last days -> the file photometers.db in the directory of a spool. Nothing is published.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tessflux.photometers.database import Database
from tessflux.photometers.register import Register
from tessflux.readings import Admission, Judge, Message
from tessflux.simulator.photometer import PLACES, Photometer, Place, Tess4C

DAY = 86_400

Clouds = Callable[[datetime], float]
"""How cloudy it is, 0 to 1."""


class Scripted(Photometer):
    """One whose clouds are given."""

    def __init__(self, name: str, rng: random.Random, place: Place, clouds: Clouds) -> None:
        super().__init__(name, rng, place)
        self._clouds = clouds

    def _cloudiness(self, at: datetime) -> float:
        return self._clouds(at)


@dataclass
class Past:
    """What a photometer published: a reading every `period` seconds, but for the `gaps` (from, to) in seconds
    since 1970 UTC."""

    photometer: Photometer
    period: float = 150.0
    gaps: Sequence[tuple[float, float]] = ()

    def messages(self, start: float, end: float) -> Iterator[Message]:
        """As they came."""
        topic = f"STARS4ALL/{self.photometer.name}/reading"
        at = start
        while at < end:
            reading = self.photometer.reading(datetime.fromtimestamp(at, UTC))
            if not any(since <= at < until for since, until in self.gaps):
                yield Message(topic, json.dumps(reading).encode(), False, int(at * 1_000))
            at += self.period


def fill(directory: Path, pasts: Sequence[Past], now: float, days: float = 8) -> None:
    """Make the file."""
    directory.mkdir(parents=True, exist_ok=True)
    judge = Judge(Admission())
    judge.admission.backlog.wait = 0
    judge.configure(measurement="readings", extra_fields=(), validation=True, registers=False, places={})
    register = Register(history=True)
    database = Database(str(directory))
    database.load()
    for past in pasts:
        for message in past.messages(now - days * DAY, now):
            register.take([message], [judge.judge(message)], None)
            # It looks at one reading each time.
            register.digest(message.received_at)
        database.save(register.keep(), 0)
    database.close()


def network(count: int, seed: int = 1) -> list[Photometer]:
    """Photometers named stars1, stars2, ...; the last one is a TESS4C."""
    found = []
    for number in range(1, count + 1):
        name = f"stars{number}"
        model = Tess4C if number == count else Photometer
        found.append(model(name, random.Random(f"{seed} {name}"), PLACES[(number - 1) % len(PLACES)]))
    return found
