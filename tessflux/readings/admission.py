"""Which readings are stored, and under which time. Pure: the time of arrival is an argument.

A reading is admitted once. It is the same as an earlier one if its photometer, its counter, its values and
its own time (if it has one) are the same; brokers deliver a message again after a broken connection, and
bridges between brokers publish retained ones anew.

Two readings of a photometer never share a time, since InfluxDB would merge them. Without a time of its own a
reading gets that of its arrival, later than the one before; with one it keeps it, but moves by single
milliseconds where another reading of the photometer is already there.

Daemons that divide the readings of a broker do not know of each other's: each has milliseconds of its own,
and an arrival gets the next of them.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from tessflux.limits import PHOTOMETERS, SEEN_READINGS, SHARE_MEMBERS, SHIFT_MS
from tessflux.readings.outcome import Admitted, Filtered
from tessflux.readings.reading import BAD_TIME, Reading, Refused

EARLIEST = 946_684_800_000
"""2000-01-01 in milliseconds: before it, a clock was never set."""

AHEAD_MS = 86_400_000
"""How far ahead of our clock a publisher's time may be."""

STEP_MS = 600_000
"""Arrival times that run ahead of the clock by more than this do so because the clock was set back: then they
follow it. By less they may, in a burst of more than a reading a millisecond. A member of a group has fewer
milliseconds to give, so they may run ahead that much further."""

HOUR_MS = 3_600_000

NEW_NAME = "new name"
NOT_WHITELISTED = "not in the whitelist"
BLACKLISTED = "blacklist"
RETAINED = "retained"
DUPLICATE = "duplicate"


@dataclass(slots=True)
class _Photometer:
    """The last reading of one photometer; `salt` tells its times from those of the others, and after `latest`
    all are free. `arrival` is what the last without a time of its own got, in a group at `received`."""

    salt: int
    identity: int = -1
    arrival: int = 0
    received: int = 0
    latest: int = 0


class _Recent:
    """Two numbers of each reading, for what it is and for the time that it has, and of each reserved time; of
    the last `size` at least, and of half as many more at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: set[int] = set()
        self._middle: set[int] = set()
        self._oldest: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._newest or number in self._middle or number in self._oldest

    def add(self, identity: int, place: int) -> None:
        """Add one more reading."""
        newest = self._newest
        # To let the oldest go one by one would cost more than all else about a reading.
        if len(newest) >= self._size:
            self._oldest, self._middle = self._middle, newest
            self._newest = newest = set()
        newest.add(identity)
        newest.add(place)

    def discard(self, number: int) -> None:
        """Take a number out, if it is there."""
        for numbers in (self._newest, self._middle, self._oldest):
            numbers.discard(number)


class Admission:
    """Remembers what was admitted; `restore` brings back what a former process committed."""

    def __init__(self) -> None:
        self.choose(frozenset(), frozenset())
        self.share(None)
        self._photometers: OrderedDict[str, _Photometer] = OrderedDict()
        self._recent = _Recent(SEEN_READINGS)
        self._hour = self._new_in_hour = self._now = 0

    def choose(self, whitelist: frozenset[str], blacklist: frozenset[str], new_photometers: int = 0) -> None:
        """Whose readings are stored: lower-case names; an empty whitelist means everyone's. Of photometers
        that were never seen before, so many are taken in an hour; 0 means all."""
        self._whitelist, self._blacklist = whitelist, blacklist
        self._new_photometers = new_photometers

    def share(self, member: int | None) -> None:
        """Give arrivals only the milliseconds of this member of a group of daemons; without a number, all."""
        self._first, self._step = (0, 1) if member is None else (member, SHARE_MEMBERS)

    def restore(self, admitted: Iterable[Admitted], *, now: int) -> None:
        """Take what was committed earlier as seen, the oldest first; `now` in ms since 1970 UTC.

        A time that is still to come was a publisher's own: no arrival waits for it.
        """
        for earlier in admitted:
            photometer = self._photometers.get(earlier.name) or self._add(earlier.name)
            self._photometers.move_to_end(earlier.name)
            self._remember(photometer, earlier)
            if photometer.arrival < earlier.time <= now:
                photometer.arrival = earlier.time

    def forget(self, admitted: Iterable[Admitted]) -> None:
        """Take these as never seen: they could not be stored, and may come again."""
        for given_up in admitted:
            self._recent.discard(given_up.identity)
            if photometer := self._photometers.get(given_up.name):
                photometer.identity = -1
                self._recent.discard(photometer.salt ^ given_up.time)

    def reserve(self, name: str, received_at: int) -> int:
        """The time of a message that is refused, should it be tried again: in this process no other reading
        of the photometer gets it. As that of a reading it is later than the last."""
        photometer = self._photometers.get(name)
        if photometer is None:
            if not self._takes_new(received_at):
                # Nothing of this photometer is stored. So many names may come that none is remembered.
                return received_at
            photometer = self._add(name)
        time = photometer.arrival = self._arrival(photometer, received_at)
        photometer.latest = max(photometer.latest, time)
        place = photometer.salt ^ time
        # The mark says that the time waits for its message; `admit` takes it out.
        self._recent.add(place, ~place)
        return time

    def admit(
        self,
        reading: Reading,
        values: str,
        *,
        received_at: int,
        retained: bool,
        requeued: bool = False,
    ) -> Admitted | Filtered | Refused:
        """Decide on a reading that arrived at `received_at` (ms since 1970 UTC).

        `values` is its fields in line protocol, a canonical form of what makes its identity. A
        `requeued` one was refused once, and is tried again; it gets the time that was reserved for it.
        """
        if not requeued:
            self._now = received_at
        name, tstamp = reading.name, reading.tstamp
        if self._whitelist and name not in self._whitelist:
            return Filtered(NOT_WHITELISTED)
        if name in self._blacklist:
            return Filtered(BLACKLISTED)
        if tstamp is None:
            if retained:
                return Filtered(RETAINED)
        elif not EARLIEST <= tstamp <= max(received_at, self._now) + AHEAD_MS:
            side = "before 2000" if tstamp < EARLIEST else "more than a day ahead of ours"
            return Refused(BAD_TIME, f"its clock is {side}", name)
        photometer = self._photometers.get(name)
        if photometer is None:
            if not requeued and not self._takes_new(received_at):
                allowed = f"{self._new_photometers} new names in this hour ([mqtt] new_photometers)"
                return Refused(NEW_NAME, f"there were {allowed} already", name)
            photometer = self._add(name)
        else:
            self._photometers.move_to_end(name)
        identity = _number(f"{name} {values} {tstamp}")
        if identity == photometer.identity or identity in self._recent:
            return Filtered(DUPLICATE)
        if tstamp is None and not requeued:
            # What `_arrival` would say of nearly every reading; asking it costs a twentieth of all.
            free = received_at > photometer.latest > 0 and self._step == 1
            time = photometer.arrival = received_at if free else self._arrival(photometer, received_at)
        elif tstamp is None and ~(photometer.salt ^ received_at) in self._recent:
            # A message without a reservation may have come at the same time: that gets another one.
            self._recent.discard(~(photometer.salt ^ received_at))
            time = received_at
        else:
            wanted, step = (self._ours(received_at), self._step) if tstamp is None else (tstamp, 1)
            time = self._free(photometer, wanted, SHIFT_MS * step, step)
            if time > wanted + SHIFT_MS * step:
                return Refused(BAD_TIME, f"over {SHIFT_MS} readings of one time", name)
        admitted = Admitted(name, time, identity)
        self._remember(photometer, admitted)
        return admitted

    def _takes_new(self, received_at: int) -> bool:
        """Whether one more new photometer may come in this hour; if so it is counted."""
        hour = received_at // HOUR_MS
        if hour != self._hour:
            self._hour, self._new_in_hour = hour, 0
        if 0 < self._new_photometers <= self._new_in_hour:
            return False
        self._new_in_hour += 1
        return True

    def _add(self, name: str) -> _Photometer:
        photometer = self._photometers[name] = _Photometer(_number(name))
        if len(self._photometers) > PHOTOMETERS:
            self._photometers.popitem(last=False)
        return photometer

    def _arrival(self, photometer: _Photometer, received_at: int) -> int:
        """The time of a reading that has none: later than the last, unless our clock was set back."""
        set_back = received_at < photometer.received - STEP_MS
        photometer.received = received_at
        if not set_back and received_at <= photometer.arrival <= received_at + STEP_MS * self._step:
            received_at = photometer.arrival + 1
        time = self._ours(received_at)
        # After the latest all are free.
        within = max(0, photometer.latest - time) + self._step
        return self._free(photometer, time, within, self._step)

    def _ours(self, time: int) -> int:
        """The next millisecond that is ours to give, from `time` on."""
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


def _number(text: str) -> int:
    """60 bits out of a text: Python holds them in the memory of 31, and two texts practically never share
    them."""
    return xxh3_64_intdigest(text.encode()) >> 4
