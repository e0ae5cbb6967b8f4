"""Lines -> the database, or the quarantine: which ones are wrong is found by halving.

InfluxDB takes the good lines of a request that it answers with an error, and does not always name the others.
Writing a line again is harmless, so the request is repeated in parts until all lines of a part are bad: where
the error names a field, the lines with it and those without, else halves. And a line that stands alone is to
blame only if the answer is about it: a proxy may refuse whatever comes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.logger import Logger

from tessflux.influx.server import Server
from tessflux.influx.verdict import BadLines, Delivered, Expired, TooLarge
from tessflux.limits import BATCH_LINES
from tessflux.logs import Reports
from tessflux.readings import Quarantined, lineprotocol

log = Logger(namespace="influxdb")

REFUSED_LINE = "refused by InfluxDB"

GROW_AFTER = 100
"""Good requests of the largest size after which a larger one is tried, so that trying costs little."""

Parts = tuple[Sequence[str], ...]


@dataclass
class Placed:
    """What became of lines: how many are in the database, how many too old for it, and which it refuses."""

    delivered: int = 0
    expired: int = 0
    refused: list[Quarantined] = field(default_factory=list)


class Placing:
    """`limit` is how many lines go into one request."""

    def __init__(self, server: Server, reports: Reports, now: Callable[[], float]) -> None:
        self._server, self._reports, self._now = server, reports, now
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what the former server took."""
        self.limit = self._smallest = BATCH_LINES
        self._good = 0

    async def place(self, lines: Sequence[str]) -> Placed:
        """Bring lines into the database, or find out why not."""
        placed = Placed()
        # Not by recursion: how deep it goes is for the server to say.
        waiting = [lines]
        while waiting:
            if part := waiting.pop():
                waiting += reversed(await self._place(part, placed))
        return placed

    async def _place(self, lines: Sequence[str], placed: Placed) -> Parts:
        """Send lines once; returns what is to be sent again, in parts."""
        if len(lines) > self.limit:
            return _halves(lines)
        verdict = await self._server.answer(lines)
        match verdict:
            case Delivered():
                placed.delivered += len(lines)
                self._send_more(len(lines))
                return ()
            case TooLarge(reason):
                self._send_less(len(lines), reason)
                return (lines,)
            case Expired(dropped, reason) if dropped >= len(lines):
                placed.expired += len(lines)
                self._reports.note("readings", "older than the retention policy keeps", reason)
                return ()
            case Expired(dropped):
                # The others may be in, or not; the dropped ones are the oldest.
                lines = sorted(lines, key=lineprotocol.time)
                return lines[:dropped], lines[dropped:]
            case BadLines(reason):
                bad = await self._to_blame(lines, verdict)
                if not bad and len(lines) > 1:
                    return _suspects(lines, verdict.field) or _halves(lines)
                placed.refused += [self._refuse(line, reason) for line in lines if line in bad]
                return ([line for line in lines if line not in bad],)

    async def _to_blame(self, lines: Sequence[str], verdict: BadLines) -> set[str]:
        """Those of the lines that certainly cause the verdict; none if a line alone is to be tried again."""
        if verdict.dropped == len(lines):
            return set(lines)
        shown = set(verdict.quoted).intersection(lines)
        if len(lines) == 1 and not shown and await self._server.is_well():
            # Once more: what was refused in passing is not bad.
            verdict_again = await self._server.answer(lines)
            return set(lines) if isinstance(verdict_again, BadLines) else set()
        return shown

    def _send_less(self, count: int, reason: str) -> None:
        self.limit, self._good = (count + 1) // 2, 0
        if self.limit < self._smallest:
            self._smallest = self.limit
            log.info(
                "{count} lines at once are too many ({reason}); sending {limit} from now on",
                count=count,
                reason=reason,
                limit=self.limit,
            )

    def _send_more(self, count: int) -> None:
        if self.limit < BATCH_LINES and count > self.limit // 2:
            self._good += 1
            if self._good == GROW_AFTER:
                self.limit, self._good = min(2 * self.limit, BATCH_LINES), 0

    def _refuse(self, line: str, reason: str) -> Quarantined:
        name = lineprotocol.photometer(line)
        self._reports.note(name, REFUSED_LINE, reason)
        return Quarantined(int(self._now() * 1000), "", name, REFUSED_LINE, reason, line.encode())


def _halves(lines: Sequence[str]) -> Parts:
    middle = len(lines) // 2
    return lines[:middle], lines[middle:]


def _suspects(lines: Sequence[str], field: str) -> Parts | None:
    """The lines that have a field and those that have not; None when that does not tell them apart."""
    if not field:
        return None
    has_field = re.compile(f"[ ,]{field}=").search
    suspects = [line for line in lines if has_field(line)]
    if 0 < len(suspects) < len(lines):
        return suspects, [line for line in lines if not has_field(line)]
    return None
