"""The panels of the dashboards, as Grafana's JSON; the field names are Grafana's.

The rule: a panel knows neither its id nor its place nor its data source, which `dashboard` gives it.
"""

from collections.abc import Sequence
from typing import Any

from questions import Json, Language, Question

WIDTH = 24
"""Of a dashboard, in the units of its grid."""

MAGNITUDE = "mag/arcsec²"

GAP = 600_000
"""Milliseconds: what is longer is a gap in a line, what is shorter a reading that was lost."""

UPWARDS = {
    f"-{half / 2:g}": {"text": f"{half / 2:g}", "index": index} for index, half in enumerate(range(10, 55))
}
"""An axis can be turned over only by drawing the negative value: this takes the sign off its labels."""


def curves(title: str, text: str, questions: Sequence[Question], *, label: str, **custom: Any) -> Json:
    """Lines over time, in which a gap is a gap."""
    defaults = {
        "unit": "none",
        "decimals": 2,
        "color": {"mode": "palette-classic-by-name"},
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 0,
            "showPoints": "auto",
            "pointSize": 3,
            "spanNulls": GAP,
            "axisLabel": label,
            **custom,
        },
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    # Photometers publish once a minute at least: a shorter interval would be mostly gaps.
    return _panel("timeseries", title, text, questions, defaults, options) | {"interval": "1m"}


def magnitudes(title: str, text: str, questions: Sequence[Question]) -> Json:
    """Lines of magnitudes: what is darker, and so a larger number, is further down."""
    panel = curves(title, text, questions, label=MAGNITUDE, transform="negative-Y")
    panel["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": UPWARDS}]
    return panel


def histogram(title: str, text: str, question: Question) -> Json:
    """How often which magnitude was measured, in colour, hour by hour."""
    options = {
        "calculate": True,
        "calculation": {
            "xBuckets": {"mode": "size", "value": "1h"},
            "yBuckets": {"mode": "size", "value": "0.25"},
        },
        "cellGap": 0,
        "color": {
            "mode": "scheme",
            "scheme": "Viridis",
            "steps": 64,
            "reverse": False,
            "exponent": 0.5,
            "fill": "dark-orange",
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "axisLabel": MAGNITUDE, "reverse": True, "decimals": 1},
    }
    panel = _panel("heatmap", title, text, [question], {}, options)
    # Twelve to an hour, for a month.
    return panel | {"interval": "5m", "maxDataPoints": 9_000}


def calendar(title: str, text: str, question: Question) -> Json:
    """Days as rows, hours as columns, and in the cells the colour of the magnitude.

    The same is asked twice: of one answer the times become days, of the other they become hours. Every hour
    must be in it, since rows and columns come in the order in which they are met; 0 is an empty cell.
    """
    defaults = {
        "mappings": [{"type": "value", "options": {"0": {"text": " ", "color": "transparent", "index": 0}}}],
        "decimals": 1,
        "min": 16,
        "max": 22,
        "color": {"mode": "continuous-viridis"},
        "custom": {
            "align": "center",
            "minWidth": 36,
            "cellOptions": {"type": "color-background", "mode": "basic"},
        },
    }
    plain = [
        {"id": "custom.cellOptions", "value": {"type": "auto"}},
        {"id": "custom.width", "value": 110},
    ]
    panel = _panel(
        "table",
        title,
        text,
        [question, question],
        defaults,
        _table_options(),
        [{"matcher": {"id": "byName", "options": "day"}, "properties": plain}],
    )
    panel["transformations"] = [
        _of("A", "formatTime", {"timeField": "Time", "outputFormat": "YYYY-MM-DD", "timezone": "utc"}),
        _of("A", "organize", {"renameByName": {"Time": "day"}}),
        _of("B", "formatTime", {"timeField": "Time", "outputFormat": "H", "timezone": "utc"}),
        _of("B", "organize", {"renameByName": {"Time": "hour"}, "excludeByName": {"mag": True}}),
        {"id": "concatenate", "options": {}},
        # Columns whose names are numbers lose the name that the data source gave their values.
        {
            "id": "convertFieldType",
            "options": {"conversions": [{"targetField": "hour", "destinationType": "number"}]},
        },
        {
            "id": "groupingToMatrix",
            "options": {"rowField": "day", "columnField": "hour", "valueField": "mag", "emptyValue": "null"},
        },
    ]
    return panel | {"interval": "1h", "maxDataPoints": 3_000}


def numbers(title: str, text: str, questions: Sequence[Question]) -> Json:
    """A figure for each question; 0 if there is no answer."""
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "value_and_name",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    defaults = {"unit": "none", "decimals": 0, "noValue": "0"}
    return _panel("stat", title, text, questions, defaults, options)


def table(title: str, text: str, questions: Sequence[Question], overrides: Sequence[Json] = ()) -> Json:
    """One question's table."""
    panel = _panel("table", title, text, questions, {"decimals": 2}, _table_options(), overrides)
    panel["transformations"] = [_columns(ref, each) for ref, each in _refs(questions)]
    return panel


def by_photometer(
    title: str, text: str, questions: Sequence[Question], overrides: Sequence[Json] = ()
) -> Json:
    """A table with a row for each photometer, and the columns of all questions; sorted by the first one."""
    panel = table(title, text, questions, overrides)
    shown = ["name", *(name for each in questions for name in each.columns.values())]
    panel["options"]["sortBy"] = [{"displayName": shown[1], "desc": False}]
    panel["transformations"] += [
        {"id": "joinByField", "options": {"byField": "name", "mode": "outer"}},
        {
            "id": "organize",
            "options": {
                "indexByName": {name: index for index, name in enumerate(shown)},
                "renameByName": {"name": "photometer"},
            },
        },
    ]
    return panel


def dashboard(
    language: Language,
    name: str,
    title: str,
    text: str,
    *,
    since: str,
    variables: Sequence[Json],
    rows: Sequence[tuple[int, Sequence[Json]]],
) -> Json:
    """A dashboard from `since` until now; a row is a height, and panels of equal width."""
    source = {"type": language.source, "uid": "${datasource}"}
    database = {
        "name": "datasource",
        "label": "data source",
        "type": "datasource",
        "query": language.source,
        "refresh": 1,
    }
    return {
        "uid": f"tessflux-{name}{language.suffix}",
        "title": f"tessflux: {title}" + (" (VictoriaMetrics)" if language.suffix else ""),
        "description": text,
        "tags": ["tessflux"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "5m",
        "timezone": "utc",
        "time": {"from": since, "to": "now"},
        "templating": {
            "list": [
                database,
                *({**each, "datasource": source} if each["type"] == "query" else each for each in variables),
            ]
        },
        "annotations": {"list": []},
        "links": [_links()],
        "panels": _placed(rows, source),
    }


def _links() -> Json:
    """The other dashboards, which keep what was chosen."""
    return {
        "title": "tessflux",
        "type": "dashboards",
        "tags": ["tessflux"],
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": False,
        "targetBlank": False,
        "tooltip": "",
    }


def _placed(rows: Sequence[tuple[int, Sequence[Json]]], source: Json) -> list[Json]:
    panels: list[Json] = []
    top = 0
    for height, row in rows:
        width = WIDTH // len(row)
        for index, panel in enumerate(row):
            panels.append(
                {
                    "id": len(panels) + 1,
                    **panel,
                    "datasource": source,
                    "gridPos": {"x": index * width, "y": top, "w": width, "h": height},
                    "targets": [{**target, "datasource": source} for target in panel["targets"]],
                }
            )
        top += height
    return panels


def _panel(
    kind: str,
    title: str,
    text: str,
    questions: Sequence[Question],
    defaults: Json,
    options: Json,
    overrides: Sequence[Json] = (),
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": text,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "targets": [{"refId": ref, **each.target} for ref, each in _refs(questions)],
    }


def _refs(questions: Sequence[Question]) -> list[tuple[str, Question]]:
    """The questions with their refIds: A, B, C."""
    return [(chr(ord("A") + index), each) for index, each in enumerate(questions)]


def _of(ref: str, transformation: str, options: Json) -> Json:
    """A transformation of one target's answer."""
    return {"id": transformation, "filter": {"id": "byRefId", "options": ref}, "options": options}


def _columns(ref: str, question: Question) -> Json:
    """Only the columns that are shown, with their names."""
    renamed = {column.format(ref=ref): name for column, name in question.columns.items()}
    return _of(
        ref, "organize", {"renameByName": renamed, "excludeByName": dict.fromkeys(question.dropped, True)}
    )


def _table_options() -> Json:
    return {"showHeader": True, "cellHeight": "sm", "frameIndex": 0}
