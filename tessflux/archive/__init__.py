"""Readings out of the database, as files.

In:   the config of an output, the name of a photometer, and a period.
Out:  its readings, one `Row` after the other, and what it said of itself.

`open_source` gives the `Source` of a database: `influxql`, `questdb` or `victoriametrics`. They ask by
`server`, and give the same.
"""

from tessflux.archive.opening import open_source
from tessflux.archive.source import BEGINNING, END, REGISTRATIONS, Extent, Registration, Row, Source

__all__ = ["BEGINNING", "END", "REGISTRATIONS", "Extent", "Registration", "Row", "Source", "open_source"]
