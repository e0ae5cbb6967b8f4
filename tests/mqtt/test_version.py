"""Which MQTT is spoken: 5 as long as the broker may know it."""

from tessflux.mqtt.version import RETRY_CONFIGURED, Choice


def test_3_1_1_is_spoken_for_ever_when_it_is_configured() -> None:
    choice = Choice("3.1.1")
    choice.refused(0)
    for now in (1, 2, 3, 4 * RETRY_CONFIGURED):
        choice.lost(now)
        assert choice.next(now) == "3.1.1"


def test_a_broker_that_says_it_does_not_know_mqtt_5_is_asked_for_3_1_1_at_once() -> None:
    choice = Choice("5")
    assert choice.next(0) == "5"
    choice.refused(0)
    assert choice.next(1) == "3.1.1"


def test_a_second_loss_in_a_row_before_any_answer_brings_3_1_1_and_one_does_not() -> None:
    choice = Choice("5")
    choice.lost(0)
    assert choice.next(1) == "5"
    choice.lost(1)
    assert choice.next(2) == "3.1.1"


def test_losses_with_an_answer_in_between_are_not_in_a_row() -> None:
    choice = Choice("5")
    for now in range(10):
        choice.lost(now)
        assert choice.next(now) == "5"
        choice.accepted()


def test_losses_by_either_version_are_no_question_of_the_version() -> None:
    choice = Choice("5")
    spoken = []
    for now in range(9):
        spoken.append(choice.next(now))
        choice.lost(now)
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
