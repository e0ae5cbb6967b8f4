"""What a broker says about what it does for us, and what of that is shown."""

from dataclasses import replace

import pytest

from tessflux.mqtt.terms import FOR_EVER, Terms, duration, lower_qos, objections, remarks
from tests.mqtt.site import CONFIG


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (2, "2 s"),
        (90, "90 s"),
        (120, "2 minutes"),
        (3_600, "1 hour"),
        (7_200, "2 hours"),
        (14 * 86_400, "14 days"),
        (FOR_EVER, "for ever"),
    ],
)
def test_a_duration_is_said_in_whole_units(seconds: int, words: str) -> None:
    assert duration(seconds) == words


def test_a_broker_that_grants_what_was_asked_for_brings_no_remark() -> None:
    assert remarks(Terms()) == remarks(Terms(session_expiry=FOR_EVER)) == []
    assert lower_qos({"a": 1, "b": 2}, 1) == lower_qos({"a": 0}, 0) == []
    assert objections(Terms(), replace(CONFIG, share_group="g", topics=("a/+",))) == []
    assert objections(Terms(shared=False, wildcards=False), CONFIG) == []
    assert str(Terms()) == ""


def test_a_session_that_ends_is_remarked_on() -> None:
    assert remarks(Terms(session_expiry=0)) == [
        "the broker keeps no session: what is published while tessflux is away is lost"
    ]
    [remark] = remarks(Terms(session_expiry=7_200))
    assert "only 2 hours after a connection ends" in remark


def test_only_the_topics_at_qos_0_are_named() -> None:
    [remark] = lower_qos({"b": 0, "a": 0, "c": 1}, 1)
    assert "grants only QoS 0 for a, b: " in remark
