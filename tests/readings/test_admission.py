"""Which readings are stored, and under which time: duplicates, lists, clocks that jump, and the bounds."""

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessflux.limits import SEEN_READINGS, SHARE_MEMBERS, SHIFT_MS
from tessflux.readings import Message
from tessflux.readings import admission as module
from tessflux.readings.admission import (
    AHEAD_MS,
    BLACKLISTED,
    COUNT_STEPS,
    DUPLICATE,
    EARLIEST,
    HOUR_MS,
    NEW_NAME,
    NOT_WHITELISTED,
    RETAINED,
    STEP_MS,
    Admission,
)
from tessflux.readings.outcome import Admitted, Filtered, Late
from tessflux.readings.reading import BAD_TIME, Reading, Refused

NOW = 1_772_323_214_000
Decision = Admitted | Filtered | Refused | Late


def ask(
    admission: Admission,
    name: str = "stars1",
    seq: int = 1,
    *,
    mag: float = 21.19,
    tstamp: int | None = None,
    at: int = NOW,
    retained: bool = False,
    requeued: bool = False,
    kept: bool = False,
    sent_at: int | None = None,
) -> Decision:
    """The decision on one reading that arrives `at`, above QoS 0 if the broker has `kept` it."""
    reading = Reading(name, seq, f"seq={seq},mag={mag}", tstamp)
    message = Message("a topic", b"", retained, at, mid=7 if kept else None, sent_at=sent_at)
    return (admission.admit_requeued if requeued else admission.admit)(reading, message)


def admit(
    admission: Admission,
    name: str = "stars1",
    seq: int = 1,
    *,
    mag: float = 21.19,
    tstamp: int | None = None,
    at: int = NOW,
    retained: bool = False,
    sent_at: int | None = None,
) -> Admitted:
    """The same, for a reading that must be admitted."""
    verdict = ask(admission, name, seq, mag=mag, tstamp=tstamp, at=at, retained=retained, sent_at=sent_at)
    assert isinstance(verdict, Admitted), verdict
    return verdict


# The lists


def test_without_lists_everyone_is_admitted() -> None:
    assert admit(Admission()).name == "stars1"


def test_a_whitelist_admits_only_its_names() -> None:
    admission = Admission()
    admission.choose(frozenset({"stars1"}), frozenset())
    assert ask(admission, "stars2") == Filtered(NOT_WHITELISTED)
    assert isinstance(ask(admission, "stars1"), Admitted)


def test_the_blacklist_is_stronger_than_the_whitelist() -> None:
    admission, both = Admission(), frozenset({"stars1"})
    admission.choose(frozenset(), both)
    assert ask(admission) == Filtered(BLACKLISTED)
    admission.choose(both, both)
    assert ask(admission) == Filtered(BLACKLISTED)


def test_other_lists_leave_what_is_known_as_it_was() -> None:
    admission = Admission()
    admit(admission)
    admission.choose(frozenset(), frozenset({"stars1"}))
    assert ask(admission) == Filtered(BLACKLISTED)
    admission.choose(frozenset({"stars1"}), frozenset())
    assert ask(admission) == Filtered(DUPLICATE)


def test_who_is_on_no_list_may_say_any_time() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset({"stars1"}))
    assert ask(admission, tstamp=0) == Filtered(BLACKLISTED)


# Retained messages


def test_a_retained_reading_without_a_time_is_of_unknown_age() -> None:
    admission = Admission()
    assert ask(admission, retained=True) == Filtered(RETAINED)
    assert isinstance(ask(admission), Admitted), "it was not remembered as seen"


def test_a_retained_reading_with_a_time_is_a_reading_like_any_other() -> None:
    admission = Admission()
    verdict = ask(admission, tstamp=NOW - 3_600_000, retained=True)
    assert isinstance(verdict, Admitted)
    assert verdict.time == NOW - 3_600_000
    assert ask(admission, tstamp=NOW - 3_600_000, retained=True) == Filtered(DUPLICATE)


# Times of their own


@pytest.mark.parametrize("tstamp", [EARLIEST, NOW - 1, NOW, NOW + AHEAD_MS])
def test_a_publishers_time_is_kept(tstamp: int) -> None:
    assert admit(Admission(), tstamp=tstamp).time == tstamp


@pytest.mark.parametrize(
    ("tstamp", "detail"),
    [
        (EARLIEST - 1, "its clock is before 2000"),
        (0, "its clock is before 2000"),
        (-62_135_596_800_000, "its clock is before 2000"),
        (NOW + AHEAD_MS + 1, "its clock is more than a day ahead of ours"),
        (253_402_351_199_000, "its clock is more than a day ahead of ours"),
    ],
)
def test_a_clock_that_was_never_set_is_refused(tstamp: int, detail: str) -> None:
    for retained in (False, True):
        verdict = ask(Admission(), tstamp=tstamp, retained=retained)
        assert verdict == Refused(BAD_TIME, detail, "stars1")


def test_a_time_that_is_taken_moves_by_single_milliseconds() -> None:
    admission = Admission()
    assert [admit(admission, seq=seq, tstamp=NOW).time for seq in range(4)] == [
        NOW,
        NOW + 1,
        NOW + 2,
        NOW + 3,
    ]
    assert admit(admission, seq=9, tstamp=NOW + 2).time == NOW + 4
    assert admit(admission, "stars2", tstamp=NOW).time == NOW


def test_a_time_may_move_only_so_far() -> None:
    admission = Admission()
    for seq in range(SHIFT_MS + 1):
        assert admit(admission, seq=seq, tstamp=NOW).time == NOW + seq
    verdict = ask(admission, seq=SHIFT_MS + 1, tstamp=NOW)
    assert verdict == Refused(BAD_TIME, "over 1000 readings of one time", "stars1")
    assert admit(admission, seq=SHIFT_MS + 1, tstamp=NOW + SHIFT_MS).time == NOW + SHIFT_MS + 1


# The time of arrival


@pytest.mark.parametrize("sent_at", [EARLIEST, NOW - 86_400_000, NOW, NOW + AHEAD_MS])
@pytest.mark.parametrize("retained", [False, True])
def test_without_a_time_of_its_own_a_reading_has_that_at_which_the_broker_got_it(
    sent_at: int, retained: bool
) -> None:
    """So its age is known: what waited at the broker for a night keeps its times."""
    assert admit(Admission(), sent_at=sent_at, retained=retained).time == sent_at


def test_a_time_of_its_own_is_better_than_that_of_the_broker() -> None:
    assert admit(Admission(), tstamp=NOW - 5_000, sent_at=NOW - 1_000).time == NOW - 5_000
    assert isinstance(ask(Admission(), tstamp=EARLIEST - 1, sent_at=NOW), Refused)


@pytest.mark.parametrize("sent_at", [0, EARLIEST - 1, NOW + AHEAD_MS + 1])
def test_a_brokers_clock_that_was_never_set_tells_nothing(sent_at: int) -> None:
    """The reading is good, whatever the broker adds to it."""
    assert admit(Admission(), sent_at=sent_at).time == NOW
    assert ask(Admission(), sent_at=sent_at, retained=True) == Filtered(RETAINED)


def test_readings_that_a_broker_got_in_the_same_second_do_not_share_a_time() -> None:
    """Mosquitto's plugin writes whole seconds."""
    admission = Admission()
    assert [admit(admission, seq=seq, sent_at=NOW - 9_000).time for seq in range(3)] == [
        NOW - 9_000,
        NOW - 8_999,
        NOW - 8_998,
    ]
    assert admit(admission, seq=9).time == NOW


def test_without_a_time_of_its_own_a_reading_has_that_of_its_arrival() -> None:
    assert admit(Admission(), at=NOW).time == NOW


def test_readings_that_arrive_together_follow_each_other_by_milliseconds() -> None:
    admission = Admission()
    assert [admit(admission, seq=seq).time - NOW for seq in range(5)] == [0, 1, 2, 3, 4]
    assert admit(admission, seq=5, at=NOW + 2).time == NOW + 5
    assert admit(admission, seq=6, at=NOW + 100).time == NOW + 100
    assert admit(admission, "stars2").time == NOW, "photometers do not push each other"


def test_a_burst_of_more_than_a_reading_a_millisecond_keeps_its_order() -> None:
    admission = Admission()
    times = [admit(admission, seq=seq, at=NOW + seq // 10).time for seq in range(5_000)]
    assert times == list(range(NOW, NOW + 5_000))


def test_a_clock_set_back_a_little_leaves_the_order() -> None:
    admission = Admission()
    admit(admission, seq=1)
    assert admit(admission, seq=2, at=NOW - STEP_MS).time == NOW + 1
    assert admit(admission, seq=3, at=NOW - STEP_MS + 1).time == NOW + 2


def test_a_clock_set_back_a_lot_is_followed() -> None:
    admission = Admission()
    admit(admission, seq=1)
    back = NOW - STEP_MS - 1
    assert admit(admission, seq=2, at=back).time == back
    assert admit(admission, seq=3, at=back).time == back + 1


def test_arrivals_and_times_of_their_own_do_not_meet() -> None:
    admission = Admission()
    admit(admission, seq=1, tstamp=NOW)
    admit(admission, seq=2, tstamp=NOW + 1)
    assert admit(admission, seq=3).time == NOW + 2
    assert admit(admission, seq=4, tstamp=NOW + 2).time == NOW + 3


def test_an_arrival_finds_a_free_time_behind_any_number_of_taken_ones() -> None:
    admission = Admission()
    for seq in range(3 * SHIFT_MS):
        admit(admission, seq=seq, tstamp=NOW + seq)
    assert admit(admission, seq=9_999).time == NOW + 3 * SHIFT_MS


# Duplicates


def test_the_same_reading_is_admitted_once() -> None:
    admission = Admission()
    admit(admission)
    assert ask(admission) == Filtered(DUPLICATE)
    assert ask(admission, at=NOW + 3_600_000) == Filtered(DUPLICATE)


def test_another_name_counter_value_or_time_makes_another_reading() -> None:
    admission = Admission()
    verdicts = [
        ask(admission),
        ask(admission, "stars2"),
        ask(admission, seq=2),
        ask(admission, mag=21.2),
        ask(admission, tstamp=NOW - 1_000),
        ask(admission, tstamp=NOW - 2_000),
    ]
    assert all(isinstance(verdict, Admitted) for verdict in verdicts)
    assert len({verdict.identity for verdict in verdicts if isinstance(verdict, Admitted)}) == 6


@pytest.mark.parametrize("again", [None, NOW, NOW - 1_000])
def test_the_time_of_the_broker_makes_no_other_reading_of_it(again: int | None) -> None:
    """A bridge may add one, or another one, to what has come without it."""
    admission = Admission()
    admit(admission)
    assert ask(admission, sent_at=again) == Filtered(DUPLICATE)
    admit(admission, seq=2, sent_at=NOW - 3_000)
    assert ask(admission, seq=2, sent_at=again) == Filtered(DUPLICATE)


def test_an_older_reading_is_known_too() -> None:
    admission = Admission()
    for seq in range(100):
        admit(admission, seq=seq)
    assert {ask(admission, seq=seq) for seq in range(100)} == {Filtered(DUPLICATE)}


def test_a_refused_reading_is_not_remembered() -> None:
    admission = Admission()
    assert isinstance(ask(admission, tstamp=NOW + AHEAD_MS + 5), Refused)
    assert isinstance(ask(admission, tstamp=NOW + AHEAD_MS + 5, at=NOW + 5), Admitted)


@given(st.text(st.characters(codec="utf-8"), max_size=5), st.integers(0, 2**40))
def test_an_identity_fits_into_an_integer_of_sqlite(name: str, seq: int) -> None:
    assert 0 <= admit(Admission(), name, seq).identity < 2**63


# Boots


def register(
    admission: Admission,
    name: str = "stars1",
    *,
    at: int = NOW,
    retained: bool = False,
    kept: bool = False,
) -> None:
    admission.registered(name, Message("register", b"", retained, at, mid=7 if kept else None))


def boot(admission: Admission, *seqs: int, at: int = NOW) -> list[int]:
    """A photometer boots, and publishes the same readings as after every boot; which of them are stored."""
    register(admission, at=at)
    return [seq for seq in seqs if isinstance(ask(admission, seq=seq, at=at), Admitted)]


def test_after_each_boot_the_same_readings_are_stored_again_at_times_of_their_own() -> None:
    admission = Admission()
    times = set()
    for _ in range(30):
        register(admission)
        times |= {admit(admission, seq=seq).time for seq in (2, 3, 4)}
    assert len(times) == 90


def test_register_messages_count_too_and_some_readings_are_lost() -> None:
    admission = Admission()
    for seqs in ([0, 2, 3, 4, 5, 6, 16], [2, 3, 6, 16], [0, 2, 4, 5]):
        assert boot(admission, *seqs) == seqs


@pytest.mark.parametrize("between", [0, 1, 2])
def test_firmware_registers_three_times_with_readings_in_between(between: int) -> None:
    admission = Admission()
    for _ in range(3):
        register(admission)
        for seq in range(2, 2 + between):
            admit(admission, seq=seq)
        register(admission)
        register(admission)
        for seq in range(2 + between, 9):
            admit(admission, seq=seq)


def test_after_a_boot_a_reading_that_comes_twice_is_a_duplicate() -> None:
    admission = Admission()
    boot(admission, 2, 3, 4)
    assert boot(admission, 2, 3, 4) == [2, 3, 4]
    assert [ask(admission, seq=seq) for seq in (2, 3, 4)] == [Filtered(DUPLICATE)] * 3


def test_after_a_boot_a_reading_that_comes_twice_is_a_duplicate_also_while_it_is_held() -> None:
    admission = Admission()
    admit(admission, seq=6, at=NOW)
    register(admission, at=NOW)
    admit(admission, seq=7, at=NOW + 20_000)
    late = NOW + 120_000
    admission.backlog.resumed(late)
    assert all(isinstance(ask(admission, seq=seq, at=late), Late) for seq in (8, 9))
    assert [ask(admission, seq=seq, at=late) for seq in (8, 9)] == [Filtered(DUPLICATE)] * 2


def test_a_boot_is_that_of_one_photometer() -> None:
    admission = Admission()
    for seq in (2, 3):
        admit(admission, "stars1", seq)
        admit(admission, "stars2", seq)
    register(admission, "stars1")
    assert ask(admission, "stars2", 2) == Filtered(DUPLICATE)
    assert isinstance(ask(admission, "stars1", 2), Admitted)


@pytest.mark.parametrize(
    "again",
    [
        {"kept": True},  # a broker delivers it again, or a publisher has sent it to the broker again
        {"requeued": True},
        {"tstamp": NOW},
        {"tstamp": NOW, "retained": True},
    ],
)
def test_what_may_come_again_is_known_whatever_booted(again: dict[str, Any]) -> None:
    admission = Admission()
    for seq in (2, 3):
        ask(admission, seq=seq, **again)
    register(admission)
    assert ask(admission, seq=2, **again) == Filtered(DUPLICATE)


@pytest.mark.parametrize("again", [{"kept": True}, {"retained": True}])
def test_a_register_message_that_may_come_again_tells_of_no_boot(again: dict[str, Any]) -> None:
    admission = Admission()
    boot(admission, 2, 3, 4)
    register(admission, **again)
    assert ask(admission, seq=2) == Filtered(DUPLICATE)


def test_a_bridge_that_repeats_the_last_reading_repeats_it_in_vain() -> None:
    """A photometer that hangs soon after its boot has registered last."""
    admission = Admission()
    admit(admission, seq=2)
    register(admission)
    assert ask(admission, seq=2, at=NOW + 10 * HOUR_MS) == Filtered(DUPLICATE)


def test_readings_that_come_late_after_a_boot_are_known() -> None:
    admission = Admission()
    for seq in range(700, 720):
        admit(admission, seq=seq)
    for late in range(700, 720):
        boot(admission)
        assert ask(admission, seq=late) == Filtered(DUPLICATE)


def test_a_reading_far_ahead_of_the_count_is_known() -> None:
    admission = Admission()
    for seq in range(30):
        admit(admission, seq=seq)
    for counted in range(2, 9):
        once_more = copy.deepcopy(admission)
        assert boot(once_more, counted, counted + COUNT_STEPS + 1) == [counted]


def test_a_new_reading_goes_on_counting_too() -> None:
    admission = Admission()
    boot(admission, 2, 3, 4, 30)
    register(admission)
    admit(admission, seq=25, mag=20)
    assert isinstance(ask(admission, seq=30), Admitted)
    register(admission)
    admit(admission, seq=2, mag=20)
    assert ask(admission, seq=2) == Filtered(DUPLICATE)


def test_a_new_reading_that_comes_late_does_not_turn_the_count_back() -> None:
    admission = Admission()
    boot(admission, 2, 3, 4)
    boot(admission, 2, 3, 4)
    admit(admission, seq=1, mag=20)
    assert ask(admission, seq=3) == Filtered(DUPLICATE)


def test_after_a_duplicate_register_messages_tell_nothing_for_an_hour() -> None:
    admission = Admission()
    boot(admission, 2, 3, 4)
    assert ask(admission, seq=4) == Filtered(DUPLICATE)
    assert boot(admission, 2, at=NOW + HOUR_MS - 1) == []
    assert boot(admission, 2, 3, 4, at=NOW + 2 * HOUR_MS - 2) == []
    assert boot(admission, 2, 3, 4, at=NOW + 3 * HOUR_MS - 2) == [2, 3, 4]


def test_a_duplicate_ends_a_boot() -> None:
    admission = Admission()
    boot(admission, 2, 3, 4)
    assert boot(admission, 2) == [2]
    assert ask(admission, seq=2) == Filtered(DUPLICATE)
    assert ask(admission, seq=3) == Filtered(DUPLICATE)


def test_after_a_restart_register_messages_tell_nothing_for_an_hour() -> None:
    before = Admission()
    committed = [admit(before, seq=seq) for seq in (2, 3, 4)]
    after = Admission()
    after.restore(committed, now=NOW)
    assert boot(copy.deepcopy(after), 2, 3, 4, at=NOW + HOUR_MS) == [2, 3, 4]
    assert boot(after, 2, 3, 4, at=NOW + HOUR_MS - 1) == []


def test_what_could_not_be_stored_after_a_boot_is_taken_when_it_comes_again() -> None:
    admission = Admission()
    boot(admission, 2, 3, 4)
    register(admission)
    admission.forget([admit(admission, seq=seq) for seq in (2, 3, 4)])
    assert all(isinstance(ask(admission, seq=seq), Admitted) for seq in (2, 3, 4))


def test_names_in_register_messages_take_no_memory() -> None:
    admission = Admission()
    for number in range(1_000):
        register(admission, f"invented{number}")
    assert len(admission._photometers) == 0


BOOTS = st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=6)
"""For each boot and each reading after its first one, whether another register message comes before it."""


def day(boots: list[list[bool]]) -> list[int | None]:
    """What a photometer publishes by day: a counter for a reading, None for a register message."""
    messages: list[int | None] = [700, 701]
    for registers in boots:
        count = 2
        messages += [None, count]
        for registers_again in registers:
            count += 1
            if registers_again:
                messages.append(None)
                count += 1
            messages.append(count)
    return messages


def stored(admission: Admission, messages: Sequence[int | None], *, kept: bool = False) -> list[Admitted]:
    """What is stored of these messages."""
    taken = []
    for seq in messages:
        if seq is None:
            register(admission, kept=kept)
        elif isinstance(decision := ask(admission, seq=seq, kept=kept), Admitted):
            taken.append(decision)
    return taken


@given(BOOTS)
def test_however_often_a_photometer_boots_and_registers_each_of_its_readings_is_stored(
    boots: list[list[bool]],
) -> None:
    messages = day(boots)
    taken = stored(Admission(), messages)
    assert len({admitted.time for admitted in taken}) == len([seq for seq in messages if seq is not None])


@given(BOOTS, st.integers(1, 60))
def test_a_second_way_that_is_slow_doubles_nothing(boots: list[list[bool]], lag: int) -> None:
    """Each message comes twice, `lag` messages apart, so that a register message tells of a boot long ago."""
    messages = day(boots)
    both: list[int | None] = []
    for place in range(len(messages) + lag):
        both += messages[place : place + 1]
        both += messages[place - lag : place - lag + 1] if place >= lag else []
    assert len(stored(Admission(), both)) <= len([seq for seq in messages if seq is not None])


@given(BOOTS, st.data())
def test_what_is_delivered_again_above_qos_0_is_stored_once(
    boots: list[list[bool]], data: st.DataObject
) -> None:
    """After a kill, a broker delivers all of the last messages again, register messages among them."""
    messages = day(boots)
    before = Admission()
    committed = stored(before, messages, kept=True)
    assert len(committed) == len({seq for seq in messages if seq is not None})
    after = before
    if data.draw(st.booleans()):
        after = Admission()
        after.restore(committed, now=NOW - data.draw(st.sampled_from([0, HOUR_MS])))
    register(after)
    assert stored(after, messages[data.draw(st.integers(0, len(messages))) :], kept=True) == []


# Restarts


def test_after_a_restart_what_was_committed_is_seen_and_its_times_are_taken() -> None:
    before = Admission()
    committed = [admit(before, seq=seq) for seq in range(3)]
    committed.append(admit(before, seq=3, tstamp=NOW - 5_000))
    after = Admission()
    after.restore(committed, now=NOW)
    assert [ask(after, seq=seq) for seq in range(3)] == [Filtered(DUPLICATE)] * 3
    assert ask(after, seq=3, tstamp=NOW - 5_000) == Filtered(DUPLICATE)
    assert admit(after, seq=4).time == NOW + 3
    assert admit(after, seq=5, tstamp=NOW - 5_000).time == NOW - 4_999


def test_what_was_admitted_but_not_committed_may_come_again() -> None:
    before = Admission()
    committed = [admit(before, seq=1)]
    admit(before, seq=2)
    after = Admission()
    after.restore(committed, now=NOW)
    assert admit(after, seq=2, at=NOW).time == NOW + 1


# Any sequence

ARRIVALS = st.tuples(
    st.sampled_from(["stars1", "stars2"]),
    st.none() | st.integers(-3, 3),  # a time of its own, close to that of the base
    st.none() | st.integers(-3, 3),  # the broker's time, in the same way
    st.integers(-3, 3),  # the clock, in the same way
    st.sampled_from([0, STEP_MS, 3 * STEP_MS]),  # both jump
    st.integers(1, 4),  # so many at once
    st.booleans(),  # a restart comes first
)


@settings(max_examples=300)
@given(st.lists(ARRIVALS, max_size=40))
def test_whatever_the_clocks_do_no_two_readings_of_a_photometer_share_a_time(
    arrivals: list[tuple[str, int | None, int | None, int, int, int, bool]],
) -> None:
    admission = Admission()
    admission.backlog.wait = 0
    committed: list[Admitted] = []
    times: defaultdict[str, list[int]] = defaultdict(list)
    seq = 0
    for name, own, sent, clock, jump, count, restart in arrivals:
        if restart:
            admission = Admission()
            admission.backlog.wait = 0
            admission.restore(committed, now=NOW)
        for _ in range(count):
            seq += 1
            tstamp = None if own is None else NOW + jump + own
            sent_at = None if sent is None else NOW + jump + sent
            admitted = admit(admission, name, seq, tstamp=tstamp, at=NOW + jump + clock, sent_at=sent_at)
            committed.append(admitted)
            times[name].append(admitted.time)
            if tstamp is not None:
                assert 0 <= admitted.time - tstamp <= seq
            assert ask(admission, name, seq, tstamp=tstamp) == Filtered(DUPLICATE)
    for each in times.values():
        assert len(set(each)) == len(each)


@given(
    st.lists(
        st.tuples(st.integers(0, SHARE_MEMBERS - 1), st.integers(-60, 60), st.integers(1, 40), st.booleans()),
        max_size=30,
    )
)
def test_daemons_that_divide_the_readings_never_give_two_one_time(
    arrivals: list[tuple[int, int, int, bool]],
) -> None:
    """Each has a clock of its own, and readings of one photometer come to any of them."""
    daemons = [Admission() for _ in range(SHARE_MEMBERS)]
    times: list[int] = []
    seq = 0
    for member, clock, count, requeued in arrivals:
        daemons[member].share(member)
        for _ in range(count):
            seq += 1
            admitted = ask(daemons[member], seq=seq, at=NOW + clock, requeued=requeued)
            assert isinstance(admitted, Admitted)
            times.append(admitted.time)
            assert admitted.time >= NOW + clock
    assert len(set(times)) == len(times)


def test_in_a_group_a_burst_that_runs_far_ahead_of_the_clock_goes_on_running_ahead() -> None:
    """Its times are 16 ms apart: those of 40,000 readings end more than ten minutes ahead."""
    admission = Admission()
    admission.share(1)
    times = [admit(admission, seq=seq).time for seq in range(40_000)]
    assert times == [times[0] + SHARE_MEMBERS * number for number in range(40_000)]


@pytest.mark.parametrize("member", [None, 3])
@pytest.mark.parametrize("back", [2 * STEP_MS, 3_600_000, 7_200_000])
def test_a_clock_that_is_set_back_is_followed_in_a_group_too(member: int | None, back: int) -> None:
    admission = Admission()
    admission.share(member)
    admit(admission, seq=1)
    for seq in range(2, 5):
        at = NOW - back + 1_000 * seq
        assert at <= admit(admission, seq=seq, at=at).time < at + SHARE_MEMBERS


def test_in_a_group_readings_that_a_broker_got_in_the_same_second_do_not_share_a_time() -> None:
    times = set()
    for member in range(SHARE_MEMBERS):
        admission = Admission()
        admission.share(member)
        times |= {admit(admission, seq=10 * member + seq, sent_at=NOW).time for seq in range(3)}
    assert len(times) == 3 * SHARE_MEMBERS
    assert NOW <= min(times) <= max(times) < NOW + 3 * SHARE_MEMBERS


def test_alone_or_in_a_group_a_readings_own_time_stays() -> None:
    admission = Admission()
    admission.share(3)
    assert admit(admission, tstamp=NOW + 7).time == NOW + 7
    assert admit(admission, seq=2, at=NOW).time == NOW + (3 - NOW) % SHARE_MEMBERS
    admission.share(None)
    assert admit(admission, seq=3, at=NOW + 100).time == NOW + 100


def test_a_clock_set_back_into_a_dense_burst_gives_free_times() -> None:
    admission = Admission()
    times = [admit(admission, seq=seq).time for seq in range(SHIFT_MS + 2)]
    times.append(admit(admission, seq=9_998, at=NOW + 3 * STEP_MS).time)
    times.append(admit(admission, seq=9_999, at=NOW).time)
    assert len(set(times)) == len(times)


@given(st.lists(st.integers(-STEP_MS // 100, STEP_MS // 10), max_size=60))
def test_arrival_times_of_a_photometer_grow_unless_the_clock_is_set_back(steps: list[int]) -> None:
    admission, now, last = Admission(), NOW, 0
    # Whatever the pace was.
    admission.backlog.wait = 0
    for seq, step in enumerate(steps):
        now += step
        time = admit(admission, seq=seq, at=now).time
        assert time > last
        assert time >= now
        last = time


# Bounds


def test_an_arrival_passes_over_all_times_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEN_READINGS", 3)
    admission = Admission()
    admission.restore([Admitted("stars1", NOW + ms, ms) for ms in range(4)], now=NOW - 1)
    assert admit(admission, "stars1", 9, at=NOW).time == NOW + 4


def test_memory_stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEN_READINGS", 20)
    monkeypatch.setattr(module, "PHOTOMETERS", 10)
    admission = Admission()
    for seq in range(200):
        admit(admission, f"stars{seq}", seq, tstamp=NOW if seq % 2 else None)
        assert len(admission._photometers) <= 10
        recent = admission._recent
        assert len(recent._newest | recent._middle | recent._oldest) <= 2 * 30
    assert list(admission._photometers) == [f"stars{seq}" for seq in range(190, 200)]


def test_the_last_reading_of_a_photometer_is_known_long_after_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SEEN_READINGS", 20)
    admission = Admission()
    admit(admission, "quiet", 1)
    last = admit(admission, "quiet", 2)
    for seq in range(100):
        admit(admission, "stars1", seq)
    assert ask(admission, "quiet", 2) == Filtered(DUPLICATE)
    assert admit(admission, "quiet", 3).time == last.time + 1
    assert isinstance(ask(admission, "quiet", 1), Admitted), "forgotten: the bound was reached"


def test_the_photometer_that_was_silent_for_longest_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PHOTOMETERS", 2)
    admission = Admission()
    admit(admission, "a")
    admit(admission, "b")
    admit(admission, "a", 2)
    admit(admission, "c")
    assert list(admission._photometers) == ["a", "c"]


def test_a_whole_window_of_readings_can_be_delivered_again() -> None:
    admission = Admission()
    window = [admit(admission, f"stars{seq % 7}", seq, at=NOW + seq) for seq in range(SEEN_READINGS)]
    for seq in range(0, SEEN_READINGS, 997):
        assert ask(admission, f"stars{seq % 7}", seq, at=NOW + SEEN_READINGS) == Filtered(DUPLICATE)
    restarted = Admission()
    restarted.restore(window, now=NOW)
    assert ask(restarted, "stars0", 0) == Filtered(DUPLICATE)


# New names


def test_only_so_many_new_photometers_are_taken_in_an_hour() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset(), 3)
    admission.restore([Admitted("old", NOW - 5, 1)], now=NOW)
    hour = NOW - NOW % HOUR_MS
    named = {name: ask(admission, name, at=hour + HOUR_MS - 1) for name in ("a", "b", "c", "d", "old", "e")}
    refused = {name: verdict for name, verdict in named.items() if not isinstance(verdict, Admitted)}
    assert refused == {
        name: Refused(NEW_NAME, "there were 3 new names in this hour ([mqtt] new_photometers) already", name)
        for name in ("d", "e")
    }
    # Those that were taken go on, and in the next hour, or when the clock was set, so do others.
    assert isinstance(ask(admission, "a", 2, at=hour + HOUR_MS - 1), Admitted)
    assert isinstance(ask(admission, "d", at=hour + HOUR_MS), Admitted)
    assert isinstance(ask(admission, "e", at=hour - HOUR_MS), Admitted)


def test_names_beyond_the_limit_take_no_memory() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset(), 10)
    for number in range(1_000):
        ask(admission, f"invented{number}")
    assert len(admission._photometers) == 10


def test_without_a_limit_all_new_photometers_are_taken() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset(), 0)
    assert all(isinstance(ask(admission, f"new{number}"), Admitted) for number in range(1_000))


# What comes out of quarantine


def test_a_requeued_reading_keeps_the_time_of_its_arrival() -> None:
    """A live one of its photometer came later, and the next live one is no later for it."""
    admission = Admission()
    admit(admission, seq=1, at=NOW)
    late = ask(admission, seq=2, at=NOW - 60_000, requeued=True)
    assert isinstance(late, Admitted)
    assert late.time == NOW - 60_000
    same_time = ask(admission, seq=3, at=NOW, requeued=True)
    assert isinstance(same_time, Admitted)
    assert same_time.time == NOW + 1
    assert admit(admission, seq=4, at=NOW + 10).time == NOW + 10
    assert ask(admission, seq=2, at=NOW - 60_000, requeued=True) == Filtered(DUPLICATE)


def test_a_requeued_reading_is_no_new_name_too_many() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset(), 1)
    admit(admission, "a")
    assert isinstance(ask(admission, "b"), Refused)
    assert isinstance(ask(admission, "b", requeued=True), Admitted)


def test_a_reserved_time_is_that_of_no_other_reading_however_late_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What arrived together, some good and some refused, and all of it forgotten meanwhile."""
    monkeypatch.setattr(module, "SEEN_READINGS", 20)
    admission = Admission()
    good, kept = [], []
    for seq in range(40):
        if seq % 2:
            kept.append(admission.reserve("stars1", NOW))
        else:
            good.append(admit(admission, seq=seq, at=NOW).time)
    for seq in range(100):
        admit(admission, "stars2", seq, at=NOW + seq)
    times = [taken.time for taken in requeue(admission, "stars1", kept)]
    assert times == kept
    assert len({*good, *times}) == 40


def requeue(admission: Admission, name: str, times: Sequence[int]) -> list[Admitted]:
    """Readings of these times that were refused once, tried again."""
    verdicts = [ask(admission, name, 100 + n, at=time, requeued=True) for n, time in enumerate(times)]
    return [verdict for verdict in verdicts if isinstance(verdict, Admitted)]


def test_a_reserved_time_is_given_once() -> None:
    admission = Admission()
    admit(admission, at=NOW)
    time = admission.reserve("stars1", NOW)
    times = [taken.time for taken in requeue(admission, "stars1", [time, time])]
    assert times[0] == time != times[1]


def test_names_beyond_the_limit_reserve_nothing() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset(), 1)
    assert admission.reserve("a", NOW) == NOW
    assert [admission.reserve(f"evil{n}", NOW) for n in range(10)] == [NOW] * 10
    assert len(admission._photometers) == 1


def test_what_reserved_nothing_has_a_time_of_its_own_when_it_is_tried_again() -> None:
    admission = Admission()
    admission.choose(frozenset(), frozenset(), 1)
    admit(admission, "a")
    kept = [admission.reserve("b", NOW) for _ in range(3)]
    assert len({taken.time for taken in requeue(admission, "b", kept)}) == 3


def test_what_was_refused_because_our_clock_was_behind_is_taken_when_it_is_requeued() -> None:
    admission = Admission()
    days = 3 * AHEAD_MS
    assert isinstance(ask(admission, seq=1, tstamp=NOW, at=NOW - days), Refused)
    admit(admission, seq=2, at=NOW)
    assert isinstance(ask(admission, seq=1, tstamp=NOW, at=NOW - days, requeued=True), Admitted)


def test_a_publishers_time_that_is_still_to_come_moves_no_arrival_after_a_restart() -> None:
    admission = Admission()
    earlier = [admit(admission, seq=1, tstamp=NOW + 540_000), admit(admission, seq=2, at=NOW)]
    restarted = Admission()
    restarted.restore(earlier, now=NOW + 5)
    assert admit(restarted, seq=3, at=NOW + 10).time == NOW + 10


def test_what_could_not_be_stored_is_taken_when_it_comes_again() -> None:
    admission = Admission()
    given_up = admit(admission, seq=1)
    kept = admit(admission, seq=2)
    admission.forget([given_up])
    assert admit(admission, seq=1, at=NOW + 5).time == NOW + 5
    assert ask(admission, seq=2) == Filtered(DUPLICATE)
    assert kept.time == NOW + 1
