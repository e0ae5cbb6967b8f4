"""The command line of the simulator: its options and its exit codes."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tessflux.errors import UsageError
from tessflux.simulator.options import parse_options
from tessflux.simulator.publisher import Stop, main

NOON = datetime(2024, 3, 20, 12, 15, tzinfo=UTC)


def test_the_options_default_to_what_the_firmware_does() -> None:
    settings = parse_options([])
    scenario = settings.scenario
    assert (settings.broker, settings.seconds, scenario.count) == ("localhost:1883", None, None)
    assert (scenario.qos, scenario.retain, scenario.period) == (0, True, (10.0, 10.0))
    assert (scenario.photometers, scenario.tess4c, scenario.topic) == (5, 1, "STARS4ALL")


@pytest.mark.parametrize(("photometers", "four_channels"), [("2", 0), ("3", 1), ("9", 1)])
def test_three_photometers_or_more_include_a_tess4c(photometers: str, four_channels: int) -> None:
    assert parse_options(["--photometers", photometers]).scenario.tess4c == four_channels


@pytest.mark.parametrize(
    ("text", "broker"),
    [
        ("pi.local", "pi.local:1883"),
        ("127.0.0.1:1884", "127.0.0.1:1884"),
        ("mqtt://pi.local:1884", "pi.local:1884"),
        ("[::1]:1884", "[::1]:1884"),
    ],
)
def test_a_broker_is_a_host_with_or_without_a_port(text: str, broker: str) -> None:
    assert parse_options(["--broker", text]).broker == broker


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2024-03-20T12:15", NOON),
        ("2024-03-20 12:15:00Z", NOON),
        ("2024-03-20T13:15+01:00", NOON),
    ],
)
def test_a_start_without_an_offset_is_utc(text: str, start: datetime) -> None:
    assert parse_options(["--start", text]).scenario.start == start


@pytest.mark.parametrize(
    "arguments",
    [
        "--photometers 0",
        "--photometers two",
        "--tess4c 6",
        "--period 0",
        "--period nan",
        "--period 60-5",
        "--period 5-",
        "--jitter -1",
        "--reboots 9,5",
        "--reboots soon",
        "--registers much",
        "--count 0",
        "--seconds inf",
        "--speed -1",
        "--qos 2",
        "--start yesterday",
        "--broker mqtts://localhost",
        "--broker localhost:99999",
        "--topic STARS4ALL/#",
        "--prefix stars/",
        "--prefix +",
        "--password secret",
        "--colour red",
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: str) -> None:
    with pytest.raises(UsageError):
        parse_options(arguments.split())


def test_photometers_may_have_periods_of_their_own_and_power_cuts_at_some_seconds() -> None:
    scenario = parse_options(["--period", "0.5-60", "--jitter", "0.1", "--reboots", "5,7.5"]).scenario
    assert (scenario.period, scenario.jitter, scenario.reboots) == ((0.5, 60.0), 0.1, (5.0, 7.5))
    assert parse_options(["--reboots", "never"]).scenario.reboots == ()
    assert "a reading every 2 to 60 s" in str(parse_options(["--period", "2-60"]))


def test_a_ledger_that_cannot_be_written_ends_with_one_line_and_code_64(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--ledger", str(tmp_path)], Stop()) == 64
    assert capsys.readouterr().err == f"simulator: the ledger {tmp_path}: Is a directory\n"


def test_a_wrong_option_ends_with_one_line_and_code_64(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--period", "0"], Stop()) == 64
    assert capsys.readouterr().err == ("simulator: argument --period: must be 0.001 or more; see --help\n")


def test_without_a_broker_it_ends_with_one_line_and_code_69(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        broker = f"127.0.0.1:{bound_but_deaf.getsockname()[1]}"
        assert main(["--broker", broker], Stop()) == 69
    captured = capsys.readouterr()
    assert captured.err == f"simulator: no MQTT broker at {broker}: Connection refused\n"
    assert captured.out == ""
