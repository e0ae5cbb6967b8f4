"""The account of a daemon's run is read from its log, and must add up."""

import pytest

from tests.faults.accounting import Account, account, accounts, check_account

LOG = """\
x [spool#info] 7 readings wait for [influxdb]
x [mqtt#info] MQTT Stats [Total, Accepted, Filtered] = [10, 5, 2], refused 2, lost 0; since the start 10 \
received, refused {'not JSON': 2}, filtered {'duplicate': 2}
x [influxdb#info] InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [2, 2, 0, 0], readings delivered 9, \
waiting 3; since the start 9 delivered, beyond retention 0, quarantined 0
x [spool#error] Cannot store readings: disk failed (disk I/O error; /spool). Look after the disk
x [mqtt#info] MQTT Stats [Total, Accepted, Filtered] = [21, 18, 0], refused 0, lost 3; since the start 31 \
received, refused {'not JSON': 2}, filtered {'duplicate': 2}; held until their time is known: 1
x [influxdb#info] InfluxDB Write Stats [Requested, Ok, Reject, Fail] = [2, 2, 0, 0], readings delivered 15, \
waiting 3; since the start 24 delivered, beyond retention 1, quarantined 2
x [tessflux#info] tessflux has stopped, 3 readings wait
"""


def test_the_periods_of_a_run_are_added() -> None:
    assert check_account(LOG) == Account(
        received=31,
        stored=23,
        filtered=2,
        refused=2,
        lost=3,
        held=1,
        before=7,
        delivered=24,
        expired=1,
        quarantined=2,
        after=3,
    )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[21, 18, 0]", "[21, 17, 0]", "messages do not add up"),
        ("lost 3;", "lost 2;", "messages do not add up"),
        ("waiting 3; since the start 24", "waiting 4; since the start 24", "lines do not add up"),
        ("7 readings wait for", "8 readings wait for", "lines do not add up"),
        ("start 31 received", "start 32 received", "the last one 32"),
        ("is known: 1", "is known: 2", "messages do not add up"),
        ("tessflux has stopped", "", "did not end in order"),
        ("spool#error", "spool#info", "3 lost, and the log does not say why"),
    ],
)
def test_an_account_that_does_not_add_up_fails(old: str, new: str, what: str) -> None:
    assert old in LOG
    with pytest.raises(AssertionError, match=what):
        check_account(LOG.replace(old, new))


def test_a_run_that_was_killed_has_no_account() -> None:
    with pytest.raises(AssertionError, match="did not end in order"):
        account("x [mqtt#info] Subscribed to ['STARS4ALL/+/reading'] at QoS 1\n")


@pytest.mark.parametrize(("delivered", "good"), [(29, True), (28, False)])
def test_lines_add_up_for_each_output(delivered: int, good: bool) -> None:
    copy = (
        "x [spool#info] 9 readings wait for [influxdb copy]; 5 that it took just before are sent once more\n"
        "x [influxdb#info] InfluxDB Write Stats of [influxdb copy] [Requested, Ok, Reject, Fail] ="
        f" [2, 2, 0, 0], readings delivered {delivered}, waiting 3; since the start {delivered} delivered,"
        " beyond retention 0, quarantined 0, sent again 5\n"
    )
    assert accounts(LOG + copy)["influxdb copy"].delivered == delivered
    if good:
        assert check_account(LOG + copy) == check_account(LOG)
    else:
        with pytest.raises(AssertionError, match=r"influxdb copy.*lines do not add up"):
            check_account(LOG + copy)
