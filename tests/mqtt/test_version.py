"""Which MQTT is spoken: that of the config as long as the broker may know it."""

import pytest

from tessflux.config import Version
from tessflux.mqtt.version import LOSSES_OF_ACCEPTED, RETRY_CONFIGURED, Choice

BOTH: list[tuple[Version, Version]] = [("5", "3.1.1"), ("3.1.1", "5")]


@pytest.mark.parametrize(("wanted", "other"), BOTH)
def test_a_broker_that_says_it_does_not_know_a_version_is_asked_for_the_other_at_once(
    wanted: Version, other: Version
) -> None:
    choice = Choice(wanted)
    assert choice.next(0) == wanted
    choice.refused(0)
    assert choice.next(1) == other
    assert not choice.takes_neither


@pytest.mark.parametrize(("wanted", "other"), BOTH)
def test_a_broker_that_is_silent_is_asked_for_the_other_at_once_too(wanted: Version, other: Version) -> None:
    choice = Choice(wanted)
    choice.lost(10, silent=True)
    assert choice.next(11) == other


def test_a_broker_that_refuses_both_versions_takes_neither_until_it_takes_one() -> None:
    choice = Choice("3.1.1")
    choice.refused(0)
    choice.refused(1)
    assert choice.takes_neither
    assert choice.next(2) == "3.1.1"
    choice.accepted()
    assert not choice.takes_neither


def test_that_a_broker_lets_us_in_is_news_when_it_did_by_another_version_before() -> None:
    choice = Choice("5")
    assert not choice.accepted()
    choice.refused(100)
    assert choice.accepted()
    assert not choice.accepted()
    assert choice.next(100 + RETRY_CONFIGURED) == "5"
    assert choice.accepted()


def test_that_a_version_is_spoken_since_another_time_is_news_too() -> None:
    """Else a restart would take the memory of it for older than it is."""
    choice = Choice("5")
    choice.refused(100)
    assert choice.accepted()
    assert choice.next(100 + RETRY_CONFIGURED) == "5"
    choice.refused(200 + RETRY_CONFIGURED)
    assert choice.accepted()
    assert choice.since == 200 + RETRY_CONFIGURED


@pytest.mark.parametrize("silent", [True, False])
def test_a_version_that_let_us_in_is_not_blamed_before_the_fifth_time(silent: bool) -> None:
    recalled = Choice("3.1.1")
    recalled.recall(0)
    accepted = Choice("5")
    accepted.accepted()
    for choice in (recalled, accepted):
        for now in range(LOSSES_OF_ACCEPTED):
            assert choice.next(now) == "5"
            choice.lost(now, silent=silent)
        assert choice.next(10) == "3.1.1"
        # That one never did.
        choice.lost(10, silent=True)
        assert choice.next(11) == "5"


def test_what_an_earlier_process_found_counts_for_the_rest_of_the_hour() -> None:
    choice = Choice("5")
    choice.recall(-600)
    assert choice.next(0) == "3.1.1"
    assert not choice.accepted()
    assert choice.next(RETRY_CONFIGURED - 601) == "3.1.1"
    assert choice.next(RETRY_CONFIGURED - 600) == "5"


def test_a_second_loss_in_a_row_before_any_answer_brings_3_1_1_and_one_does_not() -> None:
    choice = Choice("5")
    choice.lost(0, silent=False)
    assert choice.next(1) == "5"
    choice.lost(1, silent=False)
    assert choice.next(2) == "3.1.1"


def test_losses_with_an_answer_in_between_are_not_in_a_row() -> None:
    choice = Choice("5")
    for now in range(10):
        choice.lost(now, silent=False)
        assert choice.next(now) == "5"
        choice.answered()


def test_losses_by_either_version_are_no_question_of_the_version() -> None:
    choice = Choice("5")
    spoken = []
    for now in range(9):
        spoken.append(choice.next(now))
        choice.lost(now, silent=False)
    assert spoken == ["5", "5", "3.1.1", "3.1.1", "5", "5", "3.1.1", "3.1.1", "5"]


def test_mqtt_5_is_tried_again_after_an_hour() -> None:
    choice = Choice("5")
    choice.refused(100)
    choice.accepted()
    assert choice.next(100 + RETRY_CONFIGURED - 1) == "3.1.1"
    assert choice.next(100 + RETRY_CONFIGURED) == "5"
    choice.refused(100 + RETRY_CONFIGURED)
    assert choice.next(100 + 2 * RETRY_CONFIGURED - 1) == "3.1.1"
    assert choice.next(100 + 2 * RETRY_CONFIGURED) == "5"
