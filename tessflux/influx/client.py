"""One write request to InfluxDB -> one verdict, even if there is no answer.

Nothing is delivered to a stranger, and nothing is refused by one: a web server or proxy may answer 204 to
whatever comes, and any service that wants JSON refuses a line. A database shows what it is in its answer
(`_is_from_database`), or refuses a line that is none, in words of its own. The latter is asked once a
connection, and again after trouble.
"""

import gzip
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from tessflux.config import InfluxConfig
from tessflux.influx.dialect import dialect
from tessflux.influx.http import Answer, Http, NoAnswer
from tessflux.influx.verdict import (
    BadLines,
    Delivered,
    Expired,
    LinesVerdict,
    Unreachable,
    Verdict,
    classify,
    error_text,
    saw_no_lines,
)
from tessflux.readings import REGISTRATIONS_MEASUREMENT, lineprotocol

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
GZIP_LEVEL = 1
"""Lines shrink to a sixth at this level already; a higher one costs CPU and gains little."""

DATABASE_HEADERS = tuple(
    f"X-{name}-{what}" for name in ("Influxdb", "Geminidb") for what in ("Version", "Build")
)
"""InfluxDB 1 and 2 send two of them with every answer, VictoriaMetrics one, openGemini its own."""

DEDUP_FLAG = "-dedup.minScrapeInterval=1ms"
SAY_SO = "deduplicates = yes"
_DEDUP = re.compile(rb'^-dedup\.minScrapeInterval=(?!"?0s?\b)', re.MULTILINE)
NO_LINE = b"tessflux"
"""A measurement without a field: a database refuses it, so it leaves nothing behind."""

NOT_PROVEN = (0, "", "")

_OWN_WORDS = re.compile(
    "unable to parse (?:'|points$)|partial write: |line protocol|write_lp|influx line", re.IGNORECASE
)
"""Of InfluxDB 1 and 2 and of influxdb-relay; of InfluxDB 3 and QuestDB; of InfluxDB 3; of VictoriaMetrics."""


class InfluxClient:
    """Writes lines into the database that `config` names."""

    def __init__(self, config: InfluxConfig, http: Http) -> None:
        self._http, self._measurement = http, config.measurement
        self._deduplicates = config.deduplicates
        self._proven = NOT_PROVEN
        """The connection on which a server refused NO_LINE, as `http` counts them, its url and its name."""
        self._path = dialect(config).write
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        self._compress = any(urlsplit(url).hostname not in LOCAL_HOSTS for url in config.urls)
        if self._compress:
            self._headers["Content-Encoding"] = "gzip"

    @property
    def connections(self) -> int:
        """How many were made to the server."""
        return self._http.connections

    @property
    def url(self) -> str:
        """Where the server was asked last."""
        return self._http.url

    async def write(self, lines: Sequence[str]) -> Verdict:
        """Post the lines. A request without lines asks whether the database is there.

        Raises nothing but CancelledError.
        """
        try:
            return await self._post(lineprotocol.text(lines).encode(), lines)
        except NoAnswer as error:
            return Unreachable(str(error), error.slow, error.connected, cut_off=not error.slow)

    async def stores_twice(self) -> str:
        """What must be set at the server so that it does not store a line twice which it gets twice; nothing
        if it does not, or is not known for it."""
        if self._deduplicates:
            return ""
        try:
            # VictoriaMetrics lists the flags with which it was started.
            flags = await self._http.get("/flags")
            if flags.header("X-Server-Hostname"):
                return _victoria_metrics_needs(flags)
            # QuestDB
            for table in (self._measurement, REGISTRATIONS_MEASUREMENT):
                query = f"SELECT dedup FROM tables() WHERE table_name = '{table}'"
                answer = await self._http.get(f"/exec?{urlencode({'query': query})}")
                if answer.code == 200 and b'"dataset":[[false]]' in answer.body:
                    statement = f'ALTER TABLE "{table}" DEDUP ENABLE UPSERT KEYS(timestamp, name)'
                    return f"QuestDB needs {statement}"
        except NoAnswer:
            pass
        return ""

    async def _post(self, body: bytes, lines: Sequence[str]) -> Verdict:
        verdict, answer = await self._request(body)
        if not isinstance(verdict, LinesVerdict):
            self._proven = NOT_PROVEN
        if lines and answer.code != 204 and saw_no_lines(answer.body):
            return Unreachable(f"{answer.code}, but our lines did not arrive there")
        if answer.broken_off and isinstance(verdict, Delivered | Expired | BadLines):
            return Unreachable(f"{answer.code}, but the answer broke off")
        if answer.without_length and isinstance(verdict, Delivered):
            return Unreachable(f"{answer.code}, but the answer may be incomplete")
        if isinstance(verdict, Delivered | BadLines) and not _is_from_database(answer):
            return await self._prove(verdict, answer)
        return verdict

    async def _request(self, body: bytes) -> tuple[Verdict, Answer]:
        """The verdict on an answer, and the answer itself."""
        if self._compress:
            body = gzip.compress(body, GZIP_LEVEL)
        answer = await self._http.post(self._path, body, self._headers)
        retry_after = answer.header("Retry-After")
        # The reason goes into the log and the quarantine.
        return classify(answer.code, answer.body, retry_after, datetime.now(UTC), self._http.hide), answer

    async def _prove(self, verdict: Delivered | BadLines, answer: Answer) -> Verdict:
        """The verdict, if the server at the other end of this connection can tell a line from something
        else."""
        name = self._http.name(answer)
        if self._proven == (self._http.connections, self._http.url, name):
            return verdict
        doubt, refusal = await self._request(NO_LINE)
        # Behind a balancer the next answer may be another server's.
        if isinstance(doubt, BadLines) and _is_from_database(refusal) and self._http.name(refusal) == name:
            self._proven = (self._http.connections, self._http.url, name)
            return verdict
        if isinstance(doubt, LinesVerdict):
            said = verdict.reason if isinstance(verdict, BadLines) else answer.code
            stranger = "nothing shows that it is a database: does a proxy answer for it?"
            return Unreachable(f"{said} from {name or 'a server without a name'}, but {stranger}")
        # It is busy, or lets us in no more: that is the trouble, not who it is.
        return doubt


def _victoria_metrics_needs(flags: Answer) -> str:
    if flags.code != 200:
        return f"VictoriaMetrics does not show its flags; give it {DEDUP_FLAG}, and set {SAY_SO}"
    if b"-storageNode=" in flags.body:
        where = f"give {DEDUP_FLAG} to vmselect and vmstorage"
        return f"a VictoriaMetrics cluster does not show it; {where}, and set {SAY_SO}"
    return "" if _DEDUP.search(flags.body) else f"VictoriaMetrics needs {DEDUP_FLAG}"


def _is_from_database(answer: Answer) -> bool:
    return (
        any(map(answer.headers.hasHeader, DATABASE_HEADERS))
        or saw_no_lines(answer.body)
        or _OWN_WORDS.search(error_text(answer.body)) is not None
    )
