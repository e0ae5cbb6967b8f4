"""tessflux at work: photometers, a broker, tessflux, InfluxDB, a table of what is stored, and the pages.

The rule: nothing is written outside one directory, which each run begins anew, and nothing runs on
when it ends. Run scripts/demo, which first installs what is missing.
"""

import argparse
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import demo_table
from servers import Influxd, Mosquitto, Program, ServerFailed, free_port, ini, tessflux

from tessflux.config import addresses

REPOSITORY = Path(__file__).resolve().parent.parent
DATABASE = "tessdb"
PHOTOMETERS = 5

TERMINAL_SECONDS = 1.0
"""Between two looks at the database."""

PIPE_SECONDS = 10.0
"""Between two tables where they are not shown in the place of each other."""

LOG_LINES = 6

_EPILOG = """\
exit codes: 0 readings were stored, 1 none were or something did not run, 2 wrong options, 130
interrupted before all ran.
"""


class Demo:
    """Everything that runs, in the order in which it starts; it ends the other way round."""

    def __init__(self, place: Path, broker: addresses.BrokerAddress | None) -> None:
        """With a `broker` of others there are no mosquitto and no simulator."""
        self.influxd = Influxd(place / "influxd")
        self.tessflux = tessflux(place / "config", place / "tessflux.log")
        self.servers: list[Program] = [self.influxd]
        self.clients: list[Program] = [self.tessflux]
        if broker is None:
            mosquitto = Mosquitto(place / "mosquitto", settings=["upgrade_outgoing_qos true"])
            self.servers.append(mosquitto)
            self.clients.append(_simulator(place, mosquitto.address))
            mqtt = {"broker": f"tcp:{mosquitto.address}"}
            self.source = f"{PHOTOMETERS} simulated photometers -> mosquitto"
        else:
            # At QoS 1 a broker would go on collecting for us when we are gone.
            mqtt = {"broker": str(broker), "client_id": f"tessflux-demo-{socket.gethostname()}", "qos": "0"}
            self.source = str(broker)
        port = free_port()
        self.page = f"http://127.0.0.1:{port}/"
        schema = place / "influxdb"
        schema.write_text(f'CREATE DATABASE "{DATABASE}";\n')
        influxdb = {"url": self.influxd.url, "schema": schema, "dbname": DATABASE, "batch": 10}
        sections: dict[str, Mapping[str, object]] = {
            # Nobody wants to wait for NTP to see a demo.
            "global": {"log_file": "", "log_level": "info", "clock_wait": 0},
            "influxdb": influxdb,
            "mqtt": mqtt,
            "spool": {"directory": place / "spool"},
            "status": {"listen": f"127.0.0.1:{port}"},
        }
        (place / "config").write_text(ini(sections))

    def start(self) -> None:
        """Start everything; raises ServerFailed."""
        for piece in self.servers + self.clients:
            piece.start()

    def check(self) -> None:
        """Raise ServerFailed when something has ended by itself."""
        for piece in self.servers + self.clients:
            if not piece.running:
                raise piece.failure(f"ended by itself (exit code {piece.returncode})")

    def rows(self) -> list[demo_table.Row]:
        """What is stored; nothing as long as tessflux has not made the database."""
        try:
            latest = self.influxd.query(demo_table.LATEST, DATABASE)
            stored = self.influxd.query(demo_table.STORED, DATABASE)
        except ServerFailed as error:
            if "database not found" in str(error):
                return []
            raise
        return demo_table.rows(latest, stored)

    def finish(self) -> list[demo_table.Row]:
        """Let tessflux deliver what it has, and return what is stored; raises ServerFailed."""
        _stop(self.clients)
        if self.tessflux.returncode != 0:
            raise self.tessflux.failure(f"did not stop well (exit code {self.tessflux.returncode})")
        return self.rows()

    def stop(self) -> None:
        """End what runs."""
        _stop(self.servers + self.clients)


def _simulator(place: Path, broker: str) -> Program:
    # A minute of the sky in a second: there is something to see.
    play = ["--photometers", str(PHOTOMETERS), "--period", "2", "--speed", "60"]
    command = [sys.executable, "-m", "tessflux.simulator", "--broker", broker, *play]
    return Program("simulator", command, place / "simulator.log")


def _stop(pieces: Sequence[Program]) -> None:
    for piece in reversed(pieces):
        piece.stop()


def watch(demo: Demo, seconds: float) -> None:
    """Show what is stored, for so long or until Ctrl-C; raises ServerFailed when something ends."""
    end = time.monotonic() + seconds
    is_terminal = sys.stdout.isatty()
    pause = TERMINAL_SECONDS if is_terminal else PIPE_SECONDS
    if is_terminal:
        print("\x1b[2J", end="")
    due = time.monotonic()
    while (now := time.monotonic()) < end:
        demo.check()
        if now >= due:
            _show(demo, is_terminal)
            due = now + pause
        time.sleep(min(TERMINAL_SECONDS, end - now))


def _show(demo: Demo, is_terminal: bool) -> None:
    width, height = shutil.get_terminal_size((200, 40))
    try:
        rows = demo.rows()
    except ServerFailed:
        demo.check()
        raise
    lines = [
        f"{demo.source} -> tessflux -> InfluxDB; Ctrl-C ends it",
        f"A browser shows it too: {demo.page}",
        "",
        *demo_table.table(rows, max(1, height - LOG_LINES - 7)),
        "",
        f"{demo.tessflux.log}:",
        *demo.tessflux.tail(LOG_LINES).splitlines(),
    ]
    if is_terminal:
        # Over the last one, which does not flicker; each line ends what stood there.
        lines = [f"{line[: width - 1]}\x1b[K" for line in lines]
        print("\x1b[H" + "\n".join(lines) + "\x1b[J", flush=True)
    else:
        print("\n".join([*lines, ""]), flush=True)


def begin_anew(place: Path) -> int:
    """An empty directory, but for a lock that keeps other demos out; returns its descriptor.

    Raises ServerFailed when another demo runs there, or when it holds what no demo has made.
    """
    lock = place / "lock"
    if place.exists() and not lock.exists() and any(place.iterdir()):
        raise ServerFailed(f"{place} is not empty and no demo was there; give another --directory")
    place.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ServerFailed(f"another demo runs in {place}; end it first") from error
    for entry in place.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry != lock:
            entry.unlink()
    return descriptor


def run(place: Path, broker: addresses.BrokerAddress | None, seconds: float) -> int:
    """The whole demo; returns the exit code."""
    begin_anew(place)
    demo = Demo(place, broker)
    try:
        demo.start()
        try:
            watch(demo, seconds)
        except KeyboardInterrupt:
            print("\nending; tessflux delivers what it has", flush=True)
        _on_signals(signal.SIG_IGN)
        rows = demo.finish()
    finally:
        _on_signals(signal.SIG_IGN)
        demo.stop()
    print("\n".join(["", *demo_table.table(rows, len(rows)), ""]))
    print(f"stored {demo_table.summary(rows)}")
    print(f"readings, spool, config and logs stay in {place} until the next demo", flush=True)
    if not rows:
        raise demo.tessflux.failure("had nothing to store")
    return 0


def _on_signals(action: "signal._HANDLER") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


def _broker(text: str) -> addresses.BrokerAddress:
    try:
        return addresses.broker(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=str(__doc__).partition("\n")[0],
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", metavar="N", type=float, default=float("inf"), help="end after so long (never)"
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        type=_broker,
        help="listen to the photometers there, mqtt://HOST or tcp:HOST:PORT, and simulate none",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=Path,
        default=REPOSITORY / ".demo",
        help="where all is written, empty or of an earlier demo (.demo)",
    )
    options = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    _on_signals(signal.default_int_handler)
    try:
        return run(options.directory.absolute(), options.broker, options.seconds)
    except ServerFailed as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
