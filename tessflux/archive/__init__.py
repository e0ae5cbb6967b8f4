"""Readings out of the database, as files.

In:   the config of an output, the name of a photometer, and a period.
Out:  its readings, one `Row` after the other, and what it said of itself.

A `Source` asks one database; all of them give the same.
"""

from tessflux.archive.source import BEGINNING, END, Extent, Registration, Row, Source

__all__ = ["BEGINNING", "END", "Extent", "Registration", "Row", "Source"]
