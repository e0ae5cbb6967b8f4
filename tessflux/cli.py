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
from typing import TYPE_CHECKING

from tessflux import run
from tessflux.arguments import PID_FILE, make_parser
from tessflux.commands import output
from tessflux.config import Config, load
from tessflux.errors import OperatorError
from tessflux.process import detach, notify, privileges, signals

if TYPE_CHECKING:
    from tessflux.commands import daemon

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run tessflux with these arguments (by default those of the process); returns the exit code."""
    output.open_missing_streams()
    try:
        options = make_parser().parse_args(argv)
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
    except KeyboardInterrupt:
        return INTERRUPTED


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
        case "data":
            from tessflux.commands import data

            wanted = data.Wanted(
                options.name,
                begin=getattr(options, "from"),
                end=options.to,
                month=options.month,
                night=options.night,
                sun_moon=options.sun_moon,
                form=options.form,
                output=options.output,
                retpol=options.retpol,
            )
            signals.interrupt()
            # Where the readings themselves appear, the progress would stand between them.
            in_files = options.file or options.form == "ida"
            shown = sys.stderr.isatty() and (in_files or not sys.stdout.isatty())
            data.data(_load(options), wanted, options.file, sys.stderr if shown else None)
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
