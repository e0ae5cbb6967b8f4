"""Which alarms are raised: each look at a snapshot raises some and clears others, each once. Pure."""

from collections.abc import Iterator, Sequence

from tessflux.alarms.notice import CLEARED, RAISED, Notice, one_line
from tessflux.alarms.rules import Finding, Losses, findings
from tessflux.config import AlarmConfig
from tessflux.status import Alarm, AlarmKind, Snapshot

Key = tuple[AlarmKind, str]
"""The kind and the subject."""


class Board:
    """`restore` it first, with what was raised before a restart."""

    def __init__(self) -> None:
        self._raised: dict[Key, Alarm] = {}
        self._losses = Losses()

    @property
    def raised(self) -> list[Alarm]:
        """All that are, the oldest first."""
        return list(self._raised.values())

    def restore(self, raised: Sequence[Alarm]) -> None:
        """These are raised, and that was said."""
        self._raised = {(alarm.kind, alarm.subject): alarm for alarm in raised}

    def look(self, snapshot: Snapshot, config: AlarmConfig) -> list[Notice]:
        """What has changed, and is to be said."""
        before, self._losses = self._losses, self._losses.after(snapshot)
        found = list(findings(snapshot, config, before, self._losses))
        seen = {(finding.kind, finding.subject) for finding in found}
        return [*self._changes(found, snapshot.time), *self._unwatched(seen, snapshot.time)]

    def _changes(self, found: Sequence[Finding], now: float) -> Iterator[Notice]:
        for finding in found:
            key = finding.kind, finding.subject
            if finding.is_wrong and key not in self._raised:
                text = one_line(finding.text)
                self._raised[key] = Alarm(finding.kind, finding.subject, now, text)
                yield Notice(finding.kind, RAISED, finding.subject, text, now, now)
            elif finding.is_wrong is False and (alarm := self._raised.pop(key, None)):
                yield _over(alarm, one_line(finding.text), now)

    def _unwatched(self, seen: set[Key], now: float) -> Iterator[Notice]:
        """What the config does not have looked at any more."""
        for key in sorted(self._raised.keys() - seen):
            alarm = self._raised.pop(key)
            yield _over(alarm, f"no longer watched: {alarm.text}", now)


def _over(alarm: Alarm, text: str, now: float) -> Notice:
    return Notice(alarm.kind, CLEARED, alarm.subject, text, now, alarm.since)
