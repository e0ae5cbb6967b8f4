"""Which readings are stored, and under which time. Pure: the time of arrival comes with the message.

A reading is admitted once. It is a duplicate if photometer, counter, values and its own time (if it has one)
are those of an earlier one: brokers deliver a message again after a broken connection, and bridges between
brokers publish retained messages again.

A photometer counts from its boot. One that sees the same after each boot, as by day without a thermometer,
sends the same readings again, after a register message. So a reading that is known is new all the same while
it goes on counting from a register message. Whoever repeats messages must not bring that about:

- what comes above QoS 0, or retained, is never new by this rule, and such a register message tells nothing:
  brokers and publishers send it again. At QoS 0 neither does; all known firmware publishes at QoS 0.
- a bridge that connects again repeats the last reading of a photometer, so that one is never new.
- a second way to us that is slow brings everything twice, also register messages: those of a photometer tell
  nothing for an hour after one of its readings was a duplicate, nor after a restart of ours.
- readings that come late over such a way do not go on counting.

Two readings of a photometer never share a time, since InfluxDB would merge them. A reading without a time of
its own gets that at which the broker says that it was sent, else that of its arrival, later than the one
before it. A reading with a time, its own or the broker's, keeps it, but is moved by single milliseconds if
another reading of the photometer has it already. The time of the broker is no part of what a reading is: a
bridge may add it to one that has come without it.

Daemons that share the readings of a broker do not know each other's readings. Each has milliseconds of its
own, and gives a reading without a time of its own the next of them.

A reading that did not come when it was published is held until its time is known (see `backlog`)."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from xxhash import xxh3_64_intdigest

from tessflux.limits import PHOTOMETERS, SEEN_READINGS, SHARE_MEMBERS, SHIFT_MS
from tessflux.readings.backlog import Backlog, Episode, Track
from tessflux.readings.message import Message
from tessflux.readings.outcome import Admitted, Filtered, Late
from tessflux.readings.reading import BAD_TIME, Reading, Refused

EARLIEST = 946_684_800_000
"""2000-01-01 in milliseconds. A clock that shows an earlier time was never set."""

AHEAD_MS = 86_400_000
"""How far ahead of this computer's clock the time of a publisher, or of a broker, may be."""

STEP_MS = 600_000
"""How far arrival times may run ahead of the clock, as they do in a burst of more than one reading a
millisecond. If they are further ahead, the clock was set back, and they follow it. A member of a share group
has fewer milliseconds to give, so its arrival times may run ahead that many times further."""

HOUR_MS = 3_600_000

UNCOUNTED = 2**53
"""From here on floats do not tell one number from the next; the counters of photometers have 32 bits."""

COUNT_STEPS = 10
"""How far a photometer's counter moves on from one reading to the next, at most: it counts its register
messages too, and some readings are lost."""

NEW_NAME = "new name"
NOT_WHITELISTED = "not in the whitelist"
BLACKLISTED = "blacklist"
RETAINED = "retained"
DUPLICATE = "duplicate"


@dataclass(slots=True)
class _Photometer(Track):
    """The last reading of one photometer. `salt` keeps its times apart from those of other photometers, and
    all times after `latest` are free. `arrival` is the time that the last reading without one got, `received`
    when it arrived. `counted` is how far it has counted since its register message, infinite if every known
    reading is a duplicate. Its register messages tell nothing until an hour after `repeated`."""

    salt: int = 0
    identity: int = -1
    arrival: int = 0
    received: int = 0
    latest: int = 0
    counted: float = inf
    repeated: int = 0


class _Recent:
    """Two numbers for each reading, its identity and its place in time, and two for each reserved time. It
    holds those of the last `size` readings at least, and of half as many more at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: set[int] = set()
        self._middle: set[int] = set()
        self._oldest: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._newest or number in self._middle or number in self._oldest

    def add(self, identity: int, place: int) -> None:
        """Remember one more reading."""
        newest = self._newest
        # Forgetting the oldest one by one would cost more than all else that is done for a reading.
        if len(newest) >= self._size:
            self._oldest, self._middle = self._middle, newest
            self._newest = newest = set()
        newest.add(identity)
        newest.add(place)

    def discard(self, number: int) -> None:
        """Forget a number, if it is there."""
        for numbers in (self._newest, self._middle, self._oldest):
            numbers.discard(number)


class Admission:
    """Remembers what was admitted; `restore` brings back what an earlier process committed."""

    def __init__(self) -> None:
        self.choose(frozenset(), frozenset())
        self.share(None)
        self._photometers: OrderedDict[str, _Photometer] = OrderedDict()
        self._recent = _Recent(SEEN_READINGS)
        self.backlog = Backlog()
        self._hour = self._new_in_hour = self._now = 0

    def choose(self, whitelist: frozenset[str], blacklist: frozenset[str], new_photometers: int = 0) -> None:
        """Whose readings are stored: lower-case names; an empty whitelist means everyone's. In an hour, so
        many photometers are taken that were never seen before; 0 means all."""
        self._whitelist, self._blacklist = whitelist, blacklist
        self._new_photometers = new_photometers

    def share(self, member: int | None) -> None:
        """Give arrivals only the milliseconds of this member of a share group; without a number, all of
        them."""
        self._first, self._step = (0, 1) if member is None else (member, SHARE_MEMBERS)

    def restore(self, admitted: Iterable[Admitted], *, now: int) -> None:
        """Remember what was committed earlier, the oldest first; `now` is in ms since 1970 UTC.

        A time in the future was a publisher's own: arrivals need not be later than it.
        """
        for earlier in admitted:
            photometer = self._photometers.get(earlier.name) or self._add(earlier.name)
            self._photometers.move_to_end(earlier.name)
            self._remember(photometer, earlier)
            photometer.repeated = now
            if photometer.arrival < earlier.time <= now:
                photometer.arrival = earlier.time
            if earlier.seq is not None:
                photometer.learn(earlier.seq, earlier.time)

    def restore_held(self, episodes: dict[str, Episode], identities: Iterable[int]) -> None:
        """Remember what was held earlier as late."""
        self.backlog.episodes.update(episodes)
        for identity in identities:
            self._recent.add(identity, identity)

    def forget(self, admitted: Iterable[Admitted], late: Iterable[Late] = ()) -> None:
        """Forget these: they could not be stored or held, and may come again."""
        for given_up in admitted:
            self._recent.discard(given_up.identity)
            if photometer := self._photometers.get(given_up.name):
                photometer.identity = -1
                self._recent.discard(photometer.salt ^ given_up.time)
        for reading in late:
            self._recent.discard(reading.identity)
            if photometer := self._photometers.get(reading.name):
                photometer.identity = -1
            self.backlog.released(reading.name, 1)

    def due(self, now: int) -> dict[str, tuple[Track, Episode]]:
        """The photometers whose held readings wait no longer: how their `seq` follows time, and which
        readings are held."""
        found = {}
        for name, episode in self.backlog.episodes.items():
            track = self._photometers.get(name) or Track()
            if self.backlog.due(name, track, now):
                found[name] = track, episode
        return found

    def registered(self, name: str, message: Message) -> None:
        """A register message came: if it came only once, the photometer counts from the beginning again."""
        photometer = self._photometers.get(name)
        if photometer and _comes_once(message) and message.received_at >= photometer.repeated + HOUR_MS:
            photometer.counted = -1

    def reserve(self, name: str, received_at: int) -> int:
        """The time of a message that is refused, in case it is requeued: in this process no other reading of
        the photometer gets it. It is later than that of the last reading."""
        photometer = self._photometers.get(name)
        if photometer is None:
            if not self._takes_new(received_at):
                # No reading of it is stored. Its name is not remembered, since any number of names may come.
                return received_at
            photometer = self._add(name)
        time = photometer.arrival = self._arrival(photometer, received_at)
        photometer.latest = max(photometer.latest, time)
        place = photometer.salt ^ time
        # The complement marks the time as reserved; `admit` removes it.
        self._recent.add(place, ~place)
        return time

    def admit(
        self,
        reading: Reading,
        values: str,
        message: Message,
        *,
        requeued: bool = False,
        published: int | None = None,
    ) -> Admitted | Filtered | Refused | Late:
        """Decide on the reading that a message brought.

        `values` is its fields in line protocol, a canonical form of what makes its identity. A
        `requeued` one was refused once, and is tried again; it gets the time that was reserved for it. One
        that was held is no duplicate, and was `published` at a time that is known now.
        """
        received_at = message.received_at
        if not requeued and published is None:
            self._now = received_at
        name, tstamp = reading.name, reading.tstamp
        if self._whitelist and name not in self._whitelist:
            return Filtered(NOT_WHITELISTED)
        if name in self._blacklist:
            return Filtered(BLACKLISTED)
        given = tstamp
        if tstamp is None:
            # A broker's clock that is wrong is no fault of the reading.
            sent_at = message.sent_at
            if sent_at is not None and EARLIEST <= sent_at <= max(received_at, self._now) + AHEAD_MS:
                given = sent_at
            elif message.retained:
                return Filtered(RETAINED)
        elif not EARLIEST <= tstamp <= max(received_at, self._now) + AHEAD_MS:
            side = "before 2000" if tstamp < EARLIEST else "more than a day ahead of ours"
            return Refused(BAD_TIME, f"its clock is {side}", name)
        photometer = self._photometers.get(name)
        if photometer is None:
            if not requeued and published is None and not self._takes_new(received_at):
                allowed = f"{self._new_photometers} new names in this hour ([mqtt] new_photometers)"
                return Refused(NEW_NAME, f"there were {allowed} already", name)
            photometer = self._add(name)
        else:
            self._photometers.move_to_end(name)
        identity, count = _number(f"{name} {values} {tstamp}"), reading.fields["seq"]
        if published is None and (identity == photometer.identity or identity in self._recent):
            goes_on = photometer.counted < count <= photometer.counted + COUNT_STEPS
            once = tstamp is None and _comes_once(message) and not requeued
            if identity == photometer.identity or not goes_on or not once:
                photometer.counted, photometer.repeated = inf, self._now
                return Filtered(DUPLICATE)
        # What no counter shows tells nothing about time.
        seq = int(count) if 0 <= count < UNCOUNTED else None
        if published is not None:
            time = self._ours(published)
            # All times after the latest are free.
            within = max(0, photometer.latest - time) + self._step
            time = self._free(photometer, time, within, self._step)
            photometer.arrival = max(photometer.arrival, time)
        elif given is None and not requeued:
            if seq is not None and not self.backlog.takes(name, photometer, seq, received_at):
                photometer.identity = identity
                self._recent.add(identity, identity)
                return Late(name, seq, identity, self.backlog.connection)
            # What `_arrival` returns for nearly every reading; calling it would cost a twentieth of the way.
            free = received_at > photometer.latest > 0 and self._step == 1
            time = photometer.arrival = received_at if free else self._arrival(photometer, received_at)
        elif given is None and ~(photometer.salt ^ received_at) in self._recent:
            # A message without a reservation may have arrived at the same time: it gets another one.
            self._recent.discard(~(photometer.salt ^ received_at))
            time = received_at
        else:
            wanted, step = received_at if given is None else given, 1
            if tstamp is None:
                wanted, step = self._ours(wanted), self._step
            time = self._free(photometer, wanted, SHIFT_MS * step, step)
            if time > wanted + SHIFT_MS * step:
                return Refused(BAD_TIME, f"over {SHIFT_MS} readings of one time", name)
        if count > photometer.counted:
            photometer.counted = count
        if given is not None or requeued:
            seq = None
        elif seq is not None:
            photometer.learn(seq, time)
        admitted = Admitted(name, time, identity, seq)
        self._remember(photometer, admitted)
        return admitted

    def _takes_new(self, received_at: int) -> bool:
        """Whether one more new photometer is taken in this hour; if so, it is counted."""
        hour = received_at // HOUR_MS
        if hour != self._hour:
            self._hour, self._new_in_hour = hour, 0
        if 0 < self._new_photometers <= self._new_in_hour:
            return False
        self._new_in_hour += 1
        return True

    def _add(self, name: str) -> _Photometer:
        photometer = self._photometers[name] = _Photometer(salt=_number(name))
        if len(self._photometers) > PHOTOMETERS:
            self._photometers.popitem(last=False)
        return photometer

    def _arrival(self, photometer: _Photometer, received_at: int) -> int:
        """The time of a reading that has none: later than the last one, unless our clock was set back."""
        set_back = received_at < photometer.received - STEP_MS
        photometer.received = received_at
        if not set_back and received_at <= photometer.arrival <= received_at + STEP_MS * self._step:
            received_at = photometer.arrival + 1
        time = self._ours(received_at)
        # All times after the latest are free.
        within = max(0, photometer.latest - time) + self._step
        return self._free(photometer, time, within, self._step)

    def _ours(self, time: int) -> int:
        """The next millisecond from `time` on that this daemon may give."""
        return time + (self._first - time) % self._step

    def _free(self, photometer: _Photometer, time: int, within: int, step: int) -> int:
        """The first free time of this photometer from `time` on; later than `within` ms if there is none."""
        latest = time + within
        while photometer.salt ^ time in self._recent and time <= latest:
            time += step
        return time

    def _remember(self, photometer: _Photometer, admitted: Admitted) -> None:
        photometer.identity = identity = admitted.identity
        time = admitted.time
        if time > photometer.latest:
            photometer.latest = time
        self._recent.add(identity, photometer.salt ^ time)


def _comes_once(message: Message) -> bool:
    """Whether neither a broker nor a publisher sends it a second time."""
    return message.mid is None and not message.retained


def _number(text: str) -> int:
    """60 bits of a text's hash, which Python keeps in the memory of 31: two texts practically never share
    them."""
    return xxh3_64_intdigest(text.encode()) >> 4
