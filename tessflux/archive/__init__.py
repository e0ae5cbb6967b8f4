"""Readings out of the database, as files.

In:   the config of an output, the name of a photometer, and a period.
Out:  its readings, one `Row` after the other, and what it said of itself.

`open_source` gives the `Source` of a database: `influxql`, `questdb` (both by way of `tables`) or
`victoriametrics`. They ask by `server`, and give the same. `period` reads times, `csvtable` writes CSV,
`ida` the community's format, a file for each of the `months`; `files` takes them.
"""

from tessflux.archive import period
from tessflux.archive.csvtable import SKY, csv_lines, with_sky
from tessflux.archive.files import whole_file, writing
from tessflux.archive.months import write_months
from tessflux.archive.opening import open_source
from tessflux.archive.period import EVER, Period, iso, night, zone_of
from tessflux.archive.source import Extent, Registration, Row, Source

__all__ = [
    "EVER",
    "SKY",
    "Extent",
    "Period",
    "Registration",
    "Row",
    "Source",
    "csv_lines",
    "iso",
    "night",
    "open_source",
    "period",
    "whole_file",
    "with_sky",
    "write_months",
    "writing",
    "zone_of",
]
