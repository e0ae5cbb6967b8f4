"""The data definition file as a text: its statements, which of them are run, and how each is shown.

A statement that destroys something or takes it away is never run: the file is run again whenever something is
missing, and nobody looks on. Only what is known to be harmless is run. Statements may hold passwords, so no
text here shows what follows the word PASSWORD, or a single quote should that word be mistyped.
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
# What is no code: quoted, or a regular expression, which stands where a division cannot.
_NO_CODE = re.compile(
    rf"""{_QUOTED.pattern}|(?:[~(,]|(?<!\d)\.|\b(?:SELECT|FROM|BY)\b)\s*/(?:\\.|[^/\\])*/""",
    re.IGNORECASE | re.DOTALL,
)
_INTO = re.compile(r"\bINTO\b", re.IGNORECASE)
_FROM_PASSWORD = re.compile(r"(\bPASSWORD\b|(?=')).*", re.IGNORECASE | re.DOTALL)
_OPEN_QUERY = re.compile(
    r"\s*CREATE\s+CONTINUOUS\s+QUERY\b.*\bBEGIN\b(?!.*\bEND\b)", re.IGNORECASE | re.DOTALL
)

_NAME = r"""(?:"(?:\\.|[^"\\])*"|\w+)"""
_DATABASE = re.compile(rf"CREATE\s+DATABASE\s+({_NAME})", re.IGNORECASE)
_CLAUSE = re.compile(
    rf"DEFAULT\b|(?:SHARD[_\s]\s*DURATION|DURATION|REPLICATION|NAME)\s+{_NAME}", re.IGNORECASE
)
_POLICY = re.compile(
    rf"(?P<head>(?:CREATE|ALTER)\s+RETENTION\s+POLICY\s+(?P<policy>{_NAME})\s+ON\s+(?P<database>{_NAME})"
    rf"|CREATE\s+DATABASE\s+{_NAME}\s+WITH)(?P<clauses>(?:\s+(?:{_CLAUSE.pattern}))+)",
    re.IGNORECASE,
)
_ORDER = ("DURATION", "REPLICATION", "SHARD", "DEFAULT", "NAME")
"""How the clauses of a retention policy begin, in the order that InfluxQL wants."""

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_DESTROYING = {
    "DROP": "it destroys what is there",
    "DELETE": "it destroys readings",
    "KILL": "it ends a query of somebody else",
    "REVOKE": "it takes a right away",
}
_VERBS = {"ALTER", "CREATE", "EXPLAIN", "GRANT", "SELECT", "SET", "SHOW", *_DESTROYING}
"""How a statement of InfluxQL begins. Any other text may be the rest of a password that has a quote in it."""


@dataclass(frozen=True)
class Alteration:
    """How long a retention policy is to keep readings from now on."""

    policy: str
    database: str
    duration: str

    def shortens(self, current: str) -> bool:
        """Whether that is less long than now, or perhaps is."""
        new, old = _seconds(self.duration), _seconds(current)
        return new is None or old is None or new < old


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
    def may_hold_password(self) -> bool:
        return _FROM_PASSWORD.search(self.text) is not None

    @property
    def harm(self) -> str:
        """Why it is never run; "" if it is, or if that depends on its `alteration`."""
        if self.verb in _DESTROYING:
            return _DESTROYING[self.verb]
        if self.verb == "ALTER" and not _POLICY.fullmatch(self.text):
            return "it may shorten how long readings are kept"
        if self.verb in ("SELECT", "EXPLAIN") and _INTO.search(_NO_CODE.sub(" ", self.text)):
            return "it writes into the database each time the file is run"
        # To InfluxDB a quote in a regular expression is none, so a second statement may be hidden here.
        if ";" in self.text and "/" in _QUOTED.sub("", self.text):
            return "it has a regular expression, and a semicolon that may be its end; put them apart"
        return ""

    @property
    def alteration(self) -> Alteration | None:
        """How it changes the time for which readings are kept; None if it does not."""
        match = _POLICY.fullmatch(self.text)
        if match and self.verb == "ALTER":
            for clause in _CLAUSE.findall(match["clauses"]):
                if _rank(clause) == 0:
                    return Alteration(_unquoted(match["policy"]), match["database"], clause.split()[1])
        return None

    @property
    def database(self) -> str:
        """The database that it creates, or ""."""
        match = _DATABASE.match(self.text)
        return _unquoted(match[1]) if match else ""

    @property
    def policy(self) -> tuple[str, str]:
        """The database and the name of the retention policy that it creates, or empty names."""
        match = _POLICY.fullmatch(self.text)
        if not match or self.verb == "ALTER":
            return "", ""
        if match["policy"]:
            return _unquoted(match["database"]), _unquoted(match["policy"])
        last = _CLAUSE.findall(match["clauses"])[-1]
        return self.database, _unquoted(last.split(maxsplit=1)[-1])

    @property
    def shown(self) -> str:
        """All of it, but for a password."""
        return " ".join(_FROM_PASSWORD.sub(r"\1 ...", self.text).split())

    def __str__(self) -> str:
        """Its number and its first words."""
        words = _FROM_PASSWORD.sub(r"\1", self.text).split()[:4] if self.verb else ["no statement"]
        return f"statement {self.number} ({' '.join(words)} ...)"


@dataclass(frozen=True)
class Ran:
    """What came of running the file, or would come of it now."""

    statements: tuple[Statement, ...] = ()
    """Those that were run."""
    left_out: tuple[str, ...] = ()
    """Those that are never run, each with the reason."""
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


def _seconds(duration: str) -> float | None:
    """A duration as InfluxDB reads and shows it, in seconds; None if it is none that we know. Nothing is for
    ever."""
    if duration.upper() == "INF":
        return float("inf")
    if not re.fullmatch(r"(?:\d+[smhdw])+", duration):
        return None
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)(.)", duration))
    return seconds or float("inf")
