"""How far outputs have come: what is sent again, what stays, and what is let go."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tessflux.spool.positions import MARKS, REWINDS, Keeping, Position

RESEND = 60.0
PACE = RESEND / MARKS


def position(resend: float = RESEND, **keeping: bool) -> Position:
    return Position(0, 0, Keeping(resend, **keeping))


def deliver(at: Position, last: int, now: float) -> None:
    at.retire(last, at.generation, now)


def test_what_was_delivered_stays_for_a_while_and_is_sent_again_once_the_output_was_away() -> None:
    output = position()
    deliver(output, 100, 0)
    deliver(output, 200, 50)
    deliver(output, 210, RESEND + PACE)
    assert (output.settled, output.retired) == (100, 210)
    assert output.rewind() == 110
    assert (output.retired, output.answered) == (100, 210)
    deliver(output, 210, 70)
    deliver(output, 211, 70 + RESEND + PACE)
    assert (output.settled, output.retired) == (210, 211)
    assert output.rewind() == 1


def test_while_nothing_shows_that_the_output_lives_nothing_is_let_go() -> None:
    """It may have crashed just after it had acknowledged them, and be away for an hour."""
    output = position()
    deliver(output, 100, 0)
    deliver(output, 200, 50)
    assert output.settled == 0
    assert output.rewind() == 200
    deliver(output, 200, 3_600)
    deliver(output, 300, 3_600 + RESEND + 2 * PACE)
    assert (output.settled, output.rewind()) == (200, 100)


def test_nothing_is_let_go_too_early_and_everything_in_time() -> None:
    output = position()
    for number in range(1, 1_201):
        now = number / 10
        deliver(output, number, now)
        oldest = (now - RESEND) * 10
        assert output.settled <= max(0, oldest)
        assert output.settled >= oldest - 2 * PACE * 10 - 1
        assert len(output._marks) <= MARKS + 2


def test_without_resend_nothing_stays() -> None:
    output = position(0.0)
    deliver(output, 100, 0)
    assert (output.settled, output.rewind()) == (100, 0)


def test_a_batch_that_was_taken_before_the_output_was_away_retires_nothing() -> None:
    """Lines before it are to be sent first. It was answered all the same."""
    output = position()
    deliver(output, 100, 0)
    taken = output.generation
    output.rewind()
    output.retire(200, taken, 1)
    assert (output.retired, output.answered) == (0, 200)


def test_an_output_that_is_away_again_and_again_gets_on_all_the_same() -> None:
    output = position()
    reached = 0
    for number in range(5 * REWINDS):
        deliver(output, output.retired + 10, float(number))
        output.rewind()
        reached = max(reached, output.settled)
    assert reached >= 3 * 10


def test_what_is_new_is_sent_again_however_often_the_output_was_away_before() -> None:
    """Each line is sent so often and no more."""
    output = position()
    sent: Counter[int] = Counter()
    for number in range(5 * REWINDS):
        begin, end = output.retired + 1, max(output.answered, output.retired) + 10
        sent.update(range(begin, end + 1))
        deliver(output, end, float(number))
        assert output.rewind() >= 10
    assert max(sent.values()) == 1 + REWINDS
    assert output.settled == end - 10 * REWINDS


def test_the_oldest_that_was_delivered_is_let_go_first() -> None:
    """But for what a database loses that crashes."""
    output = position()
    for number in range(1, 5):
        deliver(output, 100 * number, 10.0 * number)
    for settled in 100, 200:
        assert output.may_let_go(500, 40.0)
        output.let_go_oldest()
        assert (output.settled, output.retired) == (settled, 400)
    assert not output.may_let_go(500, 3_600.0)
    assert output.may_let_go(400, 3_600.0)
    assert output.rewind() == 200
    assert not output.may_let_go(500, 3_600.0)


def test_what_an_output_misses_is_what_it_never_had() -> None:
    output = position(required=False)
    deliver(output, 100, 0)
    assert (output.skip(250), output.missed) == (150, 150)
    assert (output.settled, output.retired, output.answered) == (250, 250, 250)
    assert (output.skip(200), output.settled) == (0, 250)


@given(
    st.lists(st.tuples(st.sampled_from(["deliver", "rewind", "skip", "let go", "wait"]), st.integers(1, 50)))
)
def test_whatever_happens_every_line_is_delivered_or_missed_and_what_is_settled_was(
    steps: list[tuple[str, int]],
) -> None:
    output, now, last = position(), 0.0, 0
    delivered: set[int] = set()
    missed = 0
    for step, number in steps:
        now += number / 10
        settled = output.settled
        match step:
            case "deliver":
                last = max(last, output.retired + number)
                delivered.update(range(output.retired + 1, output.retired + number + 1))
                deliver(output, output.retired + number, now)
            case "rewind":
                output.rewind()
            case "skip":
                missed += output.skip(min(last, output.settled + number))
            case "let go":
                if output.may_let_go(last, now):
                    output.let_go_oldest()
            case "wait":
                now += number
        assert settled <= output.settled <= output.retired <= output.answered <= last
        assert len(delivered | set(range(1, output.settled + 1))) <= output.answered
        assert len(delivered) + missed >= output.settled
