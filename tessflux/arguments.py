"""What the command line takes: the options, the commands, and the words of `--help`.

Pure: it says what was asked for, in `command` and the options, and does nothing of it.
"""

import argparse
import textwrap
from pathlib import Path
from typing import NoReturn

from tessflux import __version__
from tessflux.config import converters
from tessflux.errors import UsageError

CONFIG_FILE = "/etc/tessflux/config"
PID_FILE = "/run/tessflux.pid"

DESCRIPTION = "Store the readings that TESS sky photometers publish over MQTT in InfluxDB."
AS_DAEMON = "Without a command or an option, tessflux detaches from the terminal and runs as a daemon."
SIGNALS = {
    "HUP": "reads the config again and reopens the log",
    "USR1": "pauses delivery to InfluxDB (readings wait on disk)",
    "USR2": "resumes it",
    "TERM and INT": "stop the daemon",
}
EXIT_CODES = {
    0: "success",
    64: "wrong command line",
    65: "the daemon refuses",
    66: "there are no such readings",
    69: "--check found a server that is not ready, no daemon or database answers, or the alarm command fails",
    70: "a bug in tessflux",
    73: "a file cannot be created",
    75: "tessflux is already running",
    77: "this user may not ask the daemon",
    78: "the config is wrong",
    130: "Ctrl-C",
}
OTHER_EXIT_CODES = "'status --nagios' has Nagios's: 0 to 3; 'photometers' has 1 if one is silent."
TRY_IT = (f"tessflux --check -c {CONFIG_FILE}", f"tessflux -k -c {CONFIG_FILE}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see tessflux --help")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all arguments. It raises UsageError for what it does not know."""
    parser = _Parser(
        prog="tessflux",
        description=DESCRIPTION,
        epilog=_epilog(),
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
        ("install", "install config, service, log rotation, man pages and user (as root)"),
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
    _add_data(commands)
    test_alarm = commands.add_parser("test-alarm", help="run the command of [alarm] with a test")
    _add_config(test_alarm, argparse.SUPPRESS)
    test_alarm.set_defaults(command="test-alarm")
    return parser


def _epilog() -> str:
    signals = ", ".join(f"{signal} {does}" for signal, does in SIGNALS.items())
    exit_codes = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    paragraphs = (
        AS_DAEMON,
        f"signals: {signals}.",
        f"exit codes: {exit_codes}. {OTHER_EXIT_CODES}",
        f"try it: {', then '.join(TRY_IT)}",
    )
    return "\n\n".join(textwrap.fill(text, 105, break_on_hyphens=False) for text in paragraphs)


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


def _add_data(commands: "argparse._SubParsersAction[_Parser]") -> None:
    text = "print the readings of a photometer out of the database, as CSV, or write IDA files"
    data = commands.add_parser("data", help=text)
    _add_config(data, argparse.SUPPRESS)
    data.add_argument("name", metavar="NAME", help="the photometer")
    for option, metavar, text in (
        ("from", "TIME", "only from this date or time on, which is in UTC unless it has a zone (+02:00)"),
        ("to", "TIME", "only to the end of this date, or to before this time"),
        ("month", "YYYY-MM", "only this month (UTC)"),
        ("night", "YYYY-MM-DD", "only the night that begins on this day, from noon to noon where it stands"),
    ):
        data.add_argument(f"--{option}", metavar=metavar, default="", help=text)
    text = "add where the Sun and the Moon stand, and how much of the Moon is lit"
    data.add_argument("--sun-moon", action="store_true", help=text)
    data.add_argument("-o", dest="file", metavar="FILE", default="", help="write it to this file")
    text = "csv, or ida: the format of the community, a file for each month below the directory FILE (.)"
    data.add_argument("--format", dest="form", choices=("csv", "ida"), default="csv", help=text)
    _add_output(data, "out of the database of the section [influxdb NAME], not the first one")
    data.add_argument("--retpol", metavar="NAME", help="out of another retention policy")
    data.set_defaults(command="data")


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
