"""The lines on disk that wait for the database, oldest first, until they are retired."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from tessflux.readings import Quarantined
from tessflux.spool.group import Group
from tessflux.spool.journal import Batch
from tessflux.spool.store import Store

OVERDUE = float("-inf")
"""An arrival time so early that the lines are due at once."""


class Queue:
    """`wake` is called after every commit that brought lines."""

    def __init__(self, store: Store, *, wake: Callable[[], None]) -> None:
        self._store, self._wake = store, wake
        self.oldest: float | None = None
        """When the oldest line arrived that `head` has not yet given out (clock seconds)."""

    @property
    def waiting(self) -> int:
        """How many lines wait."""
        return self._store.waiting

    def opened(self) -> None:
        """What is on disk at the start has been waiting since before it."""
        if self.waiting:
            self.oldest = OVERDUE

    def added(self, since: float) -> None:
        """A commit brought lines, the first of which arrived at `since` (clock seconds)."""
        if self.oldest is None:
            self.oldest = since
        self._wake()

    async def head(self, limit: int) -> Batch:
        """The oldest lines that are not retired, in whole chunks; empty when there are none."""
        self.oldest = None
        batch = await self._store.head(limit)
        if batch.lines and self.waiting > len(batch.lines) and self.oldest is None:
            self.oldest = OVERDUE
        return batch

    async def retire(self, batch: Batch, refused: Sequence[Quarantined] = ()) -> bool:
        """The database has dealt with the batch: forget it, and keep what it refused in quarantine.

        False if a stop came before that succeeded, or if it fails because of our own bug: then the batch goes
        on waiting. Without refused lines the next commit records this. If that is lost, the batch is sent
        again, which is harmless: the points are the same.
        """
        if refused:
            # One commit does both, so that a refused line is always somewhere.
            commit = self._store.keep_committing(Group(quarantined=list(refused)), batch.last)
            # A stop cancels whoever waits here, but not the commit, which might be made twice then.
            done: Deferred[bool] = Deferred()
            Deferred.fromCoroutine(commit).chainDeferred(done)
            return await done
        self._store.retire(batch.last)
        if self._store.failing:
            # On a full disk this makes room for what waits in memory.
            await self._store.commit(Group())
        return True
