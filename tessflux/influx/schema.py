"""What is done with InfluxDB besides writing readings: the data definition file, its version, our rights.

It uses the `influxdb` package, which blocks: every call here runs in a thread. An error about a statement
shows nothing that stands in quotes, and of one about a statement with a password only words are shown that
cannot be the password.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError, InfluxDBServerError
from urllib3.exceptions import HTTPError

from tessflux.config import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.bounded import BoundedSession, Endless
from tessflux.influx.definition import Ran, Statement, read
from tessflux.tls import CertificateRefused, tls_problem

_HARMLESS = re.compile(
    r"expected [A-Z;=, ]+ at line \d+, char \d+|user (?:not found|already exists)", re.IGNORECASE
)
# An error of requests shows the whole address, which may contain the query.
_ADDRESS = re.compile(r" with url: \S+")
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'""")


class _Rejected(ServerError):
    """The server has answered with an error."""


class Administration:
    """An InfluxDB as its administrator sees it. Every method blocks and raises ServerError."""

    def __init__(self, config: InfluxConfig) -> None:
        self._config = config
        self._hide = partial(config.password.hide, config.username)
        url = urlsplit(config.url)
        host = url.hostname or ""
        try:
            session = BoundedSession(config.tls_ca)
        except OSError as error:
            raise ServerError(f"{config.tls_ca}: {error}") from None
        # Without a username none is sent: the package's own default is root with password root.
        self._client = InfluxDBClient(
            # An IPv6 address needs the brackets that urlsplit has taken away.
            host=f"[{host}]" if ":" in host else host,
            port=url.port or (443 if url.scheme == "https" else 80),
            # As bytes, since requests encodes text as Latin-1.
            username=config.username.encode() or None,
            password=config.password.reveal().encode() or None,
            path=url.path,
            ssl=url.scheme == "https",
            # What that means, the session decides.
            verify_ssl=True,
            timeout=config.timeout,
            retries=1,
            session=session,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def version(self) -> str:
        """The version of the server; nothing if it does not tell it."""
        # Not the package's ping, which wants a version: VictoriaMetrics and openGemini tell none.
        ping = partial(self._client.request, "ping", expected_response_code=204)
        return self._hide(self._call(ping).headers.get("X-Influxdb-Version", ""))

    def may_create(self) -> bool:
        """Whether our user is an administrator, who may create databases."""
        try:
            # Only an administrator may list the users.
            self._call(self._client.get_list_users)
        except _Rejected:
            return False
        return True

    def define(self) -> Ran:
        """Run the data definition file, until a statement fails.

        Raises OSError when the file cannot be read, ServerError when the server does not answer.
        """
        return self._run(
            lambda statement: self._call(partial(self._client.query, statement.text, method="POST"))
        )

    def preview(self) -> Ran:
        """What `define` would run. Raises as that does."""
        return self._run(lambda statement: None)

    def _run(self, run: Callable[[Statement], object]) -> Ran:
        done: list[Statement] = []
        left_out: list[str] = []
        problem = ""
        for statement in read(self._config.schema):
            try:
                if harm := statement.harm or self._harm(statement):
                    left_out.append(f"{statement}: {harm}")
                elif not statement.verb:
                    problem = f"{statement}: it does not begin like InfluxQL, and is not sent"
                    break
                else:
                    run(statement)
                    done.append(statement)
            except _Rejected as error:
                problem = f"{statement}: {_without_password(statement, str(error))}"
                break
        return Ran(tuple(done), tuple(left_out), problem)

    def _harm(self, statement: Statement) -> str:
        """Why a statement is not run as things are in the database, or ""."""
        change = statement.alteration
        if change is None:
            return ""
        try:
            query = partial(self._client.query, f"SHOW RETENTION POLICIES ON {change.database}")
            kept = self._call(lambda: _durations(query()))
        except _Rejected as error:
            # Then there is nothing to shorten.
            if "database not found" in str(error):
                return ""
            raise
        if change.policy in kept and change.shortens(kept[change.policy]):
            return f"it would not keep readings for as long as now: {kept[change.policy]}"
        return ""

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (InfluxDBClientError, InfluxDBServerError) as error:
            # The package keeps the answer of a 5xx as bytes.
            [content] = error.args
            answer = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
            # JSON may hold half of a surrogate pair, which no log can hold.
            answer = answer.encode(errors="backslashreplace").decode()
            shown = _QUOTED.sub("'...'", self._hide(answer))
            raise _Rejected(shown.strip() or "an error without a text") from None
        except Endless as error:
            raise ServerError(f"{self._config.url}: {error}") from None
        except requests.Timeout:
            raise ServerError(f"{self._config.url}: no answer within {self._config.timeout:g} s") from None
        except requests.TooManyRedirects:
            raise ServerError(f"{self._config.url}: it redirects us; is the url right?") from None
        except CertificateRefused as error:
            problem = tls_problem(error, "influxdb", "url")
            raise ServerError(f"{self._config.url}: {problem}") from None
        except requests.exceptions.SSLError as error:
            raise ServerError(f"{self._config.url}: TLS: {_ADDRESS.sub('', str(error))}") from None
        except requests.ConnectionError:
            raise ServerError(
                f"{self._config.url}: no connection; is the server running, and is the url right?"
            ) from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ServerError(f"{self._config.url}: {_ADDRESS.sub('', str(error))}") from None
        except Exception as error:
            # The package trusts the shape of every answer, and has an exception for each that is wrong.
            odd = f"its answer is not that of an InfluxDB ({type(error).__name__})"
            raise ServerError(f"{self._config.url}: {odd}") from None


class _Table(msgspec.Struct):
    """A series of an answer to SHOW."""

    columns: list[str]
    values: list[list[Any]] = []


def _durations(policies: Any) -> dict[str, str]:
    """How long each retention policy keeps readings. Raises whatever it may if the answer does not say it."""
    [table] = msgspec.convert(policies.raw["series"], list[_Table])
    name, duration = map(table.columns.index, ("name", "duration"))
    return msgspec.convert({row[name]: row[duration] for row in table.values}, dict[str, str])


def _without_password(statement: Statement, error: str) -> str:
    """An error about a statement, without the password in it."""
    if not statement.may_hold_password:
        return error
    found = _HARMLESS.search(error)
    return found[0] if found else "refused; the reason is not shown, since it may contain a password"
