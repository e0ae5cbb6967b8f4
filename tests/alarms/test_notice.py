"""What a program gets."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tessflux.alarms.notice import CLEARED, Notice, a_test
from tests.status.site import NOW

NOTICE = Notice("output", CLEARED, "influxdb mirror", "it is back", NOW, NOW - 60)


def test_all_of_it_is_in_the_environment_and_in_json() -> None:
    fields = {
        "event": "output",
        "state": "cleared",
        "subject": "influxdb mirror",
        "text": "it is back",
        "time": "2027-01-15T08:00:00+00:00",
        "since": "2027-01-15T07:59:00+00:00",
        "more": 0,
        "host": "pi",
    }
    assert json.loads(NOTICE.as_json("pi")) == fields
    assert NOTICE.environment("pi") == {f"TESSFLUX_{key.upper()}": str(fields[key]) for key in fields}


def test_a_test_says_that_it_is_one() -> None:
    assert a_test(NOW).event == "test"
    assert "test" in a_test(NOW).text


@given(st.text(), st.text())
def test_whatever_is_in_it_a_program_can_be_given_it(subject: str, text: str) -> None:
    """No variable of the environment can hold a NUL, and one line is one line."""
    notice = Notice("silent", CLEARED, subject, text, NOW, NOW)
    assert all(value.isprintable() for value in notice.environment("pi").values())
    assert notice.as_json("pi").count(b"\n") == 1
