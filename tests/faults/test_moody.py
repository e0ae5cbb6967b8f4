"""The server that answers at random, and what torture finds in each database."""

import http.client
from collections import Counter
from pathlib import Path

import pytest
from servers import VictoriaMetrics

from tests.faults.ledger import ROUNDED, Comparison, Ledger
from tests.faults.moody import MOODS, MoodyServer
from tests.faults.outputs import DATABASE, DEDUPLICATE, Victoria
from tests.faults.site import now_ms
from tests.real.site import DEADLINE

T = now_ms()
"""VictoriaMetrics takes nothing of the future."""


def write(port: int, body: str) -> int:
    """The status of the answer, 0 if there is none in time or at all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.2)
    try:
        connection.request("POST", f"/write?db={DATABASE}&precision=ms", body.encode())
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def line(number: int) -> str:
    return f"readings,name=stars{number} freq={number}.5,mag=17.25 {T + number}"


def test_whoever_is_patient_gets_everything_in_once_and_it_answers_in_many_ways(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    seen: Counter[int] = Counter()
    with MoodyServer(1, rows) as server:
        for number in range(300):
            while (status := write(server.port, f"{line(number)}\n{line(number + 1)}\n")) != 204:
                seen[status] += 1
    assert {0, 400, 429, 500, 503} <= seen.keys()
    taken = rows.read_text().splitlines()
    assert len(taken) == len(set(taken))


def test_a_kill_costs_nothing_but_the_line_that_is_half_written(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.write_text(f"{line(1)}\n{line(2)[:-1]}")
    with MoodyServer(1, rows) as server:
        while write(server.port, f"{line(1)}\n{line(3)}\n") != 204:
            pass
    assert rows.read_text().splitlines() == [line(1), line(3)]


def test_what_is_no_line_is_refused_in_the_words_of_influxdb(tmp_path: Path) -> None:
    with MoodyServer(1, tmp_path / "rows") as server:
        assert 400 in {write(server.port, "tessflux") for _ in range(5)}
        assert 204 not in {write(server.port, "tessflux") for _ in range(5)}
    assert (tmp_path / "rows").read_text() == ""


def test_of_a_thousand_requests_most_are_answered_well() -> None:
    assert sum(mood.weight for mood in MOODS) == 1000


@pytest.mark.parametrize("deduplicates", [True, False])
def test_the_rows_of_victoriametrics_are_compared_and_a_sample_that_is_there_twice_is_found(
    tmp_path: Path, deduplicates: bool
) -> None:
    output = Victoria(tmp_path)
    output.server = output.victoria = VictoriaMetrics(
        tmp_path / "one", flags=[DEDUPLICATE] if deduplicates else []
    )
    ledger = Ledger(photometers=3)
    samples = [ledger.publish(T) for _ in range(100)]
    fields = [",".join(f"{key}={value}" for key, value in sample.fields.items()) for sample in samples]
    lines = [f"readings,name=stars{number} {fields[number]} {T + 1}" for number in range(3)]
    with output.server:
        for body in lines, lines[:1]:
            connection = http.client.HTTPConnection("127.0.0.1", output.server.port, timeout=DEADLINE)
            connection.request("POST", f"/write?db={DATABASE}&precision=ms", "\n".join(body).encode())
            assert connection.getresponse().status == 204
            connection.close()
        comparison = Comparison(ledger, ROUNDED)
        for rows in output.rows(3):
            comparison.check(rows, T + 10)
    found = comparison.differences()
    assert (found.doubled, found.altered, found.unknown) == ([] if deduplicates else [0], [], [])
    assert found.lost == list(range(3, 100))
