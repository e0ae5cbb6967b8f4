"""What the code keeps to as a whole, and that the documents speak of what there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tessflux"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PURE = (
    *("readings/reading", "readings/admission", "readings/lineprotocol", "readings/message"),
    *("limits", "errors"),
    *("mqtt/packets", "mqtt/version", "influx/verdict"),
)


def imports(path: Path) -> Iterator[str]:
    """What a module imports, anywhere in it, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_command_line_imports_the_reactor() -> None:
    guilty = {path.name for path in SOURCES if any(name.endswith(".reactor") for name in imports(path))}
    assert guilty == {"cli.py"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_knows_no_twisted(name: str) -> None:
    assert not [each for each in imports(PACKAGE / f"{name}.py") if each.startswith("twisted")]


def test_the_two_ends_do_not_know_each_other() -> None:
    for path in (PACKAGE / "mqtt").glob("*.py"):
        assert not [name for name in imports(path) if name.startswith("tessflux.influx.")]
    for path in (PACKAGE / "influx").glob("*.py"):
        assert not [name for name in imports(path) if name.startswith("tessflux.mqtt.")]


def test_no_module_keeps_state_of_its_own() -> None:
    assert not [path for path in SOURCES if re.search(r"^\s+global ", path.read_text(), re.MULTILINE)]


def test_every_module_begins_with_its_rule() -> None:
    assert not [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]


def test_every_test_that_a_document_names_is_there() -> None:
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    for document in DOCUMENTS:
        named = set(re.findall(r"`(test_\w+)`", document.read_text()))
        assert named <= defined, document


def test_every_link_in_a_document_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), (document, target)
