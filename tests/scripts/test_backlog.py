"""What scripts/backlog plans and prints; that it does it all shows only when it runs."""

from backlog import Schedule, report
from punctuality import compare

from tests.scripts.test_punctuality import BEGIN, published, row


def test_the_power_fails_in_both_absences_and_between_them() -> None:
    schedule = Schedule.of(10)
    assert (schedule.live, schedule.away) == (300, 600)
    assert schedule.reboots == "480,1050,1440"


def test_however_short_it_is_the_slowest_photometer_publishes_meanwhile() -> None:
    assert Schedule.of(0.5) == Schedule(90, 30)


def test_a_table_has_a_row_for_each_tessflux_and_each_way_to_wait() -> None:
    readings = [published(seq, 10 * seq) for seq in (2, 3, 4, 5)]
    found = compare(readings, [row(2, 20), row(3, 36), row(4, 40), row(9, 0)])
    windows = {"did not wait": (BEGIN, BEGIN + 25_000), "waited": (BEGIN + 30_000, BEGIN + 60_000)}
    assert report({"old": found}, windows).splitlines() == [
        "|  | readings | median s | 95% within s | worst s | within half a period |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| old, did not wait | 1 | 0.00 | 0.00 | 0.00 | 100.0% |",
        "| old, waited | 2 | 3.00 | 6.00 | 6.00 | 50.0% |",
        "",
        "- old: 3 stored, 1 lost, 1 too many, 0 in the wrong order",
    ]
