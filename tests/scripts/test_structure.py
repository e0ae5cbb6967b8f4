"""The figures about how this project is built can be had, and are those of a project like this."""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/structure.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_it_prints_a_row_a_figure_about_this_repository() -> None:
    result = run("tessflux:tests", "scripts:tests/scripts")
    assert result.returncode == 0, result.stderr
    head, _, *rows = [line.strip("| ").split("|") for line in result.stdout.splitlines()]
    assert [cell.strip() for cell in head] == ["tessflux", "scripts"]
    figures = {row[0].strip(): row[1].strip() for row in rows}
    lines = int(figures["lines of source"].replace(",", ""))
    longest, module = re.fullmatch(r"(\d+) \((.*)\)", figures["longest module, lines"]).groups()  # type: ignore[union-attr]
    assert len((REPOSITORY / "tessflux" / module).read_text().splitlines()) == int(longest) < lines
    source = sum(len(path.read_text().splitlines()) for path in (REPOSITORY / "tessflux").rglob("*.py"))
    assert lines == source
    assert 3 < int(figures["modules side by side in the largest folder"]) < 100
    assert 0.1 < float(figures["lines of tests to lines of source"]) < 10
    mean, longest_function = figures["mean function, lines"], figures["longest function, lines"]
    assert 2 < float(mean) < int(longest_function) < int(longest)
    assert 1 < int(figures["comments and docstrings, share of lines"].rstrip("%")) < 99
    entered = int(figures["own functions from bytes in to bytes out"])
    assert 3 < int(figures["of these open at the same time, at most"]) < entered < 1_000


def test_a_project_that_is_not_there_is_refused() -> None:
    result = run("tessflux:nowhere")
    assert (result.returncode, result.stdout) == (2, "")
    assert "tessflux:nowhere is not PACKAGE:TESTS" in result.stderr
