"""The lines on disk that wait for one output, oldest first, until they are retired.

While full batches are delivered the next ones are read, so that the database need not wait for the disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tessflux.readings import Quarantined
from tessflux.spool.group import Group
from tessflux.spool.journal import Batch
from tessflux.spool.positions import Keeping, Position
from tessflux.spool.store import NO_LINES, Store

log = Logger(namespace="spool")

OVERDUE = float("-inf")
"""An arrival time so early that the lines are due at once."""


@dataclass
class _Ahead:
    """A batch that was read, or is being read, before it is retired."""

    limit: int
    batch: Batch | Deferred[Batch]

    async def get(self) -> Batch:
        if isinstance(self.batch, Deferred):
            self.batch = await self.batch
        return self.batch


class Queue:
    """`wake` is called after every commit that brought lines."""

    def __init__(self, store: Store, output: str, *, wake: Callable[[], None]) -> None:
        self._store, self._output, self._wake = store, output, wake
        self._keeping, self._once = self._position.keeping, False
        self._ahead: dict[int, _Ahead] = {}
        """By the number of the line before it."""
        # What is on disk already has been waiting since before.
        self.oldest: float | None = OVERDUE if self.waiting else None
        """When the oldest line arrived that `head` has not yet given out (clock seconds)."""

    @property
    def _position(self) -> Position:
        return self._store.positions[self._output]

    @property
    def waiting(self) -> int:
        """How many lines are to be sent."""
        return self._store.last - self._position.retired

    @property
    def again(self) -> int:
        """How many of them were delivered once before."""
        return self._position.delivered - self._position.retired

    @property
    def undelivered(self) -> int:
        """How many of them were not."""
        return self._store.last - self._position.delivered

    @property
    def missed(self) -> int:
        """How many lines went before the output had them."""
        return self._position.missed

    def added(self, since: float) -> None:
        """A commit brought lines, the first of which arrived at `since` (clock seconds)."""
        if self.oldest is None:
            self.oldest = since
        self._wake()

    def keep(self, keeping: Keeping) -> None:
        """Keep lines as the output asks for it now."""
        self._keeping = keeping
        self.send_once(self._once)

    def send_once(self, once: bool) -> None:
        """Whether nothing is ever sent again."""
        self._once = once
        self._position.keep(replace(self._keeping, resend=0.0) if once else self._keeping)

    def rewind(self) -> None:
        """The output was away: what it may have lost is sent again, before what waits."""
        if again := self._position.rewind():
            log.info(
                "[{output}] was away: the last {again} readings that it acknowledged are sent once more",
                output=self._output,
                again=again,
            )
            self.oldest = OVERDUE
            self._wake()

    async def head(self, limit: int) -> Batch:
        """The oldest lines that are not retired, in whole chunks; empty when there are none."""
        self.oldest = None
        after = self._position.retired
        self._ahead = {place: ahead for place, ahead in self._ahead.items() if place >= after}
        batch = await self._after(after, limit)
        self._ahead.pop(after, None)
        if batch.lines and self.waiting > len(batch.lines) and self.oldest is None:
            self.oldest = OVERDUE
        return batch

    async def following(self, batch: Batch, limit: int) -> Batch | None:
        """What comes after a batch that is not retired yet, if that is a full one, and if it does no harm to
        send lines twice; `head` gives it once more."""
        if self._once or not self._is_full_after(batch, limit):
            return None
        found = await self._after(batch.last, limit)
        self._ahead[batch.last] = _Ahead(limit, found)
        return found if found.lines else None

    async def _after(self, number: int, limit: int) -> Batch:
        """The batch after a line, and begin to read the one after that."""
        ahead = self._ahead.get(number)
        batch = await ahead.get() if ahead and ahead.limit == limit else NO_LINES
        if not batch.lines or batch.generation != self._position.generation:
            batch = await self._read(number, limit)
        if batch.lines and batch.last not in self._ahead and self._is_full_after(batch, limit):
            self._ahead[batch.last] = _Ahead(limit, Deferred.fromCoroutine(self._read(batch.last, limit)))
        return batch

    def _is_full_after(self, batch: Batch, limit: int) -> bool:
        return self._store.last - batch.last >= limit

    async def _read(self, after: int, limit: int) -> Batch:
        position = self._position
        again, generation = after < position.answered, position.generation
        until = position.answered if again else None
        batch = await self._store.head(after, limit, until)
        return batch._replace(again=again, generation=generation)

    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> bool:
        """The database has dealt with the batch: forget it, and keep what it refused in quarantine.

        False if a stop came before that succeeded, or if it fails because of our own bug: then the batch goes
        on waiting. Without refused lines a later commit records this. If that is lost, the batch is sent
        again, which is harmless: the points are the same.
        """
        if refused and not batch.again:
            # One commit does both, so that a refused line is always somewhere.
            quarantined = [line._replace(output=self._output) for line in refused]
            commit = self._store.keep_committing(Group(quarantined=quarantined), self._output, batch)
            # A stop cancels whoever waits here, but not the commit, which might be made twice then.
            done: Deferred[bool] = Deferred()
            Deferred.fromCoroutine(commit).chainDeferred(done)
            return await done
        self._store.retire(self._output, batch)
        if self._store.failing:
            # On a full disk this makes room for what waits in memory.
            await self._store.commit(Group())
        return True
