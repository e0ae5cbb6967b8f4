"""Every bound on memory, with its reason: nothing grows past these, however long a server is away.

Limits of time, such as timeouts, stand in the module that keeps them. So do bounds that follow from a
standard (the two bytes for the length of an MQTT string, for example) or that guard a single text, next to
its format.

The whole process takes about 55 MB at rest, 90 MB while a thousand photometers publish 60,000 readings a
second, 120 MB with 100,000 photometers; 213 MB were seen with 200,000 photometers of the longest names. What
is known of photometers adds 1 MB for a thousand, 90 MB for 100,000 (50 MB without a history), and what they
said of themselves 45 MB for 100,000.
"""

MAX_PAYLOAD = 65_536
"""Bytes of the largest payload that is read. Real readings have up to 400; a larger one is refused unread."""

MAX_PACKET = 262_144
"""Bytes of an MQTT packet that are kept: room for the longest topic and for more payload than is read. The
rest of a longer publication is skipped; otherwise the broker would deliver it again and again."""

UNREAD_BYTES = 1024 * 1024
"""Bytes that a broker may leave unread: four times the acknowledgements of the largest window. The connection
to a broker that sends but does not read is closed."""

MAX_NAME = 64
"""Characters of a photometer's name. The photometers' own web form takes 32."""

GROUP_READINGS = 1_000
"""Messages after which a group is committed at once. With more of them for each fsync no time is saved."""

PENDING_MESSAGES = 5_000
"""Messages that wait in memory for a commit: five full groups, or five minutes of a thousand photometers
while the disk fails. Beyond it no more is read from the broker (what arrived together is still taken), or QoS
0 messages are lost while the disk fails."""

PENDING_BYTES = 16 * 1024 * 1024
"""Bytes of lines and refused payloads that wait in memory for a commit, for the same reason."""

BATCH_LINES = 10_000
"""Lines in one request to InfluxDB: 1 MB. Half as many cost it a tenth more, twice as many cost memory
here."""

REQUEUED = 100
"""Messages that are marked as requeued in one transaction, and that leave the quarantine in one commit: 6 MB
of the largest ones."""

QUARANTINE_PART = 4
"""The quarantine may take a quarter of the spool's largest size, so that a broken photometer leaves room for
readings."""

SEEN_READINGS = 65_535
"""Readings whose identity and time are remembered, at least: a whole window of unacknowledged MQTT messages,
which is the most that a broker can deliver again, and an hour of a thousand photometers."""

HELD_READINGS = 20_000
"""Readings of one photometer that wait for their time: eleven hours of one that publishes every two seconds,
and 3 MB while their times are reckoned."""

PHOTOMETERS = 200_000
"""Photometers whose last reading is remembered; the one that was silent longest is forgotten first."""

REGISTRATIONS = 200_000
"""Photometers of which is remembered, in memory and in the spool, what they said of themselves: as many as
those whose last reading is. Each takes some 500 bytes; the one that changed longest ago is forgotten first,
and its next register message is written once more."""

STRANGERS = 1_000
"""Photometers that the register shows though nothing of them was stored yet. Whoever invents names in
messages that are refused pushes out only those of his kind."""

DIGESTED = 1_000
"""Readings that the register of photometers takes in at once: that takes two or three milliseconds."""

UNDIGESTED = 2_500
"""Readings that wait until it does so, one of each photometer in a second. With their messages they take
2.5 MB."""

CAUSES = 4
"""Causes for which the register remembers when a message of a photometer was filtered or refused last."""

UNSAVED_MEANS = 400_000
"""Means of five minutes that wait for the disk: two of each photometer, or a night of four thousand
photometers that come late. Each takes 300 bytes."""

HISTORY_BYTES = 256 * 1024 * 1024
"""Bytes of the file with the history: seven nights of 8,000 photometers. With more of them it has fewer
nights, with 100,000 the last 15 hours."""

PLACES_BYTES = 16 * 1024 * 1024
"""Characters of the file that says where photometers stand: twice the most photometers that are known."""

SPARKLINES = 2_000
"""Photometers whose last night is read at the same time: more than a page shows."""

SHARE_MEMBERS = 16
"""Daemons that may share the readings of a broker: each has every sixteenth millisecond for itself, so a
reading without a time of its own is moved by less than that."""

SHIFT_MS = 1_000
"""Milliseconds by which the time of a reading is moved, at most, to find a free one. A photometer that
publishes more readings with the same time is broken."""

HEADER_BYTES = 65_536
"""Bytes that a server may send before the body of its answer: InfluxDB sends 400, and repeats the error."""

ANSWER_BYTES = 65_536
"""Bytes of a server's answer that are read; the rest would say nothing more."""

STATUS_CONNECTIONS = 64
"""Connections to a socket of the site. One more ends the oldest, which is slow: each should take some ms."""

STATUS_PAGES = 16
"""Pages that are kept for seconds, in case somebody asks for the same: 240 kB each with 200 photometers."""

STATUS_REQUEST = 16_384
"""Bytes of a request, which has no body: browsers send some 1,000, and cookies of others on this host."""

PAGE_ROWS = 10_000
"""Readings of one answer when they are read out of a database: 2 MB. A day has 1,440 of a photometer that
publishes once a minute."""

ALARM_NOTICES = 20
"""Alarms that wait for the operator's command; the oldest go and are counted in the next one."""

ALARM_TEXT = 1_000
"""Characters of what an alarm says: an SMS or a title takes less, and a server may give a whole page as its
reason."""

ALARM_OUTPUT = 2_000
"""Bytes that are kept of what the command prints: some lines say why it fails."""

REPORTED_PAIRS = 200
"""Pairs of photometer and cause that have log lines of their own in one period; all others share one."""

LOG_LINE = 4_096
"""Characters of a log line: room for the problems of a config, but not for a topic of 65,535 bytes."""

TRACEBACKS = 10
"""Tracebacks of bugs that are logged in one period. More of them would say nothing new."""

TRACEBACK_LINES = 100
"""Lines of a traceback that are logged, the last ones."""
