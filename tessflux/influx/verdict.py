"""An answer of a database -> one verdict. Pure.

Every answer, right or wrong, has its verdict: `classify` is the table. A verdict is no exception; what is
done about each is in the table of `tessflux.influx`. The texts are those of InfluxDB 1, and of InfluxDB 2 and
3, VictoriaMetrics, QuestDB and openGemini where they differ.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

LONGEST_REASON = 500
"""Characters of an error that are kept: they go into the log, and into the quarantine with every line."""

NO_LINES = ("writing requires points", "incoming write was empty")
"""What InfluxDB 2 and 3 answer to a request without lines once they have found the database."""

WANTS_TLS = "Client sent an HTTP request to an HTTPS server."
"""What a server written in Go, such as InfluxDB, answers to http:// where it wants https://."""


T = TypeVar("T")
Causes = tuple[tuple[T, str], ...]
"""Something and why it is refused, in the words of the server; for each that is."""


@dataclass(frozen=True)
class Delivered:
    """Every line is in the database."""


@dataclass(frozen=True)
class Expired:
    """`dropped` lines, at least one, are older than the retention policy keeps. The others are in the
    database or could not be read: InfluxDB reports only one kind of error at a time."""

    dropped: int
    reason: str


@dataclass(frozen=True)
class BadLines:
    """Some lines are bad; the answer may show them (`quoted`) or count to them (`numbered` from 1), each with
    what is wrong with it. The others may be in the database or not.

    `dropped` is how many lines the database understood and left out; `field` is the field that it refused in
    one of them, if it names one.
    """

    reason: str
    quoted: Causes[str] = ()
    numbered: Causes[int] = ()
    dropped: int = 0
    field: str = ""


@dataclass(frozen=True)
class TooLarge:
    """The request as a whole was too large."""

    reason: str


@dataclass(frozen=True)
class Fails:
    """The server fails on these lines again and again, and not for their text: it takes others."""

    reason: str


@dataclass(frozen=True)
class Missing:
    """There is no such database or retention policy."""

    reason: str


@dataclass(frozen=True)
class Unauthorised:
    """The username, the password or the rights are wrong."""

    reason: str


@dataclass(frozen=True)
class Busy:
    """The server is there but takes nothing now; it asks us to wait for `retry_after` seconds, if it says
    so."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Unreachable:
    """No answer, or none of a working InfluxDB: no connection (`connected`), a timeout (`slow`), 5xx, a
    redirection, the 404 of some other server."""

    reason: str
    slow: bool = False
    connected: bool = True
    cut_off: bool = False
    """Whether there is no connection, or it was lost, for us or for a proxy: the server may have crashed."""


LinesVerdict = Delivered | Expired | BadLines | TooLarge | Fails
"""What a server can say about lines; every other verdict is about the server itself."""

Verdict = LinesVerdict | Missing | Unauthorised | Busy | Unreachable

_FIELD = re.compile(r'input field "(\w+)" on measurement')
_UNPARSABLE, _END_OF_LINE = "unable to parse '", "': "
_DROPPED = re.compile(r" dropped=\d+$")
_INCORRECT = re.compile(r'incorrect influx line ("(?:[^"\\]|\\[^n])*)')
"""VictoriaMetrics shows all from the bad line on, as a string in Go."""

_LINE_NUMBERS = "failed to parse line protocol:"
"""So begins the error in which QuestDB counts the lines. Other texts may hold the same words in a name."""

_NUMBERED = re.compile(r"^error in line (\d{1,9}): (.*)", re.MULTILINE)
_PARTIAL = re.compile(
    r"(?:(?:failure|unexpected error) writing points to database: )?"
    r"partial write: (?P<expired>points beyond retention policy|dropped \d+ points outside retention policy"
    r"|point time is expired)?"
    r".* dropped=(?P<dropped>\d{1,9})(?: for database: .*)?",
    re.DOTALL,
)
"""It must match the whole text, since a photometer's name in another error may contain the same words.
InfluxDB 1 and openGemini begin with "partial write", InfluxDB 2 puts something before it."""

_MISSING = re.compile(
    r"(database|bucket|retention policy|organization)\b.*\bnot found"
    r"|unable to find DBRP|no dbrp mapping found"
)
"""Any other 404 comes from a server that is no InfluxDB, to which the data definition file is not sent."""


def classify(
    code: int, body: bytes, retry_after: str | None, now: datetime, hide: Callable[[str], str] = str
) -> Verdict:
    """The verdict on one answer. `hide` takes out of the reason what nobody may read."""
    text, answer = _read(body)

    def readable(cause: str) -> str:
        return f"{code} {hide(cause)[:LONGEST_REASON]}".rstrip()

    reason = readable(text)
    match code:
        case 200 | 204 | 400 | 404 | 422 if text.startswith("<"):
            # A page from something between us and the database: it says nothing about lines.
            return Unreachable(reason)
        case 400 if text == WANTS_TLS:
            return Unreachable(f"{reason} The url must begin with https://")
        case 204:
            return Delivered()
        case 200 if body.strip() in (b"", b"{}"):
            return Delivered()
        case _ if text in NO_LINES:
            return Delivered()
        # Whatever the code: InfluxDB 2 sends it with a 500 too.
        case _ if partial := _PARTIAL.fullmatch(text):
            dropped = int(partial["dropped"])
            if dropped and partial["expired"]:
                return Expired(dropped, reason)
            return BadLines(reason, _causes(_quoted(text), readable), (), dropped, _field(text))
        # VictoriaMetrics
        case 400 if "too big data size" in text:
            return TooLarge(reason)
        case 400 | 422:
            quoted, numbered = _named(answer, text)
            return BadLines(reason, _causes(quoted, readable), _causes(numbered, readable), 0, _field(text))
        case 401 | 403:
            return Unauthorised(reason)
        case 404 | 500 if _MISSING.search(text):
            return Missing(reason)
        case 413:
            return TooLarge(reason)
        case 429 | 503:
            return Busy(reason, _seconds(retry_after, now))
        # A proxy finds nobody behind it.
        case 502:
            return Unreachable(reason, cut_off=True)
        case _:
            return Unreachable(reason)


def about_lines(verdict: Verdict, count: int, timeouts: int) -> LinesVerdict | None:
    """What a verdict says about the `count` lines of its request; None if it speaks about the server.

    `timeouts` is how many requests in a row were not answered in time, this one included.
    """
    match verdict:
        case Delivered() | Expired():
            return verdict
        # A server that refuses a request without lines objects to us, not to the lines.
        case BadLines() if count > 0:
            return verdict
        # A line has a few hundred bytes: a server that finds one alone too large may take nothing at all.
        case TooLarge() if count > 1:
            return verdict
        # A slow connection may have the time for fewer lines.
        case Unreachable(reason, slow=True) if count > 1 and timeouts > 1:
            return TooLarge(reason)
        case _:
            return None


def blame_lines(verdict: Verdict, count: int) -> Fails | None:
    """What a verdict on the server says about the `count` lines of its request if the server takes others;
    None if it may be a coincidence."""
    match verdict:
        case Unreachable(connected=False):
            return None
        case Unreachable(reason) | Unauthorised(reason) | TooLarge(reason) if count > 0:
            return Fails(reason)
        case _:
            return None


def _causes(named: Iterable[tuple[T, str]], readable: Callable[[str], str]) -> Causes[T]:
    return tuple((which, readable(cause)) for which, cause in named)


def _named(answer: Any, text: str) -> tuple[list[tuple[str, str]], list[tuple[int, str]]]:
    """The lines that an error shows, and those to which it counts."""
    numbered = []
    if text.startswith(_LINE_NUMBERS):
        numbered = [(int(number), cause) for number, cause in _NUMBERED.findall(text)]
    return _quoted(text) + _incorrect(text) + _originals(answer), numbered


def _quoted(text: str) -> list[tuple[str, str]]:
    """The lines that InfluxDB 1 and 2 show."""
    parts = [part.partition(_END_OF_LINE) for part in text.split(_UNPARSABLE)[1:]]
    return [(line, _DROPPED.sub("", cause.rstrip("\n"))) for line, end, cause in parts if end]


def _incorrect(text: str) -> list[tuple[str, str]]:
    """The line that VictoriaMetrics shows."""
    found = _INCORRECT.search(text)
    try:
        return [(json.loads(f'{found[1]}"'), "incorrect influx line")] if found else []
    except ValueError:
        return []


def _originals(answer: Any) -> list[tuple[str, str]]:
    """The lines that InfluxDB 3 shows."""
    data = answer.get("data") if isinstance(answer, dict) else None
    return [
        (each["original_line"], str(each.get("error_message", "")))
        for each in (data if isinstance(data, list) else [data])
        if isinstance(each, dict) and isinstance(each.get("original_line"), str)
    ]


def _field(text: str) -> str:
    """The field that an error names, or nothing."""
    found = _FIELD.search(text)
    return found[1] if found else ""


def saw_no_lines(body: bytes) -> bool:
    """Whether the server found no lines in the request."""
    return error_text(body) in NO_LINES


def error_text(body: bytes) -> str:
    """What the server says is wrong."""
    return _read(body)[0]


def _read(body: bytes) -> tuple[str, Any]:
    """The "error" or "message" of the JSON, or whatever the server sent; and the JSON."""
    # What a Windows program wrote begins with a byte order mark.
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        said = [answer[key] for key in ("error", "message") if isinstance(answer.get(key), str)]
        text = said[0] if said else text
    # JSON may hold half of a surrogate pair, which SQLite cannot store.
    return text.encode(errors="backslashreplace").decode(), answer


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """The wait that Retry-After asks for, in seconds or as a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except (ValueError, OverflowError):
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
