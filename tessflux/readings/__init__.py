"""What a message means. Pure: bytes and times come in as arguments, nothing is read, written or logged.

In:   a `Message` of the broker.
Out:  its outcome: a reading to store, with its line for InfluxDB; filtered; or refused, with the reason.

`parse` makes a `Reading` of a payload, `Admission` decides whether it is stored and under which time, and
`lineprotocol` encodes it.
"""

from tessflux.readings.admission import Admission, Admitted, Filtered
from tessflux.readings.message import Acknowledge, Deliver, Message
from tessflux.readings.reading import EXTRA_FIELDS, REGISTER, Reading, Refused, parse

__all__ = [
    "EXTRA_FIELDS",
    "REGISTER",
    "Acknowledge",
    "Admission",
    "Admitted",
    "Deliver",
    "Filtered",
    "Message",
    "Reading",
    "Refused",
    "lineprotocol",
    "parse",
]
