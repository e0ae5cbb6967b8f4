"""Every bound on memory, with its reason. Nothing grows past these, however long a server is away.

The whole process has about 60 MB at rest, 100 MB while a thousand photometers publish 60,000 readings a
second, and was seen at 213 MB with 200,000 invented photometers of the longest names.
"""

MAX_PAYLOAD = 65_536
"""Bytes of a payload that is read. The largest real reading has 400; a larger one is refused unread."""

MAX_PACKET = 262_144
"""Bytes of an MQTT packet that are read: room for the longest topic and for more payload than is looked at.
The rest of a longer publication is passed over; the broker would deliver it again and again otherwise."""

MAX_NAME = 64
"""Characters of a photometer's name. The photometers' own web form takes 32."""

GROUP_READINGS = 1_000
"""Messages that make a group commit follow at once. One fsync for more than these saves no time any more."""

PENDING_MESSAGES = 10_000
"""Messages that wait in memory for a commit: ten full groups, or ten minutes of a thousand photometers
while the disk fails. Past it QoS 0 messages are lost, and no more is read from the broker."""

PENDING_BYTES = 16 * 1024 * 1024
"""Bytes of lines and refused payloads that wait in memory for a commit, for the same purpose."""

BATCH_LINES = 5_000
"""Lines in one request to InfluxDB, its own recommended batch; more is hardly faster."""

SEEN_READINGS = 65_536
"""Readings whose identity and time are remembered at least, and at most twice as many: a whole window of
unacknowledged MQTT messages, which is the most that a broker can deliver again, and an hour of a thousand
photometers."""

PHOTOMETERS = 200_000
"""Photometers of which the last reading is remembered; the longest silent one is forgotten first."""

SHIFT_MS = 1_000
"""Milliseconds by which a reading's time is moved to find a free one. A photometer that publishes more
readings of one and the same time is broken."""

ANSWER_BYTES = 65_536
"""Bytes of a server's answer that are read; the rest says nothing more."""

REPORTED_PAIRS = 200
"""Pairs of photometer and cause that get log lines of their own in one period; the others share one."""
