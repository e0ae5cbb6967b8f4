"""Every query of every dashboard, asked of real databases as Grafana would: the same in both languages."""

import statistics
import time as clock
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from servers import Influxd, VictoriaMetrics, ask

from tessflux.readings.lineprotocol import measurement, series, values
from tessflux.status.metrics import Metrics
from tests.grafana.answers import Asked, Influx, Row, Victoria
from tests.grafana.kit import DASHBOARDS, EVERYTHING, Time, panels
from tests.status.test_metrics import FULL

HOUR = 3_600
PERIOD = 300
DAY = 24 * HOUR
NOW = (int(clock.time()) - 60) // PERIOD * PERIOD
"""The last reading. What came in the last 30 seconds VictoriaMetrics does not show yet."""
TIMES = range(NOW - 3 * DAY + PERIOD, NOW + 1, PERIOD)

# Each is a part of another, or would be without an escape or an anchor.
PLAIN, OTHER, FOUR, QUIET = "stars.1", "starsx1", "4 stars.1", "stars.10"
ODD = """my/back "yard", o'one.*=ñ"""
GAP = range(NOW - 5 * HOUR, NOW - HOUR)
QUIET_SINCE = NOW - 6 * HOUR
BOOTED = NOW - DAY

NIGHT = Time(NOW - DAY, NOW, PERIOD)
MONTH = Time(NOW // DAY * DAY - 30 * DAY, NOW, 2_700)
"""As Grafana would have it for a panel of a thousand points."""


def sky(at: int) -> float:
    """The magnitude of the photometer that has a day: another one in each hour, and 0 by day.

    It is noon now, whatever the clock says, and where NIGHT begins: the databases differ in whether the very
    first moment of a time belongs to it.
    """
    hour = (at // HOUR - NOW // HOUR + 12) % 24
    return 0.0 if 6 <= hour < 18 else 20 + hour / 100


def readings(at: int) -> dict[str, dict[str, float]]:
    """What the photometers of a small network measure: two as usual, a TESS4C, one that has a gap, and one
    that falls silent."""
    clear, cloudy = {"tamb": 5.0, "tsky": -20.0}, {"tamb": 5.0, "tsky": 4.0}
    found = {
        PLAIN: {"mag": sky(at), **clear, "wdBm": -60.0, "vbat": 3.7},
        OTHER: {"mag": 19.0, **clear, "wdBm": -70.0},
        FOUR: {"mag1": 20.5, "mag2": 19.5, "mag3": sky(at), "mag4": 0.0, **clear, "wdBm": -70.0},
    }
    if at not in GAP:
        found[ODD] = {"mag": 18.5, **cloudy, "wdBm": -80.0}
    if at < QUIET_SINCE:
        found[QUIET] = {"mag": 17.5, **cloudy, "wdBm": -50.0}
    return found


def stored() -> list[tuple[str, int, Mapping[str, float]]]:
    """Every reading: its photometer, its time, and its fields."""
    return [
        (name, at, {"seq": float(at - TIMES[0]), **fields})
        for at in TIMES
        for name, fields in readings(at).items()
    ]


def magnitudes(name: str, time: Time, field: str = "mag") -> list[float]:
    """What was measured in a time, without what is too bright."""
    return [
        fields[field]
        for each, at, fields in stored()
        if each == name and time.start <= at <= time.end and fields.get(field, 0) > 0
    ]


def lines() -> str:
    """All that is stored, as tessflux writes it: readings, and what photometers told of themselves."""
    place = measurement("readings")
    told = [
        (PLAIN, 'mac="5C:CF:7F:8:A:1",firmware="1",zp=20.44,latitude=40.1', BOOTED),
        (PLAIN, 'mac="5C:CF:7F:8:A:2",firmware="2",zp=20.5,latitude=40.1', BOOTED + HOUR),
        (FOUR, 'mac="5C:CF:7F:8:A:3",zp1=20.4,zp2=20.3,zp3=20.2,zp4=20.1', BOOTED),
    ]
    found = [f"{series(place, name)} {values(fields)} {at * 1000}" for name, at, fields in stored()]
    found += [f"{series('photometers', name)} {fields} {at * 1000}" for name, fields, at in told]
    return "\n".join(found)


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """An InfluxDB as tessflux makes it, with the readings."""
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        server.query('CREATE DATABASE "tessdb"')
        server.query('CREATE RETENTION POLICY "forever" ON "tessdb" DURATION INF REPLICATION 1 DEFAULT')
        server.query('CREATE RETENTION POLICY "two_days" ON "tessdb" DURATION 2d REPLICATION 1')
        ask(f"{server.url}/write?db=tessdb&precision=ms", lines().encode())
        yield server


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    """A VictoriaMetrics with the readings."""
    with VictoriaMetrics(tmp_path_factory.mktemp("victoria")) as server:
        ask(f"{server.url}/write?db=tessdb&precision=ms", lines().encode())
        ask(f"{server.url}/internal/force_flush")
        yield server


@pytest.fixture(params=["influxql", "victoriametrics"])
def database(request: pytest.FixtureRequest) -> Asked:
    """Each language in turn."""
    if request.param == "influxql":
        return Influx(request.getfixturevalue("influxd"), "tessdb")
    return Victoria(request.getfixturevalue("victoria"))


def chosen(*names: str, channel: str = "mag") -> dict[str, list[str]]:
    """The variables' values: what is usual, and these photometers."""
    usual = {"policy": "forever", "measurement": "readings", "db": "tessdb", "channel": channel}
    return {**{name: [value] for name, value in usual.items()}, "photometer": list(names) or [EVERYTHING]}


def by_name(rows: list[Row], column: str) -> dict[str, object]:
    """A column of a table."""
    return {row["photometer"]: row.get(column) for row in rows}


def test_the_variables_offer_what_the_database_has(database: Asked) -> None:
    names = [FOUR, ODD, QUIET, PLAIN, OTHER]
    usual = chosen()
    for dashboard in ("night", "photometer"):
        assert database.options(dashboard, "measurement", usual, NIGHT) == ["readings"]
        assert sorted(database.options(dashboard, "photometer", usual, NIGHT)) == sorted(names)
    policy = "policy" if isinstance(database, Influx) else "db"
    expected = {"policy": ["autogen", "forever", "two_days"], "db": ["tessdb"]}[policy]
    assert database.options("network", policy, usual, NIGHT) == expected


def test_the_night_has_a_line_for_each_channel_without_what_is_too_bright(database: Asked) -> None:
    lines = database.series("night", "Brightness of the sky", chosen(), NIGHT)
    # The fourth channel of the TESS4C saw nothing.
    assert {*lines} == {PLAIN, OTHER, ODD, QUIET, *(f"{FOUR} {number}" for number in (1, 2, 3))}
    assert {*lines[PLAIN].values()} == {*magnitudes(PLAIN, NIGHT)}
    assert len(lines[PLAIN]) == pytest.approx(len(magnitudes(PLAIN, NIGHT)), abs=1)
    assert {*lines[f"{FOUR} 3"].values()} == {*magnitudes(FOUR, NIGHT, "mag3")}


def test_a_gap_is_a_gap(database: Asked) -> None:
    for title in ("Brightness of the sky", "Sky minus ambient temperature"):
        times = sorted(database.series("night", title, chosen(ODD), NIGHT)[ODD])
        longest = max(later - earlier for earlier, later in pairwise(times))
        assert longest == pytest.approx(4 * HOUR, abs=PERIOD)


@pytest.mark.parametrize("names", [[PLAIN], [ODD], [FOUR, ODD], [OTHER, PLAIN, QUIET]])
def test_only_the_chosen_photometers_are_shown(database: Asked, names: list[str]) -> None:
    assert {*database.series("night", "Sky minus ambient temperature", chosen(*names), NIGHT)} == {*names}


def test_a_clear_sky_is_colder_than_a_cloudy_one(database: Asked) -> None:
    found = database.series("night", "Sky minus ambient temperature", chosen(PLAIN, ODD), NIGHT)
    assert {name: {*points.values()} for name, points in found.items()} == {PLAIN: {-25.0}, ODD: {-1.0}}


def test_the_network_lists_everybody_and_says_who_is_silent(database: Asked) -> None:
    rows = database.table("network", "Photometers and their night", chosen(), NIGHT)
    last = {name: at for name, at, _ in stored()}
    seconds = 1 if isinstance(database, Influx) else 1_000
    assert by_name(rows, "last seen") == {name: at * seconds for name, at in last.items()}
    recent = by_name(rows, "readings in 2h")
    assert [name for name, count in recent.items() if count is None] == [QUIET]
    # The two hours end now, which is a little later than the last reading.
    assert recent[PLAIN] == pytest.approx(2 * HOUR / PERIOD, abs=5)
    nights = {name: magnitudes(name, NIGHT) for name in last}
    darkest, median = by_name(rows, "darkest"), by_name(rows, "median")
    assert darkest == {name: max(found, default=None) for name, found in nights.items()}
    assert darkest[FOUR] is None is median[FOUR]
    for name, found in nights.items():
        assert not found or median[name] == pytest.approx(statistics.median(found), abs=0.01)


def test_the_channels_of_a_tess4c_have_their_own_table(database: Asked) -> None:
    (row,) = database.table("network", "TESS4C, by channel", chosen(), NIGHT)
    third = magnitudes(FOUR, NIGHT, "mag3")
    assert (row["photometer"], row["darkest 1"], row["median 2"], row["darkest 3"]) == (
        FOUR,
        20.5,
        19.5,
        max(third),
    )
    assert row["median 3"] == pytest.approx(statistics.median(third), abs=0.01)
    # It saw nothing.
    assert row.get("darkest 4") is None


def test_the_network_counts_whom_it_has_heard(database: Asked) -> None:
    counts = database.series("network", "Photometers", chosen(), NIGHT)
    assert {name: [*points.values()] for name, points in counts.items()} == {
        "heard in 30d": [5],
        "heard in 2h": [4],
    }


def test_a_photometer_says_who_it_is(database: Asked) -> None:
    rows = database.table("photometer", "Who it is", chosen(PLAIN), MONTH)
    if isinstance(database, Influx):
        newest, oldest = rows
        assert (newest["mac"], newest["firmware"], newest["zp"]) == ("5C:CF:7F:8:A:2", "2", 20.5)
        assert (oldest["since"], oldest["zp"]) == (BOOTED, 20.44)
    else:
        # VictoriaMetrics has no texts.
        assert {row["what"]: row["value"] for row in rows} == {
            "photometers_zp": 20.5,
            "photometers_latitude": 40.1,
        }
    assert database.table("photometer", "Who it is", chosen(ODD), MONTH) == []


@pytest.mark.parametrize(("name", "channel"), [(PLAIN, "mag"), (FOUR, "mag3")])
def test_each_hour_of_a_month_has_its_mean_or_0(database: Asked, name: str, channel: str) -> None:
    hours = Time(MONTH.start, MONTH.end, HOUR)
    (found,) = database.series("photometer", "Day by hour", chosen(name, channel=channel), hours).values()
    measured = {at // HOUR * HOUR: sky(at) for at in TIMES}
    assert found == pytest.approx(dict.fromkeys(range(hours.start, hours.end, HOUR), 0.0) | measured)


@pytest.mark.parametrize(("name", "channel"), [(PLAIN, "mag"), (FOUR, "mag3")])
def test_the_histogram_gets_means_of_a_few_minutes(database: Asked, name: str, channel: str) -> None:
    found = database.points("photometer", "Histogram of each hour", chosen(name, channel=channel), NIGHT)
    (points,) = found.values()
    # A heatmap would count a point without a value as one of 0.
    assert {*points.values()} == {*magnitudes(PLAIN, NIGHT)}


def test_signal_and_battery_are_there_if_they_were_sent(database: Asked) -> None:
    for title, name, value in (("Strength of its Wi-Fi", ODD, -80.0), ("Battery", PLAIN, 3.7)):
        (points,) = database.series("photometer", title, chosen(name), MONTH).values()
        assert [*points.values()] == pytest.approx([value] * len(points))
    assert not database.series("photometer", "Battery", chosen(FOUR), MONTH).get(FOUR)


def test_a_month_has_no_more_points_than_a_day(database: Asked) -> None:
    """Whoever looks at a month gets means, not readings."""
    for title in ("Brightness of the sky", "Strength of its Wi-Fi"):
        for points in database.series("photometer", title, chosen(PLAIN), MONTH).values():
            assert len(points) <= 3 * DAY / MONTH.interval + 2


def test_every_panel_was_asked_in_this_file() -> None:
    text = Path(__file__).read_text()
    for name in DASHBOARDS:
        if name != "tessflux-daemon.json":
            assert [title for title in panels(name) if f'"{title}"' not in text] == [], name


class Daemon(Victoria):
    """The dashboard of the daemon, whose metrics are in a VictoriaMetrics."""

    folder = ""


def test_every_panel_of_the_daemon_shows_its_metrics(victoria: VictoriaMetrics) -> None:
    before = [(bound, 0) for bound, _ in FULL.spool.commits.buckets]
    none = replace(FULL.spool.commits, count=0, buckets=before)
    idle = replace(FULL, spool=replace(FULL.spool, commits=none))
    for at, snapshot in ((NOW - 60, idle), (NOW, FULL)):
        labels = "extra_label=job=tessflux&extra_label=instance=here"
        url = f"{victoria.url}/api/v1/import/prometheus?{labels}&timestamp={at * 1000}"
        ask(url, Metrics().text(snapshot))
    ask(f"{victoria.url}/internal/force_flush")
    everything = {"instance": [EVERYTHING]}
    time = Time(NOW - HOUR, NOW, 60)
    daemon = Daemon(victoria)
    assert daemon.options("tessflux-daemon", "instance", everything, time) == ["here"]
    for title, panel in panels("tessflux-daemon.json").items():
        found = daemon.series("tessflux-daemon", title, everything, time)
        assert len([points for points in found.values() if points]) >= len(panel["targets"]), title
