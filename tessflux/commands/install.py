"""`tessflux --install` and `--uninstall`: the files, the directories and the user of a service.

The rule: what someone else wrote, or edited, is never overwritten and never removed; `shipped`
knows what there is to put, and `manifest` whose a file is. Readings and logs are the operator's to
remove. Nothing is started or stopped here. What the system refuses is raised as CannotCreate.
"""

import errno
import fcntl
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tessflux.commands.manifest import (
    MANIFEST,
    Manifest,
    Verdict,
    checksum,
    checksum_of,
    judge,
    make_parents,
    write_whole,
)
from tessflux.commands.shipped import (
    CONFIG,
    DEFAULTS,
    INIT_SCRIPT,
    USER,
    Shipped,
    find_source,
    program_path,
    shipped_files,
    source_places,
)
from tessflux.errors import AlreadyRunning, CannotCreate

Report = Callable[[str], None]
Run = Callable[[Sequence[str]], None]

DIRECTORIES = ("var/lib/tessflux", "var/log/tessflux")
# logrotate, service and systemd all pass over this suffix in their directories.
NEW_VERSION = ".dpkg-dist"


def install(root: Path, report: Report) -> None:
    """Put the service into `root`, with a line to `report` for each thing; again, to upgrade it.

    The user is made only where `root` is /; elsewhere it counts if ROOT/etc/passwd has it.
    """
    _must_be_allowed(root)
    put_service(find_source(source_places()), root, _run_for(root), report)


def uninstall(root: Path, report: Report) -> None:
    """Remove what `install` put and nobody edited, with a line to `report` for each thing.

    The spool and the logs stay; while anything stays, so does the user. Raises AlreadyRunning
    while the service runs.
    """
    _must_be_allowed(root)
    remove_service(root, _run_for(root), report)


def put_service(source: Path, root: Path, run: Run | None, report: Report) -> None:
    """`install` from `source`; without `run` the user is not ours to make."""
    program = program_path(root)
    with _explained():
        shipped = shipped_files(source, program)
        manifest = Manifest.read(root)
        if run is not None and find_owner(root) is None:
            make_user(run, report)
            manifest.made_user = True
        owner = find_owner(root)
        if owner is None:
            report(f"no user {USER} in {root / 'etc/passwd'}: the owners are not set")
        for directory in DIRECTORIES:
            _make_directory(root / directory, owner, report)
        for file in shipped:
            _put(root, file, owner, manifest, report)
        manifest.write(root)
    report("next steps:")
    report(f"  edit {root / CONFIG}")
    report(f"  runuser -u {USER} -- {shlex.quote(str(program))} --check")
    report("  service tessflux start")
    report("  update-rc.d tessflux defaults")


def remove_service(root: Path, run: Run | None, report: Report) -> None:
    """`uninstall`; without `run` the user is not ours to remove."""
    with _explained():
        for pid_file in _pid_files(root):
            if _is_locked(pid_file):
                raise AlreadyRunning(f"{pid_file}: tessflux runs; first: service tessflux stop")
        manifest = Manifest.read(root)
        if not manifest.sums and not manifest.made_user:
            report(f"nothing to remove: {root / MANIFEST} names nothing")
            return
        kept = [path for path in manifest.sums if not _remove_file(root, path, manifest, report)]
        directories = [path for path in DIRECTORIES if not _remove_directory(root / path, report)]
        manifest.sums = {path: manifest.sums[path] for path in kept}
        if run is not None and manifest.made_user:
            if kept or directories:
                report(f"kept the user {USER}, to whom that belongs")
            else:
                remove_user(run, report)
                manifest.made_user = False
        manifest.write(root)
    if any(root.glob("etc/rc?.d/[SK]??tessflux")) and not (root / INIT_SCRIPT).exists():
        report("next step: update-rc.d tessflux remove")


# The user


@dataclass(frozen=True)
class Owner:
    """The numbers of the user and of its primary group."""

    uid: int
    gid: int


def find_owner(root: Path) -> Owner | None:
    """The user of the service in `root`, by its own passwd file: an image has its own numbers."""
    passwd = root / "etc/passwd"
    lines = passwd.read_text(errors="replace").splitlines() if passwd.exists() else []
    for fields in (line.split(":") for line in lines):
        if fields[0] == USER:
            return Owner(int(fields[2]), int(fields[3]))
    return None


def make_user(run: Run, report: Report) -> None:
    """A system user with a group of its own; its home is the spool, which gets its own mode."""
    home = ["--no-create-home", "--home", "/var/lib/tessflux"]
    run(["adduser", "--quiet", "--system", "--group", *home, USER])
    report(f"made the user {USER}")


def remove_user(run: Run, report: Report) -> None:
    """And its group."""
    run(["deluser", "--quiet", "--system", USER])
    report(f"removed the user {USER}")


def run_command(command: Sequence[str]) -> None:
    """Wait for `command`, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotCreate(f"{shlex.join(command)}: {done.stderr.strip()}")


# What is done with a file and a directory


def _put(root: Path, file: Shipped, owner: Owner | None, manifest: Manifest, report: Report) -> None:
    path = root / file.target
    shipped = checksum(file.content)
    match judge(checksum_of(path), manifest.sums.get(file.target), shipped, once=file.once):
        case Verdict.PUT:
            _write(root, file, owner)
            report(f"put {path}")
        case Verdict.LEAVE:
            report(f"unchanged {path}")
        case Verdict.REPLACE:
            _write(root, file, owner)
            report(f"replaced {path}")
        case Verdict.KEEP:
            report(f"kept {path}, which is yours")
            return
        case Verdict.PUT_BESIDE:
            beside = replace(file, target=file.target + NEW_VERSION, mode=0o644)
            _write(root, beside, owner)
            manifest.sums[beside.target] = shipped
            report(f"kept {path}, which is yours; the new version is {root / beside.target}")
    manifest.sums[file.target] = shipped


def _write(root: Path, file: Shipped, owner: Owner | None) -> None:
    gid = owner.gid if file.private and owner is not None else None
    write_whole(root / file.target, file.content, file.mode, gid)


def _make_directory(path: Path, owner: Owner | None, report: Report) -> None:
    if path.is_dir():
        theirs = path.stat().st_uid
        if owner is not None and theirs != owner.uid:
            report(f"kept {path}, of user {theirs}; for {USER}: chown -R {USER}: {path}")
        else:
            report(f"unchanged {path}")
        return
    make_parents(path)
    path.mkdir()
    path.chmod(0o750)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    report(f"made {path}")


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
    return True


def _remove_directory(path: Path, report: Report) -> bool:
    """Whether it is gone; what holds a file stays."""
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


# The machine


def _is_this_machine(root: Path) -> bool:
    return root.resolve() == Path("/")


def _run_for(root: Path) -> Run | None:
    return run_command if _is_this_machine(root) else None


def _must_be_allowed(root: Path) -> None:
    if _is_this_machine(root) and os.geteuid() != 0:
        raise CannotCreate("only root can do that to this machine: sudo, or --root DIR")


def _pid_files(root: Path) -> list[Path]:
    defaults = root / DEFAULTS
    settings = defaults.read_text(errors="replace") if defaults.exists() else ""
    chosen = re.findall(r"^\s*PIDFILE=[\"']?/([^\"'\s]+)", settings, re.MULTILINE)
    return [root / path for path in ("run/tessflux.pid", "run/tessflux/tessflux.pid", *chosen)]


def _is_locked(pid_file: Path) -> bool:
    """A live daemon holds the lock of its pid file; a file alone proves nothing."""
    if not pid_file.is_file():
        return False
    with pid_file.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotCreate(f"{error.filename or 'tessflux'}: {error.strerror}") from error
