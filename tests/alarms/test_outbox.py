"""What is told, when, and what is counted instead."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from tessflux.alarms.notice import RAISED, Notice
from tessflux.alarms.outbox import HOUR, TRIES, Outbox
from tessflux.limits import ALARM_NOTICES


def notice(text: str) -> Notice:
    return Notice("broker", RAISED, "", text, 0.0, 0.0)


def filled(texts: Iterable[object]) -> Outbox:
    outbox = Outbox()
    for text in texts:
        outbox.put(notice(str(text)))
    return outbox


def test_one_after_the_other_is_told() -> None:
    outbox = filled("ab")
    assert outbox.delay(0.0, 20) == 0
    assert outbox.take(0.0).text == "a"
    assert outbox.delay(0.0, 20) is None
    assert [each.text for each in outbox.untold] == ["a", "b"]
    outbox.told()
    assert outbox.delay(0.0, 20) == 0
    assert outbox.take(0.0).text == "b"
    outbox.told()
    assert outbox.delay(0.0, 20) is None
    assert outbox.untold == []


def test_after_an_hour_that_is_used_up_the_newest_is_told_and_the_others_counted() -> None:
    outbox = filled("abcde")
    for now in (0.0, 10.0):
        assert outbox.delay(now, 2) == 0
        outbox.take(now)
        outbox.told()
    assert outbox.delay(20.0, 2) == HOUR - 20
    assert outbox.delay(HOUR, 2) == 0
    taken = outbox.take(HOUR)
    assert (taken.text, taken.more) == ("e", 2)
    assert taken.fields("host")["text"] == "e (and 2 more: see tessflux status)"


def test_when_too_many_wait_the_oldest_are_counted() -> None:
    outbox = filled(range(ALARM_NOTICES + 3))
    taken = outbox.take(0.0)
    assert (taken.text, taken.more) == ("3", 3)
    outbox.told()
    assert outbox.take(1.0).more == 0


def test_what_fails_is_tried_again_later_and_later_and_given_up() -> None:
    outbox, now, delays = filled("ab"), 0.0, []
    for attempt in range(TRIES):
        assert outbox.take(now).text == "a"
        assert outbox.failed(now) == (attempt < TRIES - 1)
        delays.append(outbox.delay(now, 20) or 0.0)
        now += delays[-1]
    assert delays == [60, 120, 240, 480, 960, 0]
    taken = outbox.take(now)
    assert (taken.text, taken.more) == ("b", 1)


def test_what_a_stop_interrupts_is_told_after_the_next_start() -> None:
    outbox = filled("ab")
    outbox.take(0.0)
    outbox.interrupted()
    later = Outbox()
    later.restore(outbox.untold)
    assert later.take(0.0).text == "a"


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 30)),
    st.tuples(st.sampled_from(["told", "failed"]), st.integers(0, 2_000)),
)


@given(st.lists(STEPS, max_size=60), st.integers(1, 5))
def test_never_too_many_in_an_hour_and_each_is_told_or_counted(
    steps: list[tuple[str, int]], per_hour: int
) -> None:
    outbox, now, put, accounted = Outbox(), 0.0, 0, 0
    runs: list[float] = []
    for step, number in steps:
        if step == "put":
            for _ in range(number):
                put += 1
                outbox.put(notice(str(put)))
        else:
            now += number
            if outbox.delay(now, per_hour) == 0:
                taken = outbox.take(now)
                runs.append(now)
                assert len([run for run in runs if now - run < HOUR]) <= per_hour
                if step == "told":
                    outbox.told()
                    accounted += 1 + taken.more
                else:
                    outbox.failed(now)
        assert len(outbox.untold) <= ALARM_NOTICES
    while outbox.untold:
        now += outbox.delay(now, per_hour) or 0.0
        accounted += 1 + outbox.take(now).more
        outbox.told()
    outbox.put(notice("last"))
    now += outbox.delay(now, per_hour) or 0.0
    assert accounted + outbox.take(now).more == put
