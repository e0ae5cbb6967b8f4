"""The register of photometers in a real daemon: who was heard, who is silent, the history, over a kill."""

import time

from tessflux.photometers.database import Database
from tessflux.photometers.means import bucket
from tessflux.photometers.photometer import Photometer
from tests.real.listener import Listener
from tests.real.site import Publisher, Site, reading, wait_until


def kept(site: Site) -> dict[str, Photometer]:
    """What the file has of them."""
    database = Database(str(site.spool))
    try:
        return {each.name: each for each in database.load().photometers}
    finally:
        database.close()


def test_who_was_heard_is_known_over_a_kill_and_a_silence_is_said_once(
    site: Site, publisher: Publisher, listener: Listener
) -> None:
    """In the log, and by an alarm."""
    began = time.time()
    site.configure(status={"silent": "10s"}, alarm={"command": listener.command})
    site.start()
    seq = iter(range(1, 10_000))

    def publish(*names: str) -> None:
        publisher.publish([reading(name, next(seq), 0.5, lat=40.45, long=-3.73) for name in names])

    publish("stars1", "stars2", "stars2")
    site.wait_for_rows(3)
    site.stop()

    site.start()

    def is_silent() -> bool:
        publish("stars1")
        return "stars2 is silent since" in site.logged()

    wait_until(is_silent, lambda: f"a silence; the log:\n{site.logged()}")
    assert "stars1 is silent" not in site.logged()
    listener.wait_for("silent raised: stars2 is silent since ")
    wait_until(lambda: kept(site)["stars2"].silent, "that it is on disk")
    site.kill()

    site.start()
    publish("stars2")
    site.wait_for_log("stars2 is heard again; it was silent since")
    assert "stars2 is silent" not in site.logged()
    listener.wait_for("silent cleared: stars2 is heard again; ")
    publish("stars2")
    wait_until(lambda: [row["name"] for row in site.rows()].count("stars2") == 4, "all four of it")
    site.stop()

    found = kept(site)
    one, two = found["stars1"], found["stars2"]
    assert found.keys() == {"stars1", "stars2"}
    assert (two.silent, two.place, two.values["mag"], two.values["wdBm"]) == (
        False,
        (40.45, -3.73),
        12.34,
        -61,
    )
    assert began * 1_000 - 1 <= two.first < two.heard <= time.time() * 1_000
    assert two.stored.total(two.heard) == 4
    assert one.number != two.number
    database = Database(str(site.spool))
    night = database.night(two.number, range(bucket(began), bucket(time.time()) + 1))
    database.close()
    assert {each.mags for each in night} == {(12.34,)}
    # One of two that came within a second.
    assert 3 <= sum(each.count for each in night) <= 4


def test_a_file_that_cannot_be_used_hinders_no_start(site: Site, publisher: Publisher) -> None:
    site.spool.mkdir()
    (site.spool / "photometers.db").write_bytes(b"junk" * 5_000)
    site.start()
    assert "The register of photometers was damaged" in site.logged()
    publisher.publish([reading("stars1", 1, 0.5)])
    site.wait_for_rows(1)
    site.stop()
    assert kept(site).keys() == {"stars1"}
