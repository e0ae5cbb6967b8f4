"""Where the messages of the broker become outcomes: each one is counted, judged, and handed to the spool.

A photometer that goes on sending something wrong gets one log line an hour, not one a message.
"""

from collections.abc import Sequence

from twisted.logger import Logger

from tessflux.clock import Clock
from tessflux.config import InfluxConfig, MqttConfig
from tessflux.dating import Dating
from tessflux.limits import REQUEUED
from tessflux.logs import Reports
from tessflux.photometers import Register
from tessflux.readings import Acknowledge, Admit, Judge, Message, Outcome, Places, internal_error
from tessflux.spool import Committer, Group, Store
from tessflux.stats import MqttStats
from tessflux.watch import Watch

log = Logger(namespace="mqtt")


class Intake:
    """Takes the messages that come, and those that an operator wants out of quarantine."""

    def __init__(
        self,
        mqtt: MqttConfig,
        influx: InfluxConfig,
        places: Places,
        judge: Judge,
        committer: Committer,
        store: Store,
        stats: MqttStats,
        reports: Reports,
        watch: Watch,
        register: Register,
        clock: Clock,
    ) -> None:
        self._judge, self._register = judge, register
        self._stats, self._reports, self._watch = stats, reports, watch
        self._committer, self._store = committer, store
        self.dating = Dating(clock, judge.admission, committer, store, stats, reports, self._outcome)
        self.reconfigure(mqtt, influx, places)

    def reconfigure(self, mqtt: MqttConfig, influx: InfluxConfig, places: Places) -> None:
        """Use another config for the messages that come."""
        self._judge.configure(
            measurement=influx.measurement,
            extra_fields=influx.extra_fields,
            validation=mqtt.validation,
            registers=bool(mqtt.register_topics),
            places=places,
        )
        admission = self._judge.admission
        admission.choose(mqtt.whitelist, mqtt.blacklist, mqtt.new_photometers)
        admission.share(mqtt.share_member if mqtt.share_group else None)
        admission.backlog.wait = None if mqtt.backlog_wait is None else mqtt.backlog_wait * 1_000
        self._watch.configure(mqtt)

    def take(self, messages: Sequence[Message], acknowledge: Acknowledge) -> None:
        """Take messages; those above QoS 0 are acknowledged once their outcomes are on disk."""
        mids = [message.mid for message in messages if message.mid is not None]
        if not self._committer.admits(len(messages), kept_by_broker=len(mids)):
            return
        self._stats.received += len(messages)
        if self.dating.holds:
            outcomes: Sequence[Outcome] = self.dating.hold(messages)
        else:
            outcomes = self._outcomes(messages)
        self._committer.take(outcomes, mids, acknowledge)
        if self._watch.unseen:
            try:
                for message in messages:
                    self._watch.came(message.topic)
            except Exception:
                self._reports.bug("The topic of a message could not be watched")

    def _outcomes(self, messages: Sequence[Message], admit: Admit | None = None) -> list[Outcome]:
        """What becomes of messages. If a bug keeps us from judging one, it waits in quarantine for the fix:
        left unacknowledged, it would take up a place in the broker's window for ever."""
        outcomes: list[Outcome] = []
        for message, reading in zip(messages, self._judge.parse(messages), strict=True):
            try:
                outcome = self._judge.judge(message, admit, reading)
            except Exception as error:
                self._reports.bug("A message could not be judged; it is in quarantine")
                outcome = internal_error(message, error)
            else:
                if outcome.remark is not None:
                    self._reports.note(*outcome.remark)
            outcomes.append(outcome)
        try:
            self._register.take(messages, outcomes, admit)
        except Exception:
            self._reports.bug("The photometers that were heard could not be noted")
        return outcomes

    def _outcome(self, message: Message, admit: Admit | None) -> Outcome:
        [outcome] = self._outcomes([message], admit)
        return outcome

    async def requeue(self) -> None:
        """Judge again what an operator has requeued. Each entry leaves the quarantine in the same commit that
        stores its new outcome. A message keeps its time of arrival, and counts as received once more."""
        count = 0
        while entries := await self._store.requeued(REQUEUED):
            group = Group(released=list(entries))
            messages = []
            for entry in entries.values():
                if not entry.topic:
                    # A line that the database refused: it was counted when it came as a message.
                    group.lines.append(entry.payload.decode())
                    continue
                messages.append(Message(entry.topic, entry.payload, entry.retained, entry.time))
            group.take(self._outcomes(messages, self._judge.admission.admit_requeued))
            if not await self._committer.commit(group):
                break
            self._stats.received += group.messages
            count += len(entries)
        if count:
            log.info("Tried {count} from the quarantine again", count=count)
