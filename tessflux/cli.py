"""The command line: argv -> an exit code. What only one command needs is imported when that is called."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tessflux import __version__, logs, run
from tessflux.commands import refused as queue
from tessflux.config import Config, load
from tessflux.errors import OperatorError, UsageError
from tessflux.process import detach, privileges, signals

CONFIG_FILE = "/etc/tessflux/config"
PID_FILE = "/run/tessflux.pid"

_EPILOG = f"""\
without a command and an option, tessflux detaches from the terminal and runs.

signals: HUP reads the config again and reopens the log, USR1 pauses the delivery to InfluxDB (readings
wait on disk), USR2 resumes it, TERM and INT stop.

exit codes: 0 all is well, 64 wrong command line, 69 --check found a server that is not ready,
70 a bug of tessflux, 73 a file cannot be created, 75 tessflux runs already, 78 the config is wrong.

try it: tessflux --check -c {CONFIG_FILE}, then tessflux -k -c {CONFIG_FILE}
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see tessflux --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run tessflux with these arguments (by default those of the process); returns the exit code."""
    _open_standard_streams()
    try:
        options = _parse(sys.argv[1:] if argv is None else argv)
        command: Callable[[argparse.Namespace], int] = options.run
        if command is not _run:
            signals.admit()
        code = command(options)
        sys.stdout.flush()
        return code
    except OperatorError as error:
        print(f"tessflux: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        _discard_output()
        return 0


def _open_standard_streams() -> None:
    # In the place of one that the caller closed would come a file of ours, which the detaching then closes.
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115 (it stays open)


def _discard_output() -> None:
    # Whoever read our output has read enough; keep Python from complaining at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str) -> None:
    """Print a line, which may hold what a server said. The work goes on when nobody reads any more: half an
    installation is none."""
    try:
        print(logs.escape(line), flush=True)
    except BrokenPipeError:
        _discard_output()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="tessflux",
        description="Store the readings that TESS sky photometers publish by MQTT in InfluxDB.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("--version", action="version", version=f"tessflux {__version__}")
    _add_config(parser, CONFIG_FILE)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "-k", "--console", action="store_true", help="stay in the foreground, log on the console too"
    )
    for option, command, text in (
        ("--check", _check, "check config, broker and database, and say what to do"),
        ("--check-config", _check_config, "check the config alone"),
        ("--install", _install, "put config, init script and the like in place (as root)"),
        ("--uninstall", _uninstall, "take away what --install put"),
    ):
        mode.add_argument(option, action="store_const", dest="run", const=command, help=text)
    parser.add_argument(
        "--pid-file", metavar="FILE", default=PID_FILE, help="of the detached daemon (%(default)s)"
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        default=Path("/"),
        help="install under this directory, which will be / one day",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    export = commands.add_parser("export", help="print the readings that wait in the spool, as line protocol")
    _add_config(export, argparse.SUPPRESS)
    export.set_defaults(run=_export)
    refused = commands.add_parser("refused", help="list what could not be stored, and why")
    _add_config(refused, argparse.SUPPRESS)
    refused.add_argument("--photometer", metavar="NAME", default="", help="only of this photometer")
    refused.add_argument("--cause", default="", help="only for this cause")
    form = refused.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--export", action="store_true", help="the payloads alone, one a line")
    form.add_argument(
        "--requeue", action="store_true", help="have them tried again, also while tessflux runs"
    )
    refused.set_defaults(run=_refused)
    return parser.parse_args(argv)


def _add_config(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "-c", "--config", metavar="FILE", default=default, help=f"the config file ({CONFIG_FILE})"
    )


def _load(options: argparse.Namespace) -> Config:
    return load(options.config, os.environ)


def _load_as_owner(options: argparse.Namespace) -> Config:
    """As root, become the owner of the spool first: what only root may read is of no use to the detach."""
    config = _load(options)
    return _load(options) if privileges.become_owner_of(Path(config.spool.directory)) else config


def _run(options: argparse.Namespace) -> int:
    """The daemon itself. What only one of the other commands needs, it shall not carry with it."""
    if options.console:
        return run.daemon(_load_as_owner(options), console=True, ready=lambda: None)
    config = _load(options)
    if not config.global_.log_file:
        print("tessflux: no [global] log_file is set, so there will be no log", file=sys.stderr)
    return detach.detach(options.pid_file, lambda ready: run.daemon(config, console=False, ready=ready))


def _check(options: argparse.Namespace) -> int:
    from tessflux.commands import check

    config = _load_as_owner(options)
    return run.coroutine(lambda reactor: check.check(config, reactor, _say))


def _check_config(options: argparse.Namespace) -> int:
    for warning in _load(options).warnings:
        _say(f"warning: {warning}")
    return 0


def _install(options: argparse.Namespace) -> int:
    from tessflux.commands import install

    install.install(options.root, _say)
    return 0


def _uninstall(options: argparse.Namespace) -> int:
    from tessflux.commands import install

    install.uninstall(options.root, _say)
    return 0


def _in_utf8() -> None:
    """Print names as InfluxDB takes them, whatever the terminal likes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _export(options: argparse.Namespace) -> int:
    _in_utf8()
    queue.export(_load(options).spool, sys.stdout)
    return 0


def _refused(options: argparse.Namespace) -> int:
    _in_utf8()
    spool = _load(options).spool
    if options.requeue:
        count = queue.requeue(spool, photometer=options.photometer, cause=options.cause)
        _say(f"{count} to be tried again: within a few seconds if tessflux runs, else when it starts")
        return 0
    form: queue.Form = "json" if options.json else "payload" if options.export else "table"
    count = queue.refused(
        spool,
        sys.stdout,
        photometer=options.photometer,
        cause=options.cause,
        form=form,
    )
    if not count:
        causes = queue.causes(spool)
        text = f"nothing of that; the causes there are: {', '.join(causes)}" if causes else "nothing at all"
        print(f"tessflux: in quarantine is {text}", file=sys.stderr)
    return 0
