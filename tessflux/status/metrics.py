"""A snapshot as metrics for Prometheus. Import it only when they are asked for: prometheus_client takes 5 MB.

All names begin with `tessflux_`, and none has a label for photometers: a network has thousands. Besides them
come the metrics of the process, under the names that all programs give them.
"""

from collections.abc import Iterator, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tessflux.status.snapshot import Alarm, AlarmKind, Commits, Output, Snapshot


class Metrics(Collector):
    """Makes the text of one snapshot after another."""

    def __init__(self) -> None:
        # Its own, since what others register there is none of our business.
        self._registry = CollectorRegistry()
        self._snapshot: Snapshot | None = None
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self, snapshot: Snapshot) -> bytes:
        """In Prometheus's text format, version 0.0.4."""
        self._snapshot = snapshot
        text: bytes = generate_latest(self._registry)
        return text

    def collect(self) -> Iterator[Metric]:
        # The registry asks for the names once before there is anything to show.
        return iter(()) if self._snapshot is None else families(self._snapshot)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """All metrics of tessflux itself."""
    yield InfoMetricFamily("tessflux_build", "The version that runs", {"version": snapshot.version})
    yield _gauge("tessflux_clock_known", "Whether the time of day is known", snapshot.clock_known)
    yield _gauge("tessflux_paused", "Whether an operator has paused any delivery", bool(snapshot.paused))
    yield _gauge("tessflux_broker_up", "Whether the broker sends readings", snapshot.broker.state == "up")
    known, silent = snapshot.photometers.known, snapshot.photometers.silent
    yield _gauge("tessflux_photometers", "Photometers of which a reading was ever stored", known)
    yield _gauge("tessflux_photometers_silent", "How many of them are silent", silent)
    yield _alarms(snapshot.alarms)
    yield from _messages(snapshot)
    yield from _spool(snapshot)
    yield from _outputs(snapshot.outputs)


def _alarms(alarms: Sequence[Alarm]) -> Metric:
    """Each kind is there before it is raised, so that a rule can tell 0 from a wrong name."""
    raised = {alarm.kind for alarm in alarms}
    family = GaugeMetricFamily("tessflux_alarm", "Whether an alarm of this kind is raised", labels=("kind",))
    for kind in get_args(AlarmKind):
        family.add_metric((kind,), float(kind in raised))
    return family


def _messages(snapshot: Snapshot) -> Iterator[Metric]:
    messages = snapshot.messages
    yield CounterMetricFamily(
        "tessflux_messages_received", "Messages from the broker", value=messages.received
    )
    ended = CounterMetricFamily(
        "tessflux_messages_ended", "Messages by what became of them", labels=("outcome", "cause")
    )
    ended.add_metric(("stored", ""), messages.stored)
    kinds = {"filtered": messages.filtered, "refused": messages.refused, "lost": messages.lost}
    for outcome, causes in kinds.items():
        for cause, count in causes.items():
            ended.add_metric((outcome, cause), count)
    yield ended
    yield _gauge("tessflux_messages_pending", "Messages that wait for their commit", messages.pending)
    yield _gauge("tessflux_messages_held", "Messages on disk whose time is not known yet", messages.held)
    yield _time("tessflux_last_stored", "When a reading last got on disk", messages.last_stored)


def _spool(snapshot: Snapshot) -> Iterator[Metric]:
    spool = snapshot.spool
    yield _gauge("tessflux_spool_up", "Whether the spool takes readings", spool.answers and not spool.failing)
    yield _gauge("tessflux_spool_waiting_readings", "Readings that at least one output lacks", spool.waiting)
    yield _time("tessflux_spool_oldest_waiting", "Time of the oldest of them", spool.oldest_waiting)
    yield _gauge("tessflux_spool_used_bytes", "How much of the spool is used", spool.used)
    yield _gauge("tessflux_spool_limit_bytes", "How much of it may be", spool.limit)
    yield _gauge("tessflux_spool_quarantined_messages", "What is kept of what was refused", spool.quarantined)
    yield _commits(spool.commits)
    yield CounterMetricFamily(
        "tessflux_commits_failed", "Commits that failed and were tried again", value=spool.commits.failed
    )


def _commits(commits: Commits) -> Metric:
    buckets = [(str(bound), count) for bound, count in commits.buckets]
    return HistogramMetricFamily(
        "tessflux_commit_duration_seconds",
        "How long it took to make readings durable",
        buckets=[*buckets, ("+Inf", commits.count)],
        sum_value=commits.seconds,
    )


def _outputs(outputs: Sequence[Output]) -> Iterator[Metric]:
    up = _by_output("tessflux_output_up", "Whether the database takes readings")
    paused = _by_output("tessflux_output_paused", "Whether an operator has paused the delivery")
    waiting = _by_output("tessflux_output_waiting_readings", "Readings that the database lacks")
    oldest = _by_output("tessflux_output_oldest_waiting_timestamp_seconds", "Time of the oldest of them")
    last = _by_output(
        "tessflux_output_last_delivered_timestamp_seconds", "When the database last took a reading"
    )
    requests = CounterMetricFamily(
        "tessflux_output_requests", "Write requests by how they ended", labels=("output", "result")
    )
    readings = CounterMetricFamily(
        "tessflux_output_readings", "Readings by what became of them", labels=("output", "result")
    )
    for output in outputs:
        name = (output.name,)
        if output.state != "none":
            up.add_metric(name, output.state == "up")
        paused.add_metric(name, output.paused is not None)
        waiting.add_metric(name, output.waiting)
        for family, when in ((oldest, output.oldest_waiting), (last, output.last_delivered)):
            if when is not None:
                family.add_metric(name, when)
        for result, count in output.requests.items():
            requests.add_metric((output.name, result), count)
        for result, count in output.readings.items():
            readings.add_metric((output.name, result), count)
    yield from (up, paused, waiting, oldest, last, requests, readings)


def _by_output(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=("output",))


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """One without a value has no sample: what is not known is not zero."""
    return GaugeMetricFamily(name, text, value=value if value is None else float(value))


def _time(name: str, text: str, when: float | None) -> Metric:
    return _gauge(f"{name}_timestamp_seconds", text, when)
