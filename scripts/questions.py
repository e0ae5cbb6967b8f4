"""What the dashboards ask, in the language of each database: InfluxQL, and MetricsQL of VictoriaMetrics.

The rule: both classes have the same methods, and a method asks the same in both. A field that is 0 where
nothing was measured, as a magnitude is, is left out there (`zero`).

Variables stand as `${photometer:regex}`, with the format that their place needs: without one, Grafana
chooses it, by data source and version. `$__interval` grows with the time that is shown, so a month has no
more points than a day.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

KNOWN = "30d"
"""Whoever was not heard for longer is no part of the network any more."""

RECENT = "2h"
"""Whoever was not heard for so long is silent, as tessflux has it by default."""

IDENTITY = ("zp", "zp1", "zp2", "zp3", "zp4", "offsethz", "latitude", "longitude")
"""What photometers tell of themselves, as far as it is a number."""


@dataclass(frozen=True)
class Question:
    """A target of a panel. For a table: `columns` names those that are shown and how, `dropped` the others.

    In `columns`, {ref} stands for the target's refId.
    """

    target: Json
    columns: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


class Language(ABC):
    """A language, the data source that speaks it, and the folder of its dashboards."""

    source: str
    folder: str
    suffix: str = ""
    """Of titles and uids."""

    @abstractmethod
    def variables(self) -> list[Json]:
        """All but the photometer: which readings are meant."""

    @abstractmethod
    def names(self) -> str | Json:
        """The query of the variable `photometer`."""

    @abstractmethod
    def means(self, name: str, legend: str, *, zero: bool = True) -> Question:
        """The means of a field over time, for each chosen photometer; `legend` follows its name."""

    @abstractmethod
    def counted(self, name: str) -> Question:
        """The means of a field without zeros, for a heatmap: it would count a point without a value as 0."""

    @abstractmethod
    def clouds(self) -> Question:
        """By how much the sky is warmer than the photometer, over time."""

    @abstractmethod
    def hourly(self, name: str) -> Question:
        """The mean of every hour, which begins at the time of its point; called `mag`, 0 if there is none."""

    @abstractmethod
    def counts(self) -> list[Question]:
        """How many photometers are known, and how many of them were heard lately."""

    @abstractmethod
    def seen(self) -> Question:
        """Table: when each photometer was heard last, also one without `mag`."""

    @abstractmethod
    def recent(self) -> Question:
        """Table: how many readings each photometer has sent lately."""

    @abstractmethod
    def darkest(self, name: str, darkest: str, median: str) -> list[Question]:
        """Table: the darkest and the median magnitude of each photometer in the time that is shown."""

    @abstractmethod
    def identity(self) -> Question:
        """Table: what the photometer has told of itself."""


class InfluxQL(Language):
    """InfluxDB 1, and InfluxDB 2 by its compatible query."""

    source = "influxdb"
    folder = "influxql"

    READINGS = '"${policy:raw}"."${measurement:raw}"'
    CHOSEN = '"name" =~ /^${photometer:regex}$/'

    def variables(self) -> list[Json]:
        return [
            _variable("policy", "retention policy", "SHOW RETENTION POLICIES", "forever"),
            _variable("measurement", "measurement", "SHOW MEASUREMENTS", "readings")
            | {"regex": "/^(?!photometers$).+/"},
        ]

    def names(self) -> str | Json:
        return 'SHOW TAG VALUES FROM "${measurement:raw}" WITH KEY = "name"'

    def means(self, name: str, legend: str, *, zero: bool = True) -> Question:
        where = "" if zero else f' AND "{name}" > 0'
        return self._means(f'mean("{name}")', where, "null", legend)

    def counted(self, name: str) -> Question:
        return self._means(f'mean("{name}")', f' AND "{name}" > 0', "none", "")

    def clouds(self) -> Question:
        return self._means('mean("tsky") - mean("tamb")', "", "null", "")

    def hourly(self, name: str) -> Question:
        return self._series(
            f'SELECT mean("{name}") FROM {self.READINGS} WHERE $timeFilter AND {self.CHOSEN}'
            f' AND "{name}" > 0 GROUP BY time(1h) fill(0)',
            "mag",
        )

    def counts(self) -> list[Question]:
        # One question, whose second column is there though nobody was heard.
        known, recent = (
            f'(SELECT last("seq") AS "{name}" FROM {self.READINGS} WHERE time > now() - {since}'
            ' GROUP BY "name")'
            for name, since in (("known", KNOWN), ("recent", RECENT))
        )
        columns = f'count("known") AS "heard in {KNOWN}", count("recent") AS "heard in {RECENT}"'
        return [self._series(f"SELECT {columns} FROM {known}, {recent}", "$col")]

    def seen(self) -> Question:
        return self._table(
            f'SELECT last("seq") AS "seq" FROM {self.READINGS} WHERE time > now() - {KNOWN} GROUP BY "name"',
            {"Time": "last seen"},
            ("seq",),
        )

    def recent(self) -> Question:
        return self._table(
            f'SELECT count("seq") AS "recent" FROM {self.READINGS} WHERE time > now() - {RECENT}'
            ' GROUP BY "name"',
            {"recent": f"readings in {RECENT}"},
            ("Time",),
        )

    def darkest(self, name: str, darkest: str, median: str) -> list[Question]:
        query = (
            f'SELECT max("{name}") AS "darkest", median("{name}") AS "median" FROM {self.READINGS}'
            f' WHERE $timeFilter AND "{name}" > 0 GROUP BY "name"'
        )
        return [self._table(query, {"darkest": darkest, "median": median}, ("Time",))]

    def identity(self) -> Question:
        fields = ", ".join(f'"{each}"' for each in ("mac", "firmware", "model", *IDENTITY))
        query = (
            f'SELECT {fields} FROM "${{policy:raw}}"."photometers" WHERE {self.CHOSEN}'
            " ORDER BY time DESC LIMIT 10"
        )
        return self._table(query, {"Time": "since"})

    def _means(self, what: str, where: str, fill: str, legend: str) -> Question:
        return self._series(
            f"SELECT {what} FROM {self.READINGS} WHERE $timeFilter AND {self.CHOSEN}{where}"
            f' GROUP BY time($__interval), "name" fill({fill})',
            f"$tag_name{legend}",
        )

    def _series(self, query: str, alias: str) -> Question:
        return Question({"rawQuery": True, "query": query, "resultFormat": "time_series", "alias": alias})

    def _table(self, query: str, columns: Mapping[str, str], dropped: tuple[str, ...] = ()) -> Question:
        return Question({"rawQuery": True, "query": query, "resultFormat": "table"}, columns, dropped)


class MetricsQL(Language):
    """VictoriaMetrics, where a field is a metric; asked by Grafana's data source for Prometheus."""

    source = "prometheus"
    folder = "victoriametrics"
    suffix = "-vm"

    ALL = 'db="$db"'
    # Between backticks nothing is escaped but by Grafana, for the regular expression.
    CHOSEN = f"{ALL},name=~`${{photometer:regex}}`"

    def variables(self) -> list[Json]:
        names = "label_values(${measurement:raw}_seq, db)"
        return [
            _variable("measurement", "measurement", _prometheus("metrics(.+_seq)"), "readings")
            | {"regex": "/^(.+)_seq$/"},
            _variable("db", "database", _prometheus(names), "tessdb"),
        ]

    def names(self) -> str | Json:
        return _prometheus(f"label_values(${{measurement:raw}}_seq{{{self.ALL}}}, name)")

    def means(self, name: str, legend: str, *, zero: bool = True) -> Question:
        window = f"{self._metric(name, self.CHOSEN)}[$__interval]"
        if zero:
            return self._series(f"avg_over_time({window})", f"{{{{name}}}}{legend}")
        return self._series(_mean_without_zero(window), f"{{{{name}}}}{legend}")

    def counted(self, name: str) -> Question:
        return self.means(name, "", zero=False)

    def clouds(self) -> Question:
        sky, box = (
            f"avg_over_time({self._metric(each, self.CHOSEN)}[$__interval])" for each in ("tsky", "tamb")
        )
        return self._series(f"{sky} - {box}", "{{name}}")

    def hourly(self, name: str) -> Question:
        # A window lies before its point, which belongs to it.
        window = f"{self._metric(name, self.CHOSEN)}[1h] offset -59m59s999ms"
        return self._series(f"max({_mean_without_zero(window)}) or vector(0)", "mag")

    def counts(self) -> list[Question]:
        return [
            Question(
                self._series(
                    f"count(count by (name) (last_over_time({self._metric('seq')}[{since}]))) or vector(0)",
                    f"heard in {since}",
                ).target
                | {"range": False, "instant": True}
            )
            for since in (KNOWN, RECENT)
        ]

    def seen(self) -> Question:
        return self._table(
            f"1000 * max by (name) (tlast_over_time({self._metric('seq')}[{KNOWN}]))", "last seen"
        )

    def recent(self) -> Question:
        counts = f"sum by (name) (count_over_time({self._metric('seq')}[{RECENT}]))"
        return self._table(counts, f"readings in {RECENT}")

    def darkest(self, name: str, darkest: str, median: str) -> list[Question]:
        metric = self._metric(name)
        middle = f"quantile_over_time(0.5, ({metric} > 0)[$__range:$__interval])"
        return [
            self._table(f"max by (name) (max_over_time({metric}[$__range]) > 0)", darkest),
            self._table(f"max by (name) ({middle})", median),
        ]

    def identity(self) -> Question:
        names = f'__name__=~"photometers_({"|".join(IDENTITY)})"'
        query = f"last_over_time({{{names},{self.CHOSEN}}}[10y])"
        target = self._table(query, "").target
        return Question(target, {"__name__": "what", "Value": "value"}, ("Time", "db", "name"))

    def _metric(self, name: str, which: str = ALL) -> str:
        return f"${{measurement:raw}}_{name}{{{which}}}"

    def _series(self, expression: str, legend: str) -> Question:
        target = {"editorMode": "code", "expr": expression, "legendFormat": legend, "format": "time_series"}
        return Question({**target, "range": True, "instant": False})

    def _table(self, expression: str, column: str) -> Question:
        target = {"editorMode": "code", "expr": expression, "legendFormat": "", "format": "table"}
        return Question(
            {**target, "range": False, "instant": True},
            # As Grafana calls the values of one of several targets.
            {"Value #{ref}": column},
            ("Time",),
        )


def _mean_without_zero(window: str) -> str:
    """Zeros add nothing to a sum. The readings of `window` are those of a selector with brackets."""
    return f"sum_over_time({window}) / count_ne_over_time({window}, 0)"


def _prometheus(query: str) -> Json:
    return {"query": query, "refId": "variable"}


def _variable(name: str, label: str, query: str | Json, usual: str) -> Json:
    """A variable with one value, which is the usual one if the database has it."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "query": query,
        "current": {"text": usual, "value": usual},
        "refresh": 1,
        "sort": 0,
    }
