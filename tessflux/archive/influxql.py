"""Readings out of an InfluxDB, by InfluxQL: of version 1 and what imitates it, and of 2 and 3 by what they
have for programs that were made for 1.

The `influxdb` package asks and reads. It is not asked for a chunked answer, amid which it would not see an
error.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError, InfluxDBServerError

from tessflux.archive.server import Server
from tessflux.archive.tables import Table, Tables

_ESCAPES = {"\\": r"\\", "\n": r"\n", "'": r"\'", '"': r"\""}


class _Series(msgspec.Struct):
    columns: list[str]
    values: list[list[Any]] = []


class InfluxQL(Tables):
    """A `Source`: the readings in one measurement of a database."""

    kind = "an InfluxDB"
    everything, time, per_ms, newest = "*::field", "time", 1_000_000, "last"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        config, parts = server.config, urlsplit(server.url)
        self._policy = f"{self.identifier(config.retpol)}." if config.retpol else ""
        host = parts.hostname or ""
        self._client = InfluxDBClient(
            host=f"[{host}]" if ":" in host else host,
            port=parts.port or (443 if parts.scheme == "https" else 80),
            path=parts.path,
            # The session has the login.
            username=None,
            password=None,
            database=config.bucket or config.database or config.dbname,
            ssl=parts.scheme == "https",
            verify_ssl=True,
            timeout=config.timeout,
            retries=1,
            session=server.session,
            # By itself the package asks for MessagePack, which few who imitate InfluxDB have.
            headers={"Accept": "application/json"},
        )

    def ask_names(self, measurement: str) -> Table:
        """Of the tag."""
        return self.ask(f'SHOW TAG VALUES FROM {self.of(measurement)} WITH KEY = "name"')

    def of(self, measurement: str) -> str:
        """In the retention policy of the config."""
        return self._policy + self.identifier(measurement)

    def identifier(self, name: str) -> str:
        """In double quotes."""
        return f'"{_escaped(name)}"'

    def text(self, value: str) -> str:
        """In single quotes."""
        return f"'{_escaped(value)}'"

    def ask(self, statement: str) -> Table:
        """Raises Unavailable."""
        try:
            answer = self._client.query(statement, epoch="ns").raw
            series = msgspec.convert(answer.get("series", []), list[_Series])
        except requests.JSONDecodeError:
            raise self.stranger() from None
        except requests.RequestException as error:
            raise self._server.no_answer(error) from None
        except InfluxDBClientError as error:
            raise self._server.refusal(error.code, error.content) from None
        except InfluxDBServerError as error:
            raise self._server.refusal(None, error.args[0]) from None
        except Exception:
            # The package trusts the shape of every answer, and has an exception for each that is wrong.
            raise self.stranger() from None
        return Table(series[0].columns, series[0].values) if series else Table([], [])


def _escaped(value: str) -> str:
    return re.sub(r"""[\\\n'"]""", lambda found: _ESCAPES[found[0]], value)
