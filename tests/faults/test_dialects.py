"""The daemon writes to InfluxDB 1, 2 and 3 at the same time: the same rows are in each."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import Influxd

from tessflux.archive import EVER, open_source
from tessflux.config import load
from tests.faults.dialects import TOKEN, Row, Three, Two, body_of
from tests.real.site import Publisher, Site, reading, wait_until

UNUSUAL = (1 / 3, 0.1 + 0.2, 1e-7, 12345.123456789012, 5e-324, 16.0, 0.0)


@pytest.fixture
def two() -> Iterator[Two]:
    with Two(refused=["stars13"], buckets=()) as server:
        yield server


@pytest.fixture
def three() -> Iterator[Three]:
    with Three(refused=["stars13"]) as server:
        yield server


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file with the token that both take."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


def configure(site: Site, two: Two, three: Three, token_file: Path, token: str = TOKEN) -> None:
    both = {"flush_interval": 0.2, "resend": 0}
    site.configure(
        **{
            "influxdb two": {
                **both,
                "url": two.url,
                "org": "stars",
                "bucket": "sky",
                "token": token,
                "create": "yes",
                "retention": 30,
            },
            "influxdb three": {**both, "url": three.url, "database": "sky", "token_file": token_file},
        }
    )


def rows_of(influxd: Influxd) -> list[Row]:
    """As a test server has them."""
    rows = []
    for found in influxd.select("SELECT * FROM readings", "tessdb"):
        name, time = found.pop("name"), found.pop("time")
        rows.append((name, time, tuple(sorted((key, found[key]) for key in found if found[key] is not None))))
    return sorted(rows)


def test_2000_readings_are_the_same_rows_in_influxdb_1_2_and_3(
    site: Site, publisher: Publisher, two: Two, three: Three, token: Path
) -> None:
    """A bucket that is missing is made; a line that they refuse is named by them, and by the quarantine."""
    configure(site, two, three, token)
    site.start()
    names = [f"stars{number}" for number in range(10, 30)]
    messages = [
        (
            f"STARS4ALL/{name}/reading",
            f'{{"seq":{seq},"rev":2,"name":"{name}","freq":{UNUSUAL[seq % 7]!r},'
            f'"mag":{seq / 7 % 20!r},"tamb":{-seq / 9!r},"tsky":-18.4,"wdBm":-61}}',
        )
        for seq in range(1, 101)
        for name in names
    ]
    publisher.publish(messages, qos=1)
    site.wait_for_rows(2000)
    wait_until(lambda: len(two.rows()) >= 1900 and len(three.rows()) >= 1900, "rows everywhere")
    wait_until(lambda: site.run("refused", "--json").stdout.count('"stars13"') >= 200, "the quarantine")
    site.stop()
    rows = rows_of(site.influxd)
    assert len(rows) == 2000
    expected = [each for each in rows if each[0] != "stars13"]
    assert two.rows() == expected
    assert three.rows() == expected
    assert two.buckets == {"sky": [{"type": "expire", "everySeconds": 30 * 86_400}]}
    refused = site.run("refused", "--output", "two").stdout
    assert "unable to parse" in refused or "missing fields" in refused
    assert "No fields were provided" in site.run("refused", "--output", "three").stdout
    for database in (two, three):
        paths = {request.path.partition("?")[0] for request in database.requests}
        assert not {path for path in paths if path.endswith(("/write", "/query"))} - {"/api/v2/write"}
    # None of the hundred bad lines is searched for: each is sent once, and good ones once more without them.
    for database in (two, three):
        sent = Counter(line for request in database.requests for line in body_of(request).splitlines())
        assert [sent[line] for line in sent if line.startswith("readings,name=stars13 ")] == [1] * 100
        assert max(sent.values()) == 2
    assert TOKEN not in site.logged()


def test_what_was_written_is_read_out_of_each_of_them(
    site: Site, publisher: Publisher, two: Two, three: Three, token: Path
) -> None:
    """Those of a TESS4C too."""
    configure(site, two, three, token)
    site.start()
    channels = ", ".join(f'"F{n}":{{"freq":{n}.25, "mag":{20 - n / 7}, "zp":20.5}}' for n in (1, 2, 3, 4))
    sent = [
        reading("stars1", seq, UNUSUAL[seq % 7], tstamp=f'"2026-10-31T20:{seq:02d}:00Z"') for seq in range(50)
    ]
    sent += [
        (
            "STARS4ALL/stars4/reading",
            f'{{"seq":{seq}, "rev":3, "name":"stars4", {channels}, "tsky":-{seq}.5}}',
        )
        for seq in range(50)
    ]
    publisher.publish(sent, qos=1)
    site.wait_for_rows(100)
    wait_until(lambda: len(two.rows()) == len(three.rows()) == 100, "rows everywhere")
    site.stop()
    config = load(str(site.config), {})
    for name in ("stars1", "stars4"):
        stored = [(time, dict(values)) for photometer, time, values in two.rows() if photometer == name]
        for output in config.outputs.values():
            source = open_source(output)
            extent = source.extent(name, *EVER)
            assert extent is not None
            assert extent.fields == {key for _, values in stored for key in values}
            assert [*source.readings(name, extent.first, extent.last + 1)] == stored
            assert source.registrations(name) == []
    printed = {site.run("data", "stars4", "--output", name).stdout for name in ("influxdb", "two", "three")}
    [text] = printed
    assert text.count("\n") == 51
    refused = site.run("data", "stars4", "--output", "two", "--retpol", "autogen")
    assert refused.returncode == os.EX_USAGE
    assert "[influxdb two] is no InfluxDB 1" in refused.stderr


def test_a_token_that_is_wrong_is_read_again_and_shown_nowhere(
    site: Site, publisher: Publisher, two: Two, three: Three, token: Path
) -> None:
    token.write_text("Wr0ng-token\n")
    configure(site, two, three, token, token="Wr0ng-token")
    checked = site.run("--check")
    assert checked.returncode == os.EX_UNAVAILABLE
    for section, target in (("influxdb two", "bucket"), ("influxdb three", "database")):
        assert f"; check [{section}] token, and whether it may write to the {target}" in checked.stdout
    site.start()
    publisher.publish([reading("stars1", 1, 17.0)], qos=1)
    site.wait_for_rows(1)
    site.wait_for_log("401 (check token, and whether it may write to the database)")
    site.wait_for_log("401 Unauthorized (check token, and whether it may write to the bucket)")
    token.write_text(f"{TOKEN}\n")
    configure(site, two, three, token)
    site.signal(signal.SIGHUP)
    for database in (two, three):
        wait_until(lambda database=database: len(database.rows()) == 1, "the reading")  # type: ignore[misc]
    checked = site.run("--check")
    site.stop()
    assert "ok: InfluxDB 3.9.6 answers at " in checked.stdout
    assert "ok: into bucket sky of organization stars" in checked.stdout
    assert "ok: into database sky" in checked.stdout
    assert checked.returncode == 0, checked.stdout
    for text in (site.logged(), checked.stdout):
        assert TOKEN not in text
        assert "Wr0ng" not in text


def test_when_one_url_of_a_list_is_gone_the_readings_go_to_the_next(
    site: Site, publisher: Publisher, tmp_path: Path
) -> None:
    """Both lead to one database, as relays do."""
    with ExitStack() as stack, Three() as second:
        first = stack.enter_context(Three())
        site.configure(
            influxdb={
                "url": f"{first.url}, {second.url}",
                "schema": "",
                "database": "sky",
                "token": TOKEN,
                "resend": 60,
            }
        )
        site.start()
        publisher.publish([reading("stars1", number, 17.0) for number in range(1, 51)], qos=1)
        wait_until(lambda: len(first.rows()) == 50, "the first 50")
        stack.close()
        publisher.publish([reading("stars1", number, 17.0) for number in range(51, 101)], qos=1)
        # What the first may have lost is sent to the second as well.
        wait_until(lambda: len(second.rows()) == 100, "all of them")
        site.stop()
        assert second.url in site.logged()
