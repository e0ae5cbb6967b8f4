"""What is done with InfluxDB besides writing readings: the data definition file, its name, our rights.

The `influxdb` package reads the answers; what is asked goes over `http`, as readings do. An error about a
statement shows nothing that stands in single quotes, and of one about a statement with a password only words
are shown that cannot be the password.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import msgspec
import requests
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError, InfluxDBServerError

from tessflux.errors import ServerError
from tessflux.influx.definition import Ran, Statement
from tessflux.influx.http import Answer, Http

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_HARMLESS = re.compile(
    r"expected [A-Z;=, ]+ at line \d+, char \d+|user (?:not found|already exists)", re.IGNORECASE
)
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'""")


class _Rejected(ServerError):
    """The server has answered with an error."""


class _Answered(requests.Session):
    """A session for the `influxdb` package whose request has been answered already."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._response = requests.Response()
        self._response.status_code = answer.code
        self._response.raw = BytesIO(answer.body)

    def request(self, *args: Any, **options: Any) -> requests.Response:
        return self._response


class _Table(msgspec.Struct):
    """A series of an answer to SHOW."""

    columns: list[str]
    values: list[list[Any]] = []


class _Policy(msgspec.Struct):
    """A retention policy, as an answer to SHOW describes it."""

    name: str
    duration: str
    default: bool = False


class Administration:
    """An InfluxDB as its administrator sees it. Every method raises ServerError."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def name(self) -> str:
        """What the server says that it is, with its version; nothing if it does not tell it."""
        answer = await self._http.get("/ping")
        # Others imitate the version of InfluxDB, but not the build.
        if answer.header("X-Influxdb-Build"):
            return self._http.hide(f"InfluxDB {answer.header('X-Influxdb-Version')}")
        return self._http.name(answer)

    async def may_not_create(self) -> str:
        """Why our user is no administrator, who may create databases; nothing if it is."""
        try:
            # Only an administrator may list the users.
            await self._query("SHOW USERS")
        except _Rejected as error:
            return str(error)
        return ""

    async def define(self, statements: Iterable[Statement]) -> Ran:
        """Run the data definition file, until a statement fails."""
        return await _run(statements, self._execute)

    async def _execute(self, statement: Statement) -> str:
        """Run a statement, unless that does harm as things are in the database: then why."""
        if change := statement.alteration:
            for policy in await self._policies(change.database):
                if policy.name == change.policy and change.shortens(policy.duration):
                    return f"it would not keep readings for as long as now: {policy.duration}"
        if new := statement.new_default:
            for policy in await self._policies(new.database):
                # Into a new database nobody has written yet.
                if policy.default and policy.name != new.policy and await self._is_in_use(new.database):
                    await self._query(new.without)
                    others = f"what others write without naming a policy goes to {policy.name}"
                    return f"without DEFAULT, since {others}"
        await self._query(statement.text)
        return ""

    async def _policies(self, database: str) -> list[_Policy]:
        """The retention policies of a database, if there is one."""
        try:
            answer = await self._query(f"SHOW RETENTION POLICIES ON {database}")
        except _Rejected as error:
            if "database not found" not in str(error):
                raise
            return []
        try:
            [table] = msgspec.convert(answer.raw["series"], list[_Table])
            if not {"name", "duration"}.issubset(table.columns):
                raise ValueError("columns are missing")
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.values]
            return msgspec.convert(rows, list[_Policy])
        except Exception as error:
            raise _odd(error) from None

    async def _is_in_use(self, database: str) -> bool:
        """Whether something was written into a database."""
        answer = await self._query(f"SHOW MEASUREMENTS ON {database} LIMIT 1")
        try:
            return bool(msgspec.convert(answer.raw.get("series", []), list[_Table]))
        except Exception as error:
            raise _odd(error) from None

    async def _query(self, text: str) -> Any:
        """What InfluxDB answers to a statement, as the `influxdb` package has read it."""
        # In the body: the statement may hold a password, and every proxy logs addresses.
        answer = await self._http.post("/query", urlencode({"q": text}).encode(), _FORM)
        if 300 <= answer.code < 400:
            raise ServerError(f"{answer.code}, it redirects us")
        try:
            return InfluxDBClient(session=_Answered(answer)).query(text, method="POST")
        except (InfluxDBClientError, InfluxDBServerError) as error:
            # The package keeps the answer of a 5xx as bytes.
            [content] = error.args
            said = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
            # JSON may hold half of a surrogate pair, which no log can hold.
            said = said.encode(errors="backslashreplace").decode()
            shown = _QUOTED.sub("'...'", self._http.hide(said))
            raise _Rejected(shown.strip() or "an error without a text") from None
        except Exception as error:
            # The package trusts the shape of every answer, and has an exception for each that is wrong.
            raise _odd(error) from None


async def preview(statements: Iterable[Statement]) -> Ran:
    """What `define` would run in an empty database. Asks no server."""

    async def leave(statement: Statement) -> str:
        return ""

    return await _run(statements, leave)


async def _run(statements: Iterable[Statement], execute: Callable[[Statement], Awaitable[str]]) -> Ran:
    done: list[Statement] = []
    left_out: list[str] = []
    problem = ""
    for statement in statements:
        if not (statement.harm or statement.verb):
            problem = f"{statement}: it does not begin like InfluxQL, and is not sent"
            break
        try:
            harm = statement.harm or await execute(statement)
        except _Rejected as error:
            problem = f"{statement}: {_without_password(statement, str(error))}"
            break
        if harm:
            left_out.append(f"{statement}: {harm}")
        else:
            done.append(statement)
    return Ran(tuple(done), tuple(left_out), problem)


def _odd(error: Exception) -> ServerError:
    return ServerError(f"its answer is not that of an InfluxDB ({type(error).__name__})")


def _without_password(statement: Statement, error: str) -> str:
    """An error about a statement, without the password in it."""
    if not statement.may_hold_password:
        return error
    found = _HARMLESS.search(error)
    return found[0] if found else "refused; the reason is not shown, since it may contain a password"
