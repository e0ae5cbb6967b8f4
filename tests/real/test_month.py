"""A month of a network: published, stored by the daemon, and exported in both formats."""

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from tessflux import cli
from tessflux.simulator.photometer import CHANNELS, PLACES, Fields, Photometer, Tess4C, firmware_json
from tests.archive import oracle
from tests.real.site import Publisher, Site, wait_until

MONTH = "2025-10"  # Summer time ends in it.
START, END = datetime(2025, 10, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
EVERY = timedelta(hours=1)
ZONES = ("Europe/Madrid", "Atlantic/Canary", "America/Santiago", "Australia/Sydney", "UTC")
NAMES = [f"stars{number}" for number in range(1, 21)]
FOUR_CHANNELS, EXCHANGED, WITH_GAPS = NAMES[1], NAMES[2], NAMES[3]
EXCHANGED_AT = datetime(2025, 10, 16, 9, 10, tzinfo=UTC)
GAPS = [
    (datetime(2025, 10, 24, 22, tzinfo=UTC), datetime(2025, 10, 25, 2, tzinfo=UTC)),
    (datetime(2025, 10, 31, 20, tzinfo=UTC), END),
]

Values = Mapping[str, float]


class Network:
    """What its photometers publish in the month, and what must be found of that: by name and time (ms)."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.readings: dict[str, dict[int, Values]] = {name: {} for name in NAMES}
        self.zero_points: dict[str, dict[int, Values]] = {name: {} for name in NAMES}
        self.registrations = 0
        for number, name in enumerate(NAMES):
            self._month_of(name, Random(number))

    def _month_of(self, name: str, rng: Random) -> None:
        make = Tess4C if name == FOUR_CHANNELS else Photometer
        photometer, at = make(name, rng, PLACES[0]), START + timedelta(seconds=rng.randrange(600))
        zero_points = self._registers(photometer, at - timedelta(minutes=1))
        exchanged = False
        while at < END:
            if name == EXCHANGED and at > EXCHANGED_AT and not exchanged:
                exchanged, photometer = True, make("another one", rng, PLACES[0])
                photometer.name = name
                zero_points = self._registers(photometer, EXCHANGED_AT)
            if not (name == WITH_GAPS and any(begin <= at < end for begin, end in GAPS)):
                payload = photometer.reading(at)
                self._publish("reading", payload, at)
                self.readings[name][ms(at)] = stored(payload)
                self.zero_points[name][ms(at)] = zero_points
            at += EVERY

    def _registers(self, photometer: Photometer, at: datetime) -> Values:
        payload = photometer.register()
        self._publish("register", payload, at)
        self.registrations += 1
        return by_channel(payload, {"calib": "zp"})

    def _publish(self, kind: str, payload: Fields, at: datetime) -> None:
        topic = f"STARS4ALL/{payload['name']}/{kind}"
        self.messages.append((topic, firmware_json(payload | {"tstamp": f"{at:%Y-%m-%dT%H:%M:%SZ}"})))


def ms(at: datetime) -> int:
    return int(at.timestamp()) * 1_000


def by_channel(payload: Fields, names: Mapping[str, str]) -> dict[str, float]:
    """These keys of the payload or of each channel of it, by what they are called where they are stored."""
    found: dict[str, float] = {}
    parts: dict[str, object] = {key[1]: payload[key] for key, *_ in CHANNELS if key in payload}
    parts = parts or {"": payload}
    for digit, part in parts.items():
        assert isinstance(part, Mapping)
        found |= {f"{name}{digit}": float(part[key]) for key, name in names.items()}
    return found


def stored(payload: Fields) -> dict[str, float]:
    plain = {key: value for key, value in payload.items() if key in ("seq", "tamb", "tsky", "wdBm")}
    return {
        **by_channel(payload, {"mag": "mag", "freq": "freq"}),
        **{k: float(str(v)) for k, v in plain.items()},
    }


def without_signal(values: Values) -> Values:
    """What an IDA file has columns for."""
    return {key: value for key, value in values.items() if key != "wdBm"}


def read_csv(path: Path) -> Mapping[int, Values]:
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        time, *fields = (head.partition(" (")[0] for head in next(rows))
        assert time == "time"
        for at, *cells in rows:
            values = {field: float(cell) for field, cell in zip(fields, cells, strict=True) if cell}
            found[ms(datetime.fromisoformat(at))] = values
    return found


def local_times(path: Path) -> Iterator[tuple[datetime, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            utc, local, *_ = line.split(";")
            yield datetime.fromisoformat(utc).replace(tzinfo=UTC), local


def test_a_month_of_a_network_is_exported_to_the_same_readings_in_both_formats(
    site: Site, publisher: Publisher, tmp_path: Path
) -> None:
    """20 photometers: one has four channels, one was exchanged in the middle of the month, one has gaps, one
    of them in the night in which summer time ends."""
    places = tmp_path / "places.csv"
    zones = {name: ZONES[number % len(ZONES)] for number, name in enumerate(NAMES)}
    lines = [f'{name},40.4,-3.7,650,{zone},"Madrid / Spain"\n' for name, zone in zones.items()]
    places.write_text("".join(["name,latitude,longitude,elevation,zone,town\n", *lines]))
    site.configure(site={"places": places, "observer": "Ana", "organization": "A school"})
    site.start()
    network = Network()
    publisher.publish(network.messages)
    site.wait_for_rows(sum(map(len, network.readings.values())))
    query = "SELECT mac FROM photometers"
    wait_until(
        lambda: len(site.influxd.select(query, "tessdb")) == network.registrations, "all have registered"
    )
    out = tmp_path / "out"
    for name in NAMES:
        csv_file = tmp_path / f"{name}.csv"
        asked = ["data", name, "--month", MONTH, "-c", str(site.config)]
        assert cli.main([*asked, "-o", str(csv_file)]) == 0
        assert read_csv(csv_file) == network.readings[name]
        assert cli.main([*asked, "--format", "ida", "-o", str(out)]) == 0
        ida_file = out / name / f"{name}_{MONTH}.dat"
        _, found = oracle.read(ida_file)
        assert found == {
            time: {**without_signal(values), **network.zero_points[name][time]}
            for time, values in network.readings[name].items()
        }
        zone = ZoneInfo(zones[name])
        for utc, local in local_times(ida_file):
            assert local == f"{utc.astimezone(zone):%Y-%m-%dT%H:%M:%S}.000"
    hours = {time // 3_600_000 for time in network.readings[NAMES[0]]}
    assert len(hours) == 31 * 24
