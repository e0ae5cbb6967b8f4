"""Who is in the register, and what it says of them."""

from functools import partial
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.limits import STRANGERS, UNDIGESTED
from tessflux.photometers import register as module
from tessflux.photometers.event import HEARD, MOVED, SILENT, Event, Settling
from tessflux.photometers.photometer import STRANGER, Photometer
from tessflux.photometers.register import FORGET, MOVES_APART_MS, Register
from tessflux.readings import Admission, Judge, Registered
from tests.photometers.site import FOUR, NOW, PLAIN, Hearing
from tests.readings.samples import REGISTER, message, payload, row

SILENCE = 7_200.0
REGISTER_TOPIC = "STARS4ALL/register"


def known(hearing: Hearing, name: str = "stars1") -> Photometer:
    found = hearing.register.get(name)
    assert found is not None
    return found


def test_a_photometer_that_is_heard_is_known_with_what_it_measured() -> None:
    hearing = Hearing()
    hearing.hears(at=NOW, mag=20.0)
    hearing.hears(at=NOW + 60_000, mag=20.5, lat=40.45, long=-3.73)
    found = known(hearing)
    assert (found.first, found.heard, found.place) == (NOW, NOW + 60_000, (40.45, -3.73))
    assert found.values == {"seq": 2, "mag": 20.5, "freq": 0.5, "tamb": 7.1, "tsky": -18.4, "wdBm": -61}
    assert [day.total(NOW) for day in (found.stored, found.filtered, found.refused)] == [2, 0, 0]
    assert hearing.register.all() == [found]


def test_a_place_is_remembered_while_readings_do_not_say_it() -> None:
    hearing = Hearing()
    hearing.hears(lat=40.45, long=-3.73)
    hearing.hears(at=NOW + 1)
    assert known(hearing).place == (40.45, -3.73)


def test_a_tess4c_has_its_channels() -> None:
    hearing = Hearing()
    hearing.hears("stars701", base=FOUR)
    assert known(hearing, "stars701").values["mag4"] == 21.5


@pytest.mark.parametrize(
    ("payload", "retained", "filtered", "refused", "cause", "is_heard"),
    [
        (row(PLAIN, seq=1), False, 1, 0, "duplicate", False),
        (row(PLAIN, seq=9), True, 1, 0, "retained", False),
        (row(PLAIN, seq=9, mag=50), False, 0, 1, "implausible", True),
        (row(PLAIN, seq=9, mag=50), True, 0, 1, "implausible", False),
        (b'{"name": "stars1", "seq": 9', False, 0, 1, "not JSON", True),
    ],
    ids=["duplicate", "retained", "refused", "retained and refused", "not JSON, on its topic"],
)
def test_what_is_not_stored_is_counted_and_is_heard_if_it_tells_of_life(
    payload: bytes, retained: bool, filtered: int, refused: int, cause: str, is_heard: bool
) -> None:
    hearing = Hearing()
    hearing.hears()
    later = NOW + 1_000
    hearing.comes(payload, later, retained=retained)
    found = known(hearing)
    assert (found.filtered.total(NOW), found.refused.total(NOW)) == (filtered, refused)
    assert found.causes == ((cause, later),)
    assert found.heard == (later if is_heard else NOW)
    assert found.stored.total(NOW) == 1
    assert found.values["mag"] == 21.19


def test_a_register_message_tells_of_life_but_makes_nobody_known() -> None:
    hearing = Hearing()
    topic = "STARS4ALL/stars1/register"
    hearing.comes(REGISTER, topic=topic)
    assert len(hearing.register) == 0
    hearing.hears()
    hearing.comes(REGISTER, NOW + 5_000, topic=topic)
    assert known(hearing).heard == NOW + 5_000


def says(mac: str, name: str = "stars1") -> bytes:
    return row({"name": name, "mac": mac})


def test_a_register_message_that_is_written_tells_of_life_too_and_counts_as_nothing_else() -> None:
    hearing = Hearing(registers=True)
    hearing.comes(says("a"), topic=REGISTER_TOPIC)
    assert len(hearing.register) == 0
    hearing.hears()
    assert isinstance(hearing.comes(says("b"), NOW + 5_000, topic=REGISTER_TOPIC), Registered)
    found = known(hearing)
    assert (found.heard, found.filtered.total(NOW), found.causes) == (NOW + 5_000, 0, ())
    assert found.stored.total(NOW) == 1
    assert hearing.register.keep().photometers == [found]
    late = row({"name": "stars1", "mac": "c", "tstamp": "2100-01-01T00:00:00"})
    hearing.comes(late, NOW + 9_000, topic=REGISTER_TOPIC)
    assert known(hearing).refused.total(NOW) == 1


def test_what_a_broker_has_retained_tells_nothing_of_life() -> None:
    hearing = Hearing(registers=True)
    hearing.hears()
    assert isinstance(hearing.comes(says("a"), NOW + 9, topic=REGISTER_TOPIC, retained=True), Registered)
    assert known(hearing).heard == NOW


def test_names_that_move_to_another_mac_are_one_event_a_look_and_each_once_an_hour() -> None:
    hearing = Hearing(registers=True)
    for name in ("stars1", "stars2"):
        hearing.comes(says("a", name), topic=REGISTER_TOPIC)
    assert hearing.register.look(0) == []
    for name in ("stars2", "stars1"):
        hearing.comes(says("b", name), NOW + 2_000, topic=REGISTER_TOPIC)
    assert hearing.register.look(0) == [Event(MOVED, ("stars1", "stars2"), NOW + 2_000)]
    assert hearing.register.look(0) == []
    hearing.comes(says("a"), NOW + 1_000_000, topic=REGISTER_TOPIC)
    assert hearing.register.look(0) == [], "two photometers share a name"
    hearing.comes(says("b"), NOW + 2_000 + MOVES_APART_MS, topic=REGISTER_TOPIC)
    [event] = hearing.register.look(0)
    assert str(event) == "stars1 is another photometer since 2026-03-01 01:00 UTC, by the mac"


def test_of_names_that_move_a_few_are_enough() -> None:
    hearing = Hearing(registers=True)
    for mac in ("a", "b"):
        for number in range(STRANGERS + 10):
            hearing.comes(says(mac, f"s{number}"), topic=REGISTER_TOPIC)
    [event] = hearing.register.look(0)
    assert len(event.names) == STRANGERS


def test_whom_the_lists_exclude_is_not_known() -> None:
    hearing = Hearing(blacklist=frozenset({"stars1"}))
    hearing.hears()
    assert hearing.register.all() == []


def test_a_reading_that_came_late_was_heard_when_it_was_made() -> None:
    hearing = Hearing()
    hearing.hears(at=NOW - 7_000_000, mag=20.0)
    late = partial(hearing.judge.admission.admit_late, NOW - 3_600_000)
    hearing.hears(at=NOW, admit=late, mag=20.5)
    assert (known(hearing).heard, known(hearing).values["mag"]) == (NOW - 3_600_000, 20.5)
    later = partial(hearing.judge.admission.admit_late, NOW - 5_400_000)
    hearing.hears(at=NOW, admit=later, mag=19.0)
    assert (known(hearing).heard, known(hearing).values["mag"]) == (NOW - 3_600_000, 20.5)
    assert known(hearing).stored.total(NOW) == 3


def test_when_the_clock_was_set_back_the_time_of_what_comes_is_believed() -> None:
    hearing = Hearing()
    hearing.hears(at=NOW + 86_400_000, mag=20.0)
    hearing.hears(at=NOW, mag=20.5)
    assert (known(hearing).heard, known(hearing).values["mag"]) == (NOW, 20.5)


def test_a_retained_reading_with_a_time_was_heard_then() -> None:
    hearing = Hearing()
    hearing.hears(at=NOW, retained=True, tstamp="2020-01-01T00:00:00Z")
    assert known(hearing).heard == 1_577_836_800_000


def test_readings_of_a_backlog_all_get_into_their_own_means() -> None:
    hearing = Hearing()
    register = hearing.register
    for seq in range(12):
        late = partial(hearing.judge.admission.admit_late, NOW - 300_000 * seq)
        judged = message(payload(seq))
        register.take([judged], [hearing.judge.judge(judged, late)], late)
    hearing.digest(NOW)
    sums = register.keep().sums
    assert sums is not None
    assert sorted(sums) == [NOW // 300_000 - step for step in range(11, -1, -1)]
    assert {record[0] for each in sums.values() for record in each.values()} == {1}


def test_without_a_history_no_means_are_gathered() -> None:
    hearing = Hearing(history=False)
    hearing.hears()
    assert hearing.register.unsaved_means == 0


def test_every_reading_is_counted_however_many_come_at_once_and_one_of_them_is_looked_at() -> None:
    judge, register = Judge(Admission()), Register(history=True)
    judge.configure(measurement="readings", extra_fields=(), validation=True, registers=False, places={})
    for seq in range(3 * UNDIGESTED + 7):
        judged = message(payload(seq), received_at=NOW + seq)
        register.take([judged], [judge.judge(judged)], None)
    assert register.digest(NOW)
    [found] = register.all()
    assert (found.stored.total(NOW), found.values["seq"]) == (3 * UNDIGESTED + 7, 0)


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.integers(0, 3)), max_size=60))
def test_however_often_it_is_digested_the_counts_are_the_same(
    steps: list[tuple[str, bool, int]],
) -> None:
    hearing, expected = Hearing(), dict[str, tuple[int, int]]()
    since, last = dict[str, int](), dict[str, int]()
    digested = 0
    for seq, (name, good, digest) in enumerate(steps):
        stored, refused = expected.get(name, (0, 0))
        judged = message(row(PLAIN, name=name, seq=seq, mag=20 if good else 99_999), received_at=NOW + seq)
        hearing.register.take([judged], [hearing.judge.judge(judged)], None)
        expected[name] = (stored + good, refused + (not good))
        last[name] = seq
        if since.get(name, -1) < digested:
            since[name] = seq
        if not digest:
            hearing.digest(NOW + seq)
            digested = seq + 1
    hearing.digest(NOW + len(steps))
    found = {each.name: (each.stored.total(NOW), each.refused.total(NOW)) for each in hearing.register.all()}
    assert found == expected
    # Of what comes between two digests, any may count.
    assert all(since[each.name] <= each.heard - NOW <= last[each.name] for each in hearing.register.all())
    numbers = [each.number for each in hearing.register.all() if each.number != STRANGER]
    assert len(set(numbers)) == len(numbers)


# Hostile names


def test_whose_readings_were_all_refused_is_a_stranger_and_strangers_push_out_nobody_else() -> None:
    hearing = Hearing()
    hearing.hears()
    for number in range(STRANGERS + 50):
        hearing.hears(f"invented{number}", mag=50)
    assert len(hearing.register) == 1 + STRANGERS
    assert hearing.register.get("stars1")
    assert hearing.register.get("invented49") is None
    assert known(hearing, "invented50").values == {}


def test_a_stranger_of_whom_a_reading_is_stored_is_known_from_then_on() -> None:
    hearing = Hearing()
    hearing.hears(mag=50)
    assert known(hearing).number == STRANGER
    hearing.hears(at=NOW + 1_000)
    found = known(hearing)
    assert (len(hearing.register), found.number, found.first) == (1, 0, NOW)
    assert (found.stored.total(NOW), found.refused.total(NOW)) == (1, 1)


@pytest.mark.parametrize("payload", [b"[1]", b"", b'{"name": ""}', b'{"name": 7, "mag": 1}', b"\xff\xfe"])
def test_who_has_no_name_is_nobody(payload: bytes) -> None:
    hearing = Hearing()
    for topic in ("STARS4ALL/stars1/reading", "x", "", "a/b", "/" * 99):
        hearing.comes(payload, topic=topic)
    assert hearing.register.all() == []


def test_a_name_that_comes_too_many_in_an_hour_makes_nobody_known() -> None:
    hearing = Hearing()
    hearing.judge.admission.choose(frozenset(), frozenset(), 1)
    hearing.hears("stars1")
    hearing.hears("stars2")
    assert [each.name for each in hearing.register.all()] == ["stars1"]


def test_when_there_is_no_room_the_one_that_was_heard_longest_ago_leaves() -> None:
    with mock.patch.object(module, "PHOTOMETERS", 3):
        hearing = Hearing()
        for number in range(3):
            hearing.hears(f"stars{number}", NOW + number)
        hearing.hears("stars0", NOW + 10)
        hearing.hears("stars1", NOW + 11, retained=True)
        kept = hearing.register.keep()
        assert kept.gone == []
        hearing.hears("stars9", NOW + 12)
    assert [each.name for each in hearing.register.all()] == ["stars2", "stars0", "stars9"]
    assert hearing.register.keep().gone == [1]


def test_what_waits_is_bounded_though_nobody_digests() -> None:
    judge, register = Judge(Admission()), Register(history=True)
    judge.configure(measurement="readings", extra_fields=(), validation=True, registers=False, places={})
    for number in range(3 * UNDIGESTED):
        judged = message(payload(number, f"stars{number}"))
        register.take([judged], [judge.judge(judged)], None)
        assert len(register._live) < UNDIGESTED


# Silence


def look(register: Register, *, silent: float = SILENCE, times: int = 3) -> list[Event]:
    return [event for _ in range(times) for event in register.look(silent)]


def test_one_that_is_silent_is_said_once_and_once_when_it_is_heard_again() -> None:
    hearing = Hearing()
    hearing.hears()
    hearing.register.listen(SILENCE - 1)
    assert look(hearing.register) == []
    hearing.register.listen(1)
    assert look(hearing.register) == [Event(SILENT, ("stars1",), NOW)]
    assert (hearing.register.silent, known(hearing).silent) == (1, True)
    hearing.register.listen(10 * SILENCE)
    assert look(hearing.register) == []
    hearing.hears(at=NOW + 9_000_000)
    hearing.hears(at=NOW + 9_060_000)
    assert look(hearing.register) == [Event(HEARD, ("stars1",), NOW)]
    assert (hearing.register.silent, known(hearing).silent) == (0, False)
    assert look(hearing.register) == []


def test_while_we_do_not_listen_nobody_is_silent() -> None:
    hearing = Hearing()
    hearing.hears()
    hearing.digest(NOW + 30 * 86_400_000)
    assert look(hearing.register) == []


def test_what_is_retained_or_repeated_does_not_end_a_silence() -> None:
    hearing = Hearing()
    hearing.hears()
    hearing.register.listen(SILENCE)
    look(hearing.register)
    hearing.comes(row(PLAIN, seq=1), NOW + 1)
    hearing.hears(at=NOW + 2, retained=True)
    hearing.hears(at=NOW + 3, retained=True, tstamp="2026-02-28T00:00:00Z")
    assert look(hearing.register) == []
    assert known(hearing).silent


def test_one_that_only_sends_what_is_refused_is_not_silent() -> None:
    hearing = Hearing()
    hearing.hears()
    hearing.register.listen(SILENCE)
    hearing.hears(at=NOW + 7_200_000, mag=50)
    assert look(hearing.register) == []


def test_who_died_while_we_were_away_is_silent_once_the_backlog_says_when() -> None:
    hearing = Hearing()
    hearing.register.listen(SILENCE)
    hearing.hears(at=NOW)
    hearing.register.listen(SILENCE - 60)
    late = partial(hearing.judge.admission.admit_late, NOW + 3_600_000)
    hearing.hears(at=NOW + 7_200_000, admit=late)
    hearing.register.listen(3_600)
    assert look(hearing.register) == [Event(SILENT, ("stars1",), NOW + 3_600_000)]


def test_a_stranger_is_never_silent() -> None:
    hearing = Hearing()
    hearing.hears(mag=50)
    hearing.register.listen(SILENCE)
    assert look(hearing.register) == []


def test_the_time_of_a_silence_begins_when_a_stranger_becomes_known() -> None:
    hearing = Hearing()
    hearing.hears(mag=50)
    hearing.register.listen(SILENCE)
    hearing.hears(retained=True, tstamp="2020-01-01T00:00:00Z")
    assert look(hearing.register) == []
    hearing.register.listen(SILENCE)
    assert [event.kind for event in look(hearing.register)] == [SILENT]


def test_a_thousand_that_stop_within_a_minute_are_one_event() -> None:
    hearing = Hearing(history=False)
    for number in range(1_000):
        hearing.hears(f"stars{number}", NOW + 50 * number)
        hearing.register.listen(0.05)
    hearing.register.listen(SILENCE - 50)
    events = []
    for _ in range(24):
        events += hearing.register.look(SILENCE)
        hearing.register.listen(5)
    [event] = events
    assert len(event.names) == 1_000
    assert str(event) == (
        "1,000 photometers are silent since 2026-03-01 00:01 UTC:"
        " among them stars0, stars1, stars10, stars100, stars101"
    )
    for number in range(1_000):
        hearing.hears(f"stars{number}", NOW + 10_000_000)
    [event] = look(hearing.register)
    assert str(event).startswith(
        "1,000 photometers are heard again; they were silent since 2026-03-01 00:01 UTC"
    )


def test_those_that_keep_coming_are_said_at_the_fifteenth_look_at_the_latest() -> None:
    settling = Settling()
    assert [settling.settled(count) for count in range(1, 31)] == ([False] * 14 + [True]) * 2
    assert [settling.settled(count) for count in (1, 1, 0, 2, 3, 3)] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(SILENT, ("stars1",), NOW), "stars1 is silent since 2026-03-01 00:00 UTC"),
        (Event(HEARD, ("stars1",), NOW), "stars1 is heard again; it was silent since 2026-03-01 00:00 UTC"),
        (
            Event(SILENT, ("a", "b"), NOW),
            "2 photometers are silent since 2026-03-01 00:00 UTC: these are a, b",
        ),
    ],
)
def test_an_event_says_who_and_since_when(event: Event, text: str) -> None:
    assert str(event) == text


def test_with_silent_0_nobody_is_silent() -> None:
    hearing = Hearing()
    hearing.hears()
    hearing.register.listen(SILENCE)
    look(hearing.register)
    assert look(hearing.register, silent=0) == []
    assert (hearing.register.silent, known(hearing).silent) == (0, False)


def test_one_that_is_silent_for_thirty_days_leaves() -> None:
    hearing = Hearing()
    hearing.hears("stars1")
    hearing.hears("stars2", mag=50)
    hearing.register.listen(FORGET / 2)
    look(hearing.register)
    hearing.hears("stars3")
    hearing.register.listen(FORGET / 2 + 1)
    look(hearing.register)
    assert [each.name for each in hearing.register.all()] == ["stars3"]
    assert (hearing.register.silent, hearing.register.keep().gone) == (1, [0])


# What outlasts the process


def restarted(hearing: Hearing) -> Register:
    register = Register(history=True)
    register.restore(hearing.register.keep())
    return register


def test_after_a_restart_a_silence_goes_on_and_is_not_said_again() -> None:
    hearing = Hearing()
    hearing.hears("stars1")
    hearing.hears("stars2", mag=50)
    hearing.register.listen(SILENCE / 2)
    hearing.hears("stars3")
    hearing.register.listen(SILENCE / 2)
    look(hearing.register)
    before = {each.name: each for each in hearing.register.all()}
    hearing.register = restarted(hearing)
    assert before.pop("stars2").number == STRANGER
    assert {each.name: each for each in hearing.register.all()} == before
    assert hearing.register.silent == 1
    assert look(hearing.register) == []
    hearing.register.listen(SILENCE / 2)
    assert look(hearing.register) == [Event(SILENT, ("stars3",), NOW)]
    hearing.hears("stars1", NOW + 1)
    assert look(hearing.register) == [Event(HEARD, ("stars1",), NOW)]
    hearing.hears("stars4")
    assert known(hearing, "stars4").number == 2


def test_of_more_than_there_is_room_for_the_newest_are_remembered_and_the_others_leave_the_file() -> None:
    hearing = Hearing()
    for number in range(4):
        hearing.hears(f"stars{number}", NOW + number)
    register = Register(history=True)
    with mock.patch.object(module, "PHOTOMETERS", 3):
        register.restore(hearing.register.keep())
    assert [each.name for each in register.all()] == ["stars1", "stars2", "stars3"]
    assert register.keep().gone == [0]


def test_that_one_is_heard_again_is_said_though_a_stop_comes_before_it() -> None:
    hearing = Hearing()
    hearing.hears()
    hearing.register.listen(SILENCE)
    look(hearing.register)
    hearing.hears(at=NOW + 9_000_000)
    hearing.register = restarted(hearing)
    assert look(hearing.register) == []
    hearing.hears(at=NOW + 9_060_000)
    assert [event.kind for event in look(hearing.register)] == [HEARD]
    assert hearing.register.silent == 0


def test_only_what_changed_is_to_be_saved_and_again_if_it_was_not() -> None:
    hearing = Hearing()
    hearing.hears("stars1")
    hearing.hears("stars2")
    kept = hearing.register.keep()
    assert len(kept.photometers) == 2
    assert hearing.register.keep().photometers == []
    hearing.hears("stars1", NOW + 1)
    hearing.register.not_kept(kept)
    assert {each.heard for each in hearing.register.keep().photometers} == {NOW, NOW + 1}
    hearing.register.keep_all()
    assert len(hearing.register.keep().photometers) == 2
