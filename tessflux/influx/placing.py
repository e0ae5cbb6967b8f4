"""Lines -> the database, or the quarantine: which ones are wrong is found by halving.

InfluxDB takes the good lines of a request that it answers with an error, and does not always name the others.
Writing a line again is harmless, so the request is repeated in halves until the bad lines stand alone.
"""

from collections.abc import Awaitable, Callable, Sequence

from twisted.logger import Logger

from tessflux import lineprotocol
from tessflux.influx.client import BadLines, Delivered, Expired, TooLarge
from tessflux.journal import Quarantined
from tessflux.limits import BATCH_LINES
from tessflux.stats import InfluxStats, Reports

log = Logger(namespace="influxdb")

REFUSED_LINE = "refused by InfluxDB"

LinesVerdict = Delivered | Expired | BadLines | TooLarge
"""What a server can say about lines; everything else it says about itself."""


class Placing:
    """`answer` posts lines and returns once the server has said something about them; `limit` is how many go
    into one request."""

    def __init__(
        self,
        answer: Callable[[Sequence[str]], Awaitable[LinesVerdict]],
        stats: InfluxStats,
        reports: Reports,
        now: Callable[[], float],
    ) -> None:
        self._answer, self._stats, self._reports, self._now = answer, stats, reports, now
        self.limit = BATCH_LINES

    async def place(self, lines: Sequence[str]) -> list[Quarantined]:
        """Bring lines into the database; returns those that it refuses."""
        if len(lines) > self.limit:
            return await self._halves(lines)
        verdict = await self._answer(lines)
        match verdict:
            case BadLines(reason, quoted):
                if bad := set(quoted).intersection(lines):
                    refused = [self._refuse(line, reason) for line in lines if line in bad]
                    good = [line for line in lines if line not in bad]
                    return refused + (await self.place(good) if good else [])
            case TooLarge(reason):
                self._send_less(len(lines))
            case Expired(dropped, reason):
                self._stats.delivered += len(lines) - dropped
                self._stats.expired += dropped
                self._reports.note("readings", "older than the retention policy keeps", reason)
                return []
            case Delivered():
                self._stats.delivered += len(lines)
                return []
        if len(lines) == 1:
            return [self._refuse(lines[0], reason)]
        return await self._halves(lines)

    async def _halves(self, lines: Sequence[str]) -> list[Quarantined]:
        middle = len(lines) // 2
        return await self.place(lines[:middle]) + await self.place(lines[middle:])

    def _send_less(self, count: int) -> None:
        if count > 1:
            self.limit = (count + 1) // 2
            log.info(
                "InfluxDB finds {count} lines too large; sending {limit} from now on",
                count=count,
                limit=self.limit,
            )

    def _refuse(self, line: str, reason: str) -> Quarantined:
        name = lineprotocol.photometer(line)
        self._stats.quarantined += 1
        self._reports.note(name, REFUSED_LINE, reason)
        return Quarantined(int(self._now() * 1000), "", name, REFUSED_LINE, reason, line.encode())
