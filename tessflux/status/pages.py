"""What each path of the site answers.

    GET   /healthz     200 if the process and the thread of the spool answer; nothing about broker and
                       databases, since a restart would not bring these back
    GET   /readyz      200, or 503 with a line for each reason why readings do not go all the way
    GET   /v1/status   the Snapshot as JSON
    GET   /metrics     the same for Prometheus
    POST  /v1/pause, /v1/resume     with ?output=NAME only that output
    POST  /v1/reload                422 if the config is wrong, with the reasons; then nothing has changed

What is made from a snapshot is kept as long as the snapshot, AGE seconds: however many ask, it is made once.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from tessflux.errors import OperatorError
from tessflux.status.http import Answer, Page, Pages, Query, text
from tessflux.status.snapshot import Snapshot

AGE = 1.0
"""Seconds for which a snapshot is shown."""

STATUS, PAUSE, RESUME, RELOAD = "/v1/status", "/v1/pause", "/v1/resume", "/v1/reload"

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Exposition = Callable[[Snapshot], bytes]
"""A snapshot in Prometheus's text format."""


class Recent:
    """The last snapshot, or a new one if that is older than AGE; all who ask meanwhile get the same."""

    def __init__(self, take: Callable[[], Awaitable[Snapshot]], clock: IReactorTime) -> None:
        self._take, self._clock = take, clock
        self._last: Snapshot | None = None
        self._taken = 0.0
        self._waiting: list[Deferred[Snapshot]] | None = None

    def forget(self) -> None:
        """Something was changed: the next one is to show it."""
        self._last = None

    async def get(self) -> Snapshot:
        """A snapshot that is AGE old at most."""
        if self._last is not None and self._clock.seconds() - self._taken < AGE:
            return self._last
        if self._waiting is not None:
            waiter = Deferred[Snapshot]()
            self._waiting.append(waiter)
            return await waiter
        self._waiting = []
        result: Snapshot | Failure
        try:
            result = self._last = await self._take()
            self._taken = self._clock.seconds()
            return result
        except BaseException:
            result = Failure()
            raise
        finally:
            waiting, self._waiting = self._waiting, None
            for waiter in waiting:
                waiter.callback(result)


class Control(Protocol):
    """What an operator may do to the daemon. Each says what it did, and raises OperatorError if it cannot."""

    def pause(self, output: str = "") -> str: ...
    def resume(self, output: str = "") -> str: ...
    async def reload_now(self) -> str: ...


def pages(recent: Recent, exposition: Callable[[], Awaitable[Exposition]]) -> Pages:
    """What can be looked at; `exposition` brings what makes metrics, when they are first asked for."""

    async def healthz(_rest: str, _query: Query) -> Answer:
        snapshot = await recent.get()
        if not snapshot.spool.answers:
            return text(503, f"the spool in {snapshot.spool.directory} does not answer")
        return text(200, "ok")

    async def readyz(_rest: str, _query: Query) -> Answer:
        problems = (await recent.get()).problems
        return text(503, "\n".join(map(_line, problems))) if problems else text(200, "ok")

    async def metrics(snapshot: Snapshot) -> Answer:
        return Answer((await exposition())(snapshot), content_type=METRICS_TYPE)

    return {
        "/healthz": healthz,
        "/readyz": readyz,
        STATUS: made_once(recent, _status),
        "/metrics": made_once(recent, metrics),
    }


def made_once(recent: Recent, make: Callable[[Snapshot], Awaitable[Answer]]) -> Page:
    """A page that is made once of each snapshot."""
    last: list[tuple[Snapshot, Answer]] = []

    async def page(_rest: str, _query: Query) -> Answer:
        snapshot = await recent.get()
        if not last or last[0][0] is not snapshot:
            answer = await make(snapshot)
            last[:] = [(snapshot, answer)]
        return last[0][1]

    return page


async def _status(snapshot: Snapshot) -> Answer:
    return Answer(msgspec.json.encode(snapshot), content_type="application/json")


def actions(recent: Recent, control: Control) -> Pages:
    """What can be done."""

    async def pause(_rest: str, query: Query) -> Answer:
        return answered(control.pause(query.get("output", "")))

    async def resume(_rest: str, query: Query) -> Answer:
        return answered(control.resume(query.get("output", "")))

    async def reload(_rest: str, _query: Query) -> Answer:
        return answered(await control.reload_now())

    def answered(done: str) -> Answer:
        recent.forget()
        return text(200, done)

    def guarded(action: Page) -> Page:
        async def page(rest: str, query: Query) -> Answer:
            try:
                return await action(rest, query)
            except OperatorError as error:
                return text(422, str(error))

        return page

    return {PAUSE: guarded(pause), RESUME: guarded(resume), RELOAD: guarded(reload)}


def _line(problem: str) -> str:
    """What a server said may have several."""
    return " ".join(problem.split())
