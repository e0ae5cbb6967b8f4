"""Every answer has one verdict, and every verdict is about the lines or about the server."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tessflux.influx
from tessflux.influx.delivery import Delivery
from tessflux.influx.server import Server
from tessflux.influx.verdict import (
    BadLines,
    Busy,
    Delivered,
    Expired,
    Fails,
    Missing,
    TooLarge,
    Unauthorised,
    Unreachable,
    Verdict,
    about_lines,
    blame_lines,
    classify,
)
from tests.influx.answers import ANSWERS, error, named, unparsable

NOW = datetime(2024, 3, 20, 12, 0, 0, tzinfo=UTC)
SLOW = Unreachable("no answer within 30 s", slow=True)


@pytest.mark.parametrize(("code", "body", "verdict"), ANSWERS)
def test_every_answer_has_its_verdict(code: int, body: bytes, verdict: Verdict) -> None:
    assert classify(code, body, None, NOW) == verdict


REAL = [json.loads(line) for line in Path(__file__).with_name("real_answers.jsonl").read_text().splitlines()]
"""What eight servers answered to requests of 60 lines, some of them bad; InfluxDB 3 as its source says."""


@pytest.mark.parametrize("answer", REAL, ids=[f"{answer['server']}: {answer['case']}" for answer in REAL])
def test_every_answer_of_a_real_server_has_its_verdict(answer: dict[str, Any]) -> None:
    verdict = classify(answer["status"], answer["body"].encode(), None, NOW)
    assert type(verdict).__name__ == answer["verdict"]
    if isinstance(verdict, Expired):
        assert verdict.dropped == 3
    if isinstance(verdict, BadLines):
        assert verdict.quoted == tuple(map(tuple, answer.get("quoted", [])))
        assert verdict.numbered == tuple(map(tuple, answer.get("numbered", [])))


@pytest.mark.parametrize(
    "body",
    [
        {"error": "partial write", "data": 5},
        {"error": "partial write", "data": [5, None, {"original_line": 5}, {"error_message": "x"}]},
        {"error": "unexpected", "data": [{"original_line": None, "error_message": None}]},
        {"message": "error in line 1: x"},
        {"message": "partial write: name=failed to parse line protocol:\nerror in line 1: x dropped=1"},
        {"message": 'incorrect influx line "a\\q'},
    ],
)
def test_an_answer_of_another_shape_names_no_line(body: dict[str, object]) -> None:
    verdict = classify(400, json.dumps(body).encode(), None, NOW)
    assert isinstance(verdict, BadLines)
    assert (verdict.quoted, verdict.numbered) == ((), ())


def test_a_verdict_does_not_depend_on_what_is_hidden() -> None:
    """A password may be a word of the answer, or of a line."""

    def hide(said: str) -> str:
        return said.replace("a", "***")

    body = error(unparsable("bad,name=a f=x 1"))
    verdict = classify(400, body, None, NOW, hide)
    assert isinstance(verdict, BadLines)
    assert verdict.quoted == (("bad,name=a f=x 1", "400 inv***lid number"),)
    assert "a" not in verdict.reason
    missing = classify(404, error("database not found: a"), None, NOW, hide)
    assert missing == Missing("404 d***t***b***se not found: ***")


@given(st.integers(100, 599), st.binary(), st.none() | st.text())
def test_no_answer_is_without_a_verdict(code: int, body: bytes, retry_after: str | None) -> None:
    assert classify(code, body, retry_after, NOW) is not None


@given(st.text())
def test_any_text_of_an_error_is_read(text: str) -> None:
    assert isinstance(classify(500, error(text), None, NOW), Unreachable | Missing)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("Wed, 20 Mar 2024 12:01:30 GMT", 90.0),
        ("Wed, 20 Mar 2024 12:01:30", 90.0),
        ("Wed, 20 Mar 2024 14:01:30 +0200", 90.0),
        ("Wed, 20 Mar 2024 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("nan", None),
        ("Wed, 20 Mar 2024 12:01:30 +9999999999999999", None),
        ("9" * 400, None),
        ("9" * 5_000, None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_read_in_seconds_or_as_a_date(
    code: int, header: str | None, seconds: float | None
) -> None:
    assert classify(code, b"", header, NOW) == Busy(str(code), seconds)


def test_a_reason_is_short_however_long_the_error_is_and_every_quoted_line_is_found() -> None:
    lines = [f"r,name=n{number} bad" for number in range(2_000)]
    verdict = classify(400, error(unparsable(*lines)), None, NOW)
    assert isinstance(verdict, BadLines)
    assert verdict.quoted == named(*lines)
    assert len(verdict.reason) < 600


def test_an_error_full_of_beginnings_of_quotes_is_read_quickly() -> None:
    """A search that began anew at each of them would block the reactor for minutes."""
    verdict = classify(400, ("unable to parse '" * 200_000).encode(), None, NOW)
    assert isinstance(verdict, BadLines)
    assert verdict.quoted == ()


@pytest.mark.parametrize(
    ("verdict", "count", "timeouts", "answer"),
    [
        (Delivered(), 0, 0, Delivered()),
        (Delivered(), 9, 0, Delivered()),
        (Expired(1, "400"), 9, 0, Expired(1, "400")),
        # A request without lines cannot have bad ones.
        (BadLines("400"), 0, 0, None),
        (BadLines("400"), 1, 0, BadLines("400")),
        # A single line is never too large.
        (TooLarge("413"), 0, 0, None),
        (TooLarge("413"), 1, 0, None),
        (TooLarge("413"), 2, 0, TooLarge("413")),
        # The second timeout in a row means that fewer lines may get through.
        (SLOW, 2, 1, None),
        (SLOW, 2, 2, TooLarge(SLOW.reason)),
        (SLOW, 1, 2, None),
        (Unreachable("500"), 2, 2, None),
        (Missing("404"), 9, 0, None),
        (Unauthorised("401"), 9, 0, None),
        (Busy("503"), 9, 0, None),
    ],
)
def test_a_verdict_is_about_the_lines_or_about_the_server(
    verdict: Verdict, count: int, timeouts: int, answer: Verdict | None
) -> None:
    assert about_lines(verdict, count, timeouts) == answer


@pytest.mark.parametrize(
    ("verdict", "blame"),
    [
        (Unreachable("500"), Fails("500")),
        (SLOW, Fails(SLOW.reason)),
        (TooLarge("413"), Fails("413")),
        # A proxy may dislike what is in a line.
        (Unauthorised("403"), Fails("403")),
        (Unreachable("refused", connected=False), None),
        # A server that limits requests may take every other one.
        (Busy("429"), None),
        (Missing("404"), None),
    ],
)
def test_if_the_server_takes_other_lines_a_verdict_on_it_may_be_about_these(
    verdict: Verdict, blame: Verdict | None
) -> None:
    assert [blame_lines(verdict, count) for count in (0, 1, 2)] == [None, blame, blame]


def test_the_table_of_the_room_has_every_verdict_and_leads_to_the_code() -> None:
    lines = (tessflux.influx.__doc__ or "").splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in lines if re.match("  [^ -]", line)][1:]
    verdicts = dict.fromkeys(verdict for _, verdict, _, _ in rows)
    assert list(verdicts) == [verdict.__name__ for verdict in get_args(Verdict)]
    for *_, place in rows:
        owner, method = place.split(".")
        assert hasattr({"Delivery": Delivery, "Server": Server}[owner], method)
