"""What docs and dashboards say of the metrics is true of those that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tessflux.status import Broker, Commits, Messages, Output, Snapshot, SpoolState
from tessflux.status.metrics import Metrics
from tests.status.test_metrics import FULL

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docs/alerts.yaml"
DASHBOARD = json.loads((ROOT / "grafana/tessflux-daemon.json").read_text())
WATCHING = ROOT / "docs/watching.md"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing (Debian: prometheus)")

METRIC = re.compile(r"\b(?:tessflux|process)_[a-z_]+\b")


def shown() -> dict[str, set[str]]:
    """The samples that there are, with the labels of each."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(Metrics().text(FULL).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions(panel: Any) -> Iterator[str]:
    for target in panel["targets"]:
        yield target["expr"]


def promtool(*arguments: str) -> None:
    result = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_each_alert_is_raised_when_it_must_be_and_not_before(tmp_path: Path) -> None:
    promtool("check", "rules", str(ALERTS))
    tests = tmp_path / "tests.yaml"
    text = (Path(__file__).parent / "alerts.yaml").read_text()
    tests.write_text(text.replace("[ALERTS]", f"[{ALERTS}]"))
    promtool("test", "rules", str(tests))


def test_every_alert_has_a_test() -> None:
    defined = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    tested = (Path(__file__).parent / "alerts.yaml").read_text()
    assert len(defined) == len(set(defined)) > 0
    assert not [name for name in defined if f'"{name}"' not in tested]


def test_the_alerts_use_metrics_that_there_are() -> None:
    used = set(METRIC.findall(re.sub(r"(?m)^#.*$", "", ALERTS.read_text())))
    assert used <= shown().keys()


def test_every_panel_of_the_dashboard_uses_metrics_that_there_are() -> None:
    known = shown()
    for panel in DASHBOARD["panels"]:
        for expression in expressions(panel):
            used = METRIC.findall(expression)
            assert used, expression
            for name in used:
                assert name in known, name
            # What is grouped by or shown in a legend is a label of it.
            for labels in re.findall(r"by \(([^)]*)\)", expression):
                assert set(labels.split(", ")) <= set().union(*(known[name] for name in used)), expression
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert labels <= set().union(*(known[name] for name in METRIC.findall(target["expr"])))


@needs_promtool
def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__\w+", "5m", expression).replace("$instance", ".*")}
        for number, expression in enumerate(
            each for panel in DASHBOARD["panels"] for each in expressions(panel)
        )
    ]
    path = tmp_path / "rules.yaml"
    # JSON is YAML too.
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(path))


@pytest.mark.parametrize("kind", [Snapshot, Messages, SpoolState, Commits, Broker, Output])
def test_the_docs_name_every_key_of_the_status(kind: Any) -> None:
    section = WATCHING.read_text().partition("### /v1/status")[2].partition("\n## ")[0]
    assert not [field.name for field in fields(kind) if f"`{field.name}`" not in section]


def test_the_docs_name_every_metric_and_no_other() -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(Metrics().text(FULL).decode())
    }
    expected = {
        name + ("_total" if family.type == "counter" else "")
        for name, family in families.items()
        if name.startswith("tessflux_")
    }
    table = [line for line in WATCHING.read_text().splitlines() if line.startswith("| `tessflux_")]
    assert {re.findall(r"`(\w+)", line)[0] for line in table} == expected
    for line in table:
        name, *labels = re.findall(r"`(\w+)`", line.split("|")[1] + line.split("|")[2])
        samples = {sample for sample in shown() if sample.startswith(name)}
        assert set(labels) == set().union(*(shown()[sample] for sample in samples)) - {"le"}, line
