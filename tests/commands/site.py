"""A root directory to install into, whose passwd file decides who owns what.

A tester who is root gives the files to another user; anyone else, who cannot, gives them to himself.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from tessflux.commands.install import install_from
from tessflux.commands.manifest import MANIFEST
from tessflux.commands.uninstall import uninstall_from

UID, GID = (12345, 12346) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
ROOT_ENTRY = "root:x:0:0::/root:/bin/sh\n"
USER_ENTRY = f"tessflux:x:{UID}:{GID}::/var/lib/tessflux:/usr/sbin/nologin\n"

SOURCES = {
    "etc/tessflux/config.example": "etc/tessflux/config.example",
    "etc/tessflux/config": "etc/tessflux/config.example",
    "etc/tessflux/influxdb.example": "etc/tessflux/influxdb.example",
    "etc/tessflux/influxdb": "etc/tessflux/influxdb.example",
    "etc/init.d/tessflux": "init.d/tessflux",
    "etc/logrotate.d/tessflux": "logrotate.d/tessflux",
    "usr/local/share/tessflux/grafana/dashboards.yaml": "grafana/dashboards.yaml",
    "usr/local/share/tessflux/grafana/influxql/night.json": "grafana/influxql/night.json",
}
"""Of each file that is installed from one that is shipped: the name of that one."""

MAN_PAGES = ["usr/local/share/man/man1/tessflux.1", "usr/local/share/man/man5/tessflux.5"]
FILES = [*SOURCES, "etc/default/tessflux", *MAN_PAGES]
UNIT = "etc/systemd/system/tessflux.service"
AT_BOOT = "etc/systemd/system/multi-user.target.wants/tessflux.service"
DIRECTORIES = ["var/lib/tessflux", "var/log/tessflux"]


class Site:
    """A root, and the files to install into it: each holds its name and its version."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.source = directory / "source"
        self.calls: list[str] | None = None
        """The calls of adduser, deluser and systemctl; None where none is made."""
        self.write("etc/passwd", ROOT_ENTRY + USER_ENTRY)
        self.ship("1")

    def ship(self, version: str) -> None:
        for name in {*SOURCES.values(), "systemd/tessflux.service"}:
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {version}\n")

    def with_systemd(self) -> None:
        """It has started the system; its commands are called."""
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.calls = []

    def started_at_boot(self) -> None:
        """As `update-rc.d tessflux defaults` would have it."""
        (self.root / "etc/rc2.d").mkdir(parents=True)
        (self.root / "etc/rc2.d/S01tessflux").symlink_to("../init.d/tessflux")

    def without_user(self, *, may_add: bool) -> None:
        self.write("etc/passwd", ROOT_ENTRY)
        self.calls = [] if may_add else None

    def install(self) -> list[str]:
        """What is reported, with paths relative to the root."""
        lines: list[str] = []
        run = None if self.calls is None else self._run
        install_from(self.source, self.root, run, lines.append)
        return self._relative(lines)

    def uninstall(self) -> list[str]:
        """What is reported, with paths relative to the root."""
        lines: list[str] = []
        uninstall_from(self.root, None if self.calls is None else self._run, lines.append)
        return self._relative(lines)

    def _relative(self, lines: list[str]) -> list[str]:
        return [line.replace(f"{self.root}/", "") for line in lines]

    def _run(self, command: Sequence[str]) -> None:
        """Do to the passwd file what adduser and deluser would."""
        assert self.calls is not None
        self.calls.append(" ".join(command) if command[0] == "systemctl" else command[0])
        if command[0] != "systemctl":
            self.write("etc/passwd", ROOT_ENTRY + USER_ENTRY * (command[0] == "adduser"))

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.root / name).stat().st_mode)

    def owner(self, name: str) -> tuple[int, int]:
        found = (self.root / name).stat()
        return found.st_uid, found.st_gid

    def files(self) -> set[str]:
        """Every file but the passwd file and the manifest."""
        paths = (path for path in self.root.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.root)) for path in paths} - {"etc/passwd", MANIFEST}
