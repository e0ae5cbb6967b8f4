#!/usr/bin/env python3
"""How a Python project is built, in figures, as a Markdown table: one column a project.

    scripts/structure.py tessflux:tests
    scripts/structure.py tessflux:tests ../h11/h11:../h11/h11/tests

A project is the folder of its package and that of its tests, which may lie in the package. The last two rows
are what `ways.py` counts; they need the project installed in the Python that runs this.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GENERATED = {"_version.py"}
"""What versioneer writes into a project is not the project's."""


@dataclass(frozen=True)
class Module:
    """One file: its lines, how many of them explain, and the lines of each function."""

    path: Path
    lines: int
    filled: int
    """Lines that are not blank."""
    comments: int
    """Lines of comments and docstrings."""
    functions: list[int]

    @classmethod
    def read(cls, path: Path) -> "Module":
        text = path.read_text()
        lines = text.splitlines()
        tree = ast.parse(text)
        comments = {number for first, last in _docstrings(tree) for number in range(first, last + 1)}
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments |= {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
        functions = [
            (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        return cls(path, len(lines), sum(bool(line.strip()) for line in lines), len(comments), functions)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """First and last line of every string that stands alone: docstrings, and those below an attribute."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                yield node.lineno, node.end_lineno or node.lineno


def modules(folder: Path, without: Path | None = None) -> list[Module]:
    """All modules in a folder and below it, but for one folder in it."""
    return [
        Module.read(path)
        for path in sorted(folder.rglob("*.py"))
        if path.name not in GENERATED and not (without and path.is_relative_to(without))
    ]


def figures(package: Path, tests: Path) -> dict[str, str]:
    """What stands in a column, by the head of the row."""
    source, test = modules(package, without=tests), modules(tests)
    lines, test_lines = sum(each.lines for each in source), sum(each.lines for each in test)
    functions = [length for each in source for length in each.functions]
    comments, filled = sum(each.comments for each in source), sum(each.filled for each in source)
    side_by_side = Counter(each.path.parent for each in source if each.path.name != "__init__.py")
    longest = max(source, key=lambda each: each.lines)
    return {
        "modules side by side in the largest folder": str(max(side_by_side.values())),
        "longest module, lines": f"{longest.lines} ({longest.path.relative_to(package)})",
        "lines of source": f"{lines:,}",
        "lines of tests to lines of source": f"{test_lines / lines:.1f}",
        "mean function, lines": f"{sum(functions) / len(functions):.1f}",
        "longest function, lines": str(max(functions)),
        "comments and docstrings, share of lines": f"{comments / filled:.0%}",
        **_way(package.name),
    }


def _way(project: str) -> dict[str, str]:
    """What `ways.py` counts, which imports the project: in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("ways.py")), project]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        print(f"{project}: {found.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    entered, deepest = found.stdout.split() if found.returncode == 0 else ("-", "-")
    return {
        "own functions from bytes in to bytes out": entered,
        "of these open at the same time, at most": deepest,
    }


def table(columns: dict[str, dict[str, str]]) -> str:
    """The figures by project, as Markdown."""
    heads = ["", *columns]
    rows = [[row, *(column[row] for column in columns.values())] for row in next(iter(columns.values()))]
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) + " |"
        for cells in (heads, rule, *rows)
    )


def main(projects: list[str]) -> int:
    """Print the table."""
    if not projects or "--help" in projects:
        print(__doc__)
        return 0 if projects else 2
    columns = {}
    for project in projects:
        package, _, tests = project.partition(":")
        if not Path(package).is_dir() or not Path(tests or "-").is_dir():
            print(f"{project} is not PACKAGE:TESTS, two folders", file=sys.stderr)
            return 2
        columns[Path(package).resolve().name] = figures(Path(package).resolve(), Path(tests).resolve())
    print(table(columns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
