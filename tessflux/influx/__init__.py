"""The way out: what is sent to InfluxDB, when, and what its answers mean.

In:   a `Batch` of the oldest lines in the spool.
Out:  one verdict on each request; the batch is retired when every line of it is in the database or refused.

`Writer` delivers to a `Server`, which asks by an `InfluxClient` over an `agent`. `schema` runs the data
definition file; it is imported only where it is needed, since it brings 10 MB of libraries.
"""

from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent
from tessflux.influx.server import Server
from tessflux.influx.verdict import Delivered, Missing, Unauthorised
from tessflux.influx.writer import Writer

__all__ = [
    "Delivered",
    "InfluxClient",
    "Missing",
    "Server",
    "Unauthorised",
    "Writer",
    "agent",
    "schema",
]
