"""What InfluxDB 1, 2 and 3 answer, and whatever stands before them: each with its verdict."""

import json

from tessflux.influx.verdict import (
    WANTS_TLS,
    BadLines,
    Busy,
    Delivered,
    Expired,
    Missing,
    TooLarge,
    Unauthorised,
    Unreachable,
    Verdict,
)

LINE = 'r,name=o\'neil mag="x" 1'
CONFLICT = (
    'partial write: field type conflict: input field "mag" on measurement "r" is type integer,'
    " already exists as type float dropped=1"
)
BEYOND = "partial write: points beyond retention policy"
BEYOND_2_7 = (
    "failure writing points to database: partial write: dropped 550 points outside retention policy of"
    " duration 8760h0m0s - oldest point r,name=a at 2022-05-09T10:22:00Z dropped because it violates a"
    " Retention Policy Lower Bound at 2025-03-05T16:34:57.686Z, newest point r,name=b at 2025-02-23T14:44:00Z"
    " dropped because it violates a Retention Policy Lower Bound at 2025-03-05T16:34:57.686Z dropped=550"
    " for database: 91040e1bf6671dfd for retention policy: autogen"
)
IN_A_NAME = f"limit exceeded: name={BEYOND} dropped=1"
NO_DATABASE = "<html>no such database; not found</html>"
PAGE = "<html><body><h1>400 Bad Request</h1></body></html>"


def error(text: str) -> bytes:
    """As InfluxDB 1 says it."""
    return json.dumps({"error": text}).encode() + b"\n"


def message(text: str) -> bytes:
    """As InfluxDB 2 says it."""
    return json.dumps({"code": "some code", "message": text}).encode()


def unparsable(*lines: str) -> str:
    """The error that shows the lines that could not be read."""
    return "\n".join(f"unable to parse '{line}': invalid number" for line in lines)


def named(*lines: str) -> tuple[tuple[str, str], ...]:
    """What a verdict says of the lines that `unparsable` shows."""
    return tuple((line, "400 invalid number") for line in lines)


QUOTED = f"partial write: {unparsable(BEYOND)} dropped=0"


def _row(code: int, body: bytes, kind: type, text: str = "", *details: object) -> tuple[int, bytes, Verdict]:
    return code, body, kind(f"{code} {text}".rstrip(), *details)


ANSWERS: tuple[tuple[int, bytes, Verdict], ...] = (
    (204, b"", Delivered()),
    (200, b"", Delivered()),
    (200, b"{}", Delivered()),
    # To the request without lines that asks whether the database is there: InfluxDB 3, and 2.
    (400, b"incoming write was empty", Delivered()),
    (400, message("writing requires points"), Delivered()),
    # Too old for the retention policy: InfluxDB 1, 2 before 2.7, and since.
    (400, error(f"{BEYOND} dropped=2"), Expired(2, f"400 {BEYOND} dropped=2")),
    (
        500,
        message(f"unexpected error writing points to database: {BEYOND} dropped=1"),
        Expired(1, f"500 unexpected error writing points to database: {BEYOND} dropped=1"),
    ),
    (422, message(BEYOND_2_7), Expired(550, f"422 {BEYOND_2_7}")),
    # Nothing was dropped, or it was for another reason.
    _row(400, error(BEYOND), BadLines, BEYOND),
    _row(400, error(f"{BEYOND} dropped=0"), BadLines, f"{BEYOND} dropped=0"),
    _row(
        400,
        error("points beyond retention policy; field type conflict dropped=2"),
        BadLines,
        "points beyond retention policy; field type conflict dropped=2",
    ),
    # Some lines are bad, and the error counts them, names a field, quotes them, or tells nothing.
    _row(400, error(CONFLICT), BadLines, CONFLICT, (), (), 1, "mag"),
    _row(
        422,
        message(f"failure writing points to database: {CONFLICT} for database: a for retention policy: b"),
        BadLines,
        f"failure writing points to database: {CONFLICT} for database: a for retention policy: b",
        (),
        (),
        1,
        "mag",
    ),
    _row(400, error("field type conflict"), BadLines, "field type conflict"),
    _row(
        400,
        error(f"partial write: {unparsable(LINE)} dropped=0"),
        BadLines,
        f"partial write: {unparsable(LINE)} dropped=0",
        ((LINE, "400 invalid number"),),
    ),
    _row(400, error(unparsable("a", "b\\ c")), BadLines, unparsable("a", "b\\ c"), named("a", "b\\ c")),
    _row(400, b"", BadLines),
    _row(400, b"plain text", BadLines, "plain text"),
    _row(422, message("unable to parse"), BadLines, "unable to parse"),
    # A photometer's name in an error does not pass for another error.
    _row(400, error(IN_A_NAME), BadLines, IN_A_NAME),
    _row(500, error(IN_A_NAME), Unreachable, IN_A_NAME),
    _row(400, error(f"partial write: {IN_A_NAME}"), BadLines, f"partial write: {IN_A_NAME}", (), (), 1),
    _row(400, error(QUOTED), BadLines, QUOTED, named(BEYOND)),
    # Half of a surrogate pair, which SQLite cannot store.
    _row(400, b'{"error": "bad \\ud800 name"}', BadLines, "bad \\ud800 name"),
    _row(413, error("Request Entity Too Large"), TooLarge, "Request Entity Too Large"),
    _row(413, PAGE.encode(), TooLarge, PAGE),
    _row(404, error('database not found: "nope"'), Missing, 'database not found: "nope"'),
    _row(404, error('bucket "nope" not found'), Missing, 'bucket "nope" not found'),
    # InfluxDB 2, if no mapping leads to a bucket.
    _row(404, message("unable to find DBRP"), Missing, "unable to find DBRP"),
    _row(404, message("no dbrp mapping found"), Missing, "no dbrp mapping found"),
    _row(404, message('organization name "nope" not found'), Missing, 'organization name "nope" not found'),
    _row(500, error("retention policy not found: zzz"), Missing, "retention policy not found: zzz"),
    _row(401, error("authorization failed"), Unauthorised, "authorization failed"),
    _row(403, message("no rights"), Unauthorised, "no rights"),
    _row(429, b"", Busy),
    _row(503, error("timeout"), Busy, "timeout"),
    _row(500, error("timeout"), Unreachable, "timeout"),
    _row(
        500,
        message("unexpected error writing points to database: timeout"),
        Unreachable,
        "unexpected error writing points to database: timeout",
    ),
    # An error that is no text is shown as it came.
    _row(500, b'{"error": null}', Unreachable, '{"error": null}'),
    _row(500, b'{"error": {"deep": 1}}', Unreachable, '{"error": {"deep": 1}}'),
    _row(500, b'{"error": 1, "message": "m"}', Unreachable, "m"),
    _row(500, b"[" * 50_000, Unreachable, "[" * 500),
    _row(501, b"", Unreachable),
    _row(502, b"<html>Bad Gateway</html>", Unreachable, "<html>Bad Gateway</html>", False, True, True),
    _row(504, b"\xff\xfe gone", Unreachable, "\ufffd\ufffd gone"),
    _row(408, b"", Unreachable),
    _row(418, b"[1, 2]", Unreachable, "[1, 2]"),
    _row(302, b"", Unreachable),
    _row(301, b"Moved", Unreachable, "Moved"),
    # InfluxDB or VictoriaMetrics behind TLS, where the url says http.
    (
        400,
        f"{WANTS_TLS}\n".encode(),
        Unreachable(f"400 {WANTS_TLS} The url must begin with https://"),
    ),
    # A server that has no databases.
    _row(404, b"404 page not found\n", Unreachable, "404 page not found"),
    _row(404, error("no"), Unreachable, "no"),
    # A page is never the answer of a database, and a 200 with a text is no delivery.
    _row(200, PAGE.encode(), Unreachable, PAGE),
    _row(400, b"\n" + PAGE.encode(), Unreachable, PAGE),
    _row(
        404,
        b"<html>no such database; not found</html>",
        Unreachable,
        "<html>no such database; not found</html>",
    ),
    _row(200, error("timeout"), Unreachable, "timeout"),
    _row(200, b'{"results":[]}x', Unreachable, '{"results":[]}x'),
    _row(200, b'{"page":"log in"}', Unreachable, '{"page":"log in"}'),
    # Windows programs begin a file with a byte order mark.
    _row(404, b"\xef\xbb\xbf" + NO_DATABASE.encode(), Unreachable, NO_DATABASE),
    _row(200, b"[]", Unreachable, "[]"),
    _row(200, b"Please log in", Unreachable, "Please log in"),
)
