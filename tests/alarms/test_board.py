"""Each thing that is wrong is raised once, when it has lasted, and cleared once, when it is surely over."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.alarms.board import Board
from tessflux.alarms.notice import CLEARED, RAISED
from tessflux.config import AlarmConfig
from tessflux.status import Alarm, Snapshot, State
from tests.alarms.samples import MIRROR, lost, used
from tests.status.site import BROKER, MESSAGES, NOW, OUTPUT, SPOOL, WELL

CONFIG = AlarmConfig()
Said = list[tuple[str, str, str]]


def said(board: Board, snapshots: Sequence[Snapshot], config: AlarmConfig = CONFIG) -> Said:
    """Kind, state and text of all that changes."""
    changes = [change for snapshot in snapshots for change in board.look(snapshot, config)]
    return [(change.event, change.state, change.text) for change in changes]


def stored(seconds_ago: float | None, **changes: object) -> Snapshot:
    last = None if seconds_ago is None else NOW - seconds_ago
    return replace(WELL, messages=replace(MESSAGES, last_stored=last), **changes)  # type: ignore[arg-type]


def broker(state: State, seconds: float) -> Snapshot:
    return replace(WELL, broker=replace(BROKER, state=state, since=NOW - seconds, problem="it is gone"))


def database(state: State, seconds: float, paused: float | None = None) -> Snapshot:
    away = replace(MIRROR, state=state, since=NOW - seconds, problem="refused", paused=paused)
    return replace(WELL, outputs=[OUTPUT, away])


NOTHING_STORED = "no reading was stored since 2027-01-15 07:40 UTC"
BROKER_AWAY = "the broker at tcp:localhost:1883 is away since 2027-01-15 07:50 UTC: it is gone"
MIRROR_AWAY = (
    "the database of [influxdb mirror] at http://mirror:8086 is away since 2027-01-15 07:50 UTC: refused"
)
NOT_SET = "the clock of this computer is not set, and readings wait until it is: does NTP run?"
HALF_FULL = "the spool in /var/lib/tessflux is 50% full, because [influxdb] lacks 7 readings"

CASES: dict[str, tuple[Sequence[Snapshot], Said]] = {
    "all is well": ([WELL, WELL], []),
    "nothing was stored": (
        [stored(1_199), stored(1_200), stored(9_999), stored(1)],
        [("not_stored", RAISED, NOTHING_STORED), ("not_stored", CLEARED, "readings are stored again")],
    ),
    "nothing was stored since the start": (
        [stored(None, started=NOW - 1_199), stored(None, started=NOW - 1_200)],
        [("not_stored", RAISED, NOTHING_STORED)],
    ),
    "nothing was stored, and it is known why": (
        [stored(1_200, problems=["the broker is away", "so is the database"])],
        [("not_stored", RAISED, f"{NOTHING_STORED}: the broker is away")],
    ),
    "the broker is away": (
        [broker("away", 599), broker("away", 600), broker("away", 700), broker("up", 0), broker("up", 9)],
        [
            ("broker", RAISED, BROKER_AWAY),
            ("broker", CLEARED, "the broker at tcp:localhost:1883 is back"),
        ],
    ),
    "a broker that comes and goes": ([broker("away", 500), broker("up", 0), broker("away", 500)], []),
    "a broker that was not asked yet": ([broker("starting", 9_999)], []),
    "a database is away": (
        [database("away", 600), database("starting", 0), database("away", 1), database("up", 0)],
        [
            ("output", RAISED, MIRROR_AWAY),
            ("output", CLEARED, "the database of [influxdb mirror] at http://mirror:8086 is back"),
        ],
    ),
    "a database is away while it is left alone": ([database("away", 600, paused=NOW - 9)], []),
    "a database is left alone after it went away": (
        [database("away", 600), database("up", 0, paused=NOW)],
        [("output", RAISED, MIRROR_AWAY)],
    ),
    "a database leaves the config": (
        [database("away", 600), WELL],
        [("output", RAISED, MIRROR_AWAY), ("output", CLEARED, f"no longer watched: {MIRROR_AWAY}")],
    ),
    "the spool is half full, and wavers": (
        [used(0.49), used(0.5), used(0.46), used(0.51), used(0.449)],
        [
            ("spool", RAISED, HALF_FULL),
            ("spool", CLEARED, "the spool in /var/lib/tessflux is only 45% full again"),
        ],
    ),
    "the spool has no size while its disk is silent": (
        [used(0.5), replace(WELL, spool=replace(SPOOL, used=None)), used(0.5)],
        [("spool", RAISED, HALF_FULL)],
    ),
    "the spool is nearly full of what a database lacks": (
        [used(0.5), used(0.81, outputs=[OUTPUT, MIRROR])],
        [
            ("spool", RAISED, HALF_FULL),
            (
                "spool",
                RAISED,
                "the spool in /var/lib/tessflux is 81% full,"
                " because [influxdb mirror] lacks 1,203,222 readings",
            ),
        ],
    ),
    "the spool fills while an operator has paused": (
        [used(0.5, outputs=[replace(OUTPUT, paused=NOW)])],
        [("spool", RAISED, f"{HALF_FULL}, whose delivery is paused")],
    ),
    "the spool is full of what no database lacks": (
        [used(0.5, outputs=[replace(OUTPUT, waiting=0)])],
        [("spool", RAISED, "the spool in /var/lib/tessflux is 50% full")],
    ),
    "the clock is not set": (
        [
            replace(WELL, clock_known=False, uptime=599.0),
            replace(WELL, clock_known=False, uptime=600.0),
            WELL,
        ],
        [("clock", RAISED, NOT_SET), ("clock", CLEARED, "the clock of this computer is set")],
    ),
    "readings are lost": (
        [lost(0, 10), lost(2, 20), lost(5, 30), lost(5, 3_629), lost(5, 3_630), lost(6, 3_640)],
        [
            ("lost", RAISED, "2 readings were lost (spool full 2)"),
            ("lost", CLEARED, "no more readings were lost"),
            ("lost", RAISED, "6 readings were lost (spool full 6)"),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_raised_and_cleared(case: str) -> None:
    snapshots, expected = CASES[case]
    assert said(Board(), snapshots) == expected


def test_what_the_config_wants_no_alarm_of_is_none() -> None:
    off = AlarmConfig(not_stored=0, spool=0, output=0, broker=0, clock=0, lost=0)
    everything = [snapshot for snapshots, _ in CASES.values() for snapshot in snapshots]
    assert said(Board(), everything, off) == []


def test_an_alarm_that_is_switched_off_is_cleared() -> None:
    board = Board()
    board.look(broker("away", 600), CONFIG)
    assert said(board, [broker("away", 700)], AlarmConfig(broker=0)) == [
        ("broker", CLEARED, f"no longer watched: {BROKER_AWAY}")
    ]


STARTED = replace(
    WELL,
    uptime=1.0,
    started=NOW - 1,
    clock_known=False,
    messages=replace(MESSAGES, last_stored=None),
    spool=replace(SPOOL, used=None),
    broker=replace(BROKER, state="starting"),
    outputs=[replace(OUTPUT, state="starting"), replace(MIRROR, state="starting")],
)


def test_a_restart_raises_and_clears_nothing() -> None:
    """What is not known yet is no news."""
    alarms = [Alarm(kind, "", NOW, "") for kind in ("not_stored", "broker", "clock", "lost")]
    alarms += [Alarm("output", "influxdb mirror", NOW, ""), Alarm("spool", "50%", NOW, "")]
    board = Board()
    board.restore(alarms)
    assert said(board, [STARTED]) == []
    assert board.raised == alarms
    cleared = {kind for kind, _, _ in said(board, [replace(WELL, outputs=[OUTPUT, MIRROR])])}
    assert cleared == {"not_stored", "broker", "clock", "lost", "output", "spool"}
    assert board.raised == []


def test_what_a_server_says_is_one_line_of_bounded_length() -> None:
    nasty = replace(BROKER, state="away", since=0.0, problem="a\x1b[2J\nb" + "x" * 10_000)
    [notice] = Board().look(replace(WELL, broker=nasty), CONFIG)
    assert notice.text.isprintable()
    assert len(notice.text) == 1_000


@given(st.lists(st.sampled_from([each for snapshots, _ in CASES.values() for each in snapshots])))
def test_each_alarm_is_raised_and_cleared_in_turn(snapshots: Sequence[Snapshot]) -> None:
    """Whatever is seen; and after a restart in the midst, too."""
    board, raised = Board(), set[tuple[str, str]]()
    for number, snapshot in enumerate(snapshots):
        if number % 3 == 2:
            kept, board = board.raised, Board()
            board.restore(kept)
        for notice in board.look(snapshot, CONFIG):
            key = notice.event, notice.subject
            assert (key in raised) == (notice.state == CLEARED)
            raised ^= {key}
        assert {(alarm.kind, alarm.subject) for alarm in board.raised} == raised
