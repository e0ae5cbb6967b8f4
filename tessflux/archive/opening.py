"""The config of an output -> where its readings can be had from."""

from tessflux.archive.influxql import InfluxQL
from tessflux.archive.questdb import QUERY, QuestDB
from tessflux.archive.server import Server
from tessflux.archive.source import Source
from tessflux.archive.victoriametrics import VictoriaMetrics
from tessflux.config import InfluxConfig
from tessflux.errors import Unavailable

A_CLUSTER = (
    "a cluster of VictoriaMetrics is read at its vmselect, which tessflux does not know;"
    " ask that for /api/v1/export"
)


def open_source(config: InfluxConfig) -> Source:
    """The database of an output, at the first of its urls that answers. Raises Unavailable."""
    if not config.urls:
        raise Unavailable(f"[{config.section}] url is empty: there is no database to read from")
    for url in config.urls:
        try:
            return _recognise(Server(config, url))
        except Unavailable as error:
            away = error
    raise away


def _recognise(server: Server) -> Source:
    """Whoever shows neither flags nor tables is asked as an InfluxDB. Raises Unavailable."""
    config = server.config
    # Also where the config says which one it is: it may be away.
    flags = server.get("/flags")
    if config.bucket or config.database:
        return InfluxQL(server)
    if "X-Server-Hostname" in flags.headers:
        if "/insert/" in server.url or b"-storageNode=" in flags.content:
            raise server.trouble(A_CLUSTER)
        return VictoriaMetrics(server)
    if b'"dataset":[[1]]' in server.get(QUERY, {"query": "SELECT 1"}).content:
        return QuestDB(server)
    return InfluxQL(server)
