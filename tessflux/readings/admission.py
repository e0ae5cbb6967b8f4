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
from tessflux.readings.recent import Recent

EARLIEST = 946_684_800_000
"""2000-01-01 in milliseconds. A clock that shows an earlier time was never set."""

AHEAD_MS = 86_400_000
"""How far ahead of this computer's clock the time of a publisher, or of a broker, may be."""

STEP_MS = 600_000
"""How far arrival times may run ahead of the clock, as they do in a burst of more than one reading a
millisecond. If they are further ahead, the clock was set back, and they follow it. A member of a share group
has fewer milliseconds to give, so its arrival times may run ahead that many times further."""

HOUR_MS = 3_600_000

COUNT_STEPS = 10
"""How far a photometer's counter moves on from one reading to the next, at most: it counts its register
messages too, and some readings are lost."""

NEW_NAME = "new name"
NOT_WHITELISTED = "not in the whitelist"
BLACKLISTED = "blacklist"
RETAINED = "retained"
DUPLICATE = "duplicate"
NO_TIME = "no time"

Decision = Admitted | Filtered | Refused | Late


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

    def counts_on(self, identity: int, seq: float) -> bool:
        """Whether a reading that is known may be new, since it goes on counting from a register message."""
        return identity != self.identity and self.counted < seq <= self.counted + COUNT_STEPS


class Admission:
    """Remembers what was admitted; `restore` brings back what an earlier process committed."""

    def __init__(self) -> None:
        self.choose(frozenset(), frozenset())
        self.share(None)
        self._photometers: OrderedDict[str, _Photometer] = OrderedDict()
        self._recent = Recent(SEEN_READINGS)
        self.backlog = Backlog()
        self._hour = self._new_in_hour = self._now = 0

    def choose(self, whitelist: frozenset[str], blacklist: frozenset[str], new_photometers: int = 0) -> None:
        """Whose readings are stored: lower-case names; an empty whitelist means everyone's. In an hour, so
        many photometers are taken that were never seen before; 0 means all."""
        self._whitelist, self._blacklist = whitelist, blacklist
        self._chooses = bool(whitelist or blacklist)
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
            photometer = self._known(earlier.name)
            self._remember(photometer, earlier, 0.0)
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

    def welcome(self, name: str, received_at: int) -> Refused | None:
        """Take a photometer, which may be a new one; or why it is not taken."""
        if name in self._photometers:
            return None
        if not self._takes_new(received_at):
            allowed = f"{self._new_photometers} new names in this hour ([mqtt] new_photometers)"
            return Refused(NEW_NAME, f"there were {allowed} already", name)
        self._add(name)
        return None

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
        # The complement marks the time as reserved; `admit_requeued` removes it.
        self._recent.add(place, ~place)
        return time

    def admit(self, reading: Reading, message: Message) -> Decision:
        """Decide on the reading that a message has just brought."""
        self._now = received_at = message.received_at
        name = reading.name
        if self._chooses and (filtered := self.unwanted(name)) is not None:
            return filtered
        given = None
        if reading.tstamp is not None or message.sent_at is not None or message.retained:
            found = time_given(name, reading.tstamp, message, self._now)
            if isinstance(found, Filtered | Refused):
                return found
            given = found
        photometer = self._photometers.get(name)
        if photometer is None:
            if refused := self.welcome(name, received_at):
                return refused
            photometer = self._photometers[name]
        else:
            self._photometers.move_to_end(name)
        identity, seq = _identity(reading), reading.seq
        if identity == photometer.identity or identity in self._recent:
            once = reading.tstamp is None and _comes_once(message)
            if not (once and photometer.counts_on(identity, seq)):
                return self._duplicate(photometer)
        if given is not None:
            return self._keep_time(photometer, reading, identity, given)
        if not self.backlog.takes(name, photometer, seq, received_at):
            photometer.identity = identity
            photometer.counted = max(photometer.counted, seq)
            self._recent.add(identity, identity)
            return Late(name, seq, identity, self.backlog.connection)
        if received_at > photometer.latest > 0 and self._step == 1:
            # What `_arrival` returns for nearly every reading; calling it would cost a twentieth of the way.
            time = received_at
        else:
            time = photometer.time = self._arrival(photometer, received_at)
        photometer.arrival = time
        admitted = Admitted(name, time, identity, seq)
        self._remember(photometer, admitted, seq)
        return admitted

    def admit_requeued(self, reading: Reading, message: Message) -> Decision:
        """Decide again on a reading that was refused once. Without a time of its own it gets the one that was
        reserved for it."""
        if (filtered := self.unwanted(reading.name)) is not None:
            return filtered
        given = time_given(reading.name, reading.tstamp, message, self._now)
        if isinstance(given, Filtered | Refused):
            return given
        photometer = self._known(reading.name)
        identity = _identity(reading)
        if identity == photometer.identity or identity in self._recent:
            return self._duplicate(photometer)
        received_at = message.received_at
        reserved = ~(photometer.salt ^ received_at)
        if given is None and reserved in self._recent:
            # A message without a reservation may have arrived at the same time: it gets another one.
            self._recent.discard(reserved)
            admitted = Admitted(reading.name, received_at, identity)
            self._remember(photometer, admitted, reading.seq)
            return admitted
        return self._keep_time(photometer, reading, identity, received_at if given is None else given)

    def admit_late(self, published: int, reading: Reading, _message: Message) -> Decision:
        """Decide again on a reading that was held as late, now that it is known when it was `published`. It
        is remembered already, and no duplicate."""
        if (filtered := self.unwanted(reading.name)) is not None:
            return filtered
        photometer, seq = self._known(reading.name), reading.seq
        time = self._ours(published)
        # All times after the latest are free.
        within = max(0, photometer.latest - time) + self._step
        time = self._free(photometer, time, within, self._step)
        photometer.arrival = max(photometer.arrival, time)
        photometer.learn(seq, time)
        admitted = Admitted(reading.name, time, _identity(reading), seq)
        self._remember(photometer, admitted, seq)
        return admitted

    def admit_undated(self, reading: Reading, message: Message) -> Decision:
        """Decide on a reading of which nobody knows when it came. It needs a time of its own."""
        if reading.tstamp is None and message.sent_at is None and not message.retained:
            detail = "it came before the clock was set, and the computer was restarted since"
            return Refused(NO_TIME, detail, reading.name)
        return self.admit(reading, message)

    def unwanted(self, name: str) -> Filtered | None:
        """Why nothing of this photometer is stored; None if it is."""
        if self._whitelist and name not in self._whitelist:
            return Filtered(NOT_WHITELISTED)
        return Filtered(BLACKLISTED) if name in self._blacklist else None

    def _duplicate(self, photometer: _Photometer) -> Filtered:
        photometer.counted, photometer.repeated = inf, self._now
        return Filtered(DUPLICATE)

    def _keep_time(
        self, photometer: _Photometer, reading: Reading, identity: int, wanted: int
    ) -> Admitted | Refused:
        """Admit a reading at this time, or at the next ones that are free."""
        step = 1
        if reading.tstamp is None:
            wanted, step = self._ours(wanted), self._step
        time = self._free(photometer, wanted, SHIFT_MS * step, step)
        if time > wanted + SHIFT_MS * step:
            return Refused(BAD_TIME, f"over {SHIFT_MS} readings of one time", reading.name)
        admitted = Admitted(reading.name, time, identity)
        self._remember(photometer, admitted, reading.seq)
        return admitted

    def _known(self, name: str) -> _Photometer:
        """The photometer of a reading that was here before."""
        photometer = self._photometers.get(name) or self._add(name)
        self._photometers.move_to_end(name)
        return photometer

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

    def _remember(self, photometer: _Photometer, admitted: Admitted, seq: float) -> None:
        photometer.identity = identity = admitted.identity
        if seq > photometer.counted:
            photometer.counted = seq
        time = admitted.time
        if time > photometer.latest:
            photometer.latest = time
        self._recent.add(identity, photometer.salt ^ time)


def time_given(name: str, tstamp: int | None, message: Message, now: int) -> int | Filtered | Refused | None:
    """The time that the publisher or the broker gave a message of this photometer; None if neither did, or
    why it is not stored. `now` is in ms since 1970 UTC."""
    sent_at = message.sent_at
    if tstamp is None and sent_at is None:
        return Filtered(RETAINED) if message.retained else None
    latest = max(message.received_at, now) + AHEAD_MS
    if tstamp is not None:
        if EARLIEST <= tstamp <= latest:
            return tstamp
        side = "before 2000" if tstamp < EARLIEST else "more than a day ahead of ours"
        return Refused(BAD_TIME, f"its clock is {side}", name)
    # A broker's clock that is wrong is no fault of the message.
    if sent_at is not None and EARLIEST <= sent_at <= latest:
        return sent_at
    return Filtered(RETAINED) if message.retained else None


def _comes_once(message: Message) -> bool:
    """Whether neither a broker nor a publisher sends it a second time."""
    return message.mid is None and not message.retained


def _identity(reading: Reading) -> int:
    """What tells a reading from all others. The time of the broker is no part of it."""
    return xxh3_64_intdigest(f"{reading.name} {reading.values} {reading.tstamp}".encode()) >> 4


def _number(text: str) -> int:
    """60 bits of a text's hash, which Python keeps in the memory of 31: two texts practically never share
    them."""
    return xxh3_64_intdigest(text.encode()) >> 4
