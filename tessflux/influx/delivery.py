"""Lines -> the database, or the quarantine. Which lines are bad is found by bisecting.

A database takes the good lines of a request that it answers with an error, and does not always name the bad
ones. Writing a line again is harmless, so the request is repeated in parts until all lines of a part are bad:
if the error names a field, the lines with it and those without, else halves. A line that is posted alone is
to blame only if a request without lines gets through: a proxy may refuse whatever comes.

A request on which the server fails again and again, although it takes other lines, is sent in parts as well.
A line on which it fails alone is set aside until the rest of its batch is delivered; later batches wait for
it. It goes into quarantine when it has failed ALONE_ATTEMPTS times over ALONE_SECONDS. Further lines of its
photometer that fail so often go there within seconds, for GIVEN_UP_SECONDS: otherwise each batch would take
so long.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tessflux.influx.server import FAILURES, Server, Undecided
from tessflux.influx.verdict import BadLines, Delivered, Expired, Fails, TooLarge
from tessflux.limits import BATCH_LINES
from tessflux.logs import Reports
from tessflux.readings import Quarantined, lineprotocol

log = Logger(namespace="influxdb")

REFUSED_LINE = "refused by InfluxDB"
FAILING_LINE = "InfluxDB fails on a line of it, which is tried again for ten minutes"

ALONE_ATTEMPTS, ALONE_SECONDS = 5, 600.0

GIVEN_UP_SECONDS = 3_600.0

GIVEN_UP_PAUSE = 2.0
"""Seconds between two attempts at a line of a photometer that was given up: other batches wait for it."""

GROW_AFTER = 100
"""Requests of the largest size that must succeed before a larger one is tried: if the server's limit stays
the same, it refuses one request in a hundred."""


@dataclass
class _Alone:
    """A line on which the server fails alone: since when (clock seconds), and how often."""

    since: float
    attempts: int = 0


@dataclass
class Result:
    """What became of lines: how many are in the database, how many are too old for it, which it refused."""

    delivered: int = 0
    expired: int = 0
    refused: list[Quarantined] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    """Lines on which the server fails, to be tried again."""


class Delivery:
    """`limit` is how many lines go into one request."""

    def __init__(
        self, server: Server, reports: Reports, clock: IReactorTime, now: Callable[[], float]
    ) -> None:
        self._server, self._reports, self._clock, self._now = server, reports, clock, now
        self.forget_server()

    def forget_server(self) -> None:
        """Forget what was learnt about the server, such as its largest request: this is another one."""
        self.limit = self._smallest_logged = BATCH_LINES
        self._succeeded = 0
        self._alone: dict[str, _Alone] = {}
        self._given_up: dict[str, float] = {}

    async def deliver(self, lines: Sequence[str]) -> Result:
        """Post lines until each of them is in the database, expired or refused."""
        result = Result()
        self._server.begin_batch()
        self._batch, self._limit_before, self._failures = lines, self.limit, FAILURES
        try:
            await self._deliver_parts(lines, result)
        except Undecided:
            # The size may not have been the reason.
            self.limit = self._limit_before
            raise
        while result.failing:
            given_up = all(map(self._is_given_up, result.failing))
            await self._server.rest(GIVEN_UP_PAUSE if given_up else ALONE_SECONDS / (ALONE_ATTEMPTS - 1))
            failing, result.failing = result.failing, []
            for line in failing:
                await self._deliver_parts([line], result)
        self._alone.clear()
        return result

    async def _deliver_parts(self, lines: Sequence[str], result: Result) -> None:
        # A stack in place of recursion, since the server decides how deep this goes.
        parts = [lines]
        while parts:
            part = parts.pop()
            if len(part) > self.limit:
                parts += reversed(_bisect(part))
            elif part:
                parts += reversed(await self._post(part, result))

    async def _post(self, lines: Sequence[str], result: Result) -> list[Sequence[str]]:
        """Post lines once; returns the parts of them that must be posted again."""
        verdict = await self._server.post(lines, self._batch, self._failures)
        match verdict:
            case Delivered():
                result.delivered += len(lines)
                self._grow(len(lines))
                return []
            case Fails(reason) if len(lines) == 1:
                # It was the line, not the size.
                self.limit = self._limit_before
                self._set_aside(lines[0], reason, result)
                return []
            case Fails(reason):
                # Its parts need not fail as often.
                self._failures = 1
                self._shrink(len(lines), reason)
                return [lines]
            case TooLarge(reason):
                self._shrink(len(lines), reason)
                return [lines]
            case Expired(dropped, reason) if dropped >= len(lines):
                result.expired += len(lines)
                self._reports.note("readings", "older than the retention policy keeps", reason)
                return []
            case Expired(dropped):
                # The dropped lines are the oldest. The others may be in the database or not.
                by_age = sorted(lines, key=lineprotocol.time)
                return [by_age[:dropped], by_age[dropped:]]
            case BadLines():
                bad = await self._find_bad(lines, verdict)
                if not bad and len(lines) > 1:
                    return _split_by_field(lines, verdict.field) or _bisect(lines)
                result.refused += [self._refuse(line, bad[line]) for line in lines if line in bad]
                return [[line for line in lines if line not in bad]]

    def _set_aside(self, line: str, reason: str, result: Result) -> None:
        """Try a line again later, or give it up."""
        name, now = lineprotocol.photometer(line), self._clock.seconds()
        alone = self._alone.setdefault(line, _Alone(now))
        alone.attempts += 1
        if alone.attempts >= ALONE_ATTEMPTS and now - alone.since >= ALONE_SECONDS:
            self._given_up = {
                each: when for each, when in self._given_up.items() if now - when < GIVEN_UP_SECONDS
            }
            self._given_up[name] = now
        given_up = self._is_given_up(line)
        if given_up and alone.attempts >= ALONE_ATTEMPTS:
            result.refused.append(self._refuse(line, reason))
            return
        result.failing.append(line)
        if not given_up:
            self._reports.note(name, FAILING_LINE, reason)

    def _is_given_up(self, line: str) -> bool:
        """Whether another line of its photometer has failed for ten minutes, within the last hour."""
        when = self._given_up.get(lineprotocol.photometer(line), float("-inf"))
        return self._clock.seconds() - when < GIVEN_UP_SECONDS

    async def _find_bad(self, lines: Sequence[str], verdict: BadLines) -> dict[str, str]:
        """The lines that certainly caused the verdict, and what is wrong with each."""
        if verdict.dropped == len(lines):
            return dict.fromkeys(lines, verdict.reason)
        present = set(lines)
        named = {line: cause for line, cause in verdict.quoted if line in present}
        named |= {lines[number - 1]: cause for number, cause in verdict.numbered if 0 < number <= len(lines)}
        if len(lines) == 1 and not named and await self._server.is_healthy():
            # Once more: it may have been refused by something that has passed.
            repeated = await self._server.post(lines, self._batch)
            return {lines[0]: verdict.reason} if isinstance(repeated, BadLines) else {}
        return named

    def _shrink(self, count: int, reason: str) -> None:
        self.limit, self._succeeded = (count + 1) // 2, 0
        if self.limit < self._smallest_logged:
            self._smallest_logged = self.limit
            log.info(
                "{count} lines at once are too many ({reason}); sending {limit} from now on",
                count=count,
                reason=reason,
                limit=self.limit,
            )

    def _grow(self, count: int) -> None:
        if self.limit < BATCH_LINES and count > self.limit // 2:
            self._succeeded += 1
            if self._succeeded == GROW_AFTER:
                self.limit, self._succeeded = min(2 * self.limit, BATCH_LINES), 0

    def _refuse(self, line: str, reason: str) -> Quarantined:
        name = lineprotocol.photometer(line)
        self._reports.note(name, REFUSED_LINE, reason)
        return Quarantined(int(self._now() * 1000), "", name, REFUSED_LINE, reason, line.encode())


def _bisect(lines: Sequence[str]) -> list[Sequence[str]]:
    middle = len(lines) // 2
    return [lines[:middle], lines[middle:]]


def _split_by_field(lines: Sequence[str], field: str) -> list[Sequence[str]]:
    """The lines that have a field and those that do not; nothing if that does not tell them apart."""
    if not field:
        return []
    has_field = re.compile(f"[ ,]{field}=").search
    suspects = [line for line in lines if has_field(line)]
    if 0 < len(suspects) < len(lines):
        return [suspects, [line for line in lines if not has_field(line)]]
    return []
