"""Readings out of a VictoriaMetrics, in which each field of a photometer is a series of its own.

The series are exported for a day at a time, and joined by their times; so neither side holds more than that.
Values come as it stores them, rounded to 15 digits. It has no texts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from time import time
from typing import TypeVar

import msgspec

from tessflux.archive.server import Parameters, Server
from tessflux.archive.source import BEGINNING, DAY, END, Extent, Registration, Row, days
from tessflux.errors import Unavailable
from tessflux.readings import REGISTRATION_TEXTS, REGISTRATIONS_MEASUREMENT


class _Series(msgspec.Struct):
    """One line of an export."""

    metric: dict[str, str]
    timestamps: list[int]
    values: list[float | None]
    """null stands for one that is no number."""


class _Sample(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, float]
    """When it is asked for, and what it is then."""


class _Samples(msgspec.Struct):
    result: list[_Sample]


class _Vector(msgspec.Struct):
    data: _Samples


class _Labels(msgspec.Struct):
    data: list[str]


_Kind = TypeVar("_Kind")


class VictoriaMetrics:
    """A `Source`: the readings in one VictoriaMetrics that is no cluster."""

    def __init__(self, server: Server) -> None:
        self._server, self._measurement = server, server.config.measurement

    def names(self) -> Sequence[str]:
        """See `Source`."""
        # Newer ones take 0 for no start at all, and name only whom they heard lately.
        parameters: Parameters = {"match[]": self._series(self._measurement), "start": DAY // 1000}
        return sorted(self._ask("/api/v1/label/name/values", parameters, _Labels).data)

    def extent(self, name: str, start: int, end: int) -> Extent | None:
        """See `Source`."""
        return self._extent(self._measurement, name, start, end)

    def readings(self, name: str, start: int, end: int) -> Iterator[Row]:
        """See `Source`."""
        return self._rows(self._measurement, name, start, end)

    def registrations(self, name: str) -> Sequence[Registration]:
        """See `Source`."""
        extent = self._extent(REGISTRATIONS_MEASUREMENT, name, BEGINNING, END)
        if not extent:
            return []
        rows = self._rows(REGISTRATIONS_MEASUREMENT, name, extent.first, extent.last + 1)
        # It has made a number of each text, mostly 0.
        return [
            Registration(moment, {key: each for key, each in values.items() if key not in REGISTRATION_TEXTS})
            for moment, values in rows
        ]

    def _extent(self, measurement: str, name: str, start: int, end: int) -> Extent | None:
        # In a range that reaches back to 1970 it finds nothing, nor in one that ends far from now.
        start, end = max(start, DAY), min(end, round(time() * 1000) + DAY)
        if start >= end:
            return None
        first = self._times("tfirst_over_time", measurement, name, start, end)
        last = self._times("tlast_over_time", measurement, name, start, end)
        if not (first and last):
            return None
        return Extent(min(first.values()), max(last.values()), frozenset(first))

    def _times(self, function: str, measurement: str, name: str, start: int, end: int) -> dict[str, int]:
        """What the function says of each field, in ms."""
        moment = -(-end // 1000)
        # To it a range has its end and not its begin; for us it is the other way round.
        # It reckons in seconds and cuts off parts of a millisecond: a whole number might become one less.
        window = f"[{end - start}.5ms] offset {moment * 1000 - end + 1}.5ms"
        parameters: Parameters = {
            "query": f"{function}({self._series(measurement, name)}{window}) keep_metric_names",
            "time": moment,
            # Otherwise a time close to now becomes one half a minute ago.
            "nocache": 1,
        }
        found = self._ask("/api/v1/query", parameters, _Vector).data.result
        times = {self._field(measurement, each.metric): each.value[1] * 1000 for each in found}
        if not all(isfinite(ms) and start <= round(ms) < end for ms in times.values()):
            raise self._stranger()
        return {field: round(ms) for field, ms in times.items()}

    def _rows(self, measurement: str, name: str, start: int, end: int) -> Iterator[Row]:
        for day in days(start, end):
            rows: dict[int, dict[str, float]] = {}
            for series in self._export(measurement, name, *day):
                field = self._field(measurement, series.metric)
                for moment, value in zip(series.timestamps, series.values, strict=False):
                    if value is not None and isfinite(value) and day[0] <= moment < day[1]:
                        rows.setdefault(moment, {})[field] = value
            for moment in sorted(rows):
                yield Row(moment, rows[moment])

    def _export(self, measurement: str, name: str, start: int, end: int) -> Iterator[_Series]:
        # In whole seconds: of others it may lose a thousandth.
        span = {"start": start // 1000, "end": -(-end // 1000)}
        parameters: Parameters = {"match[]": self._series(measurement, name), **span}
        for line in self._server.body("/api/v1/export", parameters).splitlines():
            yield self._read(line, _Series)

    def _series(self, measurement: str, name: str | None = None) -> str:
        """Which series hold the fields of a measurement: of one photometer, or of all."""
        labels = {"db": self._server.config.dbname, **({} if name is None else {"name": name})}
        exactly = [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels.items()]
        pattern = json.dumps(f"{re.escape(measurement)}_[A-Za-z0-9]+", ensure_ascii=False)
        return f"{{{','.join([f'__name__=~{pattern}', *exactly])}}}"

    def _field(self, measurement: str, metric: Mapping[str, str]) -> str:
        return metric.get("__name__", "").removeprefix(f"{measurement}_")

    def _ask(self, path: str, parameters: Parameters, kind: type[_Kind]) -> _Kind:
        return self._read(self._server.body(path, parameters), kind)

    def _read(self, body: bytes, kind: type[_Kind]) -> _Kind:
        try:
            # Some of its numbers are texts.
            return msgspec.json.decode(body, type=kind, strict=False)
        except msgspec.MsgspecError:
            raise self._stranger() from None

    def _stranger(self) -> Unavailable:
        return self._server.trouble("its answer is not that of a VictoriaMetrics")
