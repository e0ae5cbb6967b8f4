"""`tessflux photometers`: the table, the JSON, and what the exit code says."""

import io
import json
from collections.abc import Mapping

import msgspec
import pytest

from tessflux.commands.daemon import Daemon
from tessflux.commands.photometers import photometers
from tessflux.errors import NoDaemon
from tessflux.pages import Listed, Listing

NOW = 1_800_000_000.0


def listed(name: str, state: str = "heard", **values: float) -> Listed:
    return Listed(name, state, NOW - 9_000, NOW - 65, 60.0, 1_440, 2, 3, {"no name": NOW}, values, None)


class Answering(Daemon):
    """A daemon with these photometers, two on a page."""

    def __init__(self, *everyone: Listed, code: int = 200, body: bytes | None = None) -> None:
        super().__init__("/run/tessflux/status.sock")
        self._everyone, self._code, self._body = everyone, code, body
        self.queries: list[Mapping[str, str]] = []

    def ask(self, method: str, path: str, query: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        assert (method, path) == ("GET", "/v1/photometers")
        assert query is not None
        self.queries.append(query)
        page, count = int(query["page"]), len(self._everyone)
        part = list(self._everyone[2 * page - 2 : 2 * page])
        answer = Listing(NOW, count, count, page, max(1, -(-count // 2)), part)
        return self._code, msgspec.json.encode(answer) if self._body is None else self._body


def test_the_table_has_everyone_of_all_pages() -> None:
    daemon = Answering(
        listed("stars1", mag=21.3, wdBm=-61.0),
        listed("\x1b[2Jstars", mag1=19.0),
        listed("bad", "refused"),
        listed("wild", mag=1e308, wdBm=-1e308),
        listed("day", mag=0.0, freq=50_000.0),
    )
    out = io.StringIO()
    assert photometers(daemon, out, unheard=None, form="table") == 0
    assert out.getvalue().splitlines() == [
        "photometer    state    last heard     stored 24 h  refused 24 h  mag/arcsec2  signal dBm",
        "stars1        heard    1 min 5 s ago        1,440             3        21.30         -61",
        "\\x1b[2Jstars  heard    1 min 5 s ago        1,440             3        19.00           -",
        "bad           refused  1 min 5 s ago        1,440             3            -           -",
        "wild          heard    1 min 5 s ago        1,440             3       1e+308     -1e+308",
        "day           heard    1 min 5 s ago        1,440             3   too bright           -",
    ]
    assert [query["page"] for query in daemon.queries] == ["1", "2", "3"]


def test_json_has_an_object_a_line() -> None:
    out = io.StringIO()
    photometers(Answering(listed("stars1", mag=21.3)), out, unheard=None, form="json")
    [line] = out.getvalue().splitlines()
    assert json.loads(line)["values"] == {"mag": 21.3}


@pytest.mark.parametrize(
    ("state", "unheard", "code"),
    [("heard", None, 0), ("silent", None, 1), ("refused", None, 0), ("heard", 7_200.0, 1)],
)
def test_the_exit_code_says_whether_one_is_silent(state: str, unheard: float | None, code: int) -> None:
    daemon = Answering(listed("stars1", state))
    assert photometers(daemon, io.StringIO(), unheard=unheard, form="table") == code
    assert daemon.queries[0]["unheard"] == ("7200" if unheard else "0")


def test_nobody_is_said_and_no_silence() -> None:
    out = io.StringIO()
    assert photometers(Answering(), out, unheard=7_200.0, form="table") == 0
    assert out.getvalue().endswith("\nnone\n")


@pytest.mark.parametrize(("code", "body"), [(404, b"404 no such page\n"), (200, b"{}"), (200, b"<html>")])
def test_a_daemon_that_answers_something_else_is_named(code: int, body: bytes) -> None:
    with pytest.raises(NoDaemon, match=r"404 no such page|another version"):
        photometers(Answering(code=code, body=body), io.StringIO(), unheard=None, form="table")
