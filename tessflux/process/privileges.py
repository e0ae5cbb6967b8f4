"""Root that runs tessflux in the foreground becomes the service's user: the owner of the spool's directory.

So a trial run as root leaves no files behind that the service cannot use, and a link that this user put into
the directory cannot lead root elsewhere.
"""

import os
import pwd
import sys
from pathlib import Path

from tessflux.errors import CannotCreate

_CODE = (__file__, os.__file__)
"""If the new user cannot read these, no import would work any more."""


def become_owner_of(directory: Path) -> bool:
    """If we are root, become the owner of the directory, or of the nearest one above that exists. Returns
    whether the user has changed.

    Raises CannotCreate when we cannot become that user, or that user may not read this program.
    """
    if os.geteuid() != 0:
        return False
    path = directory.absolute()
    while not path.exists():
        path = path.parent
    owner = path.lstat()
    if owner.st_uid == 0:
        # Root's own link leads where root wants.
        owner = path.stat()
    if owner.st_uid == 0:
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
