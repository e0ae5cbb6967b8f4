"""What the code keeps to as a whole, and that the documents speak of what there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tessflux"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PURE = (
    *(f"readings/{path.stem}" for path in (PACKAGE / "readings").glob("[!_]*.py")),
    *("limits", "errors", "mqtt/packets", "mqtt/terms", "mqtt/version", "influx/verdict", "influx/dialect"),
    *(
        "status/snapshot",
        "status/metrics",
        "sky",
        "words",
        "archive/source",
        "archive/period",
        "archive/csvtable",
        "archive/ida",
    ),
    *("alarms/notice", "alarms/rules", "alarms/board", "alarms/outbox"),
    *(
        f"pages/{name}"
        for name in ("html", "chart", "night", "way", "frame", "selection", "front", "photometer")
    ),
)

FLOORS = (
    ("errors", "limits", "periodic", "sky", "thread", "words", "__init__"),
    ("hosts", "tls", "clock", "readings", "process"),
    ("config",),
    ("stats", "logs", "simulator", "supervision", "arguments"),
    ("spool", "watch", "status"),
    ("mqtt", "influx", "photometers"),
    ("dating", "pages", "alarms", "archive"),
    ("intake", "outputs"),
    ("overview",),
    ("observers",),
    ("app", "commands"),
    ("run",),
    ("cli",),
    ("__main__",),
)
"""From the bottom up: each imports only from below."""


def imports(path: Path) -> Iterator[str]:
    """What a module imports, anywhere in it, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_one_module_imports_the_reactor() -> None:
    guilty = {path.name for path in SOURCES if any(name.endswith(".reactor") for name in imports(path))}
    assert guilty == {"run.py"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_knows_no_twisted(name: str) -> None:
    assert not [each for each in imports(PACKAGE / f"{name}.py") if each.startswith("twisted")]


def room(path: Path) -> str:
    """The folder of the package that a module lies in, or its own name if it lies beside them."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """What a module imports from this package: the dotted rest of the place, and the name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tessflux":
            place = node.module.removeprefix("tessflux").removeprefix(".")
            yield from ((place, alias.name) for alias in node.names)


def face(name: str) -> set[str]:
    """The names of a room that others may use: its `__all__`."""
    tree = ast.parse((PACKAGE / name / "__init__.py").read_text())
    [names] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and "__all__" in ast.unparse(node)
    ]
    return set(names)


def test_imports_point_one_way() -> None:
    """Each room and each module beside them imports only from those on the floors below."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    assert {room(path) for path in SOURCES} == floor.keys()
    for path in SOURCES:
        for place, name in own_imports(path):
            target = place.split(".")[0] or name
            if target in floor and target != room(path):
                assert floor[target] < floor[room(path)], (str(path), target)


def test_a_room_is_entered_by_its_face() -> None:
    """Whoever imports from another room's folder imports a name of its `__all__`, from the folder itself."""
    for path in SOURCES:
        for place, name in own_imports(path):
            target = place.split(".")[0]
            if (PACKAGE / target).is_dir() and target not in ("", room(path)):
                assert place == target, (str(path), place)
                assert name in face(target), (str(path), target, name)


def test_a_face_says_what_comes_in_and_what_goes_out() -> None:
    for folder in (path.parent for path in PACKAGE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        assert re.search(r"^In:   \S", text, re.MULTILINE), folder
        assert re.search(r"^Out:  \S", text, re.MULTILINE), folder


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
