"""The command line of the simulator -> Settings. Wrong options raise UsageError."""

import argparse
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, TypeVar

from tessflux.config import addresses
from tessflux.errors import UsageError
from tessflux.simulator.network import FACTORY_PERIOD, Scenario

_EPILOG = """\
exit codes: 0 everything was published, or a signal ended it; 64 wrong options; 69 no broker, or it did not
acknowledge everything.

a day in four minutes:    python -m tessflux.simulator --speed 360
a past night, with times: python -m tessflux.simulator --start 2024-03-10T18:00 --speed 360 --tstamp
a thousand photometers:   python -m tessflux.simulator --photometers 1000 --period 1 --seconds 60
as irregular as in life:  python -m tessflux.simulator --period 5-60 --jitter 0.05 --reboots 300,900

The ledger has one JSON object a line for each reading that left for the broker: its name, its seq, its tsky,
how often the photometer had booted before (boot), the true time in ms since 1970 UTC (at), and its payload.
"""

NEVER = "never"

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Settings:
    """How to publish the scenario; `seconds` limits the real time (None: no limit), `ledger` is the file in
    which it is written down (None: none)."""

    host: str
    port: int
    username: str | None
    password: str | None
    seconds: float | None
    ledger: Path | None
    verbose: bool
    scenario: Scenario

    @property
    def broker(self) -> str:
        """HOST:PORT, to be printed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        of = self.scenario
        period = " to ".join(f"{period:g}" for period in dict.fromkeys(of.period))
        return (
            f"{of.prefix}1 to {of.prefix}{of.photometers} ({of.tess4c} TESS4C) to {self.broker}: "
            f"a reading every {period} s, QoS {of.qos}, {'retained' if of.retain else 'not retained'}, "
            f"the sky of {of.start:%Y-%m-%d %H:%M} UTC at speed {of.speed:g}, seed {of.seed}"
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def parse_options(arguments: Sequence[str]) -> Settings:
    """Parse the options. Raises UsageError if they make no sense."""
    parser = _Parser(
        prog="python -m tessflux.simulator",
        description="Simulate TESS photometers that publish realistic nights to an MQTT broker.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_photometer_options(parser)
    _add_publishing_options(parser)
    options = vars(parser.parse_args(arguments))
    if options["tess4c"] is None:
        options["tess4c"] = 1 if options["photometers"] >= 3 else 0
    if options["tess4c"] > options["photometers"]:
        raise UsageError("--tess4c must not exceed --photometers")
    if options["password"] is not None and options["username"] is None:
        raise UsageError("--password needs --username")
    host, port = options.pop("broker")
    scenario = Scenario(**{field.name: options.pop(field.name) for field in fields(Scenario)})
    return Settings(host=host, port=port, scenario=scenario, **options)


def _add_photometer_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the photometers").add_argument
    add("--photometers", metavar="N", type=_at_least(1, int), default=5, help="how many (%(default)s)")
    text = "how many of them, the last ones, have four channels (1, or 0 if N is below 3)"
    add("--tess4c", metavar="M", type=_at_least(0, int), help=text)
    add("--prefix", type=_name, default="stars", help="their names are PREFIX1 to PREFIXN (%(default)s)")
    text = "publish through gateways that add the simulated UTC to each reading"
    add("--tstamp", action="store_true", help=text)
    text = "each time its period is longer by chance, by up to this share of it (%(default)g)"
    add("--jitter", metavar="SHARE", type=_at_least(0.0, float), default=0.0, help=text)
    text = f"the seconds at which the power of all of them fails, or {NEVER} (by chance)"
    add("--reboots", metavar="S,S,...", type=_moments, help=text)
    text = "the share of the readings before which they register once more (%(default)g)"
    add("--registers", metavar="SHARE", type=_at_least(0.0, float), default=0.0, help=text)
    text = "where the simulated clock begins, like 2024-03-10T18:00 (now)"
    add("--start", metavar="UTC", type=_utc, default=datetime.now(UTC), help=text)
    text = "how fast the simulated clock runs: 360 is a day in four minutes (%(default)g)"
    add("--speed", metavar="X", type=_at_least(0.001, float), default=1.0, help=text)
    text = "the same --seed and --start give the same payloads (random)"
    add("--seed", metavar="N", type=int, default=random.SystemRandom().randrange(10**6), help=text)


def _add_publishing_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("publishing").add_argument
    text = "or mqtt://HOST:PORT (%(default)s)"
    add("--broker", metavar="HOST:PORT", type=_broker, default="localhost:1883", help=text)
    add("--username", help="for the broker")
    add("--password", help="for the broker; other users of this machine can see it")
    add("--topic", type=_topic, default="STARS4ALL", help="the first part of the topics (%(default)s)")
    text = "real seconds between two readings; with 5-60 each photometer has a period of its own (10)"
    add("--period", metavar="SECONDS", type=_period, default=(FACTORY_PERIOD, FACTORY_PERIOD), help=text)
    text = "stop after this many readings of each photometer (never)"
    add("--count", metavar="N", type=_at_least(1, int), help=text)
    add("--seconds", metavar="S", type=_at_least(0.0, float), help="stop after this many seconds (never)")
    text = "of the readings (%(default)s, like the firmware)"
    add("--qos", type=int, choices=(0, 1), default=0, help=text)
    text = "have the broker keep the last reading of each photometer (yes, like the firmware)"
    add("--retain", action=argparse.BooleanOptionalAction, default=True, help=text)
    add("--ledger", metavar="FILE", type=Path, help="write down what was published, and when; see below")
    add("--verbose", action="store_true", help="print each message")


def _at_least(least: T, number: Callable[[str], T]) -> Callable[[str], T]:
    def convert(text: str) -> T:
        value = number(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"must be {least:g} or more")
        return value

    convert.__name__ = "number"  # argparse names it in "invalid number value".
    return convert


def _period(text: str) -> tuple[float, float]:
    seconds = _at_least(0.001, float)
    least, dash, greatest = text.partition("-")
    try:
        period = seconds(least), seconds(greatest if dash else least)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be a number or LEAST-GREATEST") from error
    if period[0] > period[1]:
        raise argparse.ArgumentTypeError("must be LEAST-GREATEST")
    return period


def _moments(text: str) -> tuple[float, ...]:
    try:
        moments = [] if text == NEVER else [_at_least(0.0, float)(each) for each in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {NEVER} or numbers with commas between them") from error
    if moments != sorted(moments):
        raise argparse.ArgumentTypeError("must be in the order of time")
    return tuple(moments)


def _broker(text: str) -> tuple[str, int]:
    try:
        address = addresses.broker(text if "://" in text else f"mqtt://{text}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if address.transport != "tcp":
        raise argparse.ArgumentTypeError("must be HOST:PORT or mqtt://HOST:PORT; the simulator has no TLS")
    return address.host, address.port


def _utc(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be a time like 2024-03-10T18:00") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _topic(text: str) -> str:
    if not text or any(char in "+#\0" for char in text):
        raise argparse.ArgumentTypeError("must not be empty or contain + or #")
    return text


def _name(text: str) -> str:
    if "/" in text:
        raise argparse.ArgumentTypeError("must not contain /")
    return _topic(text)
