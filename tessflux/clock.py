"""How much time has passed, and what time it is: two things, kept apart.

How much has passed since the computer booted is never wrong (CLOCK_BOOTTIME). What time it is may be: a
computer whose clock stops with it begins in 1970 or at its last shutdown, until NTP answers. The time of day
is believed when the kernel says that it is synchronised, or when the computer has been up for so long that
the kernel will not say so any more. All that is read comes in as arguments.
"""

import ctypes
import time
from collections.abc import Callable
from uuid import uuid4

from twisted.logger import Logger

log = Logger(namespace="tessflux")

BOOT_ID = "/proc/sys/kernel/random/boot_id"

LOOKS, TOGETHER = 10, 0.001
"""How often both clocks are read at most until they were read within so many seconds: a busy computer may
interrupt us between the two."""

_TIME_ERROR = 5  # linux/timex.h
_STA_UNSYNC = 0x40


class _Timex(ctypes.Structure):
    """What adjtimex(2) fills in, as far as it is of interest, and more room than the rest of it takes."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # 0: change nothing, only read
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def kernel_is_synchronised(adjtimex: Callable[[_Timex], int] | None = None) -> bool:
    """Whether the kernel says that something keeps its clock right (adjtimex(2)); no if it may not be asked.

    The argument stands for the call of the C library, and answers like it.
    """
    timex = _Timex()
    state = (adjtimex or _adjtimex)(timex)
    return state not in (-1, _TIME_ERROR) and not timex.status & _STA_UNSYNC


def _adjtimex(timex: _Timex) -> int:
    return int(ctypes.CDLL(None).adjtimex(ctypes.byref(timex)))


def seconds_since_boot() -> float:
    """Also while the computer was suspended, and whatever the time of day was set to."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id(path: str = BOOT_ID) -> str:
    """What the kernel calls this boot, "" if it does not say."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


class Clock:
    """Call `look` at the start and every second until the time is `known`.

    Once known it stays known for the life of the process. The kernel takes back that it is synchronised when
    NTP has not answered for some nine hours; but the clock goes on from a right time then, and is wrong by a
    few seconds after a day. A network that is down for a night is no reason to hold its readings.
    """

    def __init__(
        self,
        wait: float,
        *,
        wall: Callable[[], float] = time.time,
        boot_seconds: Callable[[], float] = seconds_since_boot,
        synchronised: Callable[[], bool] = kernel_is_synchronised,
        boot_id: Callable[[], str] = read_boot_id,
    ) -> None:
        self.wait = wait
        """Seconds after the boot when the time is believed in any case; a reload may change them."""
        self._wall, self._boot_seconds, self._synchronised = wall, boot_seconds, synchronised
        self.boot = boot_id() or uuid4().hex
        """Which boot of which computer this is. Without an answer of the kernel each process counts as its
        own boot: what `passed` says is never compared with that of another boot."""
        self._booted_at = self._boot_date()
        self.known = wait == 0 or synchronised()
        """Whether `now` is right."""

    def now(self) -> float:
        """Seconds since 1970, as the kernel has them."""
        return self._wall()

    def passed(self) -> int:
        """Milliseconds since the computer booted."""
        return int(self._boot_seconds() * 1000)

    def date(self, passed: int) -> int:
        """The time, in ms since 1970, when so many ms of this boot had passed; right if `known`."""
        return round(self._boot_date() * 1000) + passed

    def look(self) -> bool:
        """Whether the time has become known just now. Logs it."""
        if self.known:
            return False
        if self._synchronised():
            log.info("The clock of this computer is synchronised{jump}", jump=self._jump())
        elif self._boot_seconds() >= self.wait:
            log.info(
                "The kernel does not say that its clock is synchronised; this computer runs for more than"
                " {wait:g} s ([global] clock_wait), so tessflux believes it",
                wait=self.wait,
            )
        else:
            return False
        self.known = True
        return True

    def _jump(self) -> str:
        jump = self._boot_date() - self._booted_at
        if abs(jump) <= 1:
            return ""
        return f"; since tessflux started it was set {'forward' if jump > 0 else 'back'} by {abs(jump):.0f} s"

    def _boot_date(self) -> float:
        """It changes only when the clock is set."""
        for _ in range(LOOKS):
            before, wall, after = self._boot_seconds(), self._wall(), self._boot_seconds()
            if after - before < TOGETHER:
                break
        return wall - (before + after) / 2
