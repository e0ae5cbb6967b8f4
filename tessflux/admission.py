"""Which readings are stored, and under which time. Pure: the time of arrival is an argument.

A reading is admitted once. It is the same as an earlier one if its photometer, its counter, its values and
its own time (if it has one) are the same; brokers deliver a message again after a broken connection, and
bridges between brokers publish retained ones anew.

Two readings of a photometer never share a time, since InfluxDB would merge them. Without a time of its own a
reading gets that of its arrival, later than the one before; with one it keeps it, but moves by single
milliseconds where another reading of the photometer is already there.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from tessflux.limits import PHOTOMETERS, SEEN_READINGS, SHIFT_MS
from tessflux.reading import BAD_TIME, Reading, Refused

EARLIEST = 946_684_800_000
"""2000-01-01 in milliseconds: before it, a clock was never set."""

AHEAD_MS = 86_400_000
"""How far ahead of our clock a publisher's time may be."""

STEP_MS = 600_000
"""Arrival times that run ahead of the clock by more than this do so because the clock was set back: then they
follow it. By less they may, in a burst of more than a reading a millisecond."""

NOT_WHITELISTED = "not in the whitelist"
BLACKLISTED = "blacklist"
RETAINED = "retained"
DUPLICATE = "duplicate"


class Filtered(NamedTuple):
    """A good reading that is not to be stored, and why."""

    cause: str


class Admitted(NamedTuple):
    """A reading to store: its identity, and its time in milliseconds since 1970 UTC."""

    name: str
    time: int
    identity: int


@dataclass(slots=True)
class _Photometer:
    """The last reading of one photometer; `salt` tells its times from those of the others."""

    salt: int
    identity: int = -1
    arrival: int = 0


class _Recent:
    """The numbers that were added last: `size` of them at least, and at most twice as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[int] = set()
        self._old: set[int] = set()

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __contains__(self, number: int) -> bool:
        return number in self._new or number in self._old

    def add(self, number: int) -> None:
        """Add a number that is not among them."""
        if len(self._new) == self._size:
            self._old, self._new = self._new, set()
        self._new.add(number)


class Admission:
    """Remembers what was admitted; `restore` brings back what a former process committed."""

    def __init__(
        self, whitelist: frozenset[str] = frozenset(), blacklist: frozenset[str] = frozenset()
    ) -> None:
        self.choose(whitelist, blacklist)
        self._photometers: OrderedDict[str, _Photometer] = OrderedDict()
        self._identities = _Recent(SEEN_READINGS)
        self._taken = _Recent(SEEN_READINGS)

    def choose(self, whitelist: frozenset[str], blacklist: frozenset[str]) -> None:
        """Whose readings are stored: lower-case names; an empty whitelist means everyone's."""
        self._whitelist, self._blacklist = whitelist, blacklist

    def restore(self, admitted: Iterable[Admitted]) -> None:
        """Take what was committed earlier as seen, the oldest first."""
        for earlier in admitted:
            photometer = self._photometer(earlier.name)
            self._remember(photometer, earlier)
            photometer.arrival = max(photometer.arrival, earlier.time)

    def admit(
        self, reading: Reading, values: str, *, received_at: int, retained: bool
    ) -> Admitted | Filtered | Refused:
        """Decide on a reading that arrived at `received_at` (ms since 1970 UTC).

        `values` is its fields in line protocol, a canonical form of what makes its identity.
        """
        name, _, tstamp = reading
        if self._whitelist and name not in self._whitelist:
            return Filtered(NOT_WHITELISTED)
        if name in self._blacklist:
            return Filtered(BLACKLISTED)
        if tstamp is None:
            if retained:
                return Filtered(RETAINED)
        elif not EARLIEST <= tstamp <= received_at + AHEAD_MS:
            side = "before 2000" if tstamp < EARLIEST else "more than a day ahead"
            return Refused(BAD_TIME, f"its clock is {side}", name)
        photometer = self._photometer(name)
        identity = _number(f"{name} {values} {tstamp}")
        if identity == photometer.identity or identity in self._identities:
            return Filtered(DUPLICATE)
        if tstamp is None:
            time = self._arrival(photometer, received_at)
        else:
            time = self._free(photometer, tstamp, SHIFT_MS)
            if time > tstamp + SHIFT_MS:
                return Refused(BAD_TIME, f"over {SHIFT_MS} readings of one time", name)
        admitted = Admitted(name, time, identity)
        self._remember(photometer, admitted)
        return admitted

    def _photometer(self, name: str) -> _Photometer:
        photometer = self._photometers.get(name)
        if photometer is None:
            photometer = self._photometers[name] = _Photometer(_number(name))
            if len(self._photometers) > PHOTOMETERS:
                self._photometers.popitem(last=False)
        else:
            self._photometers.move_to_end(name)
        return photometer

    def _arrival(self, photometer: _Photometer, received_at: int) -> int:
        """The time of a reading that has none: later than the last, unless our clock was set back."""
        if received_at <= photometer.arrival <= received_at + STEP_MS:
            received_at = photometer.arrival + 1
        # No more times than these are remembered, so there is always a free one.
        photometer.arrival = self._free(photometer, received_at, 2 * SEEN_READINGS)
        return photometer.arrival

    def _free(self, photometer: _Photometer, time: int, within: int) -> int:
        """The first free time of this photometer from `time` on; `within` + 1 ms later if there is none."""
        latest = time + within
        while photometer.salt ^ time in self._taken and time <= latest:
            time += 1
        return time

    def _remember(self, photometer: _Photometer, admitted: Admitted) -> None:
        photometer.identity = admitted.identity
        self._identities.add(admitted.identity)
        self._taken.add(photometer.salt ^ admitted.time)


def _number(text: str) -> int:
    """63 bits out of a text, so that SQLite can hold it and two texts practically never share it."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1
