"""What a message means. Pure: bytes and times come in as arguments, nothing is read, written or logged.

In:   a `Message` from the broker.
Out:  its `Outcome`: `Stored` or `Registered` with its line for the database, `Filtered`, `Quarantined` with
      the reason, or `Held` until its time is known.

`Judge` does it: `parse` makes a `Reading` of the payload, `Admission` decides whether it is stored and under
which time, `lineprotocol` encodes it. `registration` does the same for what a photometer says of itself.
`backlog` notices readings that came late, and reckons their times.
"""

from tessflux.readings.admission import (
    BLACKLISTED,
    DUPLICATE,
    NEW_NAME,
    NOT_WHITELISTED,
    RETAINED,
    Admission,
)
from tessflux.readings.backlog import LONGEST_WAIT, Episode, Reckoned, Track, reckon
from tessflux.readings.fields import EXTRA_FIELDS, UNITS
from tessflux.readings.judge import OTHER_KINDS, Admit, Judge
from tessflux.readings.message import Acknowledge, Deliver, Message
from tessflux.readings.outcome import (
    Admitted,
    Filtered,
    Held,
    Late,
    Outcome,
    Quarantined,
    Registered,
    Said,
    Stored,
    internal_error,
)
from tessflux.readings.reading import REGISTER, Reading
from tessflux.readings.registration import (
    REGISTRATION_TEXTS,
    REGISTRATIONS_MEASUREMENT,
    ZERO_POINTS,
    Places,
)

__all__ = [
    "BLACKLISTED",
    "DUPLICATE",
    "EXTRA_FIELDS",
    "LONGEST_WAIT",
    "NEW_NAME",
    "NOT_WHITELISTED",
    "OTHER_KINDS",
    "REGISTER",
    "REGISTRATIONS_MEASUREMENT",
    "REGISTRATION_TEXTS",
    "RETAINED",
    "UNITS",
    "ZERO_POINTS",
    "Acknowledge",
    "Admission",
    "Admit",
    "Admitted",
    "Deliver",
    "Episode",
    "Filtered",
    "Held",
    "Judge",
    "Late",
    "Message",
    "Outcome",
    "Places",
    "Quarantined",
    "Reading",
    "Reckoned",
    "Registered",
    "Said",
    "Stored",
    "Track",
    "internal_error",
    "lineprotocol",
    "reckon",
]
