"""A loss at QoS 0 is excused by what happened at its time, and by nothing else."""

from pathlib import Path

import pytest

from tests.faults.chaos import Fault
from tests.faults.excuses import BACKLOG, COMMIT, LATENCY, RETRY, Excuses, excuses, findings
from tests.faults.ledger import Comparison, Ledger
from tests.faults.world import Run

T = 1_800_000_000_000
"""2027-01-15T08:00:00Z"""

END = T + 1_000_000


def run(directory: Path, end: str, ended: int, *lines: tuple[int, str]) -> Run:
    """A life of the daemon with these lines in its log, at seconds after T."""
    log = directory / f"{len(list(directory.iterdir()))}.log"
    text = ""
    for seconds, line in lines:
        text += f"2027-01-15T08:{seconds // 60:02}:{seconds % 60:02}+0000 [{line}\n"
    log.write_text(text)
    return Run(1, log, T, ended, end)


SUBSCRIBED = "mqtt#info] Subscribed to ['STARS4ALL/+/reading']"
LOST = "mqtt#warn] Lost the connection to the broker tcp:127.0.0.1:1: Connection was closed cleanly."


def test_before_it_subscribes_a_daemon_hears_nothing(tmp_path: Path) -> None:
    found = excuses([run(tmp_path, "", 0, (5, SUBSCRIBED))], [], END)
    assert found.of(T) == "not yet subscribed"
    assert found.of(T + 6_000) == "not yet subscribed"
    assert found.of(T + 6_001) == ""
    assert found.of(END) == ""


CUT = "mqtt#error] Cannot use the broker tcp:127.0.0.1:1: the connection was lost; tessflux keeps trying"
"""As is logged when it is lost between the subscription to readings and that to register messages."""


@pytest.mark.parametrize("lost", [LOST, CUT])
def test_from_the_loss_of_the_broker_until_it_is_subscribed_again_it_is_deaf(
    tmp_path: Path, lost: str
) -> None:
    only = run(tmp_path, "", 0, (5, SUBSCRIBED), (20, lost), (25, SUBSCRIBED))
    found = excuses([only], [], END)
    assert found.of(T + 20_000 - LATENCY - 1) == ""
    assert found.of(T + 20_000 - LATENCY) == "not connected"
    assert found.of(T + 26_000) == "not connected"
    assert found.of(T + 26_001) == ""


def test_what_a_fault_held_back_goes_with_the_connection(tmp_path: Path) -> None:
    only = run(tmp_path, "", 0, (5, SUBSCRIBED), (20, LOST), (25, SUBSCRIBED))
    late = Fault("broker", "silent", T + 11_000, T + 19_000)
    early = Fault("broker", "silent", T + 8_000, T + 20_000 - BACKLOG - 1)
    found = excuses([only], [late, early], END)
    assert found.of(T + 11_000 - LATENCY) == "not connected"
    assert found.of(T + 11_000 - LATENCY - 1) == ""


def test_a_fault_that_costs_no_connection_excuses_nothing(tmp_path: Path) -> None:
    only = run(tmp_path, "", 0, (5, SUBSCRIBED))
    assert excuses([only], [Fault("broker", "late", T + 10_000, T + 12_000)], END).of(T + 11_000) == ""
    restart = Fault("broker", "restart", T + 10_000, T + 12_000)
    assert excuses([only], [restart], END).of(T + 11_000) == "broker restarted"


@pytest.mark.parametrize(("end", "before"), [("killed", LATENCY + COMMIT), ("stopped", LATENCY)])
def test_a_kill_costs_the_commit_interval_and_a_stop_does_not(tmp_path: Path, end: str, before: int) -> None:
    runs = [
        run(tmp_path, end, T + 30_000, (5, SUBSCRIBED)),
        run(tmp_path, "", 0, (33, SUBSCRIBED)),
    ]
    found = excuses(runs, [], END)
    assert found.of(T + 30_000 - before - 1) == ""
    assert found.of(T + 30_000 - before) == end
    assert found.of(T + 34_000) == end
    assert found.of(T + 34_001) == ""


def test_a_full_disk_is_an_excuse_if_the_daemon_said_so(tmp_path: Path) -> None:
    full = Fault("disk", "disk full", T + 20_000, T + 25_000)
    silent = run(tmp_path, "", 0, (5, SUBSCRIBED))
    said = run(tmp_path, "", 0, (5, SUBSCRIBED), (21, "spool#error] Cannot store readings: disk failed"))
    assert excuses([silent], [full], END).of(T + 22_000) == ""
    found = excuses([said], [full], END)
    assert found.of(T + 20_000) == "nothing could be stored"
    assert found.of(T + 25_000 + RETRY + LATENCY + 1) == ""


def test_windows_may_overlap() -> None:
    found = Excuses([("a", 10, 20), ("a", 15, 18), ("b", 19, 30), ("a", 40, 50)])
    assert [found.of(time) for time in (9, 10, 17, 20, 21, 30, 31, 45)] == [
        "", "a", "a", "a", "b", "b", "", "a"
    ]  # fmt: skip


def test_a_lost_reading_needs_an_excuse_at_qos_0_and_has_none_at_qos_1() -> None:
    ledger = Ledger()
    for number in range(6):
        ledger.publish(T + number, number % 2)
    nothing = Comparison(ledger).differences()
    found = findings(ledger, {"influxdb": nothing}, {4}, Excuses([("away", T, T + 1)]))
    assert dict(found.published) == {0: 3, 1: 3}
    assert found.excused == {"away": 1}
    assert found.had_to_arrive == 2
    assert [problem.partition(": (")[0] for problem in found.problems] == [
        "influxdb, QoS 0: lost 1",
        "influxdb, QoS 1: lost 3",
    ]


def test_what_one_database_has_the_others_have_no_excuse_to_lack() -> None:
    ledger = Ledger()
    row = {"name": (sample := ledger.publish(T, 0)).name, "time": T, **sample.fields}
    ledger.publish(T, 0)
    one, other = Comparison(ledger), Comparison(ledger)
    one.check([row], until=T)
    both = {"one": one.differences(), "other": other.differences()}
    found = findings(ledger, both, set(), Excuses([("away", T, T + 1)]))
    assert found.problems == [f"other, QoS 0: lost 1: (number, published at) [(0, {T})]"]
    assert found.excused == {"away": 1}


def test_what_is_stored_wrongly_is_wrong_at_any_qos() -> None:
    ledger = Ledger()
    sample = ledger.publish(T, 0)
    row = {"name": sample.name, "time": T, **sample.fields}
    comparison = Comparison(ledger)
    comparison.check([row, {**row, "mag": 1.0, "time": T - 1}, {**row, "freq": -1.0}], until=T)
    found = findings(ledger, {"influxdb": comparison.differences()}, set(), Excuses([("away", 0, END)]))
    assert [problem.split()[1] for problem in found.problems] == [
        "doubled",
        "altered",
        "misplaced",
        "unknown",
    ]
