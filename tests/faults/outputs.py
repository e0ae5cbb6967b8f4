"""The databases that torture writes to, each behind a proxy of its own, and the rows that are in each.

InfluxDB, VictoriaMetrics with the flags of docs/databases.md, which loses what it took just before a kill,
and a server that answers at random. A row has a `name`, its `time` in ms since 1970 UTC, and fields.
"""

import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from servers import Influxd, Server, VictoriaMetrics

from tests.faults.dialects import row
from tests.faults.ledger import ROUNDED
from tests.faults.proxy import Proxy
from tests.faults.registers import LINE as REGISTERED

DEDUPLICATE = "-dedup.minScrapeInterval=1ms"
DATABASE = "tessdb"

Row = Mapping[str, Any]


class Output:
    """`section` is that of the config; `rounded` is by how much of itself a value in it may differ; `tears`
    says whether it stores a part of the line at which a connection is reset."""

    rounded = 0.0
    tears = False

    def __init__(self, section: str, server: Server, directory: Path) -> None:
        self.section, self.server = section, server
        self.name = section.split()[-1]
        self.proxy = Proxy(directory, f"{self.name}-proxy", server.port, closes=self.tears)

    @abstractmethod
    def rows(self, photometers: int) -> Iterator[list[Row]]:
        """All readings, in parts: of so many photometers, and whatever else there is."""

    @abstractmethod
    def zero_points(self) -> dict[str, list[float]]:
        """Those that photometers say they have, by their names, in the order of time."""


class Influx(Output):
    """The first output, [influxdb]."""

    def __init__(self, directory: Path) -> None:
        self.influxd = Influxd(directory / "influxd")
        super().__init__("influxdb", self.influxd, directory)

    def select(self, where: str) -> list[Row]:
        """The rows for which this is true."""
        return [*self.influxd.select(f"SELECT * FROM readings WHERE {where}", DATABASE)]

    def rows(self, photometers: int) -> Iterator[list[Row]]:
        for number in range(photometers):
            yield self.select(f"\"name\" = 'stars{number}'")
        yield self.select(r'"name" !~ /^stars\d+$/')

    def zero_points(self) -> dict[str, list[float]]:
        rows = self.influxd.select("SELECT * FROM photometers", DATABASE)
        return _by_name((row["name"], row["time"], row["zp"]) for row in rows)


class Victoria(Output):
    """[influxdb victoria]"""

    rounded = ROUNDED
    tears = True

    def __init__(self, directory: Path) -> None:
        self.victoria = VictoriaMetrics(directory / "victoria", flags=[DEDUPLICATE])
        super().__init__("influxdb victoria", self.victoria, directory)

    def rows(self, photometers: int) -> Iterator[list[Row]]:
        for number in range(photometers):
            yield self._rows(f'{{__name__!~"photometers_.*", name="stars{number}"}}')
        yield self._rows(r'{name!~"stars\\d+"}')

    def zero_points(self) -> dict[str, list[float]]:
        rows = self.victoria.export('{__name__="photometers_zp"}')
        return _by_name((name, time, value) for _, name, _, time, value in rows)

    def _rows(self, series: str) -> list[Row]:
        """A sample that is there twice makes a row of its own."""
        found: dict[tuple[str, int, int], dict[str, Any]] = {}
        seen: Counter[tuple[str, str, int]] = Counter()
        for database, name, metric, time, value in self.victoria.export(series):
            field = metric.removeprefix("readings_") if database == DATABASE else f"{database} {metric}"
            again = seen[name, field, time]
            seen[name, field, time] += 1
            found.setdefault((name, time, again), {"name": name, "time": time})[field] = value
        return list(found.values())


class Moody(Server):
    """`moody` as a program."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._seed, self.file = seed, directory.absolute() / "rows"
        super().__init__("moody", "python3", directory, "127.0.0.1", None)

    def find(self, name: str, package: str) -> str:
        return sys.executable

    def arguments(self, program: str) -> list[str]:
        return [program, "-m", "tests.faults.moody", str(self.port), str(self._seed), str(self.file)]

    def settings(self) -> str:
        return ""


class Scripted(Output):
    """[influxdb scripted]"""

    def __init__(self, directory: Path, seed: int) -> None:
        self.moody = Moody(directory / "moody", seed)
        super().__init__("influxdb scripted", self.moody, directory)

    def rows(self, photometers: int) -> Iterator[list[Row]]:
        rows = [row(line) for line in self._lines() if not REGISTERED.fullmatch(line)]
        yield [{"name": name, "time": time, **dict(fields)} for name, time, fields in rows]

    def zero_points(self) -> dict[str, list[float]]:
        found = [match for line in self._lines() if (match := REGISTERED.fullmatch(line))]
        return _by_name((match[1], int(match[3]), float(match[2])) for match in found)

    def _lines(self) -> list[str]:
        return self.moody.file.read_text().splitlines()


def _by_name(points: Iterable[tuple[str, int, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, _, value in sorted(points, key=lambda point: point[1]):
        found.setdefault(name, []).append(value)
    return found


def outputs(directory: Path, count: int, seed: int) -> list[Output]:
    """The first so many of them."""
    return [Influx(directory), Victoria(directory), Scripted(directory, seed)][:count]
