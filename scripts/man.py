"""Writes the man pages of the tessflux that this Python has: man.py DIRECTORY.

It gets man1/tessflux.1 and man5/tessflux.5, as `tessflux --install` puts them into /usr/local/share/man.
"""

import sys
from pathlib import Path

from tessflux.commands import manual
from tessflux.commands.shipped import own_files


def main(directory: Path) -> None:
    """Make what is missing of the directory, and write each page."""
    example = (own_files() / "etc/tessflux/config.example").read_text(encoding="utf-8")
    for name, page in manual.pages(example).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: man.py DIRECTORY")
    main(Path(sys.argv[1]))
