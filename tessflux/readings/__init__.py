"""What a message means. Pure: bytes and times come in as arguments, nothing is read, written or logged.

In:   a `Message` from the broker.
Out:  its `Outcome`: `Stored` with its line for the database, `Filtered`, or `Quarantined` with the reason.

`Judge` does it: `parse` makes a `Reading` of the payload, `Admission` decides whether it is stored and under
which time, `lineprotocol` encodes it.
"""

from tessflux.readings.admission import BLACKLISTED, DUPLICATE, NOT_WHITELISTED, RETAINED, Admission
from tessflux.readings.fields import EXTRA_FIELDS
from tessflux.readings.judge import OTHER_KINDS, Judge
from tessflux.readings.message import Acknowledge, Deliver, Message
from tessflux.readings.outcome import Admitted, Filtered, Outcome, Quarantined, Stored, internal_error

__all__ = [
    "BLACKLISTED",
    "DUPLICATE",
    "EXTRA_FIELDS",
    "NOT_WHITELISTED",
    "OTHER_KINDS",
    "RETAINED",
    "Acknowledge",
    "Admission",
    "Admitted",
    "Deliver",
    "Filtered",
    "Judge",
    "Message",
    "Outcome",
    "Quarantined",
    "Stored",
    "internal_error",
    "lineprotocol",
]
