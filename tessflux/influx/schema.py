"""What is done with InfluxDB besides writing readings: the data definition file, its version, our rights.

It uses the `influxdb` package, which blocks: every call here runs in a thread. Statements may hold passwords,
so a statement is named by its number and its first words, and an error shows nothing that stands in quotes.
Of an error about a statement with a password only words are shown that cannot be the password.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError, InfluxDBServerError

from tessflux.config import InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx.bounded import BoundedSession, Endless
from tessflux.tls import CertificateRefused, tls_problem

_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?(?:\*/|\Z) | '(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | ; | [^;'"/-]+ | .""",
    re.DOTALL | re.VERBOSE,
)
_FROM_PASSWORD = re.compile(r"\bPASSWORD\b.*", re.IGNORECASE | re.DOTALL)
_VERB = re.compile(r"(?:ALTER|CREATE|DELETE|DROP|EXPLAIN|GRANT|KILL|REVOKE|SELECT|SET|SHOW)\b", re.IGNORECASE)
"""How a statement of InfluxQL begins. Any other text may be the rest of a password that has a quote in it."""
_HARMLESS = re.compile(
    r"expected [A-Z;=, ]+ at line \d+, char \d+|user (?:not found|already exists)", re.IGNORECASE
)
# An error of requests shows the whole address, which may contain the query.
_ADDRESS = re.compile(r" with url: \S+")
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'""")
_DATABASE = re.compile(r"""\bCREATE\s+DATABASE\s+(?:"((?:\\.|[^"\\])*)"|(\w+))""", re.IGNORECASE)


def statements(text: str) -> Iterator[str]:
    """The statements of a data definition file: separated by semicolons, without their comments."""
    words: list[str] = []
    for token in [*_TOKEN.findall(text), ";"]:
        if token == ";":
            if statement := "".join(words).strip():
                yield statement
            words = []
        else:
            words.append(" " if token.startswith(("--", "/*")) else token)


def databases(text: str) -> list[str]:
    """The databases that a data definition file creates."""
    found = (_DATABASE.match(statement) for statement in statements(text))
    return [match[1] or match[2] for match in found if match]


class _Rejected(ServerError):
    """The server has answered with an error."""


class Administration:
    """An InfluxDB as its administrator sees it. Every method blocks and raises ServerError."""

    def __init__(self, config: InfluxConfig) -> None:
        self._config = config
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
        try:
            return str(self._call(self._client.ping))
        except KeyError:
            # So do VictoriaMetrics and openGemini.
            return ""

    def may_create(self) -> bool:
        """Whether our user is an administrator, who may create databases."""
        try:
            # Only an administrator may list the users.
            self._call(self._client.get_list_users)
        except _Rejected:
            return False
        return True

    def define(self) -> list[str]:
        """Run the data definition file; returns a line for each statement that failed. The others were run.

        Raises OSError when the file cannot be read, ServerError when the server does not answer.
        """
        try:
            text = Path(self._config.schema).read_text("utf-8")
        except UnicodeDecodeError:
            raise OSError(f"{self._config.schema} is not UTF-8 text") from None
        problems = []
        for number, statement in enumerate(statements(text), 1):
            try:
                self._call(partial(self._client.query, statement, method="POST"))
            except _Rejected as error:
                problems.append(f"statement {number} {_describe(statement, str(error))}")
        return problems

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (InfluxDBClientError, InfluxDBServerError) as error:
            # The package keeps the answer of a 5xx as bytes.
            [content] = error.args
            answer = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
            shown = self._config.password.hide(self._config.username, answer)
            raise _Rejected(_QUOTED.sub("'...'", shown).strip()) from None
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
        except (requests.RequestException, OSError, ValueError) as error:
            raise ServerError(f"{self._config.url}: {_ADDRESS.sub('', str(error))}") from None


def _describe(statement: str, error: str) -> str:
    """A statement and its error, without its password."""
    is_statement = _VERB.match(statement)
    first_words = (
        " ".join(_FROM_PASSWORD.sub("PASSWORD", statement).split()[:4]) if is_statement else "no statement"
    )
    if _FROM_PASSWORD.search(statement) or not is_statement:
        found = _HARMLESS.search(error)
        error = found[0] if found else "refused; the reason is not shown, since it may contain the password"
    return f"({first_words} ...): {error}"
