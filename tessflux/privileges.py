"""Root in the foreground becomes who the service runs as: the owner of the spool's directory.

So root's try leaves nothing behind with which the service could not go on, and follows, as root, no link in a
directory of that user.
"""

import os
import pwd
import sys
from pathlib import Path

from tessflux.errors import CannotCreate

_CODE = (__file__, os.__file__)
"""Without these nothing could be imported any more."""


def become_owner_of(directory: Path) -> None:
    """As root, take on the owner of a directory, or of that in which it is still to be made.

    Raises CannotCreate when that user may not read this program.
    """
    if os.geteuid() != 0:
        return
    path = directory.absolute()
    while not path.exists():
        path = path.parent
    owner = path.stat()
    if owner.st_uid == 0:
        return
    try:
        user = pwd.getpwuid(owner.st_uid)
    except KeyError:
        name, groups = str(owner.st_uid), [owner.st_gid]
    else:
        name, groups = user.pw_name, os.getgrouplist(user.pw_name, user.pw_gid)
    os.setgroups(groups)
    os.setgid(groups[0])
    os.setuid(owner.st_uid)
    print(f"tessflux: runs as {name}, who owns {path}", file=sys.stderr)
    for code in _CODE:
        if not os.access(code, os.R_OK):
            raise CannotCreate(
                f"{name} owns {path}, so tessflux runs as {name}, who may not read {code};"
                " install tessflux elsewhere, or name another [spool] directory"
            )
