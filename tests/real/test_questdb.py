"""QuestDB beside InfluxDB: the same rows, and once each if its table is told so.

Its jar is that which QUESTDB_JAR names, or where Maven keeps it in the home directory, after
`mvn dependency:get -Dartifact=org.questdb:questdb:9.3.4 -Dtransitive=false`. Without it, or without Java, the
tests are skipped.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import QuestDB
from servers import ServerFailed

from tests.real.site import Publisher, Site, reading, wait_until

UNUSUAL = (1 / 3, 0.1 + 0.2, 1e-7, 12345.123456789012, 5e-324, 16.0, 0.0)
FIELDS = {"seq", "freq", "mag", "tamb", "tsky", "wdBm"}


@pytest.fixture
def questdb(tmp_path: Path) -> Iterator[QuestDB]:
    """A QuestDB without tables."""
    try:
        server = QuestDB(tmp_path / "questdb")
    except ServerFailed as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def site(site: Site, questdb: QuestDB) -> Site:
    """InfluxDB is the first output, QuestDB the second."""
    site.configure(**{"influxdb quest": {"url": questdb.url, "flush_interval": 0.2}})
    return site


def rows(questdb: QuestDB) -> int:
    """How many there are; none while there is no table."""
    try:
        [[count]] = questdb.query("SELECT count() FROM readings")
    except ServerFailed:
        return 0
    return int(count)


def test_2000_readings_have_their_values_types_and_milliseconds(
    site: Site, publisher: Publisher, questdb: QuestDB
) -> None:
    site.start()
    messages = [
        (
            f"STARS4ALL/stars{number}/reading",
            f'{{"seq":{seq},"rev":2,"name":"stars{number}","freq":{UNUSUAL[seq % 7]!r},'
            f'"mag":{seq / 7 % 20!r},"tamb":{-seq / 9!r},"tsky":-18.4,"wdBm":-61}}',
        )
        for seq in range(1, 101)
        for number in range(20)
    ]
    publisher.publish(messages, qos=1)
    site.wait_for_rows(2000)
    wait_until(lambda: rows(questdb) >= 2000, "rows in QuestDB")
    site.stop()
    stored = sorted(questdb.samples())
    assert stored == sorted(site.influxd.samples())
    assert len(stored) == 2000 * len(FIELDS)
    columns = {name: kind for name, kind, *_ in questdb.query("SHOW COLUMNS FROM readings")}
    assert columns == {"name": "SYMBOL", "timestamp": "TIMESTAMP", **dict.fromkeys(FIELDS, "DOUBLE")}


def test_a_table_that_stores_twice_gets_nothing_twice_until_it_was_told_to_deduplicate(
    site: Site, publisher: Publisher, questdb: QuestDB
) -> None:
    statement = 'ALTER TABLE "readings" DEDUP ENABLE UPSERT KEYS(timestamp, name)'
    site.start()
    publisher.publish([reading("stars1", seq, 17.0) for seq in range(100)], qos=1)
    wait_until(lambda: rows(questdb) == 100, "rows in QuestDB")
    site.wait_for_log(f"to change that: QuestDB needs {statement}")
    questdb.kill()
    questdb.start()
    publisher.publish([reading("stars1", 100, 18.0)], qos=1)
    wait_until(lambda: rows(questdb) >= 101, "another row")
    assert rows(questdb) == 101
    site.stop()
    assert f"QuestDB needs {statement}" in site.run("--check").stdout
    questdb.query(statement)
    assert "QuestDB needs" not in site.run("--check").stdout
    site.start()
    publisher.publish([reading("stars1", seq, 19.0) for seq in range(200, 300)], qos=1)
    wait_until(lambda: rows(questdb) == 201, "a hundred more")
    questdb.kill()
    questdb.start()
    publisher.publish([reading("stars1", 300, 20.0)], qos=1)
    site.wait_for_log("[influxdb quest] was away: the last ")
    wait_until(lambda: rows(questdb) >= 202, "the last one")
    site.stop()
    assert rows(questdb) == 202
    assert site.count() == 202
