"""The metrics keep to Prometheus's conventions, and say what the snapshot does."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tessflux.status import Alarm, Snapshot
from tessflux.status.metrics import Metrics
from tests.status.site import AWAY, NOW, OUTPUT, WELL

PROMTOOL = shutil.which("promtool")

FULL = replace(WELL, outputs=[OUTPUT, AWAY], alarms=[Alarm("output", AWAY.name, NOW, "it is away")])


def samples(snapshot: Snapshot) -> dict[str, float]:
    """By their names and labels."""
    return {
        f"{sample.name}{dict(sorted(sample.labels.items())) or ''}": sample.value
        for family in text_string_to_metric_families(Metrics().text(snapshot).decode())
        for sample in family.samples
        if sample.name.startswith("tessflux_")
    }


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing (Debian: prometheus)")
@pytest.mark.parametrize("snapshot", [WELL, FULL, replace(FULL, outputs=[])], ids=["well", "full", "none"])
def test_promtool_has_nothing_to_say(snapshot: Snapshot) -> None:
    command = [str(PROMTOOL), "check", "metrics"]
    result = subprocess.run(command, input=Metrics().text(snapshot), capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_they_say_what_the_snapshot_does() -> None:
    found = samples(FULL)
    expected = {
        "tessflux_build_info{'version': '3.0.0'}": 1,
        "tessflux_messages_received_total": 1_010,
        "tessflux_messages_ended_total{'cause': '', 'outcome': 'stored'}": 1_000,
        "tessflux_messages_ended_total{'cause': 'retained', 'outcome': 'filtered'}": 3,
        "tessflux_messages_ended_total{'cause': 'spool full', 'outcome': 'lost'}": 0,
        "tessflux_last_stored_timestamp_seconds": WELL.time - 5,
        "tessflux_spool_used_bytes": 3 * 2**20,
        "tessflux_spool_limit_bytes": 2**30,
        "tessflux_spool_oldest_waiting_timestamp_seconds": WELL.time - 65,
        "tessflux_commit_duration_seconds_bucket{'le': '0.1'}": 4,
        "tessflux_commit_duration_seconds_bucket{'le': '+Inf'}": 5,
        "tessflux_commit_duration_seconds_sum": 0.25,
        "tessflux_commits_failed_total": 1,
        "tessflux_broker_up": 1,
        "tessflux_output_up{'output': 'influxdb'}": 1,
        "tessflux_output_up{'output': 'influxdb mirror'}": 0,
        "tessflux_output_requests_total{'output': 'influxdb', 'result': 'failed'}": 2,
        "tessflux_output_readings_total{'output': 'influxdb', 'result': 'delivered'}": 993,
        "tessflux_clock_known": 1,
        "tessflux_photometers": 1_000,
        "tessflux_photometers_silent": 3,
        "tessflux_paused": 0,
        "tessflux_alarm{'kind': 'output'}": 1,
        "tessflux_alarm{'kind': 'not_stored'}": 0,
    }
    assert expected.items() <= found.items()


def test_what_is_not_known_has_no_sample() -> None:
    messages = replace(WELL.messages, last_stored=None)
    spool = replace(WELL.spool, oldest_waiting=None, used=None, quarantined=None)
    found = samples(replace(WELL, messages=messages, spool=spool))
    unknown = ("last_stored", "oldest_waiting_timestamp", "used_bytes", "quarantined")
    assert not [name for name in found if re.match(f"tessflux_(spool_)?({'|'.join(unknown)})", name)]


def test_a_cause_is_escaped() -> None:
    cause = 'a "quoted"\n\\cause'
    found = samples(replace(WELL, messages=replace(WELL.messages, refused={cause: 4})))
    labels = {"cause": cause, "outcome": "refused"}
    assert found[f"tessflux_messages_ended_total{labels}"] == 4


def test_a_daemon_that_nobody_asks_for_them_does_not_carry_what_they_need() -> None:
    code = "import sys, tessflux.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
