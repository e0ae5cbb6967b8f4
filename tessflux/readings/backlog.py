"""Which readings came late, and when they were published. Pure: times come in as arguments.

Photometers send no time, so a reading has that of its arrival. That is wrong if it waited: at a broker that
keeps messages while we are away, or in a network that stalled. But `seq` counts the periods of a photometer.
So from live readings the pace is learnt, the milliseconds that a number of `seq` takes:

  - a reading that comes more than half a period later than its number says is late;
  - those that come faster after it than the photometer publishes have waited with it;
  - the first one that comes a period after the one before it is live again.

From the first late one on, the readings of a photometer are held until a live one has come, or until none has
come for `wait`. Then `reckon` gives each the time that its number has on the line between the certain ones
before and after. A reboot begins to count anew, and a register message uses up a number: there the pace that
was known before helps, or the readings are spread evenly. Times are in milliseconds since 1970 UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tessflux.limits import HELD_READINGS

SHORTEST_PACE, LONGEST_PACE = 200.0, 600_000.0
"""What is published faster or more slowly than any photometer does has no pace."""

TOO_FAST = -1.0
"""In place of a pace: always taken as live."""

GUESSED_PACE = 500.0
"""Of a photometer that was never heard of: messages that waited come faster than any photometer publishes."""

TOLERANCE = 250.0
"""By how much a reading may be late, however short the period is."""

LONGEST_WAIT = 300_000.0
"""How long a reading is held at most, if the pace is so slow or the photometer goes on without one."""

SMOOTHING = 64
"""Periods of which the pace is the mean: in a backlog of a thousand readings, a hundredth of a period is ten.
"""

JUMP = 100_000
"""Numbers between two readings that may still be those of one count."""


@dataclass(slots=True)
class Track:
    """How the `seq` of a photometer follows time: its last reading whose time is known, and its pace.

    `pace` is the mean of what was `learnt` so often, 0 while it is not known, or TOO_FAST. `odd` is one that
    did not fit: if the next one is like it, it is the pace.
    """

    seq: float = -1
    time: int = 0
    pace: float = 0.0
    learnt: int = 0
    odd: float = 0.0

    def learn(self, seq: float, time: int) -> None:
        """A reading with this number was published at this time."""
        numbers = seq - self.seq
        if self.seq >= 0 and 0 < numbers <= JUMP:
            seen, pace = (time - self.time) / numbers, self.pace
            if 0 < 0.5 * pace <= seen <= 1.5 * pace:
                self.learnt += self.learnt < SMOOTHING
                self.pace, self.odd = pace + (seen - pace) / self.learnt, 0.0
            elif seen < SHORTEST_PACE:
                # One alone may have been held up on its way, so that the next came right behind it.
                self.pace, self.odd = TOO_FAST if self.odd < 0 else pace, TOO_FAST
            elif seen <= LONGEST_PACE:
                if pace <= 0 or 0.75 * self.odd <= seen <= 1.33 * self.odd:
                    self.pace, self.learnt = seen, 1
                self.odd = seen
        self.seq, self.time = seq, time


@dataclass(slots=True)
class Episode:
    """The readings of one photometer that are held: how many, since when, and the last of them."""

    since: int
    seq: float
    arrival: int
    live: bool = False
    """Whether the last one was live again."""
    count: int = 1
    connection: int = 0
    """Over which the last one came."""


@dataclass(frozen=True, slots=True)
class Reckoned:
    """When held readings were published, in their order, and by how many milliseconds that may be wrong."""

    times: list[int]
    error: float


class Backlog:
    """The episodes of all photometers. `wait` is how many milliseconds after the last one held readings wait
    for a live one; None means twice the pace, 0 that none is held."""

    def __init__(self) -> None:
        self.wait: float | None = None
        self.episodes: dict[str, Episode] = {}
        self.connection = 0
        """When the session was resumed last; what came before that was not delivered in one piece with what
        comes after it."""
        self._resumed: int | None = None

    def resumed(self, now: int) -> None:
        """The broker has kept our session: what comes first may have waited there."""
        self._resumed = self.connection = now

    def takes(self, name: str, track: Track, seq: float, arrival: int) -> bool:
        """Whether a reading that has just come was published now; if so, the track learns from it. If not, it
        is held."""
        if self.episodes and (episode := self.episodes.get(name)) is not None:
            self._add(track, episode, seq, arrival)
            return False
        pace, gap = track.pace, arrival - track.time
        if pace < 0:
            if gap < SHORTEST_PACE:
                # It stays too fast.
                track.seq, track.time = seq, arrival
                return True
        elif self.wait == 0:
            pass
        elif pace and not _is_late(seq - track.seq, gap, pace):
            self._resumed = None
        elif pace or (
            self._resumed is not None
            and 0 <= arrival - self._resumed <= LONGEST_WAIT
            and (track.time < self._resumed or not _is_live(seq - track.seq, gap, GUESSED_PACE))
        ):
            self.episodes[name] = Episode(arrival, seq, arrival, connection=self.connection)
            return False
        track.learn(seq, arrival)
        return True

    def _add(self, track: Track, episode: Episode, seq: float, arrival: int) -> None:
        pace = _pace(track, seq, arrival)
        gap = arrival - episode.arrival
        if episode.live:
            episode.live = not _is_late(seq - episode.seq, gap, pace)
        else:
            episode.live = self.connection == episode.connection and _is_live(seq - episode.seq, gap, pace)
        if episode.live:
            # Brokers deliver in order, so whatever waited has come.
            self._resumed = None
        episode.seq, episode.arrival, episode.connection = seq, arrival, self.connection
        episode.count += 1

    def due(self, name: str, track: Track, now: int) -> bool:
        """Whether the held readings of a photometer wait no longer."""
        episode = self.episodes[name]
        wait = self.wait
        if wait is None:
            wait = min(max(2 * _pace(track, episode.seq, episode.arrival), 1_000.0), LONGEST_WAIT)
        return (
            episode.live
            # It is less than nothing when our clock was set back.
            or not 0 <= now - episode.arrival < wait
            or not 0 <= now - episode.since < LONGEST_WAIT
            or episode.count >= HELD_READINGS
        )

    def released(self, name: str, count: int) -> None:
        """The oldest `count` held readings of a photometer are held no more."""
        if (episode := self.episodes.get(name)) is not None:
            episode.count -= count
            episode.since = episode.arrival
            if episode.count <= 0:
                del self.episodes[name]


def _pace(track: Track, seq: float, arrival: int) -> float:
    """The pace of a photometer, or what it would be if it had published nothing but what came."""
    if track.pace > 0:
        return track.pace
    numbers = seq - track.seq
    if track.seq >= 0 and 0 < numbers <= JUMP:
        return (arrival - track.time) / numbers
    return GUESSED_PACE


def _periods(numbers: float) -> float:
    """Of a reading this many numbers after another one. After a reboot it is one at least."""
    return numbers if 0 < numbers <= JUMP else 1


def _is_late(numbers: float, gap: float, pace: float) -> bool:
    """Whether a reading came too late, `gap` after one whose time is certain."""
    return gap > _periods(numbers) * pace + max(pace / 2, TOLERANCE)


def _is_live(numbers: float, gap: float, pace: float) -> bool:
    """Whether a reading came as long after one that waited as the photometer takes to publish it."""
    return gap >= (_periods(numbers) - 0.5) * pace


def reckon(track: Track, held: Sequence[tuple[float, int, int]]) -> Reckoned:
    """When held readings were published.

    `held` is the `seq`, the arrival and the connection of each, in their order. None gets a time before that
    of the last certain reading, or after its own arrival; the order is kept, and no two have one time, unless
    there are more of them than milliseconds.
    """
    pace = max(track.pace, 0.0)
    certain = [False] * len(held)
    for number, ((seq, arrival, connection), (next_seq, next_arrival, next_connection)) in enumerate(
        pairwise(held), 1
    ):
        guessed = pace or _pace(track, next_seq, next_arrival)
        gap = next_arrival - arrival
        if certain[number - 1]:
            certain[number] = not _is_late(next_seq - seq, gap, guessed)
        else:
            # A pause between two connections is no pace.
            certain[number] = connection == next_connection and _is_live(next_seq - seq, gap, guessed)
    line: list[float] = []
    error = 0.0
    before = (track.seq, track.time) if track.seq >= 0 else None
    waited: list[tuple[float, int]] = []
    for (seq, arrival, _), is_certain in zip(held, certain, strict=True):
        reading = seq, arrival
        if not is_certain:
            waited.append(reading)
            continue
        found, wrong = _between(before, waited, reading, pace)
        line += [*found, reading[1]]
        error, before, waited = max(error, wrong), reading, []
    found, wrong = _between(before, waited, None, pace)
    begin, arrivals = track.time if track.seq >= 0 else None, [arrival for _, arrival, _ in held]
    return Reckoned(_in_order(line + found, begin, arrivals), max(error, wrong))


def _between(
    before: tuple[float, int] | None,
    waited: list[tuple[float, int]],
    after: tuple[float, int] | None,
    pace: float,
) -> tuple[list[float], float]:
    """The times of readings between two certain ones, each of which may be unknown; and the error."""
    if not waited:
        return [], 0.0
    runs = _runs(waited)
    end = after[1] if after else waited[-1][1]
    follows = before is not None and 0 < runs[0][0] - before[0] <= JUMP
    leads = after is not None and 0 < after[0] - runs[-1][-1] <= JUMP
    if before and after and follows and leads and len(runs) == 1:
        slope = (after[1] - before[1]) / (after[0] - before[0])
        if not pace or slope <= 1.25 * pace:
            return [before[1] + (seq - before[0]) * slope for seq in runs[0]], slope / 2
        # It did not publish for a while, most likely before it was back.
        follows = False
    if not pace:
        # All that is known is that they had come by now; the last one, perhaps, has just been published.
        begin = before[1] if before else end
        step = (end - begin) / (len(waited) + (after is not None))
        return [begin + step * number for number in range(1, len(waited) + 1)], (end - begin) / 2
    line, idle = _lay_out(
        runs,
        pace,
        begin=before[1] if before else None,
        first=before[1] + (runs[0][0] - before[0]) * pace if before and follows else None,
        last=after[1] - (after[0] - runs[-1][-1]) * pace if after and leads else None,
        end=end,
    )
    return line, max(pace, idle) / 2


def _runs(waited: Iterable[tuple[float, int]]) -> list[list[float]]:
    """The numbers of one boot after another."""
    runs: list[list[float]] = []
    for seq, _ in waited:
        if runs and 0 < seq - runs[-1][-1] <= JUMP:
            runs[-1].append(seq)
        else:
            runs.append([seq])
    return runs


def _lay_out(
    runs: list[list[float]],
    pace: float,
    *,
    begin: float | None,
    first: float | None,
    last: float | None,
    end: float,
) -> tuple[list[float], float]:
    """The times of several boots at a known pace, and how long each silence between them is.

    `first` is the time of the first reading of all if that is known, `last` that of the last one; `begin` and
    `end` bound them. The silences between the boots are equally long.
    """
    lasting = [(run[-1] - run[0]) * pace for run in runs]
    count = len(runs)
    stop = last if last is not None else end
    if first is None and begin is None:
        # Nothing is known of the beginning: no silence.
        start, gaps = stop - sum(lasting) - (count - 1) * pace, count - 1
    elif first is None:
        assert begin is not None
        start, gaps = begin, count
    else:
        start, gaps = first, count - 1
    if last is None and (count > 1 or first is None):
        gaps += 1
    silence = (stop - start - sum(lasting)) / gaps if gaps else 0.0
    if silence < 0:
        # They do not fit: some numbers stand for no period. All are spread evenly.
        numbers = sum(map(len, runs))
        step = (stop - start) / numbers
        return [start + step * (number + 1) for number in range(numbers)], step
    line = []
    time = start if first is not None or begin is None else start + silence
    for run, long in zip(runs, lasting, strict=True):
        line += [time + (seq - run[0]) * pace for seq in run]
        time += long + silence
    return line, silence


def _in_order(line: Sequence[float], begin: int | None, arrivals: Sequence[int]) -> list[int]:
    """Whole milliseconds, each later than the one before and than `begin`, and none after its arrival."""
    times = [min(round(time), arrival) for time, arrival in zip(line, arrivals, strict=True)]
    for number in range(len(times) - 2, -1, -1):
        times[number] = min(times[number], times[number + 1] - 1)
    if begin is not None:
        for number, time in enumerate(times):
            begin = times[number] = max(time, begin + 1)
    return times
