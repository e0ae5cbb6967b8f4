"""Snapshots in which something is wrong."""

from dataclasses import replace

from tessflux.status import Snapshot
from tests.status.site import MESSAGES, OUTPUT, SPOOL, WELL

MIRROR = replace(OUTPUT, name="influxdb mirror", url="http://mirror:8086", waiting=1_203_222)


def used(part: float, **changes: object) -> Snapshot:
    """One whose spool is full to this part."""
    return replace(WELL, spool=replace(SPOOL, used=int(part * SPOOL.limit)), **changes)  # type: ignore[arg-type]


def lost(count: int, uptime: float) -> Snapshot:
    """One with so many losses, so many seconds after the start."""
    return replace(WELL, uptime=uptime, messages=replace(MESSAGES, lost={"spool full": count, "other": 0}))
