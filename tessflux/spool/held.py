"""Messages whose time is not known yet: a table in the spool's file, in the order in which they came.
Blocking.

`photometer`, `seq` and `identity` are of a reading that came late, and `passed` is its connection then. A
message that came before the clock was known has no photometer. Both methods that change something run within
a transaction of the journal, so that a message leaves the table in the same commit that stores its outcome.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tessflux.limits import HELD_READINGS, SEEN_READINGS
from tessflux.readings import Episode, Held, Late, Message

COLUMNS = "topic, payload, retained, arrival, mid, sent, photometer, seq, identity, boot, passed, dup"


@dataclass(frozen=True)
class HeldAtStart:
    """The messages that are held: as late, by photometer, with the identities of the newest; and how many of
    them came before the clock was known."""

    episodes: dict[str, Episode]
    identities: list[int]
    undated: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.undated + sum(episode.count for episode in self.episodes.values())


class HeldMessages:
    """The table in an open journal. Raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, held: Sequence[Held]) -> None:
        """Hold these."""
        if held:
            self._db.executemany(
                f"INSERT INTO held ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, held)
            )

    def remove(self, numbers: Sequence[int]) -> None:
        """Hold these no more."""
        if numbers:
            self._db.executemany("DELETE FROM held WHERE id = ?", [(number,) for number in numbers])

    def at_start(self) -> HeldAtStart:
        """What an earlier process has held."""
        return HeldAtStart(self._episodes(), self._identities(), self._undated())

    def late(self, photometer: str) -> list[tuple[int, float, int, int]]:
        """Number, `seq`, arrival and connection of the readings of a photometer that are held as late, oldest
        first."""
        query = "SELECT id, seq, arrival, passed FROM held WHERE photometer = ? ORDER BY id LIMIT ?"
        return self._db.execute(query, (photometer, HELD_READINGS)).fetchall()

    def oldest(self, photometer: str, limit: int) -> dict[int, Held]:
        """The oldest messages of a photometer that are held as late, by their numbers; without a name those
        that came before the clock was known."""
        rows = self._db.execute(
            f"SELECT id, {COLUMNS} FROM held WHERE photometer = ? ORDER BY id LIMIT ?",
            (photometer, limit),
        )
        return {number: _held(*row) for number, *row in rows}

    def _episodes(self) -> dict[str, Episode]:
        """The photometers of which readings are held as late."""
        # SQLite takes the other columns from the row with the greatest id.
        rows = self._db.execute(
            "SELECT photometer, max(id), seq, arrival, count(*), passed FROM held"
            " WHERE photometer != '' GROUP BY photometer"
        )
        return {
            name: Episode(arrival, seq, arrival, count=count, connection=connection)
            for name, _, seq, arrival, count, connection in rows
        }

    def _identities(self) -> list[int]:
        """Those of the newest readings that are held as late, as many as are remembered."""
        query = "SELECT identity FROM held WHERE photometer != '' ORDER BY id DESC LIMIT ?"
        return [identity for (identity,) in self._db.execute(query, (SEEN_READINGS,))]

    def _undated(self) -> int:
        """How many messages are held that came before the clock was known."""
        (count,) = self._db.execute("SELECT count(*) FROM held WHERE photometer = ''").fetchone()
        return int(count)


def _row(held: Held) -> tuple[object, ...]:
    message, late = held.message, held.late or Late("", 0, 0)
    return (
        message.topic,
        message.payload,
        message.retained,
        message.received_at,
        message.mid,
        message.sent_at,
        late.name,
        late.seq,
        late.identity,
        held.boot,
        late.connection if late.name else held.passed,
        message.dup,
    )


def _held(
    topic: str,
    payload: bytes,
    retained: int,
    arrival: int,
    mid: int | None,
    sent_at: int | None,
    name: str,
    seq: float,
    identity: int,
    boot: str,
    passed: int,
    dup: int,
) -> Held:
    message = Message(topic, payload, bool(retained), arrival, mid, sent_at, bool(dup))
    if name:
        return Held(message, Late(name, seq, identity, passed))
    return Held(message, None, boot, passed)
