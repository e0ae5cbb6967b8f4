"""Pictures of the pages, of a tessflux that runs with simulated photometers and nights behind it.

    scripts/screenshots [DIRECTORY]

The rule: what is shown runs for real, mosquitto, tessflux and InfluxDB; only the nights before now are
simulated at once. Run scripts/screenshots, which first installs what is missing.
"""

import json
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from math import sin
from pathlib import Path

from browser import Browser
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from past_nights import DAY, Past, Scripted, fill, network
from servers import Influxd, Mosquitto, Program, free_port, ini, tessflux

from tessflux.simulator.photometer import PLACES, Photometer, Tess4C

LAST_NIGHT = 1.5 * DAY
"""So many seconds ago it was the day on which the last whole night began."""

MADRID, LA_PALMA = PLACES[0], PLACES[5]


def five(now: float) -> list[Past]:
    """A clear sky, one with clouds and a gap in the last whole night, a place that nobody knows, one that has
    fallen silent, and a TESS4C."""
    evening = (now - LAST_NIGHT) // DAY * DAY + 18 * 3_600
    gap = (evening + 3.2 * 3_600, evening + 4.9 * 3_600)

    def clear(_: datetime) -> float:
        return 0.0

    def cloudy(at: datetime) -> float:
        hours = at.timestamp() / 3_600
        return min(1.0, max(0.0, 0.6 * sin(hours * 1.7) + 0.3 * sin(hours * 5.1) + 0.2))

    return [
        Past(Scripted("stars1", random.Random(1), LA_PALMA, clear)),
        Past(Scripted("stars2", random.Random(2), MADRID, cloudy), gaps=[gap]),
        Past(Scripted("stars3", random.Random(3), LA_PALMA, cloudy)),
        Past(Scripted("stars4", random.Random(4), MADRID, clear), gaps=[(now - 4 * 3_600, now)]),
        Past(Tess4C("stars5", random.Random(5), LA_PALMA)),
    ]


def where(pasts: Sequence[Past], *, but: str) -> str:
    """The file of places, without one photometer."""
    lines = [
        f"{past.photometer.name},{past.photometer.place.latitude},{past.photometer.place.longitude}\n"
        for past in pasts
        if past.photometer.name != but
    ]
    return "".join(["name,latitude,longitude\n", *lines])


@contextmanager
def running(place: Path, pasts: Sequence[Past], live: int, days: float, silent: str) -> Iterator[str]:
    """A tessflux at work; gives the address of its pages. `live` photometers go on publishing."""
    now = time.time()
    fill(place / "spool", pasts, now, days)
    places = place / "places.csv"
    places.write_text(where(pasts, but="stars3"))
    schema = place / "schema"
    schema.write_text('CREATE DATABASE "tessdb";\n')
    port = free_port()
    with ExitStack() as stack:
        mosquitto = stack.enter_context(
            Mosquitto(place / "mosquitto", settings=["upgrade_outgoing_qos true"])
        )
        influxd = stack.enter_context(Influxd(place / "influxd"))
        config = place / "config"
        config.write_text(
            ini(
                {
                    "global": {"log_file": "", "clock_wait": 0},
                    "influxdb": {"url": influxd.url, "schema": schema},
                    "mqtt": {"broker": f"tcp:{mosquitto.address}"},
                    "spool": {"directory": place / "spool"},
                    "status": {"listen": f"127.0.0.1:{port}", "silent": silent},
                    "site": {"places": places},
                }
            )
        )
        daemon = stack.enter_context(tessflux(config, place / "tessflux.log"))
        url = f"http://127.0.0.1:{port}"
        _wait_for(url + "/healthz", daemon)
        stack.enter_context(_publishing(mosquitto, [past.photometer for past in pasts[:live]]))
        yield url


@contextmanager
def _publishing(mosquitto: Mosquitto, photometers: Sequence[Photometer]) -> Iterator[None]:
    """They go on for some seconds, and some publish what is refused."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    for _ in range(3):
        for photometer in photometers:
            topic = f"STARS4ALL/{photometer.name}/reading"
            client.publish(topic, json.dumps(photometer.reading(datetime.now(UTC))), qos=1)
        time.sleep(1)
    client.publish("STARS4ALL/stars2/reading", '{"name":"stars2","seq":7,"freq":"nan","mag":21}', qos=1)
    time.sleep(1.5)
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def _wait_for(url: str, daemon: Program) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            if not daemon.running:
                raise daemon.failure("ended") from None
            time.sleep(0.1)
        else:
            return
    raise daemon.failure("does not answer")


def pages(now: float) -> dict[str, str]:
    """What is looked at of five photometers: names of pictures, and paths."""
    last = f"?night={datetime.fromtimestamp(now - LAST_NIGHT, UTC):%Y-%m-%d}"
    return {
        "front": "/",
        "clear": f"/photometers/stars1{last}",
        "tonight": "/photometers/stars1",
        "cloudy": f"/photometers/stars2{last}",
        "nowhere": f"/photometers/stars3{last}",
        "silent": "/photometers/stars4",
        "four": f"/photometers/stars5{last}",
        "nobody": "/photometers/nobody",
    }


def main(directory: Path) -> None:
    """Make all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    now = time.time()
    with tempfile.TemporaryDirectory() as temporary, Browser() as browser:
        with running(Path(temporary) / "five", five(now), 3, 8, "2h") as url:
            for name, path in pages(now).items():
                take(browser, url + path, directory, name)
        thousand = [Past(each, period=900) for each in network(1_000)]
        with running(Path(temporary) / "thousand", thousand, 900, 1, "10s") as url:
            take(browser, url, directory, "thousand")


def take(browser: Browser, url: str, directory: Path, name: str) -> None:
    """Pictures of a page, on a desk and on a phone, by day and by night. None is wider than its window."""
    for width in (1_120, 360):
        for dark in (False, True):
            browser.look(url, width=width, dark=dark)
            theme = "night" if dark else "day"
            browser.save(directory / f"{name}-{width}-{theme}.png")
            wide = browser.run("return document.documentElement.scrollWidth")
            assert wide <= width, f"{url} is {wide} pixels wide in a window of {width}"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".screenshots"))
