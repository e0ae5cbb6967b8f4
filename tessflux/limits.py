"""Every bound on memory, with its reason. Nothing grows past these, however long a server is away.

The whole process has about 55 MB at rest, 90 MB while a thousand photometers publish 60,000 readings a
second, 120 MB with 100,000 photometers, and was seen at 213 MB with 200,000 of the longest names.
"""

MAX_PAYLOAD = 65_536
"""Bytes of a payload that is read. The largest real reading has 400; a larger one is refused unread."""

MAX_PACKET = 262_144
"""Bytes of an MQTT packet that are read: room for the longest topic and for more payload than is looked at.
The rest of a longer publication is passed over; the broker would deliver it again and again otherwise."""

UNREAD_BYTES = 1024 * 1024
"""Bytes that a broker may leave unread of what it is answered: four times the acknowledgements of the largest
window. One that asks on and does not read has its connection ended."""

MAX_NAME = 64
"""Characters of a photometer's name. The photometers' own web form takes 32."""

GROUP_READINGS = 1_000
"""Messages that make a group commit follow at once. One fsync for more than these saves no time any more."""

PENDING_MESSAGES = 5_000
"""Messages that wait in memory for a commit: five full groups, or five minutes of a thousand photometers
while the disk fails. Past it QoS 0 messages are lost, and no more is read from the broker."""

PENDING_BYTES = 16 * 1024 * 1024
"""Bytes of lines and refused payloads that wait in memory for a commit, for the same purpose."""

BATCH_LINES = 10_000
"""Lines in one request to InfluxDB: 1 MB. Half as many cost it a tenth more, twice as many cost us memory."""

REQUEUED = 100
"""Messages that are marked in one transaction to be tried again, and that leave the quarantine in one commit:
6 MB of the largest."""

QUARANTINE_PART = 4
"""The quarantine may take a fourth of the spool's largest size, so that a broken photometer leaves room for
lines."""

SEEN_READINGS = 65_535
"""Readings whose identity and time are remembered at least: a whole window of unacknowledged MQTT messages,
which is the most that a broker can deliver again, and an hour of a thousand photometers."""

PHOTOMETERS = 200_000
"""Photometers of which the last reading is remembered; the longest silent one is forgotten first."""

SHARE_MEMBERS = 16
"""Daemons that may divide the readings of a broker: each has every sixteenth millisecond for itself, so a
reading without a time of its own is moved by less than that."""

SHIFT_MS = 1_000
"""Milliseconds by which a reading's time is moved to find a free one. A photometer that publishes more
readings of one and the same time is broken."""

HEADER_BYTES = 65_536
"""Bytes that a server may send before the body of its answer: InfluxDB sends 400, and the error once more."""

ANSWER_BYTES = 65_536
"""Bytes of a server's answer that are read; the rest says nothing more."""

REPORTED_PAIRS = 200
"""Pairs of photometer and cause that get log lines of their own in one period; the others share one."""

LOG_LINE = 4_096
"""Characters of a log line: room for the problems of a config, not for a topic of 65,535 bytes."""

TRACEBACK_LINES = 100
"""Lines of a traceback that are logged, the last ones."""
