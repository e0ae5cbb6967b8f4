"""What docs/reliability.md says is in the log when something fails is what the code logs."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def texts() -> set[str]:
    """Every text in the code, as far as it is fixed."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "tessflux").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def phrases() -> set[str]:
    """What the tables quote in their column of the log."""
    lines = (ROOT / "docs/reliability.md").read_text().splitlines()
    rows = [re.split(r" ?\| ?", line)[1:-1] for line in lines if line.startswith("| ")]
    return {phrase for row in rows if len(row) == 5 for phrase in re.findall(r"`([^`]+)`", row[3])}


def test_what_reliability_quotes_from_the_log_is_in_the_code() -> None:
    found, logged = phrases(), texts()
    assert "takes no readings" in found
    assert not {phrase for phrase in found if not any(phrase in text for text in logged)}
