"""What an operator must know even if he looks at nothing, told once when it begins and once when it is over.

In:   a `Snapshot` every few seconds, and an `Event` when photometers are silent, heard again or moved.
Out:  a `Notice` for each change: a log line, and a run of the operator's command. And all alarms that are
      raised now: `Alarms.raised`.

`rules` says what is wrong, `board` remembers what is raised, `outbox` what is still to be said and how often
that may be: all three are pure. `command` runs a program, in a thread. `kept` is the file by which a restart
neither forgets an alarm nor raises it again. `Alarms` puts them together, and keeps the time.
"""

from tessflux.alarms.command import Command, Ended
from tessflux.alarms.notice import Notice, a_test
from tessflux.alarms.service import LOOK, Alarms

__all__ = ["LOOK", "Alarms", "Command", "Ended", "Notice", "a_test"]
