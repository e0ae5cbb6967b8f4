"""Who was heard, from the outcomes of their messages. Pure: times come in as arguments.

Each reading is counted, but only one of each photometer is kept until the next digest, a second later, and
looked at then. So the way of a reading stays nearly as short as it was, and few messages stay in memory; a
photometer that publishes more often than that has its means from a part of its readings.

Anyone may publish under any name. A photometer is known once a reading of it was stored, of which
`new_photometers` in the config bounds the number. Of those of whom everything was refused, a few are shown as
strangers, but not kept; who has no name is nobody. When there is no room for one more, the one that was heard
longest ago leaves. A register message tells that its photometer is alive, and whether its name has moved to
another mac.

A photometer is silent when it was not heard for so long, of the time in which we listened: if we were away,
or the broker was, that is not its silence. One that was silent for 30 such days leaves.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import msgspec

from tessflux.limits import DIGESTED, PHOTOMETERS, STRANGERS, UNDIGESTED
from tessflux.photometers.event import HEARD, MOVED, SILENT, Event, Settling
from tessflux.photometers.means import Means, Sums
from tessflux.photometers.photometer import STRANGER, Photometer, name_in, pack, place_in, with_cause
from tessflux.readings import (
    DUPLICATE,
    NEW_NAME,
    Admit,
    Filtered,
    Message,
    Outcome,
    Quarantined,
    Registered,
    Stored,
)

MOVES_APART_MS = 3_600_000
"""Of two photometers that share a name, each has it again after each of its boots: that is said once an
hour."""

FORGET = 30 * 86_400.0
"""Seconds of listening after which a photometer that was not heard leaves."""

replace = msgspec.structs.replace

_Judged = tuple[Message, Outcome, Admit | None]
"""A message, what became of it, and `admit` as `Judge.judge` got it."""


class _Turned(msgspec.Struct, gc=False):
    """Messages of a photometer that were filtered or refused for one cause: how many, when the last one came,
    and whether it tells that the photometer is alive."""

    is_filtered: bool
    count: int = 0
    at: int = 0
    live: bool = False


@dataclass(frozen=True)
class Kept:
    """What outlasts this process: all photometers, or those that changed; the numbers of those that left; the
    `next_number` to give; and for how many seconds we have listened in all."""

    photometers: Sequence[Photometer] = ()
    gone: Sequence[int] = ()
    next_number: int = 0
    listened: float = 0.0
    sums: Sums | None = None
    """Means that were not saved yet."""


class Register:
    """`restore` it first. `take` every message, `listen` and `digest` every second, `look` now and then. With
    `history`, it gathers means too."""

    def __init__(self, *, history: bool) -> None:
        self.history = history
        self._live: dict[str, _Judged] = {}
        """Of each photometer the first reading that came as it was made, since the last digest."""
        self._late: dict[tuple[str, int], _Judged] = {}
        """The first in each second of those that came otherwise."""
        self._counts = defaultdict[str, int](int)
        """How many there were of both."""
        self._turned: dict[tuple[str, str], _Turned] = {}
        """What was filtered or refused, by photometer and cause."""
        self._registered: dict[str, tuple[int, bool]] = {}
        """When what a photometer says of itself came last, and whether it came as it was published."""
        self._moved: dict[str, int] = {}
        """Whose name has another mac, and since when; it is not said yet."""
        self._moves_said: dict[str, int] = {}
        """When it was said of whom in the last hour."""
        self._known: dict[str, Photometer] = {}
        """The one that was heard longest ago is the first."""
        self._strangers: dict[str, Photometer] = {}
        self._next_number = 0
        self._listened = 0.0
        self._means = Means()
        self._changed: set[str] = set()
        self._gone: list[int] = []
        self._silent = 0
        self._back: dict[str, int] = {}
        """Who was silent and is heard again, and since when it had been silent."""
        self._silences, self._returns = Settling(), Settling()

    def __len__(self) -> int:
        return len(self._known) + len(self._strangers)

    @property
    def known(self) -> int:
        """How many there are of which a reading was stored."""
        return len(self._known)

    @property
    def silent(self) -> int:
        """How many of them are silent."""
        return self._silent

    def all(self) -> list[Photometer]:
        """Everyone, also strangers, as of the last second."""
        return [*self._known.values(), *self._strangers.values()]

    def get(self, name: str) -> Photometer | None:
        """The photometer of this name (lower case)."""
        return self._known.get(name) or self._strangers.get(name)

    @property
    def listened(self) -> float:
        """Seconds in which we could hear, in all."""
        return self._listened

    def restore(self, kept: Kept) -> None:
        """Remember what an earlier process kept."""
        everyone = sorted(kept.photometers, key=lambda each: each.heard)
        self._known = {each.name: each for each in everyone[-PHOTOMETERS:]}
        self._gone = [each.number for each in everyone[:-PHOTOMETERS]]
        self._next_number, self._listened = kept.next_number, kept.listened
        self._silent = sum(each.silent for each in self._known.values())

    def keep(self) -> Kept:
        """What changed since this was called last; it is to be saved now."""
        changed = [self._known[name] for name in self._changed]
        kept = Kept(changed, self._gone, self._next_number, self._listened, self._means.sums)
        self._changed, self._gone, self._means = set(), [], Means()
        return kept

    def not_kept(self, kept: Kept) -> None:
        """It could not be saved: all but the means is to be saved later."""
        self._changed.update(each.name for each in kept.photometers if each.name in self._known)
        # Those of whom it is not noted that they left leave again after a restart.
        self._gone = [*self._gone, *kept.gone][:PHOTOMETERS]

    def keep_all(self) -> None:
        """The file is new: everyone is to be saved."""
        self._changed.update(self._known)

    @property
    def unsaved_means(self) -> int:
        """How many means wait to be saved."""
        return self._means.count

    def listen(self, seconds: float) -> None:
        """So many seconds more have passed in which we could hear."""
        self._listened += seconds

    def take(self, messages: Iterable[Message], outcomes: Iterable[Outcome], admit: Admit | None) -> None:
        """Note messages that were judged; `admit` as `Judge.judge` got it."""
        live, counts = self._live, self._counts
        for message, outcome in zip(messages, outcomes, strict=True):
            # For nearly every reading this is all: each line of it shows in the throughput.
            if type(outcome) is Stored:
                admitted = outcome.admitted
                name = admitted.name
                counts[name] += 1
                if name in live and admitted.time == message.received_at:
                    continue
            self._note(message, outcome, admit)

    def _note(self, message: Message, outcome: Outcome, admit: Admit | None) -> None:
        if isinstance(outcome, Stored):
            name, time = outcome.admitted.name, outcome.admitted.time
            if time == message.received_at:
                self._live[name] = message, outcome, admit
            else:
                self._late.setdefault((name, time // 1_000), (message, outcome, admit))
        elif isinstance(outcome, Filtered | Quarantined):
            self._turn_away(message, outcome, admit)
        elif isinstance(outcome, Registered):
            self._registered[outcome.name] = message.received_at, admit is None and not message.retained
            if outcome.moved and len(self._moved) < STRANGERS:
                self._moved[outcome.name] = outcome.said.time
            if len(self._registered) >= DIGESTED:
                self.digest(message.received_at)
        if len(self._live) + len(self._late) + len(self._turned) >= UNDIGESTED:
            self.digest(message.received_at)

    def _turn_away(self, message: Message, outcome: Filtered | Quarantined, admit: Admit | None) -> None:
        name = name_in(message.payload) if isinstance(outcome, Filtered) else self._whose(outcome)
        if not name:
            return
        cause = outcome.cause
        turned = self._turned.get((name, cause))
        if turned is None:
            turned = self._turned[name, cause] = _Turned(isinstance(outcome, Filtered))
        turned.count += 1
        turned.at = message.received_at
        turned.live |= admit is None and not message.retained and cause != DUPLICATE

    def digest(self, now: int) -> bool:
        """Take in what was noted, but not too much at once: False if there is more. `now` is in milliseconds
        since 1970 UTC."""
        for place in list(islice(self._late, DIGESTED)):
            self._digest_reading(*self._late.pop(place), now)
        for name in list(islice(self._live, DIGESTED)):
            self._digest_reading(*self._live.pop(name), now)
        for name, cause in list(islice(self._turned, DIGESTED)):
            self._count_turned(name, cause, self._turned.pop((name, cause)), now)
        for name in list(islice(self._registered, DIGESTED)):
            self._hear(name, *self._registered.pop(name), now)
        return not (self._late or self._live or self._turned or self._registered)

    def _digest_reading(self, message: Message, stored: Outcome, admit: Admit | None, now: int) -> None:
        assert isinstance(stored, Stored)
        name = stored.admitted.name
        reading, time, arrival = stored.reading, stored.admitted.time, message.received_at
        live = admit is None and not message.retained
        heard = arrival if live else min(time, arrival)
        before = self._known.pop(name, None) or self._new(name, heard)
        last, place = before.last, before.place
        if before.heard <= heard or before.heard > now or not last:
            last, place = pack(reading.fields), place_in(message.payload) or place
        heard, listened = self._heard(before, heard, now, live)
        count = self._counts.pop(name, 0)
        self._known[name] = Photometer(
            name,
            before.number,
            before.first,
            heard,
            listened,
            before.silent,
            last,
            before.stored.add(now, count) if count else before.stored,
            before.filtered,
            before.refused,
            before.causes,
            place,
        )
        self._changed.add(name)
        if self.history:
            self._means.add(time, before.number, reading.fields)

    def _heard(self, before: Photometer, heard: int, now: int, live: bool) -> tuple[int, float]:
        """When it was heard last, and how long we had listened then."""
        if before.heard <= now:
            # Else the clock was set back meanwhile.
            heard = max(heard, before.heard)
        if live:
            listened = self._listened
        else:
            listened = max(before.listened, self._listened - max(0, now - heard) / 1_000)
        if before.silent and live:
            # It goes on being silent until that is said, so that no kill comes between.
            self._back.setdefault(before.name, before.heard)
        return heard, listened

    def _new(self, name: str, heard: int) -> Photometer:
        """One that is known from now on. The time of its silence begins now."""
        if len(self._known) >= PHOTOMETERS:
            self._forget(next(iter(self._known)))
        number, self._next_number = self._next_number, self._next_number + 1
        if stranger := self._strangers.pop(name, None):
            return replace(stranger, number=number, listened=self._listened)
        return Photometer(name, number, heard, heard, self._listened)

    def _forget(self, name: str) -> None:
        gone = self._known.pop(name)
        self._silent -= gone.silent
        self._gone.append(gone.number)
        self._changed.discard(name)
        self._back.pop(name, None)

    def _whose(self, refused: Quarantined) -> str:
        """The photometer that published what was refused. If the payload has no name, one that is known may
        have published it: its topic says so. "" for nobody."""
        if refused.photometer:
            # It is not known, and is not to be.
            return "" if refused.cause == NEW_NAME else refused.photometer
        name = refused.topic.lower().rpartition("/")[0].rpartition("/")[2]
        return name if self.get(name) else ""

    def _count_turned(self, name: str, cause: str, turned: _Turned, now: int) -> None:
        before = self.get(name)
        if before is None:
            if turned.is_filtered:
                return
            if len(self._strangers) >= STRANGERS:
                del self._strangers[next(iter(self._strangers))]
            before = Photometer(name, STRANGER, turned.at, turned.at, self._listened)
        everyone = self._known if name in self._known else self._strangers
        heard, listened = before.heard, before.listened
        if turned.live:
            heard, listened = self._heard(before, turned.at, now, True)
            everyone.pop(name, None)
        filtered, refused = before.filtered, before.refused
        everyone[name] = replace(
            before,
            heard=heard,
            listened=listened,
            filtered=filtered.add(now, turned.count) if turned.is_filtered else filtered,
            refused=refused if turned.is_filtered else refused.add(now, turned.count),
            causes=with_cause(before.causes, cause, turned.at),
        )
        if everyone is self._known:
            self._changed.add(name)

    def _hear(self, name: str, at: int, live: bool, now: int) -> None:
        """It says who it is, which makes nobody known."""
        before = self.get(name)
        if before is None or not live:
            return
        heard, listened = self._heard(before, at, now, True)
        everyone = self._known if name in self._known else self._strangers
        everyone.pop(name)
        everyone[name] = replace(before, heard=heard, listened=listened)
        if everyone is self._known:
            self._changed.add(name)

    def look(self, silent: float) -> list[Event]:
        """Who fell silent, was heard again or moved since the last look: at most an event of each kind.
        `silent` is in seconds of listening; with 0 nobody is ever silent."""
        self._forget_unheard()
        now_silent: Iterable[Photometer] = ()
        if silent:
            before = self._listened - silent
            now_silent = [
                each for each in self._known.values() if each.listened <= before and not each.silent
            ]
        else:
            self._back.clear()
            self._nobody_is_silent()
        return [*self._silence(list(now_silent)), *self._return(), *self._moves()]

    def _silence(self, found: list[Photometer]) -> Iterable[Event]:
        if self._silences.settled(len(found)):
            for each in found:
                self._known[each.name] = replace(each, silent=True)
            self._changed.update(each.name for each in found)
            self._silent += len(found)
            names = sorted(each.name for each in found)
            yield Event(SILENT, tuple(names), max(each.heard for each in found))

    def _return(self) -> Iterable[Event]:
        if self._returns.settled(len(self._back)):
            back, self._back = self._back, {}
            for name in back:
                self._known[name] = replace(self._known[name], silent=False)
            self._changed.update(back)
            self._silent -= len(back)
            yield Event(HEARD, tuple(sorted(back)), max(back.values()))

    def _moves(self) -> Iterable[Event]:
        moved, self._moved = self._moved, {}
        if not moved:
            return
        latest = max(moved.values())
        said = {name: at for name, at in self._moves_said.items() if at > latest - MOVES_APART_MS}
        news = sorted(moved.keys() - said.keys())
        self._moves_said = said | dict.fromkeys(news, latest)
        if news:
            yield Event(MOVED, tuple(news), latest)

    def _nobody_is_silent(self) -> None:
        for each in [each for each in self._known.values() if each.silent]:
            self._known[each.name] = replace(each, silent=False)
            self._changed.add(each.name)
        self._silent = 0

    def _forget_unheard(self) -> None:
        before = self._listened - FORGET
        for each in list(takewhile(lambda each: each.listened < before, self._known.values())):
            self._forget(each.name)
        for each in list(takewhile(lambda each: each.listened < before, self._strangers.values())):
            del self._strangers[each.name]
