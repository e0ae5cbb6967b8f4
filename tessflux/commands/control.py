"""`tessflux pause`, `resume` and `reload`: what an operator may do to the running daemon."""

from http import HTTPStatus
from typing import Literal

from tessflux.commands.daemon import Daemon
from tessflux.commands.output import Report
from tessflux.errors import Refused
from tessflux.status import PAUSE, RELOAD, RESUME

Action = Literal["pause", "resume", "reload"]

_PATHS: dict[Action, str] = {"pause": PAUSE, "resume": RESUME, "reload": RELOAD}


def control(daemon: Daemon, action: Action, output: str, report: Report) -> None:
    """Do it, to one output if it is named, and say what was done. Raises Refused if the daemon does not."""
    code, body = daemon.ask("POST", _PATHS[action], {"output": output} if output else None)
    lines = body.decode(errors="replace").splitlines()
    if code != HTTPStatus.OK:
        raise Refused("\n".join(lines) or str(code))
    for line in lines:
        report(line)
