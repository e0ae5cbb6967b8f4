"""Databases that Debian does not have: QuestDB, and a cluster of VictoriaMetrics.

The rule is that of `servers`. Nothing is downloaded: what is not there raises ServerFailed, which says what
is missing.
"""

import json
import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servers import (
    LOOPBACK,
    Sample,
    Server,
    ServerFailed,
    ask,
    exported,
    find_program,
    free_port,
)

QUESTDB_JAR = "QUESTDB_JAR"
"""The environment variable that names the jar of org.questdb:questdb."""

MAVEN = Path.home() / ".m2/repository/org/questdb/questdb"
"""Where `mvn dependency:get -Dartifact=org.questdb:questdb:VERSION` puts it."""

DEDUPLICATE = "-dedup.minScrapeInterval=1ms"
"""With it, VictoriaMetrics stores once what it gets twice."""

CLUSTER = {
    "vmstorage": ("-retentionPeriod=100y", DEDUPLICATE),
    "vminsert": ("-replicationFactor=2",),
    "vmselect": ("-replicationFactor=2", DEDUPLICATE),
}
"""The flags of each program of a cluster, besides addresses and directories."""


def questdb_jar() -> Path:
    """The jar of QuestDB; raises ServerFailed."""
    named = os.environ.get(QUESTDB_JAR)
    jars = [Path(named)] if named else sorted(MAVEN.glob("*/questdb-*.jar"))
    if not jars or not jars[-1].is_file():
        raise ServerFailed(
            f"there is no jar of org.questdb:questdb in {named or MAVEN}; {QUESTDB_JAR} names one"
        )
    return jars[-1]


class QuestDB(Server):
    """A QuestDB without tables, which keeps its data over `restart` and `kill`."""

    start_seconds = 60.0

    def __init__(self, directory: Path) -> None:
        self._jar = questdb_jar()
        super().__init__("java", "default-jre-headless", directory, LOOPBACK, None)

    def arguments(self, program: str) -> list[str]:
        settings = {
            "QDB_HTTP_BIND_TO": self.address,
            "QDB_HTTP_MIN_ENABLED": "false",
            "QDB_PG_ENABLED": "false",
            "QDB_LINE_TCP_ENABLED": "false",
            "QDB_TELEMETRY_ENABLED": "false",
        }
        java = [program, "-Xmx512m", "-p", str(self._jar), "-m", "io.questdb/io.questdb.ServerMain"]
        environment = [f"{key}={value}" for key, value in settings.items()]
        return ["env", *environment, *java, "-d", str(self.directory)]

    def settings(self) -> str:
        return ""

    @property
    def url(self) -> str:
        """What [influxdb] url wants."""
        return f"http://{self.address}"

    def query(self, text: str) -> list[list[Any]]:
        """The rows that a statement gives; raises ServerFailed with what QuestDB says."""
        answer = json.loads(ask(f"{self.url}/exec?{urllib.parse.urlencode({'query': text})}"))
        rows: list[list[Any]] = answer.get("dataset", [])
        return rows

    def samples(self) -> list[Sample]:
        """Every field of every reading."""
        columns = [row[0] for row in self.query("SHOW COLUMNS FROM readings")]
        fields = [column for column in columns if column not in ("name", "timestamp")]
        names = ", ".join(f'"{field}"' for field in fields)
        rows = self.query(f"SELECT name, cast(timestamp AS long) / 1000, {names} FROM readings")
        return [
            (name, time, field, value)
            for name, time, *values in rows
            for field, value in zip(fields, values, strict=True)
            if value is not None
        ]


class _Part(Server):
    """A program of a VictoriaMetrics cluster; `address` is that of its HTTP, `flags` are its places."""

    def __init__(self, name: str, directory: Path, flags: Sequence[str]) -> None:
        self._flags = (*flags, *CLUSTER[name])
        super().__init__(name, f"(no package of Debian has {name})", directory, LOOPBACK, None)

    def find(self, name: str, package: str) -> str:
        try:
            return find_program(name, package)
        except ServerFailed:
            raise ServerFailed(
                f"the program {name} of a VictoriaMetrics cluster is not on the PATH"
            ) from None

    def arguments(self, program: str) -> list[str]:
        return [program, f"-httpListenAddr={self.address}", "-loggerLevel=WARN", *self._flags]

    def settings(self) -> str:
        return ""


class VictoriaMetricsCluster:
    """Two vmstorage with a copy of everything in each, two vminsert and a vmselect, as docs/network.md has
    them."""

    def __init__(self, directory: Path) -> None:
        inserts, selects = [[f"{LOOPBACK}:{free_port()}" for _ in range(2)] for _ in range(2)]
        self._storages = [
            _Part(
                "vmstorage",
                directory / f"vmstorage{number}",
                [
                    f"-storageDataPath={directory}/vmstorage{number}/data",
                    f"-vminsertAddr={insert}",
                    f"-vmselectAddr={select}",
                ],
            )
            for number, (insert, select) in enumerate(zip(inserts, selects, strict=True), 1)
        ]
        writes = [f"-storageNode={','.join(inserts)}"]
        self._inserts = [_Part("vminsert", directory / f"vminsert{number}", writes) for number in (1, 2)]
        reads = [f"-storageNode={','.join(selects)}"]
        self._select = _Part("vmselect", directory / "vmselect", reads)
        self._kills = 0

    @property
    def url(self) -> str:
        """What [influxdb] url wants: both vminsert."""
        return ", ".join(f"http://{insert.address}/insert/0/influx" for insert in self._inserts)

    def start(self) -> None:
        """Start what does not run."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Stop all, in order."""
        for part in reversed(self._parts):
            part.stop()

    def kill(self) -> None:
        """End one vmstorage and one vminsert, the next time the others."""
        for part in (self._storages[self._kills % 2], self._inserts[self._kills % 2]):
            part.kill()
        self._kills += 1

    def samples(self) -> list[Sample]:
        """Every field of every reading."""
        for storage in self._storages:
            ask(f"http://{storage.address}/internal/force_flush")
        found = exported(f"http://{self._select.address}/select/0/prometheus")
        return [(name, time, field.removeprefix("readings_"), value) for _, name, field, time, value in found]

    @property
    def _parts(self) -> list[_Part]:
        return [*self._storages, *self._inserts, self._select]
