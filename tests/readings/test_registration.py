"""What photometers say of themselves: what is read of it, and when it is written."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.config.places import Place
from tessflux.limits import REGISTRATIONS
from tessflux.readings import (
    Admission,
    Filtered,
    Judge,
    Message,
    Outcome,
    Quarantined,
    Registered,
    Said,
)
from tessflux.readings.outcome import Remark
from tessflux.readings.reading import Refused
from tessflux.readings.registration import Registration, Registrations, read
from tests.readings.samples import NOW, message, payload

TOPIC = "STARS4ALL/register"
FIRMWARE = b'{"name":"stars77", "rev":2, "mac":"5C:CF:7F:8:A:1", "chan":"pruebas", "calib":20.44, "wdBm":-51}'
"""As v3.2 publishes it."""
FOUR = {
    "rev": 3,
    "name": "stars701",
    "mac": "AA:BB:CC:DD:E3:0D",
    "firmware": "Mar  4 2024",
    "F1": {"band": "UVIR750", "calib": 20.5},
    "F2": {"band": "UVIR650", "calib": 20.25},
    "F3": {"band": "RGB-R", "calib": 19.96},
    "F4": {"band": "RGB-B", "calib": 20},
}
SQM = {"name": "sqm1", "model": "SQM-LU", "mac": "2142", "calib": 20.5, "rev": 2, "chan": "x/sqm1/reading"}


class Registering:
    """A judge of register messages; each comes a second after the one before it."""

    def __init__(self, places: dict[str, Place] | None = None, new_photometers: int = 0) -> None:
        admission = Admission()
        admission.choose(frozenset(), frozenset({"banned"}), new_photometers)
        self.judge = Judge(admission)
        self.place(places or {})
        self.now = NOW

    def place(self, places: dict[str, Place], *, registers: bool = True) -> None:
        self.judge.configure(
            measurement="north", extra_fields=(), validation=True, registers=registers, places=places
        )

    def says(
        self, what: bytes | dict[str, Any], topic: str = TOPIC, *, again: bool = False, **message: Any
    ) -> Outcome:
        payload = what if isinstance(what, bytes) else json.dumps({"name": "stars1", **what}).encode()
        self.now += 1_000
        given = {"retained": False, "received_at": self.now, **message}
        admit = self.judge.admission.admit_requeued if again else None
        return self.judge.judge(Message(topic, payload, **given), admit)

    def line(self, what: bytes | dict[str, Any], **message: Any) -> str:
        """Of one that must be written, but for the time."""
        outcome = self.says(what, **message)
        assert isinstance(outcome, Registered), outcome
        line, _, time = outcome.line.rpartition(" ")
        assert int(time) == outcome.said.time
        return line


UNCHANGED = Filtered("register message")


# What is read


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (FIRMWARE, 'photometers,name=stars77 mac="5C:CF:7F:08:0A:01",zp=20.44'),
        (
            FOUR,
            'photometers,name=stars701 mac="AA:BB:CC:DD:E3:0D",firmware="Mar  4 2024",'
            "zp1=20.5,zp2=20.25,zp3=19.96,zp4=20.0",
        ),
        (SQM, 'photometers,name=sqm1 mac="2142",model="SQM-LU",zp=20.5'),
        ({"mac": "5c-cf-7f-08-a-1"}, 'photometers,name=stars1 mac="5C:CF:7F:08:0A:01"'),
        ({"mac": None, "calib": 20}, "photometers,name=stars1 zp=20.0"),
        ({"mac": " x ", "calib": None}, 'photometers,name=stars1 mac="x"'),
        ({"calib": "20.50", "offsethz": 0.01}, "photometers,name=stars1 zp=20.5,offsethz=0.01"),
        ({"calib": 20.5, "offsethz": float("nan")}, "photometers,name=stars1 zp=20.5"),
        ({"mac": 'a"b\\', "model": "c, d=e"}, r'photometers,name=stars1 mac="a\"b\\",model="c, d=e"'),
        ({"name": "a b,c", "calib": 20.5}, r"photometers,name=a\ b\,c zp=20.5"),
        (
            {"mac": "x", "F1": {"calib": 20.5}, "F2": None, "F3": {}, "calib": 21},
            'photometers,name=stars1 mac="x",zp1=20.5',
        ),
    ],
)
def test_what_a_photometer_says_of_itself_is_one_line(said: bytes | dict[str, Any], line: str) -> None:
    registering = Registering()
    assert registering.line(said) == line
    assert registering.says(said) == UNCHANGED


@pytest.mark.parametrize("nothing", [{"mac": None, "calib": None}, {"mac": " "}])
def test_who_says_nothing_has_no_line(nothing: dict[str, Any]) -> None:
    assert Registering({"stars1": Place(40.0, -3.7)}).says(nothing) == UNCHANGED


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"calib": 2.0}, "its zero point zp is 2, not from 10 to 30"),
        ({"calib": 30.01}, "its zero point zp is 30.01, not from 10 to 30"),
        ({"calib": "twenty"}, "its zero point zp is no number, not from 10 to 30"),
        ({"calib": True}, "its zero point zp is no number, not from 10 to 30"),
        ({"F1": {"calib": 1}}, "its zero point zp1 is 1, not from 10 to 30"),
        ({"model": "a\nb"}, "its model is no text of at most 64 printable characters"),
        ({"firmware": "x" * 65}, "its firmware is no text of at most 64 printable characters"),
        ({"model": {}}, "its model is no text of at most 64 printable characters"),
    ],
)
def test_a_value_that_is_refused_costs_only_itself_and_deserves_a_remark(
    wrong: dict[str, Any], detail: str
) -> None:
    registering = Registering()
    outcome = registering.says({"mac": "x", **wrong})
    assert isinstance(outcome, Registered)
    assert outcome.line.startswith('photometers,name=stars1 mac="x" ')
    remark = Remark("stars1", "register message", detail)
    assert outcome.remark == remark
    assert registering.says({"mac": "x", **wrong}) == Filtered("register message", remark)


@pytest.mark.parametrize("zero_point", [10, 30])
def test_the_bounds_of_zero_points_are_among_them(zero_point: int) -> None:
    assert Registering().line({"calib": zero_point}) == f"photometers,name=stars1 zp={zero_point}.0"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=3), inside, max_size=2),
    max_leaves=4,
)
KEYS = ("mac", "calib", "firmware", "model", "offsethz", "tstamp", "F1", "F2", "F3", "F4")
LINE = re.compile(
    r'photometers,name=stars1 ((mac|firmware|model)="([^"\\\n]|\\["\\])*"|(zp[1-4]?|offsethz)=-?[0-9.e+-]+)'
    r'(,((mac|firmware|model)="([^"\\\n]|\\["\\])*"|(zp[1-4]?|offsethz)=-?[0-9.e+-]+))* \d+'
)


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING | st.fixed_dictionaries({"calib": ANYTHING})))
def test_whatever_is_said_makes_a_good_line_or_none(said: dict[str, Any]) -> None:
    outcome = Registering().says({"mac": None, **said})
    if isinstance(outcome, Registered):
        assert LINE.fullmatch(outcome.line), outcome.line
        assert outcome.said.decoded == msgspec.json.decode(outcome.said.fields)
    else:
        assert isinstance(outcome, Filtered | Quarantined)


# When it is written


def test_only_what_changed_is_written_with_all_that_holds() -> None:
    registering = Registering()
    registering.line({"mac": "a", "calib": 20.5, "firmware": "1"})
    assert registering.says({"mac": "a", "calib": 20.5}) == UNCHANGED, "what is left out stays as it was"
    assert registering.line({"mac": "a", "calib": 20.4}) == (
        'photometers,name=stars1 mac="a",firmware="1",zp=20.4'
    )
    assert registering.line({"mac": "a", "calib": 20.5}) == (
        'photometers,name=stars1 mac="a",firmware="1",zp=20.5'
    ), "as it was before, and a change all the same"


def test_another_zero_point_deserves_a_remark() -> None:
    registering = Registering()
    registering.line({"calib": 20.5})
    outcome = registering.says({"calib": 20.44})
    assert isinstance(outcome, Registered)
    assert outcome.remark == Remark("stars1", "register message", "its zero point zp is 20.44, it was 20.5")


def test_another_mac_is_another_photometer_of_which_nothing_is_known() -> None:
    registering = Registering()
    registering.line({"mac": "a", "calib": 20.5, "firmware": "1"})
    outcome = registering.says({"mac": "b", "calib": 20.4})
    assert isinstance(outcome, Registered)
    assert outcome.line.startswith('photometers,name=stars1 mac="b",zp=20.4 ')
    assert outcome.moved == "a"
    assert outcome.remark == Remark(
        "stars1", "moved", "its mac is b, it was a: another photometer has this name"
    )
    again = registering.says({"mac": "b", "calib": 20.4, "firmware": "2"})
    assert isinstance(again, Registered)
    assert (again.moved, again.remark) == ("", None)


def test_where_it_stands_is_written_too_from_the_next_message_on() -> None:
    registering = Registering()
    registering.line({"calib": 20.5})
    registering.place({"stars1": Place(40, -3.7)})
    assert registering.line({"calib": 20.5}) == "photometers,name=stars1 zp=20.5,latitude=40.0,longitude=-3.7"
    assert registering.says({"calib": 20.5}) == UNCHANGED
    registering.place({})
    assert registering.line({"calib": 20.5}) == "photometers,name=stars1 zp=20.5"


def test_without_register_topics_nothing_is_written() -> None:
    registering = Registering()
    registering.place({}, registers=False)
    assert registering.says(FIRMWARE) == UNCHANGED


def test_of_whom_the_lists_exclude_nothing_is_written() -> None:
    assert Registering().says({"name": "Banned", "mac": "x"}) == UNCHANGED


def test_register_messages_do_not_get_by_the_bound_on_new_names() -> None:
    registering = Registering(new_photometers=2)
    for name in ("a", "b"):
        registering.line({"name": name, "mac": "x"})
        assert registering.says({"name": name, "mac": None}) == UNCHANGED
    refused = registering.says({"name": "c", "mac": "x"})
    assert isinstance(refused, Quarantined)
    assert refused.cause == "new name"
    reading = registering.says(payload(1, "c"), "STARS4ALL/c/reading")
    assert isinstance(reading, Quarantined)
    assert not isinstance(registering.says(payload(1, "a"), "STARS4ALL/a/reading"), Quarantined)
    assert registering.line({"name": "a", "mac": "y"}), "it is known"


# Its time


def test_its_time_is_its_own_or_the_brokers_or_that_of_its_arrival() -> None:
    at = {"mac": "x", "tstamp": "2026-02-28T23:00:00"}
    for said, brought, time in (
        ({"mac": "x"}, {}, NOW + 1_000),
        ({"mac": "x"}, {"sent_at": NOW - 5_000}, NOW - 5_000),
        (at, {"sent_at": NOW - 5_000}, 1_772_319_600_000),
    ):
        outcome = Registering().says(said, **brought)  # type: ignore[arg-type]
        assert isinstance(outcome, Registered)
        assert outcome.said.time == time


@pytest.mark.parametrize("tstamp", ["noon", 5, "1999-12-31T23:59:59", "2026-03-03T00:00:00"])
def test_a_time_that_cannot_be_is_refused(tstamp: object) -> None:
    outcome = Registering().says({"mac": "x", "tstamp": tstamp})
    assert isinstance(outcome, Quarantined)
    assert (outcome.cause, outcome.photometer) == ("bad time", "stars1")


def test_each_line_is_later_than_the_one_before_it() -> None:
    registering = Registering()
    times = []
    for number, back in enumerate((0, 5_000, 80_000_000, 0)):
        outcome = registering.says({"mac": f"{number}"}, received_at=NOW - back)
        assert isinstance(outcome, Registered)
        times.append(outcome.said.time)
    assert times == [NOW, NOW + 1, NOW + 2, NOW + 3]
    outcome = registering.says({"mac": "x"}, received_at=NOW - 90_000_000)
    assert isinstance(outcome, Registered)
    assert outcome.said.time == NOW - 90_000_000, "the clock was far ahead before"


@pytest.mark.parametrize("old", [{"retained": True}, {"again": True}])
def test_what_may_be_old_counts_only_while_nothing_is_known_unless_it_says_when_it_was(
    old: dict[str, Any],
) -> None:
    registering = Registering()
    assert registering.line({"mac": "a"}, **old) == 'photometers,name=stars1 mac="a"'
    assert registering.says({"mac": "b"}, **old) == UNCHANGED
    assert registering.says({"mac": "b", "tstamp": "2026-02-28T00:00:00"}, **old) == UNCHANGED
    assert registering.line({"mac": "b", "tstamp": "2026-03-01T00:30:00"}, **old)
    assert registering.line({"mac": "a"})


def test_what_is_delivered_again_and_was_so_before_is_no_change() -> None:
    """After a kill a broker delivers both again; that both were committed is certain, for the second was."""
    registering = Registering()
    registering.line({"mac": "a", "calib": 20.5}, mid=1)
    registering.line({"mac": "a", "calib": 20.4}, mid=2)
    assert registering.says({"mac": "a", "calib": 20.5}, mid=1, dup=True) == UNCHANGED
    assert registering.says({"mac": "a", "calib": 20.4}, mid=2, dup=True) == UNCHANGED
    assert registering.line({"mac": "a", "calib": 20.3}, mid=3, dup=True), "it was never committed"


# What is remembered


def test_what_could_not_be_written_is_forgotten_and_may_come_again() -> None:
    registering = Registering()
    outcomes = [registering.says({"mac": "a", "calib": calib}) for calib in (20, 21, 22)]
    given_up = [outcome for outcome in outcomes[1:] if isinstance(outcome, Registered)]
    registering.judge.forget([], [], given_up)
    assert registering.says({"mac": "a", "calib": 20}) == UNCHANGED
    assert registering.line({"mac": "a", "calib": 21})
    registering.judge.forget([], [], given_up)
    assert registering.says({"mac": "a", "calib": 21}) == UNCHANGED, "that was a later one"


def test_what_was_committed_is_known_after_a_restart() -> None:
    before = Registering()
    before.line({"mac": "a", "calib": 20.5})
    said = before.judge.registrations.get("stars1")
    assert said is not None
    after = Registering()
    after.judge.registrations.restore([("stars1", said)])
    assert after.says({"mac": "a", "calib": 20.5}) == UNCHANGED


def test_the_one_that_changed_longest_ago_is_forgotten_first() -> None:
    registrations = Registrations()
    registrations.restore((f"s{number}", Said(number, b"{}")) for number in range(REGISTRATIONS))
    for name in ("s0", "new"):
        decision = registrations.decide(Registration(name, {"mac": "x"}), message(b""), again=False)
        assert isinstance(decision, Registered)
        registrations.remember(decision)
    assert len(registrations) == REGISTRATIONS
    assert "s0" in registrations
    assert "s1" not in registrations


def test_a_payload_that_is_read_has_its_own_time_or_is_refused() -> None:
    assert read(b'{"mac": "x", "tstamp": "1970-01-01T00:00:01Z"}', "a") == Registration(
        "a", {"mac": "x"}, (), 1_000
    )
    assert isinstance(read(b'{"mac": "x", "tstamp": "now"}', "a"), Refused)
