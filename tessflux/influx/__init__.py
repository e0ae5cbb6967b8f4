"""The way out: what is sent to InfluxDB, when, and what its answers mean.

In:   a `Batch` of the oldest lines from the queue of the spool.
Out:  the batch is retired when each of its lines is in the database, expired or refused.

`Writer` takes batches from the queue, `Delivery` brings one into the database, `Server` repeats a request
until the answer is about its lines, `InfluxClient` makes one request over an `agent`. Each answer has one
verdict:

  answer                     verdict       what is done about it                  where
  -------------------------  ------------  -------------------------------------  ----------------------
  204; 200 without a text    Delivered     the lines are retired                  Delivery._post
  "beyond retention policy"  Expired       the oldest are dropped and counted     Delivery._post
  any other 400 or 422       BadLines      bisect; bad lines go into quarantine   Delivery._post
  413                        TooLarge      send halves, and remember the size     Delivery._shrink
  413 to one line or none    TooLarge      log an error, and back off             Server._back_off
  fails, others are taken    TooLarge      as above, if there are several lines   Delivery._shrink
  the same for one line      Fails         set aside; quarantine in ten minutes   Delivery.deliver
  404 or 500, "not found"    Missing       run the data definition file, or park  Server._create_missing
  401, 403                   Unauthorised  park, then reload the secret           Server._reload_secret
  429, 503                   Busy          wait as Retry-After asks, or back off  Server._wait_out
  204, but of a stranger     Unreachable   back off                               Server._back_off
  all else, or no answer     Unreachable   back off                               Server._back_off

`verdict.classify` decides which verdict it is, `verdict.about_lines` whether it is about the lines of the
request or about the server. The second timeout in a row counts as TooLarge; if a server finds a single line
too large, or a request without lines bad, tessflux backs off. `verdict.blame_lines` decides what a verdict on
the server means if that takes another line at the same time. `client` decides who is a stranger.

`definition` reads the data definition file and decides which statements are run; `schema` runs them. Import
`schema` only where it is needed, since it brings 10 MB of libraries.
"""

from tessflux.influx.client import InfluxClient
from tessflux.influx.connection import agent
from tessflux.influx.definition import Ran
from tessflux.influx.server import Server
from tessflux.influx.verdict import Delivered, Missing, Unauthorised
from tessflux.influx.writer import Writer

__all__ = [
    "Delivered",
    "InfluxClient",
    "Missing",
    "Ran",
    "Server",
    "Unauthorised",
    "Writer",
    "agent",
    "schema",
]
