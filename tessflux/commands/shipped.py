"""What a service consists of: its user, its directories, and its files with their sources and targets.

The rule: nothing is written here.
"""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from tessflux.commands import manual

USER = "tessflux"
PROGRAM = "/opt/tessflux/bin/tessflux"
"""As the shipped files have it."""
CONFIG = "etc/tessflux/config"
DEFAULTS = "etc/default/tessflux"
INIT_SCRIPT = "etc/init.d/tessflux"
UNIT = "etc/systemd/system/tessflux.service"
PACKAGED_UNIT = "usr/lib/systemd/system/tessflux.service"
"""Where the Debian package has its unit. What else it installs is what `--install` does."""
AT_BOOT = "etc/systemd/system/multi-user.target.wants/tessflux.service"
"""The link with which `systemctl enable` has the unit started at boot."""
DIRECTORIES = ("var/lib/tessflux", "var/log/tessflux")
SHARE = "usr/local/share/tessflux"
"""What is there to be copied or read by other programs."""


@dataclass(frozen=True)
class Shipped:
    """A file for ROOT/`target`. `private`: it gets the group of the service's user. `once`: never
    upgraded."""

    target: str
    content: bytes
    mode: int = 0o644
    private: bool = False
    once: bool = False


def own_files() -> Traversable:
    """The shipped files, which are part of the package, however that was installed."""
    return resources.files("tessflux") / "files"


def shipped_files(source: Traversable, program: Path, *, unit: bool) -> list[Shipped]:
    """All files of the service, for a daemon that is started as `program`; with or without its unit for
    systemd."""
    config = (source / "etc/tessflux/config.example").read_bytes()
    schema = (source / "etc/tessflux/influxdb.example").read_bytes()
    defaults = (
        "# Settings of /etc/init.d/tessflux, as shell variables. CONFIG_FILE and PIDFILE hold for the\n"
        "# unit of systemd too; to change others there: systemctl edit tessflux\n"
        f"DAEMON={shlex.quote(str(program))}\n"
        "# The user; empty means root, who must then own the directories of the spool and the log.\n"
        f"RUN_AS={USER}\n"
        "#CONFIG_FILE=/etc/tessflux/config\n"
        "#PIDFILE=/run/tessflux/tessflux.pid\n"
        "# Seconds that `stop` waits before it kills the daemon.\n"
        "#STOP_SECONDS=30\n"
    )
    files = [
        Shipped("etc/tessflux/config.example", config),
        Shipped(CONFIG, config, mode=0o640, private=True, once=True),
        Shipped("etc/tessflux/influxdb.example", schema),
        Shipped("etc/tessflux/influxdb", schema, once=True),
        Shipped(INIT_SCRIPT, (source / "init.d/tessflux").read_bytes(), mode=0o755),
        Shipped("etc/logrotate.d/tessflux", (source / "logrotate.d/tessflux").read_bytes()),
        *_tree(source / "grafana", f"{SHARE}/grafana"),
        Shipped(DEFAULTS, defaults.encode()),
    ]
    for name, page in manual.pages(config.decode()).items():
        files.append(Shipped(f"usr/local/share/man/{name}", page.encode()))
    if unit:
        text = (source / "systemd/tessflux.service").read_text().replace(PROGRAM, _in_unit(program))
        files.append(Shipped(UNIT, text.encode()))
    return files


def _tree(source: Traversable, target: str) -> Iterator[Shipped]:
    """Every file below a directory."""
    for each in sorted(source.iterdir(), key=lambda each: each.name):
        place = f"{target}/{each.name}"
        if each.is_dir():
            yield from _tree(each, place)
        else:
            yield Shipped(place, each.read_bytes())


def _in_unit(program: Path) -> str:
    """A program's path as it stands in a unit (systemd.service(5))."""
    path = str(program).replace("%", "%%")
    return f'"{path}"' if " " in path else path


def program_path(root: Path) -> Path:
    """The path of the running tessflux as seen inside `root`."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "tessflux":  # python -m tessflux
        called = Path(sys.prefix) / "bin" / "tessflux"
    inside = root.absolute()
    return Path("/") / called.relative_to(inside) if called.is_relative_to(inside) else called
