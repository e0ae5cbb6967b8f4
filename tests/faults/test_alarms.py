"""A disk without room: the operator hears of it, though nothing can be kept of that."""

from tessflux.limits import PENDING_MESSAGES
from tests.faults.site import FaultSite
from tests.faults.small_disk import SmallDisk
from tests.real.listener import Listener
from tests.real.site import Publisher


def test_a_full_disk_and_what_is_lost_by_it_are_raised_and_cleared(
    bench: FaultSite, publisher: Publisher
) -> None:
    disk = SmallDisk(bench, 64)
    listener = Listener(bench.config.parent)
    bench.configure(alarm={"command": listener.command, "not_stored": "5s", "lost": "5s"})
    bench.start()
    disk.fill()
    bench.publish(publisher, PENDING_MESSAGES + 2_000, 0)
    listener.wait_for("lost raised: ", "not_stored raised: ")
    disk.free()
    listener.wait_for("lost cleared: no more readings were lost")
    bench.publish(publisher, 1)
    listener.wait_for("not_stored cleared: readings are stored again")
    bench.stop()
    heard = listener.lines()
    [lost] = [line for line in heard if line.startswith("lost raised")]
    assert " readings were lost (disk failed " in lost
    stored = next(line for line in heard if line.startswith("not_stored raised"))
    assert stored.endswith(f": the spool in {bench.spool} takes no readings: disk failed")
    if disk.mounted:
        assert "alarms.json cannot be used: No space left on device" in bench.logged()
        assert "The alarms can be saved again" in bench.logged()
