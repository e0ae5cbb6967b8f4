"""Readings that waited get the times at which they were published: tables for each case, and any network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from statistics import quantiles

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessflux.limits import HELD_READINGS
from tessflux.readings.admission import Admission
from tessflux.readings.backlog import LONGEST_WAIT, Backlog, Episode, Track, reckon
from tessflux.readings.message import Message
from tessflux.readings.outcome import Admitted, Late
from tessflux.readings.reading import Reading

NOW = 1_772_323_214_000
SECOND = 1_000


@dataclass(frozen=True)
class Publication:
    """A reading on its way: `number` is its place among those of its photometer."""

    name: str
    number: int
    seq: int
    published: int
    arrival: int


class Listener:
    """The daemon, as far as times are concerned: admits what arrives, holds what is late, releases it."""

    def __init__(self, wait: float | None = None) -> None:
        self.admission = Admission()
        self.admission.backlog.wait = wait
        self.held: dict[str, list[Publication]] = {}
        self.times: dict[tuple[str, int], int] = {}
        self.released: dict[tuple[str, int], int] = {}
        """When the time of each became known."""
        self.committed: list[Admitted] = []
        self.connections: dict[Publication, int] = {}

    def arrive(self, reading: Publication) -> None:
        decision = self._admit(reading, None)
        if isinstance(decision, Late):
            self.held.setdefault(reading.name, []).append(reading)
            self.connections[reading] = decision.connection
        else:
            self._store(reading, decision, reading.arrival)

    def _admit(self, reading: Publication, published: int | None) -> object:
        admission = self.admission
        admit = admission.admit if published is None else partial(admission.admit_late, published)
        return admit(
            Reading(reading.name, reading.seq, f"seq={reading.seq},number={reading.number}", None),
            Message("a topic", b"", False, reading.arrival),
        )

    def _store(self, reading: Publication, decision: object, now: int) -> None:
        assert isinstance(decision, Admitted), decision
        self.times[reading.name, reading.number] = decision.time
        self.released[reading.name, reading.number] = now
        self.committed.append(decision)

    def look(self, now: int) -> None:
        for name, (track, episode) in self.admission.due(now).items():
            readings = self.held.pop(name)
            assert len(readings) == episode.count
            reckoned = reckon(track, [(each.seq, each.arrival, self.connections[each]) for each in readings])
            for reading, time in zip(readings, reckoned.times, strict=True):
                self._store(reading, self._admit(reading, time), now)
            self.admission.backlog.released(name, len(readings))

    def die(self) -> "Listener":
        """What comes after kill -9: another process with what was on disk."""
        other = Listener(self.admission.backlog.wait)
        other.admission.restore(self.committed, now=2 * NOW)
        episodes = {
            name: Episode(
                held[-1].arrival,
                held[-1].seq,
                held[-1].arrival,
                count=len(held),
                connection=self.connections[held[-1]],
            )
            for name, held in self.held.items()
        }
        other.admission.restore_held(episodes, [])
        other.held, other.times, other.connections = self.held, self.times, self.connections
        other.released, other.committed = self.released, self.committed
        return other

    def run(
        self, readings: Iterable[Publication], *, resumed: int | None = None, killed: Sequence[int] = ()
    ) -> "Listener":
        """Everything arrives, and a look is taken each second; it ends when nothing is held any more."""
        listener = self
        events: list[tuple[int, int, Publication | None]] = [
            (each.arrival, number, each) for number, each in enumerate(readings)
        ]
        begin, end = min(events)[0], max(events)[0]
        events += [(now, 10**9, None) for now in range(begin, end + int(2 * LONGEST_WAIT), SECOND)]
        kills = sorted(killed)
        for now, _, reading in sorted(events, key=lambda event: event[:2]):
            if kills and now >= kills[0]:
                kills.pop(0)
                listener = listener.die()
                listener.admission.backlog.resumed(now)
            if resumed is not None and now >= resumed:
                listener.admission.backlog.resumed(resumed)
                resumed = None
            if reading is not None:
                listener.arrive(reading)
            else:
                listener.look(now)
        assert not listener.held
        return listener


def photometer(
    random: Random,
    name: str,
    *,
    pace: float,
    begin: int = NOW,
    seconds: float = 600,
    jitter: float = 0.02,
    boots: Sequence[float] = (),
    registers: int = 2,
) -> list[Publication]:
    """The readings of a photometer as they are published; `boots` are the seconds at which it starts anew."""
    published: list[Publication] = []
    reboots = sorted(boots)
    time, seq, number = random.random() * pace, random.randrange(2, 100_000), 0
    while time < seconds:
        if reboots and time >= reboots[0]:
            reboots.pop(0)
            time, seq = time + 10 + pace, registers
        at = begin + int(time * SECOND)
        published.append(Publication(name, number, seq, at, at + random.randrange(5, 60)))
        number, seq = number + 1, seq + 1
        time += pace * (1 + random.uniform(-jitter, jitter))
    return published


def delayed(
    readings: Iterable[Publication], begin: int, end: int, *, speed: float = 0.02
) -> list[Publication]:
    """The same when what is published between begin and end arrives at the end, `speed` ms apart; as MQTT
    does, in the order in which it was published."""
    arriving: list[Publication] = []
    queue = float(end)
    for each in sorted(readings, key=lambda reading: reading.published):
        arrival = each.arrival
        if begin <= each.published and arrival < queue:
            queue = max(queue, each.published) + speed
            arrival = int(queue)
        arriving.append(Publication(each.name, each.number, each.seq, each.published, arrival))
    return arriving


def errors(listener: Listener, readings: Iterable[Publication], begin: int, end: int) -> list[float]:
    """By how much the times of the readings that waited are wrong, ms."""
    return [
        abs(listener.times[each.name, each.number] - each.published)
        for each in readings
        if begin <= each.published < end
    ]


def check(listener: Listener, readings: Iterable[Publication]) -> None:
    """What must always hold: order, no time twice, none after its arrival."""
    last: dict[str, int] = {}
    for each in sorted(readings, key=lambda reading: (reading.name, reading.number)):
        time = listener.times[each.name, each.number]
        # Without a pace, those that arrive together follow each other by milliseconds.
        assert time < each.arrival + SECOND
        assert time > last.get(each.name, 0)
        last[each.name] = time


PACES = (0.5, 2.0, 5.0, 10.0, 20.0, 60.0)
BEGIN, END = NOW + 200 * SECOND, NOW + 500 * SECOND


@pytest.mark.parametrize("pace", PACES)
def test_readings_that_come_at_once_are_stored_at_once_with_their_arrival(pace: float) -> None:
    readings = photometer(Random(1), "stars1", pace=pace, jitter=0.1)
    listener = Listener().run(readings)
    assert [listener.times["stars1", each.number] for each in readings] == [each.arrival for each in readings]
    assert listener.released == {("stars1", each.number): each.arrival for each in readings}


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("killed", [(), (END - 1,), (BEGIN, END - 1, END + 3)])
def test_readings_that_waited_get_the_time_of_their_number(pace: float, killed: tuple[int, ...]) -> None:
    published = photometer(Random(2), "stars1", pace=pace, seconds=1_200)
    readings = delayed(published, BEGIN, END)
    listener = Listener().run(readings, killed=killed)
    check(listener, readings)
    wrong = errors(listener, readings, BEGIN, END)
    assert len(wrong) >= 300 / pace - 2
    assert max(wrong) < pace * SECOND / 2


@pytest.mark.parametrize("pace", PACES)
def test_reboots_and_registers_within_a_backlog(pace: float) -> None:
    published = photometer(Random(3), "stars1", pace=pace, seconds=1_200, boots=(240, 300, 420))
    readings = delayed(published, BEGIN, END)
    listener = Listener().run(readings)
    check(listener, readings)
    wrong = errors(listener, readings, BEGIN, END)
    assert quantiles(wrong, n=20)[18] < pace * SECOND / 2


def test_a_thousand_photometers_of_every_pace() -> None:
    random = Random(4)
    paces = {f"stars{number}": random.choice(PACES[1:]) for number in range(300)}
    published = [
        each
        for name, pace in paces.items()
        for each in photometer(
            random, name, pace=pace, boots=[random.uniform(100, 550) for _ in range(random.choice((0, 0, 3)))]
        )
    ]
    readings = delayed(published, BEGIN, END, speed=0.5)
    listener = Listener().run(readings, killed=(END + 500,))
    check(listener, readings)
    waited = [each for each in readings if BEGIN <= each.published < END]
    relative = [
        abs(listener.times[each.name, each.number] - each.published) / (paces[each.name] * SECOND)
        for each in waited
    ]
    assert quantiles(relative, n=20)[18] < 0.5


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.data())
def test_whatever_network_and_photometer_the_order_is_kept_and_nothing_waits_for_ever(
    seed: int, data: st.DataObject
) -> None:
    pace = data.draw(st.floats(0.5, 60))
    readings = photometer(
        Random(seed),
        "stars1",
        pace=pace,
        jitter=data.draw(st.floats(0, 0.4)),
        boots=data.draw(st.lists(st.floats(0, 600), max_size=4)),
        registers=data.draw(st.integers(0, 4)),
    )
    for _ in range(data.draw(st.integers(0, 3))):
        begin = NOW + data.draw(st.integers(0, 600)) * SECOND
        readings = delayed(readings, begin, begin + data.draw(st.integers(1, 300)) * SECOND)
    killed = [NOW + each * SECOND for each in data.draw(st.lists(st.integers(0, 600), max_size=2))]
    # `run` asserts that nothing is held in the end.
    listener = Listener().run(readings, resumed=NOW, killed=killed)
    check(listener, readings)
    longest = max(listener.released["stars1", each.number] - each.arrival for each in readings)
    assert longest <= LONGEST_WAIT + SECOND


TRACK = Track(seq=100, time=NOW, pace=2_000.0)


@pytest.mark.parametrize(
    ("why", "track", "held", "times"),
    [
        (
            "the line between the certain ones",
            TRACK,
            [(101, 60_000), (102, 60_000), (130, 60_001), (131, 62_000)],
            [2_000, 4_000, 60_000, 62_000],
        ),
        (
            "the pace is learnt from the gap itself",
            Track(seq=100, time=NOW),
            [(101, 8_000), (102, 8_001), (103, 12_000)],
            [4_000, 8_000, 12_000],
        ),
        (
            "it was switched off for a while, and does not count the time",
            TRACK,
            [(101, 60_000), (102, 62_000)],
            [60_000, 62_000],
        ),
        (
            "a boot in between: counted from either side",
            TRACK,
            [(101, 60_000), (102, 60_000), (2, 60_000), (3, 60_001), (4, 62_000)],
            [2_000, 4_000, 58_000, 60_000, 62_000],
        ),
        (
            "two boots: the silences are equally long",
            TRACK,
            [(101, 60_000), (2, 60_000), (3, 60_000), (2, 60_000), (3, 62_000)],
            [2_000, 30_000, 32_000, 60_000, 62_000],
        ),
        (
            "none came after: counted from the one before",
            TRACK,
            [(101, 60_000), (102, 60_000)],
            [2_000, 4_000],
        ),
        (
            "more numbers than periods: spread evenly",
            Track(seq=100, time=NOW, pace=60_000.0),
            [(2, 10_000), (9, 10_000), (10, 10_000)],
            [3_333, 6_667, 10_000],
        ),
        (
            "never heard of: nothing but the arrival is known",
            Track(),
            [(7, 10_000), (8, 10_000)],
            [9_999, 10_000],
        ),
        (
            "never heard of, but live at the end",
            Track(pace=2_000.0),
            [(7, 10_000), (8, 10_001), (9, 12_000)],
            [8_000, 10_000, 12_000],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_times_are_reckoned(why: str, track: Track, held: list[tuple[int, int]], times: list[int]) -> None:
    readings = [(seq, NOW + arrival, 0) for seq, arrival in held]
    assert [time - NOW for time in reckon(track, readings).times] == times


@settings(deadline=None)
@given(
    st.builds(Track, st.integers(-1, 200), st.just(NOW), st.sampled_from((0.0, 500.0, 2_000.0, 60_000.0))),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 90_000)), max_size=40),
)
def test_reckoned_times_are_in_order_and_in_the_gap(track: Track, steps: list[tuple[int, int]]) -> None:
    held, arrival = [], NOW + 50
    for seq, step in steps:
        arrival += step
        held.append((seq, arrival, 0))
    times = reckon(track, held).times
    assert len(times) == len(held)
    assert times == sorted(set(times))
    if track.seq >= 0:
        assert all(time > NOW for time in times)
    assert all(time <= arrived for time, (_, arrived, _) in zip(times, held, strict=True))


@pytest.mark.parametrize("pace", PACES)
def test_a_pause_between_two_connections_is_not_taken_for_the_pace(pace: float) -> None:
    """Killed while it comes: the rest of the backlog follows when it has started again."""
    published = photometer(Random(6), "stars1", pace=pace, seconds=1_200)
    restart = END + int(1.1 * pace * SECOND)
    half = delayed(published, BEGIN, END)
    middle = (BEGIN + END) // 2
    readings = [
        replace(each, arrival=max(each.arrival, restart)) if middle <= each.published < restart else each
        for each in half
    ]
    listener = Listener().run(readings, killed=(restart,))
    check(listener, readings)
    assert max(errors(listener, readings, BEGIN, END)) < pace * SECOND / 2


def test_the_pace_follows_the_photometer() -> None:
    track = Track()
    for seq in range(20):
        track.learn(seq, NOW + 5_000 * seq)
    assert track.pace == pytest.approx(5_000)
    # A register message takes a number, but no period; one pause is no other pace.
    track.learn(21, NOW + 5_000 * 20)
    track.learn(22, NOW + 5_000 * 21)
    track.learn(23, NOW + 5_000 * 30)
    assert track.pace == pytest.approx(5_000, rel=0.1)
    for number in range(1, 4):
        track.learn(23 + number, NOW + 150_000 + 60_000 * number)
    assert track.pace == pytest.approx(60_000, rel=0.1)


def test_one_reading_that_was_held_up_does_not_make_a_photometer_too_fast() -> None:
    track = Track()
    for seq, time in enumerate((0, 900, 1_000, 2_000, 3_000, 4_000)):
        track.learn(seq, NOW + time)
    assert track.pace == pytest.approx(1_000, rel=0.1)


def test_after_a_burst_the_pace_is_learnt_from_what_follows() -> None:
    track = Track()
    for seq, time in enumerate((0, 5, 10, 15, 600, 1_600, 2_600)):
        track.learn(seq, NOW + time)
    assert track.pace == pytest.approx(1_000, rel=0.1)


def test_readings_faster_than_any_photometer_are_never_held() -> None:
    backlog, track = Backlog(), Track()
    for seq in range(1_000):
        arrival = NOW + seq * 20 + (seq % 7) * 40
        assert backlog.takes("stars1", track, seq, arrival)
        track.learn(seq, arrival)
    backlog.resumed(arrival)
    assert backlog.takes("stars1", track, 1_000, arrival + 60_000)
    # Unless it slows down to what a photometer does.
    for number in range(1, 4):
        track.learn(1_000 + number, arrival + 60_000 + 5_000 * number)
    assert track.pace == pytest.approx(5_000)


def test_two_publishers_of_one_name_are_taken_as_live() -> None:
    backlog, track = Backlog(), Track()
    for number in range(200):
        for seq, offset in ((100 + number, 0), (500_000 + number, 3_000)):
            assert backlog.takes("stars1", track, seq, NOW + number * 10_000 + offset)
            track.learn(seq, NOW + number * 10_000 + offset)


def test_a_photometer_of_unknown_pace_is_held_only_after_the_session_was_resumed() -> None:
    backlog = Backlog()
    assert backlog.takes("stars1", Track(), 5, NOW)
    backlog.resumed(NOW)
    assert not backlog.takes("stars2", Track(), 5, NOW)
    assert backlog.takes("stars3", Track(), 5, NOW + int(LONGEST_WAIT) + 1)
    assert backlog.takes("stars4", Track(), 5, NOW + int(LONGEST_WAIT) + 2)


def test_with_a_wait_of_zero_nothing_is_held() -> None:
    readings = delayed(photometer(Random(5), "stars1", pace=5), BEGIN, END)
    listener = Listener(wait=0).run(readings, resumed=NOW)
    assert all(listener.released["stars1", each.number] == each.arrival for each in readings)


def test_held_readings_are_released_when_there_are_too_many_of_them() -> None:
    backlog, track = Backlog(), Track(100, NOW, 2_000.0)
    for seq in range(HELD_READINGS):
        assert not backlog.takes("stars1", track, 101 + seq, NOW + 10_000_000)
        assert backlog.due("stars1", track, NOW + 10_000_000) == (seq == HELD_READINGS - 1)


def test_what_could_not_be_held_may_come_again() -> None:
    listener = Listener()
    listener.admission.backlog.resumed(NOW)
    reading = Publication("stars1", 0, 7, NOW, NOW)
    for _ in range(2):
        decision = listener._admit(reading, None)
        assert isinstance(decision, Late)
        listener.admission.forget([], [decision])
        assert not listener.admission.backlog.episodes
