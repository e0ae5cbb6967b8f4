"""What a database loses or stores twice that is killed again and again while tessflux writes into it.

tessflux, a real mosquitto and a real database take readings at QoS 1. The database is killed -9 five times
and started again a second later. Then all is left to drain, and the rows, with all their fields, are compared
with what was published. That is done for each database, with each `resend`, and, if wanted, also without what
makes a database store once what it gets twice.

The programs are those on the PATH. Of the cluster of VictoriaMetrics one vmstorage and one vminsert are
killed at a time. For the jar of QuestDB see scripts/databases.py.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmark import machine
from databases import DEDUPLICATE, QuestDB, VictoriaMetricsCluster
from flood import Readings
from servers import Influxd, Mosquitto, Program, Sample, ServerFailed, VictoriaMetrics, ini, tessflux

FIELDS = frozenset({"seq", "freq", "mag", "tamb", "tsky", "wdBm"})
"""What is stored of each reading."""

PHOTOMETERS = 100
RECOMMENDED = 60.0
"""The default of `resend`."""

START_SECONDS = 60.0
QUIET_SECONDS = 15.0
"""When nothing new comes for so long, what is missing is lost: the longest pause of tessflux between two
attempts is shorter, at a database that was away for a second."""

LOOK_SECONDS = 1.0

NOT_RIGHT = 1
"""The exit code if a reading is lost or doubled although all is as recommended."""


class Database(Protocol):
    """A server, and what it has stored."""

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def samples(self) -> list[Sample]: ...


def questdb(directory: Path, once: bool) -> QuestDB:
    """With a table that keeps one of two equal rows, if wanted."""
    database = QuestDB(directory)
    database.start()
    keys = " DEDUP UPSERT KEYS(timestamp, name)" if once else ""
    database.query(
        "CREATE TABLE readings (name SYMBOL, timestamp TIMESTAMP) TIMESTAMP(timestamp) PARTITION BY DAY WAL"
        + keys
    )
    return database


DATABASES: dict[str, Callable[[Path, bool], Database]] = {
    "victoria-metrics": lambda directory, once: VictoriaMetrics(
        directory, flags=[DEDUPLICATE] if once else []
    ),
    "influxd": lambda directory, once: Influxd(directory),
    "questdb": questdb,
    "cluster": lambda directory, once: VictoriaMetricsCluster(directory),
}
"""Each in a directory; whether it is told to store once what it gets twice."""

ALWAYS_ONCE = ("influxd", "cluster")
"""They need not be told, or are always."""

HIDE_IT = ("cluster",)
"""Nobody can see whether they do."""


@dataclass(frozen=True)
class Case:
    """A database and how it and tessflux are set."""

    database: str
    once: bool
    resend: float

    @property
    def is_recommended(self) -> bool:
        return self.once and self.resend >= RECOMMENDED


def cases(databases: Sequence[str], resends: Sequence[float], *, plain: bool) -> list[Case]:
    """Which there are; `plain`: also without deduplication, where a database has that."""
    return [
        Case(database, once, resend)
        for database in databases
        for once in ((True, False) if plain and database not in ALWAYS_ONCE else (True,))
        for resend in resends
    ]


@dataclass(frozen=True)
class Schedule:
    """So many kills, one every so many seconds (s), `away` (s) until it runs again; readings a second."""

    kills: int = 5
    every: float = 10.0
    away: float = 1.0
    rate: float = 1_000.0

    @property
    def count(self) -> int:
        """How many readings are published: a while before the first kill, and after the last."""
        return int((self.kills + 1) * self.every * self.rate)


@dataclass(frozen=True)
class Found:
    """How many readings are in no row, in more than one, and in a row that lacks fields, which counts as lost
    too."""

    lost: int
    doubled: int
    half: int

    @property
    def right(self) -> bool:
        return not (self.lost or self.doubled)


def compare(readings: Readings, samples: Iterable[Sample]) -> Found:
    """What is stored, against what was published."""
    rows: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    twice: set[tuple[str, int]] = set()
    for name, when, field, value in samples:
        row = rows[name, when]
        if field in row:
            twice.add((name, when))
        row[field] = value
    half = sum(not row.keys() >= FIELDS for row in rows.values())
    whole = Counter(int(row["seq"]) for row in rows.values() if row.keys() >= FIELDS)
    lost = sum(number not in whole for number in range(readings.first, readings.last + 1))
    return Found(lost, len(twice) + whole.total() - len(whole), half)


def run(case: Case, schedule: Schedule, directory: Path) -> Found:
    """Do all of it in an empty directory."""
    readings = Readings(schedule.count, 1, PHOTOMETERS)
    with ExitStack() as stack:
        mosquitto = stack.enter_context(Mosquitto(directory / "mosquitto"))
        database = DATABASES[case.database](directory / "database", case.once)
        stack.callback(database.stop)
        database.start()
        daemon = tessflux(_config(directory, mosquitto, database, case), directory / "tessflux.log")
        stack.callback(daemon.kill)
        daemon.start()
        _wait_for(daemon, "Subscribed to")
        publisher = _publisher(directory, mosquitto, readings, schedule.rate)
        stack.callback(publisher.kill)
        publisher.start()
        begin = time.monotonic()
        for number in range(1, schedule.kills + 1):
            time.sleep(max(0.0, begin + number * schedule.every - time.monotonic()))
            database.kill()
            time.sleep(schedule.away)
            database.start()
        while publisher.running:
            time.sleep(LOOK_SECONDS)
        if publisher.returncode:
            raise publisher.failure("failed")
        _drain(readings, database)
        daemon.stop()
        return compare(readings, database.samples())


def _config(directory: Path, mosquitto: Mosquitto, database: Database, case: Case) -> Path:
    schema = directory / "schema"
    schema.write_text('CREATE DATABASE "tessdb";\n')
    sections: dict[str, dict[str, object]] = {
        "global": {"log_file": "", "clock_wait": 0},
        "influxdb": {
            "url": database.url,
            "schema": schema,
            "resend": case.resend,
            "deduplicates": "yes" if case.database in HIDE_IT else "no",
        },
        "mqtt": {"broker": f"tcp:{mosquitto.address}", "backlog_wait": 0},
        "spool": {"directory": directory / "spool"},
    }
    config = directory / "config"
    config.write_text(ini(sections))
    return config


def _publisher(directory: Path, mosquitto: Mosquitto, readings: Readings, rate: float) -> Program:
    options: dict[str, object] = {
        "count": readings.count,
        "qos": readings.qos,
        "photometers": readings.photometers,
        "rate": rate,
    }
    command = [sys.executable, Path(__file__).with_name("flood.py"), mosquitto.port, directory]
    command += [part for key, value in options.items() for part in (f"--{key}", value)]
    return Program("publisher", [str(part) for part in command], directory / "publisher.log")


def _wait_for(daemon: Program, text: str) -> None:
    end = time.monotonic() + START_SECONDS
    while text not in daemon.tail():
        if time.monotonic() > end or not daemon.running:
            raise daemon.failure("did not subscribe")
        time.sleep(0.1)


def _drain(readings: Readings, database: Database) -> None:
    """Return when all are stored, or nothing comes any more."""
    found, changed = Found(readings.count, 0, 0), time.monotonic()
    while found.lost and time.monotonic() < changed + QUIET_SECONDS:
        time.sleep(LOOK_SECONDS)
        before, found = found, compare(readings, database.samples())
        if found != before:
            changed = time.monotonic()


def report(found: dict[Case, Found], published: int) -> str:
    """A table in Markdown."""
    heads = ["database", "stores once", "`resend`", "published", "lost", "doubled", "half"]
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for case, each in found.items():
        once = "yes" if case.once else "no"
        numbers = (published, each.lost, each.doubled, each.half)
        lines.append([case.database, once, f"{case.resend:g}", *(f"{number:,}" for number in numbers)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Run all cases, print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/crashes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, usual = parser.add_argument, Schedule()
    add(
        "--database",
        nargs="+",
        choices=DATABASES,
        default=["victoria-metrics", "influxd"],
        help="which (%(default)s)",
    )
    add("--resend", nargs="+", type=float, default=[0.0, RECOMMENDED], help="each value (%(default)s)")
    add("--plain", action="store_true", help="also without deduplication in the database")
    add("--kills", type=int, default=usual.kills, help="how many (%(default)s)")
    add("--every", type=float, default=usual.every, help="s from one to the next (%(default)g)")
    add("--away", type=float, default=usual.away, help="s until it runs again (%(default)g)")
    add("--rate", type=float, default=usual.rate, help="readings a second (%(default)g)")
    options = parser.parse_args()
    schedule = Schedule(options.kills, options.every, options.away, options.rate)
    found: dict[Case, Found] = {}
    with tempfile.TemporaryDirectory(prefix="tessflux-crashes-") as name:
        directory = Path(name)
        about = {"command": shlex.join(["scripts/crashes", *sys.argv[1:]]), **machine.about(directory)}
        try:
            for case in cases(options.database, options.resend, plain=options.plain):
                place = directory / str(len(found))
                place.mkdir()
                found[case] = run(case, schedule, place)
                print(f"{time.strftime('%X')} {case}: {found[case]}", file=sys.stderr, flush=True)
        except ServerFailed as error:
            sys.exit(f"scripts/crashes: {error}")
    print("\n".join(f"- {name}: {value}" for name, value in about.items()))
    print("", report(found, schedule.count), sep="\n")
    return NOT_RIGHT if any(case.is_recommended and not each.right for case, each in found.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
