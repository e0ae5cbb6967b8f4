"""Root in the foreground becomes who the service runs as: the owner of the spool's directory.

So root's try leaves nothing behind with which the service could not go on, and no link that this user has
put into the directory leads root elsewhere.
"""

import os
import pwd
import sys
from pathlib import Path

from tessflux.errors import CannotCreate

_CODE = (__file__, os.__file__)
"""Without these nothing could be imported any more."""


def become_owner_of(directory: Path) -> bool:
    """As root, take on the owner of a directory, or of that in which it is still to be made; whether that is
    another user.

    Raises CannotCreate when we may not become that user, or that user may not read this program.
    """
    if os.geteuid() != 0:
        return False
    path = directory.absolute()
    while not path.exists():
        path = path.parent
    owner = path.lstat()
    if owner.st_uid == 0:
        # A link of root's own leads where root wants.
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
    print(f"tessflux: runs as {name}, who owns {path}", file=sys.stderr)
    for code in _CODE:
        if not os.access(code, os.R_OK):
            raise CannotCreate(
                f"{name} owns {path}, so tessflux runs as {name}, who may not read {code};"
                " install tessflux elsewhere, or name another [spool] directory"
            )
    return True
