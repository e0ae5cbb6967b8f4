"""A network for a test: a bridge in a network namespace, and members in their own namespaces connected to it.

Nothing leaves it and no other process sees it. The kernel removes it with the last process in it.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Self

from servers import LOOPBACK

_CLONE_NEWNET = 0x40000000
"""See unshare(2)."""

_HOST = "10.77.0.1"

_BRIDGE = (
    "ip link set lo up",
    "ip link add bridge0 type bridge",
    f"ip address add {_HOST}/24 dev bridge0",
    "ip link set bridge0 up",
)

# The other end of the cable has the process number in its name: that of a killed member may still be there.
_MEMBER = """
ip link set lo up &&
ip link add eth0 type veth peer name "cable$$" netns $PPID &&
nsenter --net=/proc/$PPID/ns/net ip link set "cable$$" master bridge0 up &&
ip address add "$0/24" dev eth0 &&
ip link set eth0 up &&
exec "$@"
"""


class Network:
    """Within its block, this thread and what it starts are in the network. Only for the main thread.

    Making a network takes root and the program ip. Without them everything stays on loopback.
    """

    def __init__(self) -> None:
        self.host = LOOPBACK
        """What servers listen on."""
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self) -> Self:
        self._outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        if shutil.which("ip") and self._libc.unshare(_CLONE_NEWNET) == 0:
            if all(subprocess.run(each.split(), check=False).returncode == 0 for each in _BRIDGE):
                self.host = _HOST
            else:
                self._leave()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.host != LOOPBACK:
            self._leave()
        os.close(self._outside)

    def _leave(self) -> None:
        if self._libc.setns(self._outside, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot leave the network of the test")

    def member(self, number: int) -> Sequence[str]:
        """The command that runs its arguments in a namespace of their own, as a child of this process."""
        if self.host == LOOPBACK:
            return ()
        return ("unshare", "--net", "sh", "-c", _MEMBER, f"10.77.0.{number + 2}")
