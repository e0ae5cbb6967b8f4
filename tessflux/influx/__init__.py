"""The way out: what is sent to InfluxDB, when, and what its answers mean.

In:   a `Batch` of the oldest lines from the queue of the spool.
Out:  the batch is retired when each of its lines is in the database, expired or refused.

`Writer` takes batches from the queue (`writer.Source`), `Delivery` brings one into the database, `Server`
repeats a request until the answer is about its lines, `Returns` has sent again what a server that was away
may have lost, `InfluxClient` makes one write request (`server.WriteClient`) by `Http`, over an `agent`.
`dialect` has what differs between InfluxDB 1, 2 and 3. Each answer has a verdict:

  answer                     verdict       what is done about it                  where
  -------------------------  ------------  -------------------------------------  ----------------------
  204; 200 without a text    Delivered     the lines are retired                  Delivery._post
  "beyond retention policy"  Expired       the oldest are dropped and counted     Delivery._post
  any other 400 or 422       BadLines      bisect; bad lines go into quarantine   Delivery._post
  413 to several lines       TooLarge      send halves, and remember the size     Delivery._shrink
  413 to one line            TooLarge      log it, back off; others tried soon    Server._takes_another
  fails, others are taken    Fails         send halves, and remember the size     Delivery._shrink
  one fails, others do not   Fails         set aside; quarantine in ten minutes   Delivery._set_aside
  404 or 500, "not found"    Missing       run the file, make the bucket or park  Server._create_missing
  401, 403                   Unauthorised  park, then reload the secret           Server._reload_secret
  429, 503                   Busy          wait as Retry-After asks, or back off  Server._wait_out
  204, 400 of a stranger     Unreachable   back off                               Server._back_off
  all else, or no answer     Unreachable   back off                               Server._back_off

`verdict.classify` decides which verdict it is, `verdict.about_lines` whether it is about the lines of the
request or about the server. For several lines, the second timeout in a row counts as TooLarge. `client`
decides who is a stranger.

A server fails on a request if the answer is Unauthorised, Unreachable (but for a connection that was never
made), or 413 to a single line: `verdict.blame_lines`. `Server._retry` repeats the request with a growing
pause. From the third failure on, another line of the batch is sent as well. If the server takes that, the
lines are to blame (Fails): those it fails on alone are set aside, and later batches wait up to ten minutes
for them. If it takes none, or there is no other, the server is to blame: an error is logged, and all lines go
on waiting. After eight failures the batch is taken anew, with the lines that have come meanwhile
(`Undecided`).

`bucket` makes that of an InfluxDB 2. `definition` reads the data definition file and decides which statements
are run; `schema` runs them, by the same `Http`. Import `schema` only where it is needed, since it brings 10
MB of libraries.
"""

from tessflux.influx import bucket
from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent
from tessflux.influx.definition import Ran, Statement
from tessflux.influx.definition import read as read_definition
from tessflux.influx.dialect import dialect
from tessflux.influx.http import Http
from tessflux.influx.server import Server
from tessflux.influx.verdict import Delivered, Missing, Unauthorised, error_text
from tessflux.influx.writer import Writer

__all__ = [
    "Delivered",
    "Http",
    "InfluxClient",
    "Missing",
    "Ran",
    "Server",
    "Statement",
    "Unauthorised",
    "Writer",
    "agent",
    "bucket",
    "dialect",
    "error_text",
    "read_definition",
    "schema",
]
