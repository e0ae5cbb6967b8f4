"""Photometers that are silent, heard again, or replaced by others of their name: an event each, also for a
thousand of them at once. Pure."""

from dataclasses import dataclass

from tessflux.words import date, number

SILENT, HEARD, MOVED = "silent", "heard again", "moved"

NAMED = 5
"""Photometers that the text of an event names at most."""


@dataclass(frozen=True)
class Event:
    """`kind` is SILENT, HEARD or MOVED: the name has another mac. `since` is when the last of these
    photometers fell silent, or moved, in milliseconds since 1970 UTC."""

    kind: str
    names: tuple[str, ...]
    since: int

    def __str__(self) -> str:
        """In words, with a few of the names."""
        count = len(self.names)
        when = date(self.since / 1_000)
        since = f"silent since {when}"
        are, were = ("is", "it was") if count == 1 else ("are", "they were")
        who = self.names[0] if count == 1 else f"{number(count)} photometers"
        state = {
            SILENT: f"{are} {since}",
            HEARD: f"{are} heard again; {were} {since}",
            MOVED: f"{are} another photometer since {when}, by the mac"
            if count == 1
            else f"are other ones since {when}, by their macs",
        }[self.kind]
        if count == 1:
            return f"{who} {state}"
        among = "these are" if count <= NAMED else "among them"
        return f"{who} {state}: {among} {', '.join(self.names[:NAMED])}"


class Settling:
    """Those of whom there is something to say may come one after the other, as photometers do that publish
    once a minute. It is said of all at once: when a look finds no more of them, at the latest at the
    fifteenth look."""

    LOOKS = 15

    def __init__(self) -> None:
        self._before = self._looks = 0

    def settled(self, count: int) -> bool:
        """Whether to say it now, with so many of whom it is not said yet."""
        self._looks = self._looks + 1 if count else 0
        done = 0 < count == self._before or self._looks >= self.LOOKS
        if done:
            self._looks = 0
        self._before = 0 if done else count
        return done
