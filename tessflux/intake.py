"""One message -> one verdict: parse, admit, encode, and hand the result to the spool.

Here every message is counted as received, and every one ends: as a line, in quarantine, or filtered. A
photometer that goes on sending something wrong gets one log line a period, not one a message.
"""

from twisted.logger import Logger

from tessflux.config import InfluxConfig, MqttConfig
from tessflux.limits import MAX_NAME, MAX_PAYLOAD, REQUEUED
from tessflux.logs import Reports
from tessflux.readings import (
    REGISTER,
    Acknowledge,
    Admission,
    Admitted,
    Filtered,
    Message,
    Reading,
    Refused,
    lineprotocol,
    parse,
)
from tessflux.spool import Gathering, Quarantined, Spool
from tessflux.stats import MqttStats

log = Logger(namespace="mqtt")

EMPTY = "empty"
MISROUTED = "misrouted"
OTHER_KINDS = ("register", "status")
"""Last levels of topics on which photometers publish something else than readings."""

SKEW_MS = 60_000
"""A publisher's clock that is off by more is worth a warning."""


class Intake:
    """Takes messages one by one; nothing that a message holds makes it raise."""

    def __init__(
        self,
        mqtt: MqttConfig,
        influx: InfluxConfig,
        admission: Admission,
        spool: Spool,
        stats: MqttStats,
        reports: Reports,
    ) -> None:
        self._admission, self._spool, self._stats, self.reports = admission, spool, stats, reports
        self.reconfigure(mqtt, influx)

    def reconfigure(self, mqtt: MqttConfig, influx: InfluxConfig) -> None:
        """Use another config for the messages that come."""
        self._validation, self._extra_fields = mqtt.validation, influx.extra_fields
        self._measurement = lineprotocol.measurement(influx.measurement)
        self._admission.choose(mqtt.whitelist, mqtt.blacklist, mqtt.new_photometers)
        self._admission.share(mqtt.share_member if mqtt.share_group else None)

    def take(self, message: Message, acknowledge: Acknowledge | None) -> None:
        """Decide on one message; `acknowledge` is called once its verdict is on disk."""
        if self._spool.admits(kept_by_broker=acknowledge is not None):
            self._stats.received += 1
            self._judge(message, acknowledge, self._spool)

    async def requeue(self) -> None:
        """Decide anew on what an operator wants out of quarantine; each thing leaves it with the commit that
        holds its new verdict. A message keeps the time of its arrival, and counts as received once more."""
        count = 0
        while entries := await self._spool.again(REQUEUED):
            gathering = Gathering()
            gathering.group.released.extend(entries)
            for entry in entries.values():
                if entry.topic:
                    message = Message(entry.topic, entry.payload, entry.retained, entry.time)
                    self._judge(message, None, gathering, late=True)
                else:
                    gathering.put_back(entry.payload.decode())
            if not await self._spool.put(gathering):
                break
            self._stats.received += gathering.messages
            count += len(entries)
        if count:
            log.info("Tried {count} from the quarantine again", count=count)

    def _judge(
        self,
        message: Message,
        acknowledge: Acknowledge | None,
        into: Spool | Gathering,
        *,
        late: bool = False,
    ) -> None:
        topic, payload, retained, received_at = (
            message.topic,
            message.payload,
            message.retained,
            message.received_at,
        )
        if not payload:
            # This is how a retained message is deleted.
            into.filter_out(EMPTY, acknowledge)
            return
        reading = parse(payload, extra_fields=self._extra_fields, validation=self._validation)
        if topic.endswith(OTHER_KINDS):
            kind = topic.rpartition("/")[2]
            if kind == "register" and isinstance(reading, Refused) and reading.cause == REGISTER:
                into.filter_out(REGISTER, acknowledge)
                return
            if kind in OTHER_KINDS and isinstance(reading, Reading):
                self.reports.note(reading.name, MISROUTED, f"it publishes its readings on {topic}")
                into.filter_out(MISROUTED, acknowledge)
                return
        if isinstance(reading, Refused):
            self._refuse(message, reading, acknowledge, into, late=late)
            return
        values = lineprotocol.values(reading.fields)
        verdict = self._admission.admit(
            reading, values, received_at=received_at, retained=retained, late=late
        )
        if isinstance(verdict, Admitted):
            if reading.tstamp is not None and abs(reading.tstamp - received_at) > SKEW_MS:
                seconds = (reading.tstamp - received_at) / 1_000
                self.reports.note(reading.name, "clock", f"its time is off by {seconds:+.0f} s")
            series = lineprotocol.series(self._measurement, reading.name)
            into.store(f"{series} {values} {verdict.time}", verdict, acknowledge)
        elif isinstance(verdict, Filtered):
            into.filter_out(verdict.cause, acknowledge)
        else:
            self._refuse(message, verdict, acknowledge, into, late=late)

    def _refuse(
        self,
        message: Message,
        refused: Refused,
        acknowledge: Acknowledge | None,
        into: Spool | Gathering,
        *,
        late: bool,
    ) -> None:
        name = refused.name or message.topic[:MAX_NAME]
        time = message.received_at
        if refused.name and not late:
            time = self._admission.reserve(refused.name, time)
        self.reports.note(name, refused.cause, refused.detail)
        into.quarantine(
            Quarantined(
                time,
                message.topic,
                refused.name,
                refused.cause,
                refused.detail,
                message.payload[:MAX_PAYLOAD],
                message.retained,
            ),
            acknowledge,
        )
