"""The data definition file at a real InfluxDB: it creates what is missing and destroys nothing."""

import pytest

from tests.influx.definitions import EXAMPLE_OF_2017, EXAMPLE_WITH_A_CONTINUOUS_QUERY
from tests.real.site import Publisher, Site, reading, wait_until

UNLESS_EMPTY = "without DEFAULT if others have written into the database"


def policies(site: Site) -> dict[str, list[object]]:
    """Duration and shard duration of each retention policy, and whether it is the default one."""
    [series] = site.influxd.query("SHOW RETENTION POLICIES", "tessdb")
    return {name: [duration, shard, default] for name, duration, shard, _, default in series["values"]}


def test_the_example_of_2017_creates_its_policies_and_leaves_the_data_under_autogen(
    site: Site, publisher: Publisher
) -> None:
    """Its DROP RETENTION POLICY "autogen" took all that was there."""
    site.influxd.query('CREATE DATABASE "tessdb"')
    site.write("tessdb", "readings,name=old freq=1 1000000000000")
    site.schema.write_text(EXAMPLE_OF_2017)
    site.configure(influxdb={"retpol": "two_days"})
    checked = site.run("--check")
    assert checked.returncode == 0, checked.stdout
    would = [line.partition("would run: ")[2] for line in checked.stdout.splitlines() if "would run" in line]
    assert 'never run: statement 4 (DROP RETENTION POLICY "autogen" ...)' in checked.stdout
    site.start()
    publisher.publish([reading("stars1", 1, 10.0)])
    site.wait_for_log("takes readings into")
    select = 'SELECT * FROM "two_days".readings'
    wait_until(lambda: site.influxd.select(select, "tessdb"), site.logged)
    site.stop()
    assert policies(site) == {
        # Others may write there without naming it.
        "autogen": ["0s", "168h0m0s", True],
        "two_days": ["48h0m0s", "2h0m0s", False],
        "forever": ["0s", "168000h0m0s", False],
    }
    assert [row["name"] for row in site.influxd.select('SELECT * FROM "autogen".readings', "tessdb")] == [
        "old"
    ]
    [users] = site.influxd.query("SHOW USERS")
    assert sorted(users["values"]) == [["grafana", False], ["tessflux", False]]
    [grants] = site.influxd.query("SHOW GRANTS FOR tessflux")
    assert grants["values"] == [["tessdb", "WRITE"]]
    logged = site.logged()
    assert logged.count('statement 4 (DROP RETENTION POLICY "autogen" ...)') == 1
    assert "goes to autogen" in logged
    assert "takes no readings" not in logged
    assert len(would) == 7
    assert would[1].endswith(f" DEFAULT ({UNLESS_EMPTY})")
    assert not [secret for secret in ("foo", "bar") if secret in logged + checked.stdout]


def test_each_statement_of_a_preview_is_one_that_influxdb_takes(site: Site) -> None:
    site.schema.write_bytes(b"\xef\xbb\xbf" + EXAMPLE_WITH_A_CONTINUOUS_QUERY.encode())
    lines = site.run("--check").stdout.splitlines()
    for line in lines:
        _, found, statement = line.partition("would run: ")
        if found:
            site.influxd.query(statement.removesuffix(f" ({UNLESS_EMPTY})"))
    assert policies(site)["a_year"] == ["8736h0m0s", "168h0m0s", False]


@pytest.mark.parametrize("end", ["\nEND", ";\nEND"])
def test_a_file_with_a_byte_order_mark_and_a_continuous_query_runs(
    site: Site, publisher: Publisher, end: str
) -> None:
    text = EXAMPLE_WITH_A_CONTINUOUS_QUERY.replace("\nEND", end).replace("\n", "\r\n")
    site.schema.write_bytes(b"\xef\xbb\xbf" + text.encode())
    site.start()
    publisher.publish([reading("stars1", 1, 10.0)])
    site.wait_for_rows(1)
    site.stop()
    queries = site.influxd.query("SHOW CONTINUOUS QUERIES")
    [[name, query]] = queries[0]["values"]
    assert (name, query.count("mean(")) == ("cq_30m", 4)
    assert policies(site)["two_hours"] == ["2h0m0s", "1h0m0s", True]


def test_no_statement_is_run_after_one_that_failed(site: Site, publisher: Publisher) -> None:
    site.schema.write_text(
        "CREATE DATABASE first; CREATE RETENTION POLICY p ON first; CREATE DATABASE tessdb"
    )
    site.start()
    publisher.publish([reading("stars1", 1, 10.0)])
    site.wait_for_log("statement 2 (CREATE RETENTION POLICY p ...)")
    site.stop()
    [databases] = site.influxd.query("SHOW DATABASES")
    assert databases["values"] == [["first"]]


def test_a_retention_policy_is_lengthened_but_not_shortened(site: Site, publisher: Publisher) -> None:
    """By a statement that is run because another policy is missing."""
    site.influxd.query('CREATE DATABASE "tessdb" WITH DURATION 10d REPLICATION 1 NAME "long"')
    site.influxd.query('CREATE RETENTION POLICY "short" ON "tessdb" DURATION 10d REPLICATION 1')
    site.schema.write_text(
        'CREATE RETENTION POLICY "new" ON "tessdb" DURATION 1w REPLICATION 1;'
        ' ALTER RETENTION POLICY "long" ON "tessdb" DURATION 11d;'
        ' ALTER RETENTION POLICY "short" ON "tessdb" DURATION 9d'
    )
    site.configure(influxdb={"retpol": "new"})
    site.start()
    publisher.publish([reading("stars1", 1, 10.0)])
    site.wait_for_log("takes readings into")
    site.stop()
    found = policies(site)
    assert [found[name][0] for name in ("new", "long", "short")] == ["168h0m0s", "264h0m0s", "240h0m0s"]
