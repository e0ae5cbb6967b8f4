"""A simulated photometer: what a real TESS would publish at a given time.

Rule: pure. Time comes in as a value and chance as a `random.Random`, so the same seed and the same times give
the same payloads. There is no network, no clock and no file.

The sky has a sun, clouds and a constant darkness at each place, but no moon and no Milky Way.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

Value = int | float | str | Mapping[str, float | str]
Fields = dict[str, Value]

SATURATED_HZ = 50_000.0
"""What a TESS-W reports, with magnitude 0.00, if there is more light than it can measure."""

TESS4C_LIMIT_HZ = 62_500.0
"""Above this a TESS4C counts only a few ticks of its 1 MHz clock, so its daylight frequencies are 10**6 /
n."""

LEAST_HZ = 0.06
"""The lowest frequency that a sensor still measures."""

CHANNELS = (
    ("F1", "UVIR750", 0.0),
    ("F2", "UVIR650", 0.2),
    ("F3", "RGB-R", 0.6),
    ("F4", "RGB-B", 0.9),
)
"""Of each TESS4C channel: its key, its filter, and how many magnitudes darker the sky is through it."""


class Place(NamedTuple):
    """Degrees north and east, the darkness of a clear night (mag/arcsec2), the mean temperature (degrees
    C)."""

    latitude: float
    longitude: float
    darkness: float
    temperature: float


PLACES = (
    Place(40.4, -3.7, 18.2, 14.0),  # Madrid
    Place(-31.3, 149.1, 21.5, 15.0),  # Coonabarabran
    Place(-30.2, -70.8, 21.7, 13.0),  # Vicuna
    Place(19.7, -155.1, 20.4, 21.0),  # Hilo
    Place(-32.4, 20.7, 21.7, 13.0),  # Sutherland
    Place(28.7, -17.9, 21.2, 16.0),  # La Palma
    Place(32.2, -110.9, 18.9, 20.0),  # Tucson
    Place(47.9, 106.9, 19.4, 0.0),  # Ulaanbaatar
)
"""Far enough apart that it is always dark at one of the first five. The darkness is a guess."""


def sun_altitude(at: datetime, latitude: float, longitude: float) -> float:
    """The sun's height above the horizon in degrees, at an aware time and a place in degrees north and east.

    By the low-precision formulas of the Astronomical Almanac, without refraction: accurate to about 0.1
    degrees in this century.
    """
    days = (at - datetime(2000, 1, 1, 12, tzinfo=UTC)) / timedelta(days=1)
    anomaly = math.radians(357.528 + 0.9856003 * days)
    ecliptic = math.radians(
        280.460 + 0.9856474 * days + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly)
    )
    obliquity = math.radians(23.439)
    declination = math.asin(math.sin(obliquity) * math.sin(ecliptic))
    right_ascension = math.atan2(math.cos(obliquity) * math.sin(ecliptic), math.cos(ecliptic))
    sidereal = math.radians(280.46062 + 360.98564737 * days + longitude)
    here = math.radians(latitude)
    return math.degrees(
        math.asin(
            math.sin(here) * math.sin(declination)
            + math.cos(here) * math.cos(declination) * math.cos(sidereal - right_ascension)
        )
    )


def zenith_magnitude(altitude: float, darkness: float) -> float:
    """The mag/arcsec2 at the zenith with the sun at `altitude` degrees, at a place with this darkness at
    night.

    Twilight fades by about one magnitude per degree (6 at sunset, 12 at -6, 19 at -12, 25 at -18). Its light
    adds to that of the night sky.
    """
    sunlight = 6.0 - (0.04 if altitude > 0 else 1.05) * altitude
    return -2.5 * math.log10(10 ** (-0.4 * sunlight) + 10 ** (-0.4 * darkness))


def firmware_json(fields: Mapping[str, Value]) -> str:
    """The fields as the firmware writes them: a blank after each comma, floats with two decimals."""
    return "{" + ", ".join(f'"{key}":{_text(value)}' for key, value in fields.items()) + "}"


def _text(value: Value) -> str:
    if isinstance(value, Mapping):
        return firmware_json(value)
    return f"{value:.2f}" if isinstance(value, float) else json.dumps(value)


def utc_stamp(at: datetime) -> str:
    """The `tstamp` of a gateway: UTC, rounded to the nearest second."""
    return (at + timedelta(seconds=0.5)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Photometer:
    """A TESS-W with the firmware of revision 2. `seq` counts the messages since the last boot.

    The address and the zero point hang on the name alone: who simulates a photometer again, with another
    `rng`, gets the same one, not another that has taken its name.
    """

    def __init__(self, name: str, rng: Random, place: Place) -> None:
        self.name = name
        self.place = place
        self.seq = 0
        self._rng = rng
        self._identity = Random(name)
        self._mac = bytes((0x5C, 0xCF, 0x7F, *self._identity.randbytes(3)))
        self._zero_point = round(self._identity.uniform(20.2, 20.5), 2)
        self._signal = rng.uniform(-78.0, -56.0)
        self._cloud_waves = [(hours * 3600.0, rng.uniform(0.0, math.tau)) for hours in (0.7, 3, 11, 40)]

    def boot(self) -> None:
        """Restart, as after a power cut: `seq` starts again."""
        self.seq = 0

    def register(self) -> Fields:
        """The next register message, which introduces this photometer."""
        self._count()
        return {
            "name": self.name,
            "rev": 2,
            # The firmware does not pad the bytes of its address with zeros.
            "mac": ":".join(f"{byte:X}" for byte in self._mac),
            "chan": "pruebas",
            "calib": self._zero_point,
            "wdBm": self._signal_strength(),
        }

    def reading(self, at: datetime) -> Fields:
        """The next reading, of the sky at the aware time `at`."""
        seq = self._count()
        magnitude, tamb, tsky = self._look(at)
        freq = 10 ** (0.4 * (self._zero_point - magnitude))
        if freq >= SATURATED_HZ:
            freq, magnitude = SATURATED_HZ, 0.0
        return {
            "seq": seq,
            "rev": 2,
            "name": self.name,
            "freq": round(freq, 2),
            "mag": round(magnitude, 2),
            "tamb": tamb,
            "tsky": tsky,
            "wdBm": self._signal_strength(),
        }

    def _count(self) -> int:
        """The number of the next message: the first since a boot has 0, be it a register or a reading."""
        self.seq += 1
        return self.seq - 1

    def _look(self, at: datetime) -> tuple[float, float, float]:
        """The mag/arcsec2 at the zenith, and the temperatures of the box and of the sky."""
        altitude = sun_altitude(at, self.place.latitude, self.place.longitude)
        cloud = self._cloudiness(at)
        # Clouds reflect the lights of a town, but hide the stars in the country.
        darkness = self.place.darkness + 0.5 * cloud * (self.place.darkness - 20.8)
        magnitude = zenith_magnitude(altitude, darkness) + self._rng.gauss(0.0, 0.02)
        swing = 8.0 * math.sin(math.radians(altitude))
        tamb = self.place.temperature + swing + self._rng.gauss(0.0, 0.1)
        # A clear sky radiates like a surface 35 degrees colder; clouds are nearly as warm as the air.
        tsky = tamb - 35.0 + 31.0 * cloud + self._rng.gauss(0.0, 0.2)
        return magnitude, round(tamb, 2), round(tsky, 2)

    def _cloudiness(self, at: datetime) -> float:
        """0 (clear) to 1 (overcast); it drifts over minutes to days."""
        seconds = at.timestamp()
        waves = [math.sin(math.tau * seconds / wave + phase) for wave, phase in self._cloud_waves]
        return min(1.0, max(0.0, 0.5 * sum(waves) - 0.3))

    def _signal_strength(self) -> int:
        return round(min(-50.0, max(-85.0, self._rng.gauss(self._signal, 2.0))))


class Tess4C(Photometer):
    """A photometer with four channels, each with its own filter and zero point."""

    def __init__(self, name: str, rng: Random, place: Place) -> None:
        super().__init__(name, rng, place)
        self._zero_points = [round(self._identity.uniform(19.85, 20.97), 2) for _ in CHANNELS]

    def register(self) -> Fields:
        """The next register message, with the filter and the zero point of each channel."""
        self._count()
        channels: Fields = {
            key: {"band": band, "calib": zero_point}
            for (key, band, _), zero_point in zip(CHANNELS, self._zero_points, strict=True)
        }
        mac = self._mac.hex(":").upper()
        head: Fields = {"rev": 3, "name": self.name, "mac": mac, "firmware": "Mar  4 2024"}
        return head | channels

    def reading(self, at: datetime) -> Fields:
        """The next reading, of the sky at the aware time `at`."""
        seq = self._count()
        magnitude, tamb, tsky = self._look(at)
        channels: Fields = {
            key: self._channel(magnitude + redder, zero_point)
            for (key, _, redder), zero_point in zip(CHANNELS, self._zero_points, strict=True)
        }
        head: Fields = {
            "seq": seq,
            "rev": 3,
            "name": self.name,
            "wdBm": self._signal_strength(),
            "hash": self._mac.hex().upper()[-3:],
            "ain": self._rng.randint(440, 505),
        }
        return head | channels | {"tamb": tamb, "tsky": tsky}

    def _channel(self, magnitude: float, zero_point: float) -> dict[str, float | str]:
        freq = max(LEAST_HZ, 10 ** (0.4 * (zero_point - magnitude)))
        if freq > TESS4C_LIMIT_HZ:
            freq = 1e6 / self._rng.randint(8, 16)
        seen = zero_point - 2.5 * math.log10(freq)
        return {"freq": round(freq, 2), "mag": round(seen, 2), "zp": zero_point}
