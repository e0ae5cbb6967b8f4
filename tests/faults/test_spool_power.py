"""Power loss: an acknowledgement leaves only after its reading is on disk, where it is found again."""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tessflux.spool.journal import FILE_NAME, Journal
from tests.faults.system_calls import Call, calls, traced
from tests.real.site import Publisher, Site, reading, wait_until
from tests.spool.test_journal import group

PUBLISH, PUBACK = 3, 4


def packets(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole MQTT packets at the beginning of a stream: type, and what follows the length."""
    at = 0
    while at < len(stream):
        length, shift, begin = 0, 0, at + 1
        while True:
            length |= (stream[begin] & 0x7F) << shift
            shift, begin = shift + 7, begin + 1
            if stream[begin - 1] < 0x80:
                break
        yield stream[at] >> 4, stream[begin : begin + length]
        at = begin + length


def published(received: bytes) -> dict[bytes, bytes]:
    """Payloads by their message ids; none is used twice here."""
    found = {}
    for kind, body in packets(received):
        if kind == PUBLISH:
            after_topic = 2 + int.from_bytes(body[:2])
            found[body[after_topic : after_topic + 2]] = body[after_topic + 2 :]
    return found


def on_disk(made: Sequence[Call], path: Path, moment: int) -> bytes:
    """What a power cut at this line would surely leave of a file: what was written before its last sync."""
    own = [call for call in made if call.file == str(path)]
    syncs = [call for call in own if call.name in ("fdatasync", "fsync") and call.ended < moment]
    content = bytearray()
    for call in own:
        if call.name == "pwrite64" and syncs and call.ended < syncs[-1].begun:
            end = call.offset + len(call.data)
            content.extend(bytes(max(0, end - len(content))))
            content[call.offset : end] = call.data
    return bytes(content)


@pytest.mark.parametrize("burst", [10, 200], ids=["small groups", "large groups"])
def test_each_acknowledgement_leaves_after_the_sync_of_the_commit_that_holds_its_reading(
    site: Site, tmp_path: Path, burst: int
) -> None:
    output, copy = tmp_path / "calls", tmp_path / "copy"
    copy.mkdir()
    # All readings wait, so that each stays in the files.
    site.configure(influxdb={"url": ""})
    site.around = traced(output)
    site.start()
    publisher = Publisher(site.mosquitto)
    for first in range(1, 200, burst):
        publisher.publish((reading("stars1", n, n) for n in range(first, first + burst)), qos=1)
    publisher.close()
    wait_until(lambda: len(site.waiting()) == 200, "all readings are on disk")
    site.stop()
    # strace fills a short number up with blanks.
    end = re.compile(rf"^{site.process.pid} +\+\+\+ exited", re.MULTILINE)
    wait_until(lambda: end.search(output.read_text()), "strace has written all")
    made = list(calls(output))
    broker = f"127.0.0.1:{site.mosquitto.port}]"
    received = [call.data for call in made if call.name == "recvfrom" and call.file.endswith(broker)]
    payloads = published(b"".join(received))
    waiting: dict[tuple[bytes, bytes], str] = {}
    acknowledged = set()
    for call in made:
        if call.name == "sendto" and call.file.endswith(broker):
            database = on_disk(made, site.spool / FILE_NAME, call.begun)
            log = on_disk(made, site.spool / f"{FILE_NAME}-wal", call.begun)
            if (database, log) not in waiting:
                waiting[database, log] = "\n".join(found(copy, database, log))
            for kind, body in packets(call.data):
                if kind == PUBACK:
                    seq = int(payloads[body[:2]].partition(b",")[0].partition(b":")[2])
                    assert f" seq={seq}.0," in waiting[database, log], (seq, call)
                    acknowledged.add(seq)
    assert acknowledged == set(range(1, 201))


def snapshot(directory: Path) -> tuple[bytes, bytes]:
    """The database and its log as they are now."""
    path = directory / FILE_NAME
    return path.read_bytes(), path.with_name(f"{FILE_NAME}-wal").read_bytes()


def found(directory: Path, database: bytes, log: bytes) -> list[str]:
    """What waits in a spool of these files."""
    for suffix, content in (("", database), ("-wal", log)):
        (directory / f"{FILE_NAME}{suffix}").write_bytes(content)
    (directory / f"{FILE_NAME}-shm").unlink(missing_ok=True)
    journal = Journal(str(directory), max_size=2**30, quarantine=10)
    waiting = journal.head(0, 10**6).lines
    times = [admitted.time for admitted in journal.admitted()]
    assert times == sorted(set(times))
    assert len(times) == journal.last
    journal.close()
    return list(waiting)


def torn(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """A file of which some sectors of 512 bytes were written anew, and others not yet."""
    size = rng.choice((len(before), len(after)))
    sectors = range(0, size, 512)
    return b"".join(
        (after if rng.random() < 0.5 else before)[at : at + 512].ljust(512, b"\0") for at in sectors
    )


def test_whatever_the_disk_had_written_of_the_next_commit_all_earlier_ones_are_there(tmp_path: Path) -> None:
    """A power cut in a commit: the log was written in part, in any order, over what was there before."""
    rng = random.Random(1)
    place, copy = tmp_path / "spool", tmp_path / "copy"
    place.mkdir()
    copy.mkdir()
    journal = Journal(str(place), max_size=2**30, quarantine=10)
    journal._db.execute("PRAGMA wal_autocheckpoint = 20")
    states = []
    for number in range(40):
        journal.commit(group(number * 10, 10), 0)
        states.append(snapshot(place))
    journal.close()
    rounds = 0
    for number, ((database, log), (database_after, log_after)) in enumerate(pairwise(states), 1):
        lines = group(0, number * 10).lines
        assert found(copy, database, log) == lines
        whole = group(0, number * 10 + 10).lines
        if database == database_after:
            cuts = [rng.randrange(len(log_after) + 1) for _ in range(3)]
            logs = [log_after[:cut] for cut in cuts if cut >= len(log)]
            logs += [log_after[:cut] + log[cut:] for cut in cuts]
            logs += [torn(log, log_after, rng) for _ in range(3)]
            for content in logs:
                assert found(copy, database, content) in (lines, whole), number
        else:
            # The commit was synced, and then what the log held was being moved into the database.
            rounds += 1
            for _ in range(6):
                assert found(copy, torn(database, database_after, rng), log_after) == whole, number
    assert rounds >= 3
