"""What the package says of itself."""

import re
from importlib.metadata import metadata
from pathlib import Path

from tessflux import RELEASED, __version__

ROOT = Path(__file__).parents[1]


def test_it_names_every_python_for_which_it_is() -> None:
    versions = [text for text in metadata("tessflux").get_all("Classifier", []) if "Python :: 3." in text]
    assert [text.rpartition(" ")[2] for text in versions] == ["3.11", "3.12", "3.13", "3.14"]


def test_it_describes_itself() -> None:
    assert metadata("tessflux")["Description-Content-Type"] == "text/markdown"
    assert metadata("tessflux")["Description"].startswith("# tessflux\n")


def test_the_changelog_begins_with_this_version_and_its_day() -> None:
    newest = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.groups() == (__version__, RELEASED)


def test_git_ignores_what_the_scripts_leave() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name in (".venv", ".venv-setup.log", ".venv-lowest", ".venv-package", ".demo", ".chroots"):
        assert {f"/{name}", f"/{name}/"} & {*ignored}, name
