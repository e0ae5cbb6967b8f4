"""Who was heard, when, and what they measured in the last nights.

In:   every message with its outcome: `Register.take`. Whether we could hear anybody: `listening`.
Out:  a `Photometer` for each name: `Register.all` and `Register.get`, at once, from memory. Means of five
      minutes: `History.night` and `History.sparklines`, from the disk, in a thread. And an `Event` when
      photometers are silent, when they are heard again, and when a name has another mac.

`Photometers` puts `Register`, `History` and the file together, keeps the time, and says events in the log.
The file is `photometers.db` beside the spool; tessflux runs without it as well.
"""

from tessflux.photometers.event import HEARD, MOVED, SILENT, Event
from tessflux.photometers.history import History, InThread
from tessflux.photometers.means import SECONDS, Mean
from tessflux.photometers.photometer import Day, Photometer
from tessflux.photometers.register import Register
from tessflux.photometers.service import TICK, Photometers

__all__ = [
    "HEARD",
    "MOVED",
    "SECONDS",
    "SILENT",
    "TICK",
    "Day",
    "Event",
    "History",
    "InThread",
    "Mean",
    "Photometer",
    "Photometers",
    "Register",
]
