"""What InfluxDB has answered -> one verdict. Pure.

A verdict is not an exception: every answer, right or wrong, comes to one of these, and `server` and `placing`
decide what to do about it. The texts are those of InfluxDB 1.x, and of 2 and 3 where they differ.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_REASON = 500
"""Characters of what the server says that go into logs, and into the quarantine with every line."""

NO_LINES = ("writing requires points", "incoming write was empty")
"""What InfluxDB 2 and 3 answer to a request without lines, when they have found the database."""


@dataclass(frozen=True)
class Delivered:
    """Every line is in the database."""


@dataclass(frozen=True)
class Expired:
    """`dropped` lines, at least one, are older than the retention policy keeps. The others are in, or could
    not be read: InfluxDB tells only the one or the other."""

    dropped: int
    reason: str


@dataclass(frozen=True)
class BadLines:
    """Some lines are wrong; `quoted` are those that the answer shows. The others may be in or not.

    `dropped` is how many lines the database understood and left out, and `field` what it disliked in one
    of them, if it says so.
    """

    reason: str
    quoted: tuple[str, ...] = ()
    dropped: int = 0
    field: str = ""


@dataclass(frozen=True)
class TooLarge:
    """The request as a whole was too large."""

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
    """The server is there but takes nothing now; `retry_after` seconds are its own wish."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Unreachable:
    """No answer, or none that makes sense: connection, timeout, 5xx, redirection, a stranger's 404. `slow`
    says that it did not come in time."""

    reason: str
    slow: bool = False


Verdict = Delivered | Expired | BadLines | TooLarge | Missing | Unauthorised | Busy | Unreachable

_FIELD = re.compile(r'input field "(\w+)" on measurement')
_UNPARSABLE, _END_OF_LINE = "unable to parse '", "': "
_PARTIAL = re.compile(
    r"(?:(?:failure|unexpected error) writing points to database: )?"
    r"partial write: (?P<expired>points beyond retention policy|dropped \d+ points outside retention policy)?"
    r".* dropped=(?P<dropped>\d{1,9})(?: for database: .*)?",
    re.DOTALL,
)
"""The whole of the text, since a photometer's name may stand in another error and say the same. InfluxDB 1
begins with "partial write", 2 puts something before it."""

_MISSING = re.compile(r"(database|bucket|retention policy)\b.*\bnot found|unable to find DBRP")
"""Any other 404 comes from somebody who has no databases, and need not see the data definition file."""


def judge(
    code: int, body: bytes, retry_after: str | None, now: datetime, hide: Callable[[str], str] = str
) -> Verdict:
    """The verdict on one answer; `hide` takes out of its text what nobody must read."""
    text = hide(_error_text(body))
    reason = f"{code} {text[:LONGEST_REASON]}".rstrip()
    if code in (200, 204, 400, 404, 422) and text.startswith("<"):
        # A page of somebody between us and the database: it says nothing about lines.
        return Unreachable(reason)
    if code == 204 or (code == 200 and body.strip() in (b"", b"{}")) or text in NO_LINES:
        return Delivered()
    # InfluxDB 2 has said so with a 500 too.
    partial = _PARTIAL.fullmatch(text)
    if partial or code in (400, 422):
        dropped = int(partial["dropped"]) if partial else 0
        if dropped and partial and partial["expired"]:
            return Expired(dropped, reason)
        field = _FIELD.search(text)
        return BadLines(reason, _quoted(text), dropped, field[1] if field else "")
    if code in (401, 403):
        return Unauthorised(reason)
    if _MISSING.search(text) and code in (404, 500):
        return Missing(reason)
    if code == 413:
        return TooLarge(reason)
    if code in (429, 503):
        return Busy(reason, _seconds(retry_after, now))
    return Unreachable(reason)


def _quoted(text: str) -> tuple[str, ...]:
    """The lines that an error shows."""
    parts = [part.partition(_END_OF_LINE) for part in text.split(_UNPARSABLE)[1:]]
    return tuple(line for line, end, _ in parts if end)


def saw_no_lines(body: bytes) -> bool:
    """Whether a server says that a request was empty."""
    return _error_text(body) in NO_LINES


def _error_text(body: bytes) -> str:
    """What the server says is wrong: the "error" of its JSON, or whatever it sent."""
    text = _error_of(body.decode("utf-8", "replace").strip())
    # JSON may hold half a character, which nobody can store.
    return text.encode(errors="backslashreplace").decode()


def _error_of(text: str) -> str:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(answer, dict):
        return str(answer.get("error") or answer.get("message") or "")
    return text


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """What Retry-After asks for, given in seconds or as a date."""
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
