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
  413 to one line            TooLarge      try another line of the batch          Server._takes_another
  fails, others are taken    TooLarge      send halves, and remember the size     Delivery._shrink
  the same for one line      Fails         set aside; quarantine in ten minutes   Delivery.deliver
  404 or 500, "not found"    Missing       run the data definition file, or park  Server._create_missing
  401, 403                   Unauthorised  park, then reload the secret           Server._reload_secret
  429, 503                   Busy          wait as Retry-After asks, or back off  Server._wait_out
  204, but of a stranger     Unreachable   back off                               Server._back_off
  all else, or no answer     Unreachable   back off                               Server._back_off

`verdict.classify` decides which verdict it is, `verdict.about_lines` whether it is about the lines of the
request or about the server. The second timeout in a row counts as TooLarge. If a server fails on a request,
with a 413 for a single line too, it is tried with another line: `verdict.blame_lines` decides what the
failure means if that one is taken. If it is not, the server is to blame: an error is logged, and tessflux
backs off. `client` decides who is a stranger.

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
