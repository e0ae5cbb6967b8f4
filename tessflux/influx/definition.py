"""The data definition file as a text: its statements, which of them are run, and how each is shown.

The file is run again whenever something is missing, and nobody looks on. So a statement is run only if it
defines something, and neither takes away what is there nor moves what others write. Of one that may hold a
password only what stands before it is shown.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?(?:\*/|\Z) | '(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | ; | [^;'"/-]+ | .""",
    re.DOTALL | re.VERBOSE,
)
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)


def _influxql(*forms: str) -> re.Pattern[str]:
    """A pattern for any of these forms. A blank stands for what InfluxQL takes for one; others it refuses."""
    pattern = "|".join(forms).replace(" ", r"[\x20\t\r\n]+")
    return re.compile(pattern, re.IGNORECASE | re.ASCII | re.DOTALL)


_RESERVED = """
all alter analyze and any as asc begin by cardinality create continuous database databases default delete
desc destinations diagnostics distinct drop duration end every exact explain false field for from grant
grants group groups in inf insert into key keys kill limit measurement measurements name offset on or
order password policy policies privileges queries query read replication resample retention revoke select
series set shard shards show slimit soffset stats subscription subscriptions tag to true user users
values where with write
"""
_NAME = rf"""(?:"(?:\\[n\\"']|[^"\\\r\n])+"|(?!(?:{"|".join(_RESERVED.split())})\b)[A-Z_]\w*)"""
_STRING = r"""'(?:\\[n\\"']|[^'\\\r\n])*'"""
_SPAN = r"(?:\d+(?:ns|u|µ|ms|[smhdw]))+"
_KEPT, _COPIES = rf" DURATION (?:INF|{_SPAN})", r" REPLICATION [1-9]\d*"
_SHARD = rf"(?: SHARD{_KEPT})?"

_DEFINITIONS = {
    "CREATE DATABASE": rf" (?P<database>{_NAME})"
    rf"(?: WITH(?= )(?:{_KEPT})?(?:{_COPIES})?{_SHARD}(?: NAME (?P<policy>{_NAME}))?)?",
    "CREATE RETENTION POLICY": rf" (?P<policy>{_NAME}) ON (?P<on>{_NAME})"
    rf"{_KEPT}{_COPIES}{_SHARD}(?: DEFAULT)?",
    "ALTER RETENTION POLICY": rf" (?P<policy>{_NAME}) ON (?P<on>{_NAME})(?= )"
    rf"(?P<kept>{_KEPT})?(?:{_COPIES})?{_SHARD}(?P<default> DEFAULT)?",
    "CREATE CONTINUOUS QUERY": rf" {_NAME} ON {_NAME}(?: RESAMPLE .+)? BEGIN .+\bEND",
    "CREATE USER": rf" {_NAME} WITH PASSWORD {_STRING}(?: WITH ALL PRIVILEGES)?",
    "SET PASSWORD": rf" FOR {_NAME}(?: )?=(?: )?{_STRING}",
    "GRANT": rf" (?:(?:READ|WRITE|ALL|ALL PRIVILEGES) ON {_NAME}|ALL|ALL PRIVILEGES) TO {_NAME}",
    "CREATE SUBSCRIPTION": rf" {_NAME} ON {_NAME}\.{_NAME} DESTINATIONS (?:ALL|ANY)"
    rf" {_STRING}(?:(?: )?,(?: )?{_STRING})*",
}
"""The statements that are run: how each begins, and how it goes on as far as we know InfluxQL."""
_DEFINES = _influxql(*(f"{beginning}(?= )" for beginning in _DEFINITIONS))
_FORMS = [_influxql(beginning + rest) for beginning, rest in _DEFINITIONS.items()]

_VERBS = {
    *("ALTER", "CREATE", "DELETE", "DROP", "EXPLAIN", "GRANT", "KILL", "REVOKE", "SELECT", "SET", "SHOW")
}
"""How a statement of InfluxQL begins. Any other text may be the rest of a password that has a quote in it."""

_OF_USER = _influxql(
    rf"(?:ALTER|CREATE) USER {_NAME}",
    rf"SET \w+ FOR {_NAME}",
    r"(?:ALTER|CREATE|SET) (?!(?:DATABASE|RETENTION|CONTINUOUS|SUBSCRIPTION)\b)\w+",
)
"""The beginning of what may define a user, mistyped or not: a password may follow."""
_FROM_PASSWORD = _influxql(r"(?:\bPASSWORD\b|').*")

_OPEN_QUERY = _influxql(r"\s*CREATE CONTINUOUS QUERY\b.*\bBEGIN\b(?!.*\bEND\b)")
_CLAUSE = _influxql(rf"DEFAULT\b|(?:SHARD(?:_| )DURATION|DURATION|REPLICATION|NAME) (?:{_NAME}|[\wµ]+)")
_POLICY = _influxql(
    rf"(?P<head>(?:CREATE|ALTER) RETENTION POLICY {_NAME} ON {_NAME}|CREATE DATABASE {_NAME} WITH)"
    rf"(?P<clauses>(?: (?:{_CLAUSE.pattern}))+)"
)
_NEW_DEFAULT = _influxql(
    rf"(?P<without>CREATE RETENTION POLICY (?P<policy>{_NAME}) ON (?P<on>{_NAME}) .+) DEFAULT"
)
_ORDER = ("DURATION", "REPLICATION", "SHARD", "DEFAULT", "NAME")
"""How the clauses of a retention policy begin, in the order that InfluxQL wants."""

_SECOND = 10**9
_UNITS = {
    "ns": 1,
    "u": 10**3,
    "µ": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3_600 * _SECOND,
    "d": 86_400 * _SECOND,
    "w": 604_800 * _SECOND,
}
"""Nanoseconds."""
_LONGEST = 2**63 - 1
"""Nanoseconds. Of a longer duration InfluxDB makes another, which may be short."""


@dataclass(frozen=True)
class Alteration:
    """How long a retention policy is to keep readings from now on."""

    policy: str
    database: str
    duration: str

    def shortens(self, current: str) -> bool:
        """Whether that is less long than now, or perhaps is."""
        new, old = _nanoseconds(self.duration), _nanoseconds(current)
        return new is None or old is None or new < old


@dataclass(frozen=True)
class NewDefault:
    """A retention policy to which goes, from now on, what is written without naming a policy."""

    policy: str
    database: str
    without: str
    """The statement that makes the policy and leaves the default as it is."""


@dataclass(frozen=True)
class Statement:
    """One statement, as it is sent to InfluxDB."""

    number: int
    text: str

    @property
    def verb(self) -> str:
        """Its first word, or "" if it does not begin like InfluxQL."""
        word = re.split(r"\W", self.text, maxsplit=1)[0].upper()
        return word if word in _VERBS else ""

    @property
    def _parts(self) -> re.Match[str] | None:
        return next((parts for form in _FORMS if (parts := form.fullmatch(self.text))), None)

    def _part(self, name: str) -> str:
        """A part of it, or ""."""
        return (self._parts.groupdict().get(name) or "") if self._parts else ""

    @property
    def understood(self) -> bool:
        """Whether it is InfluxQL from its beginning to its end, as far as we know."""
        return self._parts is not None

    @property
    def may_hold_password(self) -> bool:
        return bool(_OF_USER.match(self.text) or _FROM_PASSWORD.search(self.text))

    @property
    def harm(self) -> str:
        """Why it is never run; "" if it is, or if that depends on its `alteration` or `new_default`."""
        code = _QUOTED.sub("", self.text)
        if self.verb and not _DEFINES.match(self.text):
            return "it defines nothing that tessflux knows"
        if self.verb == "ALTER" and not self.understood:
            return "it may shorten how long readings are kept"
        if self._part("default"):
            return "what others write without naming a policy would go to this one; leave out DEFAULT"
        if any(_nanoseconds(span) is None for span in re.findall(rf"(?<!\w){_SPAN}(?!\w)", code)):
            return "InfluxDB may make a short duration of one that is so long; write INF"
        # To InfluxDB a quote in a regular expression is none, so a second statement may be hidden here.
        if ";" in self.text and "/" in code:
            return "it has a regular expression, and a semicolon that may be its end; put them apart"
        return ""

    @property
    def alteration(self) -> Alteration | None:
        """How it changes the time for which readings are kept; None if it does not."""
        if kept := self._part("kept"):
            return Alteration(_unquoted(self._part("policy")), self._part("on"), kept.split()[-1])
        return None

    @property
    def new_default(self) -> NewDefault | None:
        """Which default it makes, if the policy is new to the database; None if it makes none."""
        if made := _NEW_DEFAULT.fullmatch(self.text):
            return NewDefault(_unquoted(made["policy"]), made["on"], made["without"])
        return None

    @property
    def database(self) -> str:
        """The database that it creates, or ""."""
        return _unquoted(self._part("database"))

    @property
    def policy(self) -> tuple[str, str]:
        """The database and the name of the retention policy that it creates, or empty names."""
        policy = self._part("policy")
        if not policy or self.verb == "ALTER":
            return "", ""
        return _unquoted(self._part("database") or self._part("on")), _unquoted(policy)

    @property
    def shown(self) -> str:
        """All of it, but for what may be a password."""
        if self.understood and not _OF_USER.match(self.text):
            return " ".join(_FROM_PASSWORD.sub(" ...", self.text).split())
        return f"{self._words} ..."

    @property
    def _words(self) -> str:
        """Its first words."""
        if not self.verb:
            return "no statement"
        user = _OF_USER.match(self.text)
        return " ".join(user[0].split() if user else _FROM_PASSWORD.sub("", self.text).split()[:4])

    def __str__(self) -> str:
        """Its number and its first words."""
        return f"statement {self.number} ({self._words} ...)"


@dataclass(frozen=True)
class Ran:
    """What came of running the file, or would come of it now."""

    statements: tuple[Statement, ...] = ()
    """Those that were run."""
    left_out: tuple[str, ...] = ()
    """Those that are not run, or not as they stand, each with the reason."""
    problem: str = ""
    """The statement that failed, after which none was run, and its error."""


def read(path: str) -> list[Statement]:
    """The statements of a data definition file. Raises OSError when it cannot be read."""
    try:
        # Windows editors begin a file with a byte order mark.
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise OSError(f"{path} is not UTF-8 text") from None
    return [Statement(number, statement) for number, statement in enumerate(statements(text), 1)]


def statements(text: str) -> Iterator[str]:
    """The statements of a text: separated by semicolons, without their comments.

    A semicolon before the END of a continuous query is left out: InfluxQL wants none there.
    """
    parts: list[str] = []
    for token in [*_TOKEN.findall(text), ""]:
        if token.startswith(("--", "/*")) or (token == ";" and _OPEN_QUERY.match(_without_quoted(parts))):
            parts.append(" ")
        elif token in (";", ""):
            if statement := "".join(parts).strip():
                yield _in_order(statement)
            parts = []
        else:
            parts.append(token)


def _without_quoted(parts: list[str]) -> str:
    return "".join(part for part in parts if not part.startswith(("'", '"')))


def _in_order(statement: str) -> str:
    """A retention policy with its clauses as InfluxQL wants them: SHARD_DURATION, as the example of 2017 has
    it, is SHARD DURATION, and comes after REPLICATION."""
    match = _POLICY.fullmatch(statement)
    if not match:
        return statement
    found = _CLAUSE.findall(match["clauses"])
    wanted = [re.sub("^SHARD_", "SHARD ", clause, flags=re.IGNORECASE) for clause in sorted(found, key=_rank)]
    return statement if wanted == found else " ".join([match["head"], *wanted])


def _rank(clause: str) -> int:
    return _ORDER.index(re.split(r"[_\s]", clause)[0].upper())


def _unquoted(name: str) -> str:
    """A name as it is meant."""
    if not name.startswith('"'):
        return name
    return re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], name[1:-1])


def _nanoseconds(duration: str) -> float | None:
    """A duration as InfluxDB reads and shows it; None if it is none that we know, or too long to be counted.
    Nothing is for ever."""
    if duration.upper() == "INF":
        return float("inf")
    if not re.fullmatch(_SPAN, duration, re.ASCII):
        return None
    total = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)(\D+)", duration))
    return total or float("inf") if total <= _LONGEST else None
