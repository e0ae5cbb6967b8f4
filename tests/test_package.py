"""What the package says of itself."""

from importlib.metadata import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_names_every_python_for_which_it_is() -> None:
    versions = [text for text in metadata("tessflux").get_all("Classifier", []) if "Python :: 3." in text]
    assert [text.rpartition(" ")[2] for text in versions] == ["3.11", "3.12", "3.13", "3.14"]


def test_its_description_is_the_readme() -> None:
    assert (ROOT / "README.md").read_text().strip() in str(metadata("tessflux").get_payload())


def test_git_ignores_what_the_scripts_leave() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name in (".venv", ".venv-setup.log", ".venv-lowest", ".venv-package", ".demo"):
        assert {f"/{name}", f"/{name}/"} & {*ignored}, name
