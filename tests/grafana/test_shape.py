"""What people import into Grafana: that it is up to date, and that Grafana can read it."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboards import rendered

from tests.grafana.kit import DASHBOARDS, GRAFANA, formatted, queries, variables

SCHEMA = ("@grafana/schema@13.2.3", "typescript@5.9.3")
"""Pinned, so that a new Grafana does not make the tests fail by itself."""

OPTIONS = (
    *("--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck"),
    *("--lib", "es2022", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"),
)

KINDS = {"heatmap", "stat", "table", "timeseries"}
"""The panels of Grafana itself that are used; none is a plugin, and none has an end in sight."""

NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH")
"""What npm says then."""

SHAPE = Path(__file__).with_name("shape.ts")


MISTAKES: list[tuple[tuple[str | int, ...], object]] = [
    (("type",), "graph"),
    (("options", "legend", "displayMode"), "lines"),
    (("fieldConfig", "defaults", "custom", "spanNull"), 5),
    (("fieldConfig", "defaults", "mappings", 0, "type"), "values"),
    (("targets", 0, "resultFormat"), "times"),
    (("gridPos", "w"), "24"),
]
"""What Grafana does not know: without these the test would not show that the schema refuses anything."""


@pytest.fixture(scope="module")
def schema() -> Iterator[Path]:
    """A directory with Grafana's schema and a compiler for it, away from the repository."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing; as root: apt-get install npm")
    with tempfile.TemporaryDirectory(prefix="tessflux-grafana-") as directory:
        command = ["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            [*command, "--prefix", directory, *SCHEMA],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if any(word in done.stderr for word in NO_NETWORK):
            pytest.skip(f"npm cannot fetch {SCHEMA[0]}: there is no network")
        assert done.returncode == 0, done.stderr
        yield Path(directory)


def changed(place: tuple[str | int, ...], value: object) -> Any:
    """A dashboard with another value at one place of its first panel."""
    night = json.loads(json.dumps(DASHBOARDS["influxql/night.json"]))
    inner = night["panels"][0]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return night


def compiled(directory: Path, dashboards: list[Any]) -> list[str]:
    """What tsc complains of, for each dashboard."""
    for number, dashboard in enumerate(dashboards):
        source = (
            f"{SHAPE.read_text()}\nexport const dashboard: Checked = {json.dumps(dashboard, indent=1)};\n"
        )
        (directory / f"{number}.ts").write_text(source)
    files = [f"{number}.ts" for number in range(len(dashboards))]
    command = [str(directory / "node_modules/.bin/tsc"), *OPTIONS, *files]
    said = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False).stdout
    return ["".join(re.findall(rf"(?m)^{file}\(.*(?:\n .*)*", said)) for file in files]


def test_the_files_are_what_their_source_makes() -> None:
    """If not: .venv/bin/python scripts/dashboards.py"""
    for path, text in rendered().items():
        assert path.read_text() == text, path
    assert set(GRAFANA.glob("*/*.json")) == rendered().keys()


def test_grafanas_own_schema_accepts_every_dashboard_and_refuses_mistakes(schema: Path) -> None:
    wrong = [changed(place, value) for place, value in MISTAKES]
    complaints = compiled(schema, [*DASHBOARDS.values(), *wrong])
    assert complaints[: len(DASHBOARDS)] == [""] * len(DASHBOARDS)
    assert ["error TS" in each for each in complaints[len(DASHBOARDS) :]] == [True] * len(wrong)


def test_uids_are_fixed_and_each_is_there_once() -> None:
    assert sorted(each["uid"] for each in DASHBOARDS.values()) == [
        "tessflux-daemon",
        "tessflux-network",
        "tessflux-network-vm",
        "tessflux-night",
        "tessflux-night-vm",
        "tessflux-photometer",
        "tessflux-photometer-vm",
    ]
    assert len({each["title"] for each in DASHBOARDS.values()}) == len(DASHBOARDS)
    # Grafana gives it when it imports one.
    assert not [name for name, each in DASHBOARDS.items() if "id" in each]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_their_own_ids_and_places(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] in KINDS
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
    assert len({panel["id"] for panel in DASHBOARDS[name]["panels"]}) == len(DASHBOARDS[name]["panels"])


def test_a_name_is_escaped_in_a_query_as_by_grafana() -> None:
    """What its function escapeRegex gave (@grafana/data 13.2)."""
    assert formatted(["a b/c.d\"e'f-g|"], "regex") == "a b\\/c\\.d\"e'f-g\\|"
    assert formatted(["stars1", "stars.2"], "regex") == "(stars1|stars\\.2)"


def test_every_variable_in_a_query_is_one_of_its_dashboard() -> None:
    for name, title, target in queries():
        text = target.get("query") or target["expr"]
        used = {*re.findall(r"\$\{?([a-z]\w*)", text)} - {"timeFilter"}
        assert used <= variables(name).keys(), (name, title)
