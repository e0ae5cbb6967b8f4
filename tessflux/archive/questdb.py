"""Readings out of a QuestDB, by SQL. The columns of its table besides name and timestamp are the fields."""

from typing import Any

import msgspec

from tessflux.archive.tables import Table, Tables

QUERY = "/exec"
"""Where statements go."""

NO_TABLE = b"table does not exist"


class _Column(msgspec.Struct):
    name: str


class _Answer(msgspec.Struct):
    columns: list[_Column]
    dataset: list[list[Any]]


class QuestDB(Tables):
    """A `Source`: the readings in one table."""

    kind = "a QuestDB"
    everything, time, per_ms = "cast(timestamp AS long) AS time, *", "timestamp", 1_000
    newest = "last_not_null"

    def ask_names(self, measurement: str) -> Table:
        """Of the symbol."""
        return self.ask(f"SELECT DISTINCT name FROM {self.of(measurement)}")

    def of(self, measurement: str) -> str:
        """The table of that name."""
        return self.identifier(measurement)

    def identifier(self, name: str) -> str:
        """In double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def text(self, value: str) -> str:
        """In single quotes."""
        return "'" + value.replace("'", "''") + "'"

    def ask(self, statement: str) -> Table:
        """Raises Unavailable."""
        answer = self._server.get(QUERY, {"query": statement})
        if answer.status_code == 400 and NO_TABLE in answer.content:
            return Table([], [])
        if answer.status_code != 200:
            raise self._server.refusal(answer.status_code, answer.content)
        try:
            found = msgspec.json.decode(answer.content, type=_Answer)
        except msgspec.MsgspecError:
            raise self.stranger() from None
        return Table([column.name for column in found.columns], found.dataset)
