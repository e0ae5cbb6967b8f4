"""The one table of the values that photometers send, and what is known of each. Pure data.

To store a new value, add a row to FIELDS. How a payload is read, and what `extra_fields` in the config may
name, follows from it. Then copy the row into docs/readings.md (a test compares the two), and name the field
in docs/data.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf, nextafter


class Kind(Enum):
    """When a value is stored, in the words of docs/readings.md."""

    REQUIRED = "required"
    """A reading without it is refused."""

    LIGHT = "required, by channel"
    """Required as well. A TESS4C sends it in an object for each of its CHANNELS."""

    OPTIONAL = "if sent"
    """Stored whenever a photometer sends it."""

    EXTRA = "if `extra_fields` names it"
    """Stored where the operator wants it."""

    LIGHT_EXTRA = "if `extra_fields` names it, by channel"
    """The same, and a TESS4C sends it for each of its CHANNELS."""


@dataclass(frozen=True)
class Field:
    """One value of a reading. `key` is its name in the payload and in InfluxDB."""

    key: str
    kind: Kind
    what: str
    unit: str = ""
    aliases: tuple[str, ...] = ()
    """Other keys under which it is sent; `key` wins if there are both."""
    plausible: tuple[float, float] = (-inf, inf)
    """A reading with a number outside is refused, if the config asks for validation."""
    no_measure: tuple[float, ...] = ()
    """Numbers that mean "not measured"; the field is left out then."""

    above: float = field(init=False)
    """Every number above this and below `below` is a plausible measure."""
    below: float = field(init=False)

    def __post_init__(self) -> None:
        lowest, highest = nextafter(self.plausible[0], -inf), nextafter(self.plausible[1], inf)
        # The dataclass is frozen for everybody else.
        object.__setattr__(self, "above", max([lowest, *(each for each in self.no_measure if each < 0)]))
        object.__setattr__(self, "below", min([highest, *(each for each in self.no_measure if each >= 0)]))


FIELDS = (
    Field("seq", Kind.REQUIRED, "counter of the photometer, from its boot", aliases=("udp",)),
    # A photometer that lost its zero point comes down to -10; the darkest sky is below 24.
    Field(
        "mag",
        Kind.LIGHT,
        "sky brightness; larger is darker",
        "mag/arcsec²",
        plausible=(-10.0, 27.0),
        no_measure=(-99.0, 99.0),
    ),
    # A TESS-W saturates at 65,000, a TESS4C at 125,000, an SQM behind a gateway at 211,313.
    Field("freq", Kind.LIGHT, "frequency of the sensor", "Hz", plausible=(0.0, 1_000_000.0)),
    Field(
        "tamb",
        Kind.OPTIONAL,
        "temperature in the box",
        "°C",
        aliases=("tbox",),
        no_measure=(-273.15,),
    ),
    Field("tsky", Kind.OPTIONAL, "temperature of the sky, infrared", "°C", no_measure=(-273.15,)),
    Field("wdBm", Kind.OPTIONAL, "strength of its Wi-Fi", "dBm", no_measure=(99.0,)),
    Field("az", Kind.EXTRA, "azimuth in which it points", "degrees", aliases=("azi",)),
    Field("alt", Kind.EXTRA, "height over the horizon at which it points", "degrees"),
    Field("lat", Kind.EXTRA, "latitude", "degrees"),
    Field("long", Kind.EXTRA, "longitude", "degrees"),
    Field("height", Kind.EXTRA, "height above the sea", "m"),
    Field("text", Kind.EXTRA, "temperature outside", "°C"),
    Field("hrel", Kind.EXTRA, "relative humidity", "%"),
    Field("pres", Kind.EXTRA, "air pressure", "hPa"),
    Field("ain", Kind.EXTRA, "analogue input", "counts"),
    Field("vbat", Kind.EXTRA, "voltage of the battery", "V"),
    Field("zp", Kind.LIGHT_EXTRA, "zero point of the magnitudes", "mag", aliases=("ZP", "ci")),
)
"""In the order in which a line has them."""

CHANNELS = ("F1", "F2", "F3", "F4")
"""The keys of a TESS4C's channels; a field of one is stored with its digit: `mag1`."""


def of(*kinds: Kind) -> tuple[Field, ...]:
    """The fields of these kinds, in the order of the table."""
    return tuple(each for each in FIELDS if each.kind in kinds)


EXTRA_FIELDS: Mapping[str, Field] = {extra.key: extra for extra in of(Kind.EXTRA, Kind.LIGHT_EXTRA)}
"""Fields that the operator can choose to store as well."""


def _stored(each: Field) -> tuple[str, ...]:
    """The names under which a value may be stored."""
    by_channel = each.kind in (Kind.LIGHT, Kind.LIGHT_EXTRA)
    return (each.key, *(f"{each.key}{channel[-1]}" for channel in CHANNELS if by_channel))


UNITS: Mapping[str, str] = {key: each.unit for each in FIELDS for key in _stored(each)}
"""Of all fields that may be stored, in the order of the table."""
