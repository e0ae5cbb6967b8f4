"""`tessflux --install`: the files, the directories and the user of the service. Run it again to upgrade.

Where systemd runs the service is a unit of its own. The init script is installed there too: it sends the
signals for which systemd has no command, and logrotate calls it.

What somebody else wrote or edited is never overwritten: `shipped` knows what to install, and `manifest` whose
a file is. Nothing is started or stopped. What the system refuses is raised as CannotCreate.
"""

import os
import re
import shlex
from dataclasses import replace
from importlib.resources.abc import Traversable
from pathlib import Path

from tessflux.commands.manifest import (
    Action,
    Manifest,
    checksum,
    checksum_of,
    decide,
    make_parents,
    write_whole,
)
from tessflux.commands.output import Report
from tessflux.commands.shipped import (
    AT_BOOT,
    CONFIG,
    DEFAULTS,
    DIRECTORIES,
    PACKAGED_UNIT,
    UNIT,
    USER,
    Shipped,
    own_files,
    program_path,
    shipped_files,
)
from tessflux.commands.system import (
    Owner,
    RunCommand,
    add_user,
    command_runner,
    find_owner,
    os_errors_explained,
    reload_systemd,
    systemd_runs,
)
from tessflux.errors import CannotCreate

NEW_VERSION = ".dpkg-dist"
"""logrotate, service and systemd all ignore files with this suffix."""


def install(root: Path, report: Report) -> None:
    """Install the service into `root`, and report each thing that is done.

    The user is added only if `root` is /; elsewhere ROOT/etc/passwd says whether there is one.
    """
    run = command_runner(root)
    install_from(own_files(), root, run, report)


def install_from(source: Traversable, root: Path, run: RunCommand | None, report: Report) -> None:
    """`install` the files in `source`; without `run` no user is added."""
    program = program_path(root)
    if os.path.lexists(root / PACKAGED_UNIT):
        raise CannotCreate(
            f"{root / PACKAGED_UNIT}: the Debian package has installed the service; to upgrade it:"
            " apt install ./tessflux_VERSION_ARCH.deb"
        )
    with os_errors_explained():
        unit = systemd_runs(root) and _is_for_unit(root, report)
        files = shipped_files(source, program, unit=unit)
        before = checksum_of(root / UNIT)
        manifest = Manifest.read(root)
        is_upgrade = bool(manifest.sums)
        if run is not None and find_owner(root) is None:
            add_user(run, report)
            manifest.made_user = True
        owner = find_owner(root)
        if owner is None:
            report(f"no user {USER} in {root / 'etc/passwd'}: owners are not set")
        for directory in DIRECTORIES:
            _make_directory(root / directory, owner, report)
        for file in files:
            _install_file(root, file, owner, manifest, report)
        if unit:
            _start_at_boot_as_before(root, report)
        manifest.write(root)
        if run is not None and checksum_of(root / UNIT) != before:
            reload_systemd(run)
    _report_next_steps(root, report, shlex.quote(str(program)), unit=unit, is_upgrade=is_upgrade)


def _report_next_steps(root: Path, report: Report, program: str, *, unit: bool, is_upgrade: bool) -> None:
    report("next steps:")
    if is_upgrade:
        report(f"  {program} --check-config && service tessflux restart")
        return
    report(f"  edit {root / CONFIG}")
    report(f"  runuser -u {USER} -- {program} --check")
    if unit:
        report("  systemctl enable --now tessflux")
    else:
        report("  update-rc.d tessflux defaults")
        report("  service tessflux start")


def _is_for_unit(root: Path, report: Report) -> bool:
    """Whether the service runs as the user of the unit, for whom it would find its spool."""
    defaults = root / DEFAULTS
    if not defaults.exists():
        return True
    settings = defaults.read_text(errors="replace")
    user = re.findall(r"^\s*RUN_AS=[\"']?([^\"'\s#]*)", settings, re.MULTILINE)[-1:]
    if user == [USER]:
        return True
    report(
        f"no unit for systemd, which would run tessflux as {USER}: by {defaults} it runs as"
        f" {''.join(user) or 'root'}, and the init script starts it"
    )
    return False


def _start_at_boot_as_before(root: Path, report: Report) -> None:
    """A unit takes the place of an init script of its name, but not its links in /etc/rc?.d."""
    link = root / AT_BOOT
    if any(root.glob("etc/rc?.d/S??tessflux")) and not os.path.lexists(link):
        make_parents(link)
        link.symlink_to(Path("/") / UNIT)
        report(f"linked {link}, since it starts at boot")


def _make_directory(path: Path, owner: Owner | None, report: Report) -> None:
    if path.is_dir():
        uid = path.stat().st_uid
        if owner is not None and uid != owner.uid:
            report(f"kept {path}, which belongs to user {uid}; to change that: chown -R {USER}: {path}")
        else:
            report(f"unchanged {path}")
        return
    make_parents(path)
    path.mkdir()
    path.chmod(0o750)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    report(f"created {path}")


def _install_file(root: Path, file: Shipped, owner: Owner | None, manifest: Manifest, report: Report) -> None:
    path = root / file.target
    shipped = checksum(file.content)
    match decide(checksum_of(path), manifest.sums.get(file.target), shipped, once=file.once):
        case Action.INSTALL:
            _write(root, file, owner)
            report(f"installed {path}")
        case Action.LEAVE:
            report(f"unchanged {path}")
        case Action.REPLACE:
            _write(root, file, owner)
            report(f"replaced {path}")
        case Action.KEEP:
            report(f"kept {path}, which is yours")
            return
        case Action.INSTALL_BESIDE:
            beside = replace(file, target=file.target + NEW_VERSION, mode=0o644)
            _write(root, beside, owner)
            manifest.sums[beside.target] = shipped
            report(f"kept {path}, which is yours; the new version is {root / beside.target}")
    manifest.sums[file.target] = shipped


def _write(root: Path, file: Shipped, owner: Owner | None) -> None:
    gid = owner.gid if file.private and owner is not None else None
    write_whole(root / file.target, file.content, file.mode, gid)
