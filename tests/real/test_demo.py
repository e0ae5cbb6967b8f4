"""The demo as a person runs it, but for the place of its data and without a terminal."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import demo
import pytest
from servers import Influxd, Mosquitto, ServerFailed, free_port

from tests.real.site import Publisher, reading, wait_until

README = Path(__file__).parents[2] / "README.md"


class Running:
    """A demo, its children and what it has printed so far."""

    def __init__(self, place: Path, *arguments: str) -> None:
        self.place = place
        self.output = place.with_suffix(".out")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, demo.__file__, "--directory", place, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def child(self, word: str) -> int:
        """The process whose command line has this word."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = entry.joinpath("stat").read_text().rpartition(") ")[2].split()[1]
                command = entry.joinpath("cmdline").read_text().split("\0")
            except OSError:
                continue
            if int(parent) == self.process.pid and word in command:
                return int(entry.name)
        return 0

    def assert_runs(self) -> None:
        """Fail at once when it has ended."""
        assert self.process.poll() is None, self.text

    def stored(self) -> bool:
        """Whether InfluxDB has a reading."""
        self.assert_runs()
        config = self.place / "config"
        # For a moment it is there and empty.
        url = re.search(r"^url = .*:(\d+)\n", config.read_text() if config.exists() else "", re.MULTILINE)
        if url is None:
            return False
        try:
            series = Influxd(self.place / "influxd", port=int(url[1])).query(
                "SHOW SERIES FROM readings", "tessdb"
            )
        except ServerFailed:
            return False
        return series != []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "demo"


Run = Callable[..., Running]


@pytest.fixture
def run(place: Path) -> Iterator[Run]:
    """Begin a demo; its end is that of the test."""
    begun = []

    def begin(*arguments: str) -> Running:
        begun.append(Running(place, *arguments))
        return begun[-1]

    yield begin
    for running in begun:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[Publisher]:
    publisher = Publisher(mosquitto)
    yield publisher
    publisher.close()


def is_at_work(running: Running) -> bool:
    """tessflux has made the database and subscribed, so that all others run as well."""
    running.assert_runs()
    log = running.place / "tessflux.log"
    text = log.read_text() if log.exists() else ""
    return "takes readings into tessdb" in text and "Subscribed to" in text


def test_a_bounded_demo_stores_readings_and_says_how_many(place: Path, run: Run) -> None:
    # They store in a second what they should; a machine that is busy takes longer to start them.
    running = run("--seconds", "10")
    assert running.process.wait() == 0, running.text
    *_, stored, where = running.text.splitlines()
    words = stored.split()
    assert (words[0], words[2:]) == ("stored", ["readings", "of", "5", "photometers"])
    assert int(words[1]) >= 5
    assert str(place) in where
    assert "\x1b" not in running.text


def test_without_photometers_it_fails_and_says_so(mosquitto: Mosquitto, run: Run) -> None:
    running = run("--broker", f"mqtt://{mosquitto.address}")
    wait_until(lambda: is_at_work(running), "the demo runs")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait() == 1
    assert "stored 0 readings of 0 photometers" in running.text


def test_a_broker_that_is_not_there_is_said_at_the_end(place: Path, run: Run) -> None:
    running = run("--broker", f"mqtt://127.0.0.1:{free_port()}")
    log = place / "tessflux.log"
    wait_until(lambda: log.exists() and "Cannot use the broker" in log.read_text(), "tessflux says so")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait() == 1
    end = running.text.partition("stored 0 readings of 0 photometers")[2]
    assert f"demo: tessflux had nothing to store; the end of {log}:" in end
    assert "Cannot use the broker" in end


def test_it_listens_to_a_broker_of_others_and_leaves_no_queue_there(
    place: Path, publisher: Publisher, mosquitto: Mosquitto, run: Run
) -> None:
    running = run("--broker", f"mqtt://{mosquitto.address}")
    wait_until(lambda: is_at_work(running), "the demo runs")
    publisher.publish([reading("stars7", 1, 1)])
    wait_until(running.stored, "the reading is stored")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait() == 0, running.text
    assert "stored 1 readings of 1 photometers" in running.text
    assert not (place / "mosquitto").exists()
    assert "qos = 0\n" in (place / "config").read_text()


def test_ctrl_c_ends_all_in_order(run: Run) -> None:
    running = run()
    wait_until(running.stored, "a reading is stored")
    page = re.findall(r"http://127\.0\.0\.1:\d+/$", running.text, re.MULTILINE)[0]
    with urllib.request.urlopen(page) as answer:
        assert b"photometer" in answer.read()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait() == 0, running.text
    assert "\nstored " in running.text
    # The simulator says so when it is let finish, and mosquitto saves when it is told to stop.
    assert "published " in (running.place / "simulator.log").read_text()
    assert (running.place / "mosquitto" / "mosquitto.db").exists()


def test_the_readme_leads_from_the_demo_to_a_csv_and_an_ida_file(
    place: Path, run: Run, tmp_path: Path
) -> None:
    running = run()
    commands = re.findall(r"^\.venv/bin/tessflux (data .*)$", README.read_text(), re.MULTILINE)
    as_csv, as_ida = (command.replace(".demo", str(place)).split() for command in commands)

    def do(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
        running.assert_runs()
        command = [sys.executable, "-m", "tessflux", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    wait_until(running.stored, "a reading is stored")
    wait_until(lambda: do(as_csv).returncode == 0, "one of stars1 is stored")
    head, *lines = (tmp_path / "stars1.csv").read_text(encoding="utf-8").splitlines()
    assert "mag (mag/arcsec²)" in head
    assert lines
    unknown, *written = do(as_ida).stdout.splitlines()
    assert unknown.startswith("where stars1 stands is not known")
    text = "".join((tmp_path / line.partition(":")[0]).read_text(encoding="utf-8") for line in written)
    assert "# Instrument ID: stars1\n" in text
    assert len([line for line in text.splitlines() if not line.startswith("#")]) >= len(lines)


@pytest.mark.parametrize(
    ("word", "name"), [("tessflux.simulator", "simulator"), ("tessflux", "tessflux"), ("-config", "influxd")]
)
def test_what_ends_by_itself_is_named_and_ends_the_demo(run: Run, word: str, name: str) -> None:
    running = run()
    wait_until(lambda: is_at_work(running) and running.child(word), f"{name} runs")
    os.kill(running.child(word), signal.SIGKILL)
    assert running.process.wait() == 1
    assert f"demo: {name} ended by itself (exit code -9); the end of {running.place}" in running.text


def test_two_demos_do_not_share_a_directory(run: Run) -> None:
    first = run()
    wait_until(lambda: is_at_work(first), "the first runs")
    second = run("--seconds", "1")
    assert second.process.wait() == 1
    assert "another demo runs" in second.text
    assert is_at_work(first)


def test_a_directory_of_someone_else_is_left_alone(place: Path, run: Run) -> None:
    place.mkdir()
    (place / "thesis").write_text("precious")
    running = run("--seconds", "1")
    assert running.process.wait() == 1
    assert "give another --directory" in running.text
    assert [path.name for path in place.iterdir()] == ["thesis"]


def test_a_wrong_broker_is_a_wrong_option(run: Run) -> None:
    running = run("--broker", "http://localhost")
    assert running.process.wait() == 2
    assert "must be one of tcp:HOST:PORT" in running.text
