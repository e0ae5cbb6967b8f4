"""What the tools of the TESS network read in an IDA file (tess-ida-tools)."""

from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

import numpy
from tess.ida.timeseries import ida_to_table

COLUMNS = {
    1: {
        "Enclosure Temperature": "tamb",
        "Sky Temperature": "tsky",
        "Frequency": "freq",
        "MSAS": "mag",
        "ZP": "zp",
        "Sequence Number": "seq",
    },
    4: {
        "Enclosure Temperature": "tamb",
        "Sky Temperature": "tsky",
        **{f"Freq{digit}": f"freq{digit}" for digit in "1234"},
        **{f"MSAS{digit}": f"mag{digit}" for digit in "1234"},
        **{f"ZP{digit}": f"zp{digit}" for digit in "1234"},
        "Sequence Number": "seq",
    },
}
"""The fields in the columns of a file with so many channels."""


def read(path: Path) -> tuple[Mapping[str, Any], Mapping[int, Mapping[str, float]]]:
    """The header by its keys, and the readings by their times (ms since 1970 UTC), without what is nan."""
    table = ida_to_table(str(path), False)
    header = table.meta["ida"]
    columns = {key: numpy.asarray(table[name]) for name, key in COLUMNS[header["Number of channels"]].items()}
    found = {}
    for number, time in enumerate(table["time"].to_value("datetime64")):
        values = {key: float(column[number]) for key, column in columns.items()}
        at = int((time - numpy.datetime64(0, "s")) // numpy.timedelta64(1, "ms"))
        assert at not in found
        found[at] = {key: value for key, value in values.items() if not isnan(value)}
    return header, found
