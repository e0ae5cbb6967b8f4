"""An InfluxDB 2 and an InfluxDB 3 that keep rows in memory, and answer word for word as real ones do.

The answers are those of tests/influx/real_answers.jsonl; of its bucket API InfluxDB 2 answers what tessflux
reads, and the form of what is at /query is that of their sources. Lines of the photometers in `refused` are
refused one by one, as a real one does with bad lines.
"""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.faults.scripted import Answer, Request, ScriptedServer

REAL = Path(__file__).parents[1] / "influx/real_answers.jsonl"
ANSWERS = {(each["server"], each["case"]): each for each in map(json.loads, REAL.read_text().splitlines())}
TWO, THREE = "InfluxDB 2.7.12", "InfluxDB 3 Core 3.9.6"
HEADERS = {
    TWO: {"X-Influxdb-Build": "OSS", "X-Influxdb-Version": "dev"},
    THREE: {"X-Influxdb-Build": "Core", "X-Influxdb-Version": "3.9.6"},
}
TOKEN = "T0ken-of-the-tests=="
SELECT = re.compile(
    r"""SELECT (.+) FROM "(\w+)" WHERE "name" = '(\w+)' AND time >= (\d+) AND time < (\d+)"""
    r"( ORDER BY time DESC)?(?: ORDER BY time)?(?: LIMIT (\d+))?"
)
"""Statements of InfluxQL that tessflux makes."""
LINE = re.compile(r"readings,name=(\w+) (\S+) (\d{13})")

Row = tuple[str, int, tuple[tuple[str, float], ...]]
"""The photometer, the time in ms and the fields."""


def recorded(server: str, case: str, **names: str) -> Answer:
    """What the real server answered; `names` stand in the place of those that it was asked with."""
    found = ANSWERS[server, case]
    body = found["body"]
    for old, new in names.items():
        body = body.replace(f'\\"{old}\\"', f'\\"{new}\\"')
    return Answer(found["status"], body.encode(), HEADERS[server])


def row(line: str) -> Row:
    """What a line stores. Every field must be a float as a database writes one."""
    match = LINE.fullmatch(line)
    assert match, line
    fields = dict(pair.split("=") for pair in match[2].split(","))
    assert not any(value.endswith("i") or value[0] == '"' for value in fields.values())
    return match[1], int(match[3]), tuple(sorted((key, float(value)) for key, value in fields.items()))


class Database(ScriptedServer):
    """What both have in common. A row that comes twice is one row, as its key is its series and its time."""

    def __init__(self, refused: Iterable[str] = ()) -> None:
        super().__init__()
        self.token = TOKEN
        self._refused = frozenset(refused)
        self._rows: dict[tuple[str, int], Row] = {}

    def rows(self) -> list[Row]:
        return sorted(self._rows.values())

    def select(self, statement: str) -> list[dict[str, object]]:
        """The series that answer a statement, as programs for InfluxDB 1 see them. Times are in ns."""
        found = SELECT.fullmatch(statement.strip())
        assert found, statement
        what, measurement, name, begin, end, newest_first, limit = found.groups()
        rows = [row for row in self.rows() if row[0] == name and int(begin) <= row[1] * 10**6 < int(end)]
        rows = rows[:: -1 if newest_first else 1][: int(limit) if limit else None]
        if not rows or measurement != "readings":
            return []
        if what == "*::field":
            fields = sorted({key for _, _, values in self.rows() for key, _ in values})
            table = [[time * 10**6, *map(dict(values).get, fields)] for _, time, values in rows]
        else:
            asked = re.findall(r'last\("(\w+)"\)', what)
            fields = [f"last_{number}" if number else "last" for number in range(len(asked))]
            newest = {key: value for _, _, values in rows for key, value in values}
            table = [[0, *map(newest.get, asked)]]
        return [{"name": "readings", "columns": ["time", *fields], "values": table}]

    def query(self, asked: dict[str, str], series: dict[str, object]) -> Answer:
        """What a GET /query gives; `series` is what stands in an answer without rows."""
        assert asked["db"] == "sky"
        assert asked["epoch"] == "ns"
        if found := self.select(asked["q"]):
            series = {"series": found}
        return Answer(200, json.dumps({"results": [{"statement_id": 0, **series}]}).encode())

    def store(self, request: Request) -> list[tuple[int, str]]:
        """Keep the good lines; the number and the text of each bad one."""
        bad = []
        for number, line in enumerate(body_of(request).splitlines(), 1):
            if not LINE.fullmatch(line) or row(line)[0] in self._refused:
                bad.append((number, line))
            else:
                name, time, _ = row(line)
                self._rows[name, time] = row(line)
        return bad


class Two(Database):
    """InfluxDB 2 with one organization, `stars`."""

    def __init__(self, refused: Iterable[str] = (), *, buckets: Iterable[str] = ("sky",)) -> None:
        super().__init__(refused)
        self.buckets: dict[str, list[object]] = {name: [] for name in buckets}

    def answer(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path == "/ping":
            return Answer(204, headers=HEADERS[TWO])
        if request.headers.get("authorization") != f"Token {self.token}":
            known = "wrong credentials" if "authorization" in request.headers else "no credentials"
            return recorded(TWO, known)
        asked = {key: value for key, [value] in parse_qs(urlsplit(request.path).query).items()}
        match path:
            case "/api/v2/write":
                return self._write(request, asked)
            case "/query":
                return self.query(asked, {})
            case "/api/v2/orgs":
                return Answer(200, json.dumps({"orgs": [{"id": "0a", "name": "stars"}]}).encode())
            case "/api/v2/buckets":
                made = json.loads(request.body)
                assert made["orgID"] == "0a"
                self.buckets[made["name"]] = made["retentionRules"]
                return Answer(201, request.body)
            case _:
                return Answer(404, b'{"code":"not found","message":"path not found"}', HEADERS[TWO])

    def _write(self, request: Request, asked: dict[str, str]) -> Answer:
        assert asked["precision"] == "ms"
        if asked["org"] != "stars":
            return recorded(TWO, "api/v2/write no org", nope=asked["org"])
        if asked["bucket"] not in self.buckets:
            return recorded(TWO, "api/v2/write no bucket", nope=asked["bucket"])
        if not request.body:
            return recorded(TWO, "api/v2/write empty")
        if bad := self.store(request):
            text = "\n".join(f"unable to parse '{line}': missing fields" for _, line in bad)
            return Answer(400, json.dumps({"code": "invalid", "message": text}).encode(), HEADERS[TWO])
        return recorded(TWO, "api/v2/write")


class Three(Database):
    """InfluxDB 3, which has every database that somebody names."""

    def answer(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return recorded(THREE, "a wrong token")
        if path == "/ping":
            return Answer(200, b'{"version":"3.9.6","revision":"1"}', HEADERS[THREE])
        asked = {key: value for key, [value] in parse_qs(urlsplit(request.path).query).items()}
        if path == "/query":
            return self.query(asked, {"series": []})
        if path != "/api/v3/write_lp":
            return Answer(404, b'{"error": "not found"}', HEADERS[THREE])
        assert asked == {"db": "sky", "precision": "millisecond", "accept_partial": "true"}
        if not request.body:
            return recorded(THREE, "empty")
        if bad := self.store(request):
            data = [
                {"original_line": line, "line_number": number, "error_message": "No fields were provided"}
                for number, line in bad
            ]
            partial = {"error": "partial write of line protocol occurred", "data": data}
            return Answer(400, json.dumps(partial).encode(), HEADERS[THREE])
        return recorded(THREE, "good")


def body_of(request: Request) -> str:
    """The lines of a write request."""
    packed = request.headers.get("content-encoding") == "gzip"
    return (gzip.decompress(request.body) if packed else request.body).decode()
