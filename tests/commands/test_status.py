"""`tessflux status`, and what its Nagios line makes of a snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from unittest.mock import Mock

import pytest

from tessflux.commands.daemon import Daemon
from tessflux.commands.status import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    judge,
    nagios,
    screen,
    status,
    watch,
)
from tessflux.errors import NoDaemon, NotAllowed
from tessflux.status import Alarm, Broker, Output, Snapshot
from tests.status.site import AWAY, BROKER, MESSAGES, NOW, OUTPUT, SPOOL, WELL


def test_the_screen_when_all_is_well() -> None:
    assert list(screen(WELL)) == [
        "tessflux 3.0.0 has run for 1 h 1 min (process 123, /etc/tessflux/config)",
        "all is well",
        "",
        "broker       tcp:localhost:1883 up for 1 h",
        "received     1,010: 1,000 stored, 2 held until their time is known, 3 on their way to the disk",
        "             4 filtered (retained 3, duplicate 1), 1 refused (no name 1), 0 lost",
        "stored       the last one 5 s ago",
        "photometers  1,000 known, 3 of them silent",
        "spool        7 waiting (the oldest from 1 min 5 s ago), 3 MB of 1 GB used",
        "influxdb     http://localhost:8086 up for 58 min 20 s",
        "             993 delivered, the last one 1 min 10 s ago; 7 waiting (the oldest from 1 min 5 s ago),"
        " 4 sent again",
    ]


def lines(**changes: object) -> str:
    return "\n".join(screen(replace(WELL, **changes)))  # type: ignore[arg-type]


def test_the_screen_says_what_is_not_well_first() -> None:
    shown = lines(problems=["the broker is away", "the disk fails"], outputs=[OUTPUT, AWAY])
    assert shown.splitlines()[1:3] == ["! the broker is away", "! the disk fails"]
    shown = lines(alarms=[Alarm("spool", "50%", NOW - 60, "the spool fills")])
    assert shown.splitlines()[1:3] == ["! alarm for 1 min: the spool fills", ""]


def test_the_screen_says_how_each_output_is() -> None:
    shown = lines(outputs=[OUTPUT, AWAY])
    assert "\ninfluxdb mirror  http://localhost:8086 away for 1 min: refused (is it running?)\n" in shown


def test_the_screen_of_a_daemon_that_has_just_begun() -> None:
    output = replace(
        OUTPUT,
        state="starting",
        last_delivered=None,
        oldest_waiting=None,
        waiting=0,
        readings={"delivered": 0},
    )
    shown = lines(
        broker=replace(BROKER, state="starting"),
        outputs=[output, replace(output, name="b", state="none"), replace(output, name="c", paused=NOW - 9)],
        messages=replace(MESSAGES, last_stored=None),
        spool=replace(SPOOL, used=None, oldest_waiting=None),
    )
    for text in (
        "broker       tcp:localhost:1883 has not answered yet",
        "stored       none yet",
        "size not known",
        "influxdb     http://localhost:8086 has not answered yet",
        "0 delivered, none yet; 0 waiting",
        "b            no url in the config: readings wait in the spool",
        "c            http://localhost:8086 paused for 9 s",
    ):
        assert text in shown


def server(state: str, seconds: float, problem: str = "") -> Broker:
    return replace(BROKER, state=state, since=NOW - seconds, problem=problem)  # type: ignore[arg-type]


def database(state: str, seconds: float, paused: float | None = None) -> Sequence[Output]:
    return [replace(OUTPUT, state=state, since=NOW - seconds, paused=paused)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("snapshot", "code", "text"),
    [
        (WELL, OK, "1,000 stored, the last one 5 s ago"),
        (replace(WELL, broker=server("away", 60, "lost")), WARNING, "the broker is away for 1 min: lost"),
        (replace(WELL, broker=server("away", 600, "lost")), CRITICAL, "the broker is away for 10 min: lost"),
        (replace(WELL, broker=server("starting", 60)), WARNING, "the broker is starting for 1 min"),
        (replace(WELL, broker=server("up", 60, "it refuses a/b")), WARNING, "the broker: it refuses a/b"),
        (replace(WELL, outputs=database("away", 599)), WARNING, "[influxdb] is away for 9 min 59 s"),
        (replace(WELL, outputs=database("away", 601)), CRITICAL, "[influxdb] is away for 10 min 1 s"),
        (replace(WELL, outputs=database("none", 601)), OK, "1,000 stored, the last one 5 s ago"),
        (
            replace(WELL, paused="delivery is paused", outputs=database("away", 900, paused=NOW)),
            WARNING,
            "delivery is paused",
        ),
        (replace(WELL, spool=replace(SPOOL, answers=False)), CRITICAL, "the spool does not answer"),
        (replace(WELL, spool=replace(SPOOL, failing="x")), CRITICAL, "the spool takes no readings: x"),
        (replace(WELL, spool=replace(SPOOL, used=2**29 - 1)), OK, "1,000 stored, the last one 5 s ago"),
        (replace(WELL, spool=replace(SPOOL, used=2**29)), WARNING, "the spool is 50% full"),
        (replace(WELL, spool=replace(SPOOL, used=2**30)), CRITICAL, "the spool is 100% full"),
        (
            replace(WELL, messages=replace(MESSAGES, lost={"spool full": 1_234})),
            WARNING,
            "1,234 lost since the start (spool full 1,234)",
        ),
        (replace(WELL, clock_known=False), WARNING, "the time of day is not known yet"),
        (
            replace(WELL, messages=replace(MESSAGES, last_stored=NOW - 1_200)),
            CRITICAL,
            "nothing was stored for 20 min",
        ),
        (
            replace(WELL, started=NOW - 1_199, messages=replace(MESSAGES, last_stored=None)),
            OK,
            "1,000 stored, none yet",
        ),
    ],
)
def test_how_bad_it_is(snapshot: Snapshot, code: int, text: str) -> None:
    found, line = judge(snapshot)
    assert (found, line.partition(" | ")[0]) == (code, text)


def test_the_worst_comes_first() -> None:
    snapshot = replace(WELL, clock_known=False, broker=server("away", 700, "lost"))
    assert judge(snapshot)[1].startswith("the broker is away for 11 min 40 s: lost; the time of day")


def test_a_watch_goes_on_while_no_daemon_answers_and_ends_with_ctrl_c() -> None:
    stream, slept = StringIO(), Mock(side_effect=[None, None, KeyboardInterrupt])
    daemon = Mock(Daemon, snapshot=Mock(side_effect=[WELL, NoDaemon("nobody"), replace(WELL, pid=9)]))
    watch(daemon, stream, slept)
    assert [
        line[:20] for line in stream.getvalue().splitlines() if "process" in line or line == "nobody"
    ] == [
        "tessflux 3.0.0 has r",
        "nobody",
        "tessflux 3.0.0 has r",
    ]


def test_what_servers_say_cannot_move_the_cursor() -> None:
    stream = StringIO()
    snapshot = replace(WELL, problems=["the broker: \x1b[2J"])
    status(Mock(Daemon, snapshot=lambda: snapshot), stream, form="screen")
    assert "! the broker: \\x1b[2J\n" in stream.getvalue()


class Failing(Daemon):
    """One that has a bug."""

    def ask(self, method: str, path: str, query: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        return 500, b"500 the page could not be made; the log has the reason\n"


def test_a_status_that_could_not_be_made_is_no_json() -> None:
    stream = StringIO()
    with pytest.raises(NoDaemon, match=r"^the daemon at /run/it answers: 500 .* has the reason$"):
        status(Failing("/run/it"), stream, form="json")
    assert not stream.getvalue()


def line_of(daemon: Daemon | Exception) -> tuple[int, str]:
    said: list[str] = []
    find = Mock(side_effect=daemon) if isinstance(daemon, Exception) else Mock(return_value=daemon)
    code = nagios(find, said.append)
    (line,) = said
    return code, line


def test_the_line_has_figures_behind_a_bar() -> None:
    assert line_of(Mock(Daemon, snapshot=lambda: WELL)) == (
        OK,
        "TESSFLUX OK - 1,000 stored, the last one 5 s ago | received=1010c stored=1000c refused=1c lost=0c"
        " waiting=7;;;0 spool=3145728B;536870912;966367641;0;1073741824",
    )


def test_what_a_server_says_cannot_forge_figures_or_lines() -> None:
    broker = server("away", 60, "no | lost=9c\nTESSFLUX OK")
    code, line = line_of(Mock(Daemon, snapshot=lambda: replace(WELL, broker=broker)))
    assert code == WARNING
    assert line.startswith(
        "TESSFLUX WARNING - the broker is away for 1 min: no / lost=9c TESSFLUX OK | received"
    )
    assert line.count("|") == 1


def test_without_a_daemon_it_is_critical_and_without_permission_nobody_knows() -> None:
    assert line_of(NoDaemon("nobody\nis there")) == (CRITICAL, "TESSFLUX CRITICAL - nobody is there")
    assert line_of(NotAllowed("not you")) == (UNKNOWN, "TESSFLUX UNKNOWN - not you")
