"""The command line: argv -> an exit code.

`_run` is the table of commands: what each one calls. Whatever only one of them needs is imported there, so
the daemon does not carry it.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tessflux import __version__, run
from tessflux.commands import output
from tessflux.config import Config, converters, load
from tessflux.errors import OperatorError, UsageError
from tessflux.process import detach, notify, privileges, signals

if TYPE_CHECKING:
    from tessflux.commands import daemon

CONFIG_FILE = "/etc/tessflux/config"
PID_FILE = "/run/tessflux.pid"

_EPILOG = f"""\
Without a command or an option, tessflux detaches from the terminal and runs as a daemon.

signals: HUP reads the config again and reopens the log, USR1 pauses delivery to InfluxDB (readings wait
on disk), USR2 resumes it, TERM and INT stop the daemon.

exit codes: 0 success, 64 wrong command line, 65 the daemon refuses, 69 --check found a server that is not
ready, no daemon answers, or the alarm command fails, 70 a bug in tessflux, 73 a file cannot be created, 75
tessflux is already running, 77 this user may not ask the daemon, 78 the config is wrong. 'status --nagios'
has Nagios's: 0 to 3; 'photometers' has 1 if one is silent.

try it: tessflux --check -c {CONFIG_FILE}, then tessflux -k -c {CONFIG_FILE}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run tessflux with these arguments (by default those of the process); returns the exit code."""
    output.open_missing_streams()
    try:
        options = _parse(sys.argv[1:] if argv is None else argv)
        if options.command != "daemon":
            signals.unblock()
        exit_code = _run(options)
        sys.stdout.flush()
        return exit_code
    except OperatorError as error:
        _warn(str(error))
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has read enough.
        output.discard()
        return 0


def _run(options: argparse.Namespace) -> int:
    """Run the command that was asked for."""
    match options.command:
        case "daemon":
            return _run_daemon(options)
        case "check":
            from tessflux.commands import check

            config = _load_as_owner(options)
            return run.until_complete(lambda reactor: check.check(config, reactor, output.print_line))
        case "check-config":
            for warning in _load(options).warnings:
                output.print_line(f"warning: {warning}")
        case "install":
            from tessflux.commands import install

            install.install(options.root, output.print_line)
        case "uninstall":
            from tessflux.commands import uninstall

            uninstall.uninstall(options.root, output.print_line)
        case "export":
            from tessflux.commands import export

            config = _load(options)
            export.export(config.spool, output.in_utf8(), _output(config, options.output))
        case "status" if options.form == "nagios":
            from tessflux.commands import status

            return status.nagios(lambda: _daemon(options), output.print_line)
        case "status":
            from tessflux.commands import status

            if options.watch:
                status.watch(_daemon(options), output.in_utf8(), time.sleep)
            else:
                status.status(_daemon(options), output.in_utf8(), form=options.form)
        case "photometers":
            from tessflux.commands import photometers

            return photometers.photometers(
                _daemon(options), output.in_utf8(), unheard=options.silent, form=options.form
            )
        case "pause" | "resume" | "reload" as action:
            from tessflux.commands import control

            control.control(_daemon(options), action, getattr(options, "of", ""), output.print_line)
        case "test-alarm":
            from tessflux.commands import testalarm

            return testalarm.testalarm(_load_as_owner(options).alarm, output.print_line)
        case "refused" if options.requeue:
            from tessflux.commands import requeue

            config = _load(options)
            count = requeue.requeue(
                config.spool,
                photometer=options.photometer,
                cause=options.cause,
                output=_output(config, options.output),
            )
            output.print_line(
                f"{count} to be tried again: within a few seconds if tessflux runs, else when it starts"
            )
        case "refused":
            from tessflux.commands import refused

            config = _load(options)
            refused.refused(
                config.spool,
                output.in_utf8(),
                _warn,
                photometer=options.photometer,
                cause=options.cause,
                output=_output(config, options.output),
                form=options.form,
            )
    return 0


def _run_daemon(options: argparse.Namespace) -> int:
    """In the foreground, or detached from the terminal."""
    if options.console:
        config = _load_as_owner(options)
        return detach.stay(
            options.pid_file or "",
            lambda ready, tell: run.until_stopped(config, console=True, ready=ready, tell=tell),
        )
    config = _load(options)
    privileges.refuse_in_place_of_owner(Path(config.spool.directory))
    if not config.global_.log_file:
        _warn("[global] log_file is not set, so there will be no log")
    return detach.detach(
        options.pid_file or PID_FILE,
        lambda ready, tell: run.until_stopped(config, console=False, ready=ready, tell=tell),
    )


def _load(options: argparse.Namespace) -> Config:
    return load(options.config, os.environ)


def _daemon(options: argparse.Namespace) -> "daemon.Daemon":
    from tessflux.commands import daemon

    if options.socket:
        return daemon.Daemon(options.socket)
    return daemon.find(_load(options))


def _output(config: Config, name: str) -> str:
    """The section of an output that goes by this name. Raises UsageError if there is none."""
    return config.section_of(name) if name else ""


def _load_as_owner(options: argparse.Namespace) -> Config:
    """The config, read as the owner of the spool, whom root becomes for it."""
    config = _load(options)
    changed = privileges.become_owner_of(Path(config.spool.directory))
    # What only root can read must not be used: the service could not read it.
    return _load(options) if changed else config


def _warn(line: str) -> None:
    # The journal takes each line for an entry of its own; 3: an error.
    mark = "<3>" if notify.is_journal(sys.stderr, os.environ) else ""
    for each in f"tessflux: {line}".split("\n"):
        print(f"{mark}{each}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see tessflux --help")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="tessflux",
        description="Store the readings that TESS sky photometers publish over MQTT in InfluxDB.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="daemon")
    parser.add_argument("--version", action="version", version=f"tessflux {__version__}")
    _add_config(parser, CONFIG_FILE)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "-k", "--console", action="store_true", help="stay in the foreground and log to the console too"
    )
    for command, text in (
        ("check", "check config, broker and database, and say what to do"),
        ("check-config", "check only the config"),
        ("install", "install config, init script, log rotation and user (as root)"),
        ("uninstall", "remove what --install installed"),
    ):
        mode.add_argument(f"--{command}", action="store_const", dest="command", const=command, help=text)
    parser.add_argument(
        "--pid-file", metavar="FILE", help=f"the daemon's pid file ({PID_FILE}; with --console: none)"
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        default=Path("/"),
        help="install into this directory, the / of another system",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_commands_about_spool(commands)
    _add_commands_to_daemon(commands)
    test_alarm = commands.add_parser("test-alarm", help="run the command of [alarm] with a test")
    _add_config(test_alarm, argparse.SUPPRESS)
    test_alarm.set_defaults(command="test-alarm")
    return parser.parse_args(argv)


def _add_commands_about_spool(commands: "argparse._SubParsersAction[_Parser]") -> None:
    export = commands.add_parser("export", help="print the readings that wait in the spool, as line protocol")
    _add_config(export, argparse.SUPPRESS)
    _add_output(export, "only what waits for the database of the section [influxdb NAME]")
    export.set_defaults(command="export")
    refused = commands.add_parser("refused", help="list what could not be stored, and why")
    _add_config(refused, argparse.SUPPRESS)
    refused.add_argument("--photometer", metavar="NAME", default="", help="only from this photometer")
    refused.add_argument("--cause", default="", help="only with this cause")
    _add_output(refused, "only what the database of the section [influxdb NAME] refused")
    form = refused.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_const", dest="form", const="json", help="one JSON object a line"
    )
    form.add_argument(
        "--export", action="store_const", dest="form", const="payload", help="only the payloads, one a line"
    )
    form.add_argument("--requeue", action="store_true", help="try them again, also while tessflux runs")
    refused.set_defaults(command="refused", form="table")


def _add_commands_to_daemon(commands: "argparse._SubParsersAction[_Parser]") -> None:
    status = commands.add_parser("status", help="what the daemon does, and whether all is well")
    _add_daemon(status)
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", help="as JSON")
    form.add_argument(
        "--nagios",
        action="store_const",
        dest="form",
        const="nagios",
        help="one line and an exit code of 0 to 3",
    )
    form.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    status.set_defaults(command="status", form="screen")
    photometers = commands.add_parser("photometers", help="who was heard, when, and what of it was stored")
    _add_daemon(photometers)
    text = "only those that were not heard for so long, like 90m or 2h"
    photometers.add_argument("--silent", metavar="TIME", type=_duration, help=text)
    text = "one JSON object a line"
    photometers.add_argument("--json", action="store_const", dest="form", const="json", help=text)
    photometers.set_defaults(command="photometers", form="table")
    for command, text in (
        ("pause", "deliver nothing to the database; readings wait in the spool"),
        ("resume", "deliver again"),
    ):
        action = commands.add_parser(command, help=text)
        _add_daemon(action)
        action.add_argument(
            "of",
            metavar="NAME",
            nargs="?",
            default="",
            help="only the database of the section [influxdb NAME]",
        )
        action.set_defaults(command=command)
    reload = commands.add_parser("reload", help="have the daemon read its config again")
    _add_daemon(reload)
    reload.set_defaults(command="reload")


def _duration(text: str) -> float:
    try:
        return float(converters.duration(1)(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_daemon(parser: argparse.ArgumentParser) -> None:
    _add_config(parser, argparse.SUPPRESS)
    parser.add_argument(
        "--socket", metavar="FILE", default="", help="the daemon's socket, instead of a config"
    )


def _add_output(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--output", metavar="NAME", default="", help=what)


def _add_config(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "-c", "--config", metavar="FILE", default=default, help=f"the config file ({CONFIG_FILE})"
    )
