"""Root that runs tessflux in the foreground becomes the service's user: the owner of the spool's directory.
To run as a daemon it is refused, and told how to start the service.

So root leaves no files behind that the service cannot use, and a link that this user put into the directory
cannot lead root elsewhere.
"""

import os
import pwd
import sys
from pathlib import Path

from tessflux.errors import CannotCreate, UsageError

_CODE = (__file__, os.__file__)
"""If the new user cannot read these, no import would work any more."""


def refuse_in_place_of_owner(directory: Path) -> None:
    """Raise UsageError if we are root and the directory, or the nearest one above that exists, is not
    root's."""
    path = existing(directory)
    owner = _other_owner(path)
    if owner is not None:
        name = _name(owner.st_uid)
        raise UsageError(
            f"{name} owns {path}, and could not use what root would leave there: run 'service tessflux"
            f" start', with RUN_AS={name} in /etc/default/tessflux; or 'tessflux -k', which becomes {name}"
        )


def become_owner_of(directory: Path) -> bool:
    """If we are root, become the owner of the directory, or of the nearest one above that exists. Returns
    whether the user has changed.

    Raises CannotCreate when we cannot become that user, or that user may not read this program.
    """
    path = existing(directory)
    owner = _other_owner(path)
    if owner is None:
        return False
    try:
        user = pwd.getpwuid(owner.st_uid)
    except KeyError:
        name, groups = str(owner.st_uid), [owner.st_gid]
    else:
        name, groups = user.pw_name, os.getgrouplist(user.pw_name, user.pw_gid)
    try:
        os.setgroups(groups)
        os.setgid(groups[0])
        os.setuid(owner.st_uid)
    except OSError as error:
        raise CannotCreate(f"cannot become {name}, who owns {path}: {error.strerror}") from None
    print(f"tessflux: running as {name}, who owns {path}", file=sys.stderr)
    for code in _CODE:
        if not os.access(code, os.R_OK):
            raise CannotCreate(
                f"{name} owns {path}, so tessflux runs as {name}, who may not read {code};"
                " install tessflux elsewhere, or choose another [spool] directory"
            )
    return True


def existing(path: Path) -> Path:
    """The path itself, or the nearest directory above it that exists."""
    path = path.absolute()
    # Not Path.exists, which raises for a directory that this user may not enter.
    return next(each for each in (path, *path.parents) if os.path.exists(each))


def _other_owner(path: Path) -> os.stat_result | None:
    """Who owns it if we are root and the owner is not."""
    if os.geteuid() != 0:
        return None
    owner = path.lstat()
    if owner.st_uid == 0:
        # Root's own link leads where root wants.
        owner = path.stat()
    return owner if owner.st_uid else None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
