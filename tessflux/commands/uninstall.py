"""`tessflux --uninstall`: remove what `--install` installed and nobody edited.

Readings and logs stay, since they are the operator's to remove; and while anything stays, so does the user.
"""

import errno
import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from tessflux.commands.manifest import MANIFEST, Manifest, checksum_of
from tessflux.commands.output import Report
from tessflux.commands.shipped import AT_BOOT, DEFAULTS, DIRECTORIES, INIT_SCRIPT, SHARE, UNIT, USER
from tessflux.commands.system import (
    RunCommand,
    command_runner,
    os_errors_explained,
    reload_systemd,
    remove_user,
    systemd_runs,
)
from tessflux.errors import AlreadyRunning


def uninstall(root: Path, report: Report) -> None:
    """Remove the service from `root`, and report each thing that is done. Raises AlreadyRunning while it
    runs."""
    uninstall_from(root, command_runner(root), report)


def uninstall_from(root: Path, run: RunCommand | None, report: Report) -> None:
    """`uninstall`; without `run` no user is removed."""
    with os_errors_explained():
        for pid_file in _pid_files(root):
            if _is_locked(pid_file):
                raise AlreadyRunning(f"{pid_file}: tessflux is running; first: service tessflux stop")
        manifest = Manifest.read(root)
        if not manifest.sums and not manifest.made_user:
            report(f"nothing to remove: {root / MANIFEST} lists nothing")
            return
        kept = [path for path in manifest.sums if not _remove_file(root, path, manifest, report)]
        _remove_link_to_unit(root, report)
        directories = [path for path in DIRECTORIES if not _remove_directory(root / path, report)]
        manifest.sums = {path: manifest.sums[path] for path in kept}
        if run is not None and manifest.made_user:
            if kept or directories:
                report(f"kept the user {USER}, which owns what is left")
            else:
                remove_user(run, report)
                manifest.made_user = False
        manifest.write(root)
        if run is not None and systemd_runs(root):
            reload_systemd(run)
    if any(root.glob("etc/rc?.d/[SK]??tessflux")) and not (root / INIT_SCRIPT).exists():
        report("next step: update-rc.d tessflux remove")


def _remove_file(root: Path, target: str, manifest: Manifest, report: Report) -> bool:
    """Whether it is gone."""
    path = root / target
    found = checksum_of(path)
    if found is None:
        return True
    if found != manifest.sums[target]:
        report(f"kept {path}, which is yours")
        return False
    path.unlink()
    report(f"removed {path}")
    for parent in path.parents:
        if parent.is_relative_to(root / SHARE):
            with suppress(OSError):  # A directory that is not empty stays.
                parent.rmdir()
    return True


def _remove_link_to_unit(root: Path, report: Report) -> None:
    """Undo `systemctl enable`, which systemctl cannot do without the unit."""
    link = root / AT_BOOT
    if link.is_symlink() and not os.path.lexists(root / UNIT):
        link.unlink()
        report(f"removed {link}")


def _remove_directory(path: Path, report: Report) -> bool:
    """Whether it is gone; a directory that is not empty stays."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        report(f"kept {path}: readings and logs are yours to remove")
        return False
    report(f"removed {path}")
    return True


def _pid_files(root: Path) -> list[Path]:
    defaults = root / DEFAULTS
    settings = defaults.read_text(errors="replace") if defaults.exists() else ""
    chosen = re.findall(r"^\s*PIDFILE=[\"']?/([^\"'\s]+)", settings, re.MULTILINE)
    return [root / path for path in ("run/tessflux.pid", "run/tessflux/tessflux.pid", *chosen)]


def _is_locked(pid_file: Path) -> bool:
    """A running daemon holds the lock of its pid file; that the file exists proves nothing."""
    if not pid_file.is_file():
        return False
    with pid_file.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
