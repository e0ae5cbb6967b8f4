"""`tessflux test-alarm`: runs the command of [alarm] as the daemon does, to see that its mail arrives."""

import os
import time

from tessflux.alarms import Command, a_test
from tessflux.commands.output import Report
from tessflux.config import AlarmConfig
from tessflux.errors import UsageError


def testalarm(config: AlarmConfig, report: Report) -> int:
    """Run it and say how it went; returns the exit code. Raises UsageError if the config names no command."""
    if not config.command:
        raise UsageError("[alarm] command is not set: nobody is told of alarms")
    ended = Command().run(config.command, a_test(time.time()))
    if ended.output:
        report(f"it printed: {ended.output}")
    if ended.problem:
        report(f"{config.command} {ended.problem}")
        return os.EX_UNAVAILABLE
    report(f"{config.command} was run, and ended well")
    return os.EX_OK
