"""Writes the dashboards of grafana/, each in two languages: .venv/bin/python scripts/dashboards.py

The rule: what a dashboard shows stands here, once; how it asks stands in `questions`, and what Grafana calls
its parts in `panels`. The JSON is what people import. It is written, not edited.
"""

import json
from pathlib import Path

import panels
from questions import KNOWN, RECENT, InfluxQL, Json, Language, MetricsQL, Question

GRAFANA = Path(__file__).parents[1] / "grafana"

CHANNELS = {"mag": "", "mag1": " 1", "mag2": " 2", "mag3": " 3", "mag4": " 4"}
"""The field of a magnitude, and what follows the name of its photometer: a TESS4C has four."""

SILENT = {
    "type": "special",
    "options": {"match": "null+nan", "result": {"text": "silent", "color": "red", "index": 0}},
}
"""How a table shows that there is no number of readings."""


def magnitudes(language: Language) -> list[Question]:
    """Of all channels that the chosen photometers have."""
    return [language.means(name, legend, zero=False) for name, legend in CHANNELS.items()]


def night(language: Language) -> Json:
    """Some photometers in one picture."""
    brightness = panels.magnitudes(
        "Brightness of the sky",
        "Darker is further down. What is too bright for the sensor is left out, as by day, and a gap of more"
        " than ten minutes is a gap. A TESS4C has a line for each channel.",
        magnitudes(language),
    )
    clouds = panels.curves(
        "Sky minus ambient temperature",
        "Clouds are warm: a clear sky is some 30 °C colder than the photometer, a cloudy one little. Exactly"
        " 0 all the time is a photometer without a thermometer.",
        [language.clouds()],
        label="°C",
    )
    return panels.dashboard(
        language,
        "night",
        "the night",
        "The sky above the chosen photometers.",
        since="now-24h",
        variables=[*language.variables(), photometer(language, several=True)],
        rows=[(14, [brightness]), (9, [clouds])],
    )


def network(language: Language) -> Json:
    """All photometers, and who is silent."""
    counts = panels.numbers(
        "Photometers",
        f"How many were heard in {KNOWN}, and how many of them in {RECENT}: the others are silent.",
        language.counts(),
    )
    page = _override("photometer", "links", [_link(language)])
    photometers = panels.by_photometer(
        "Photometers and their night",
        "The darkest and the median magnitude in the time that is shown, without what is too bright for the"
        f" sensor. Who was not heard for {RECENT} is silent; who was not for {KNOWN} is not listed.",
        [language.seen(), language.recent(), *language.darkest("mag", "darkest", "median")],
        [
            _override("last seen", "unit", "dateTimeFromNow"),
            _override(f"readings in {RECENT}", "decimals", 0),
            _override(f"readings in {RECENT}", "mappings", [SILENT]),
            _override(f"readings in {RECENT}", "custom.cellOptions", {"type": "color-text"}),
            page,
        ],
    )
    channels = panels.by_photometer(
        "TESS4C, by channel",
        "The same of each channel of those that have four.",
        [
            question
            for name, number in CHANNELS.items()
            if number
            for question in language.darkest(name, f"darkest{number}", f"median{number}")
        ],
        [page],
    )
    return panels.dashboard(
        language,
        "network",
        "the network",
        "Which photometers publish, and how dark it was.",
        since="now-24h",
        variables=language.variables(),
        rows=[(4, [counts]), (16, [photometers]), (8, [channels])],
    )


def one(language: Language) -> Json:
    """All about one photometer."""
    choose = "Of a TESS4C choose mag1 to mag4 above."
    identity = panels.table(
        "Who it is",
        "What it told when it booted: zero points, mac, firmware. Nothing if tessflux has stored no register"
        " message of it.",
        [language.identity()],
    )
    brightness = panels.magnitudes("Brightness of the sky", "Darker is further down.", magnitudes(language))
    calendar = panels.calendar(
        "Day by hour",
        f"Means of full hours (UTC), empty where nothing was measured. {choose}",
        language.hourly("${channel:raw}"),
    )
    histogram = panels.histogram(
        "Histogram of each hour",
        f"How often which brightness was measured, in means of five minutes. {choose}",
        language.counted("${channel:raw}"),
    )
    signal = panels.curves(
        "Strength of its Wi-Fi",
        "Good above -60, poor below -80.",
        [language.means("wdBm", "")],
        label="dBm",
    )
    battery = panels.curves(
        "Battery",
        "Only if extra_fields in the config of tessflux names vbat, and the photometer sends it.",
        [language.means("vbat", "")],
        label="V",
    )
    return panels.dashboard(
        language,
        "photometer",
        "one photometer",
        "A month of one photometer: its sky, and its health.",
        since="now-30d/d",
        variables=[*language.variables(), photometer(language, several=False), channel()],
        rows=[
            (6, [identity]),
            (12, [brightness]),
            (26, [calendar]),
            (12, [histogram]),
            (8, [signal, battery]),
        ],
    )


def channel() -> Json:
    """The variable that chooses a channel of a TESS4C."""
    return {
        "name": "channel",
        "label": "magnitude",
        "type": "custom",
        "query": ",".join(CHANNELS),
        "options": [{"text": name, "value": name, "selected": name == "mag"} for name in CHANNELS],
        "current": {"text": "mag", "value": "mag"},
    }


def photometer(language: Language, *, several: bool) -> Json:
    """The variable that chooses photometers: all, some, or one."""
    every = {
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
    return {
        "name": "photometer",
        "label": "photometers" if several else "photometer",
        "type": "query",
        "query": language.names(),
        "refresh": 2,
        "sort": 7,
        **(every if several else {}),
    }


def _link(language: Language) -> Json:
    """From the name of a photometer to its own dashboard."""
    kept = ["datasource", *(each["name"] for each in language.variables())]
    chosen = "&".join(
        ["var-photometer=${__value.raw:percentencode}", *(f"${{{name}:queryparam}}" for name in kept)]
    )
    return {"title": "its own dashboard", "url": f"/d/tessflux-photometer{language.suffix}?{chosen}"}


def _override(column: str, key: str, value: object) -> Json:
    return {
        "matcher": {"id": "byName", "options": column},
        "properties": [{"id": key, "value": value}],
    }


def rendered() -> dict[Path, str]:
    """What stands in each file."""
    made = {}
    for language in (InfluxQL(), MetricsQL()):
        for show in (night, network, one):
            value = show(language)
            name = value["uid"].removeprefix("tessflux-").removesuffix("-vm")
            text = json.dumps(value, indent=2, ensure_ascii=False)
            made[GRAFANA / language.folder / f"{name}.json"] = f"{text}\n"
    return made


if __name__ == "__main__":
    for path, text in rendered().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
