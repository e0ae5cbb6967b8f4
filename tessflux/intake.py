"""One message -> one verdict: parse, admit, encode, and hand the result to the spool.

Here every message is counted as received, and every one ends: as a line, in quarantine, or passed by. A
photometer that goes on sending something wrong gets one log line a period, not one a message.
"""

from typing import NamedTuple

from twisted.logger import Logger

from tessflux import lineprotocol
from tessflux.admission import Admission, Admitted, Filtered
from tessflux.config import InfluxConfig, MqttConfig
from tessflux.gathering import Acknowledge
from tessflux.journal import Quarantined
from tessflux.limits import MAX_NAME, MAX_PAYLOAD
from tessflux.reading import REGISTER, Reading, Refused, parse
from tessflux.spool import Spool
from tessflux.stats import FILTERED, MqttStats, Reports

log = Logger(namespace="mqtt")

EMPTY = "empty"
MISROUTED = "misrouted"
OTHER_KINDS = ("register", "status")
"""Last levels of topics on which photometers publish something else than readings."""

SKEW_MS = 60_000
"""A publisher's clock that is off by more is worth a warning."""


class Message(NamedTuple):
    """What the broker delivered; `received_at` in milliseconds since 1970 UTC."""

    topic: str
    payload: bytes
    retained: bool
    received_at: int


class Intake:
    """Takes messages one by one; nothing that a message holds makes it raise."""

    def __init__(
        self, mqtt: MqttConfig, influx: InfluxConfig, admission: Admission, spool: Spool, stats: MqttStats
    ) -> None:
        self._admission, self._spool, self._stats = admission, spool, stats
        self.reports = Reports(log)
        self.reconfigure(mqtt, influx)

    def reconfigure(self, mqtt: MqttConfig, influx: InfluxConfig) -> None:
        """Use another config for the messages that come."""
        self._validation, self._extra_fields = mqtt.validation, influx.extra_fields
        self._measurement = influx.measurement
        self._admission.choose(mqtt.whitelist, mqtt.blacklist)

    def take(self, message: Message, acknowledge: Acknowledge | None) -> None:
        """Decide on one message; `acknowledge` is called once its verdict is on disk."""
        if not self._spool.admits(kept_by_broker=acknowledge is not None):
            return
        self._stats.received += 1
        topic, payload, retained, received_at = message
        if not payload:
            # This is how a retained message is deleted.
            self._spool.pass_by(FILTERED, EMPTY, acknowledge)
            return
        reading = parse(payload, extra_fields=self._extra_fields, validation=self._validation)
        if topic.endswith(OTHER_KINDS):
            kind = topic.rpartition("/")[2]
            if kind == "register" and isinstance(reading, Refused) and reading.cause == REGISTER:
                self._spool.pass_by(FILTERED, REGISTER, acknowledge)
                return
            if kind in OTHER_KINDS and isinstance(reading, Reading):
                self.reports.note(reading.name, MISROUTED, f"it publishes its readings on {topic}")
                self._spool.pass_by(FILTERED, MISROUTED, acknowledge)
                return
        if isinstance(reading, Refused):
            self._refuse(message, reading, acknowledge)
            return
        values = lineprotocol.values(reading.fields)
        verdict = self._admission.admit(reading, values, received_at=received_at, retained=retained)
        if isinstance(verdict, Admitted):
            if reading.tstamp is not None and abs(reading.tstamp - received_at) > SKEW_MS:
                seconds = (reading.tstamp - received_at) / 1_000
                self.reports.note(reading.name, "clock", f"its time is off by {seconds:+.0f} s")
            series = lineprotocol.series(self._measurement, reading.name)
            self._spool.store(f"{series} {values} {verdict.time}", verdict, acknowledge)
        elif isinstance(verdict, Filtered):
            self._spool.pass_by(FILTERED, verdict.cause, acknowledge)
        else:
            self._refuse(message, verdict, acknowledge)

    def _refuse(self, message: Message, refused: Refused, acknowledge: Acknowledge | None) -> None:
        name = refused.name or message.topic[:MAX_NAME]
        self.reports.note(name, refused.cause, refused.detail)
        self._spool.quarantine(
            Quarantined(
                message.received_at,
                message.topic,
                refused.name,
                refused.cause,
                refused.detail,
                message.payload[:MAX_PAYLOAD],
            ),
            acknowledge,
        )
