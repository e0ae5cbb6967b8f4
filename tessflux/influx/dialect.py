"""How a database is spoken to, and spoken of: what differs between InfluxDB 1, 2 and 3. Pure.

It follows from the keys of the config. Whatever imitates InfluxDB 1 counts as one.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from tessflux.config import InfluxConfig


@dataclass(frozen=True)
class Dialect:
    """Of one database. Each text is a part of a log line or of advice."""

    write: str
    """The path of a write request, with its parameters."""
    scheme: str
    """Of the header Authorization."""
    target: str
    """Where readings go, in short."""
    place: str
    """The same, in full."""
    login: str
    """What to check when we are not let in."""
    maker: str = ""
    """What makes a target that is missing, if anything does."""
    made: str = ""
    unmade: str = "create it"
    """What to do about a missing target without a `maker`."""
    unable: str = ""
    """What to do if the maker fails."""

    def authorization(self, config: InfluxConfig) -> str:
        """The header that logs us in; nothing if we have no login. It gives the secret away."""
        if self.scheme != "Basic":
            return f"{self.scheme} {config.password.reveal()}" if config.password else ""
        return f"Basic {config.password.basic(config.username)}" if config.username else ""

    def hide(self, config: InfluxConfig, said: str) -> str:
        """What a server answered, with the login in it hidden: some proxies quote the whole request."""
        if not self.authorization(config):
            return said
        return config.hide(said)


def dialect(config: InfluxConfig) -> Dialect:
    """What the database of a config speaks."""
    if config.bucket:
        return _two(config)
    return _three(config) if config.database else _one(config)


def _one(config: InfluxConfig) -> Dialect:
    parameters = {"db": config.dbname, "precision": "ms"}
    policy = ""
    if config.retpol:
        parameters["rp"] = config.retpol
        policy = f", retention policy {config.retpol}"
    return Dialect(
        f"/write?{urlencode(parameters)}",
        "Basic",
        config.dbname,
        f"database {config.dbname}{policy}",
        "username, password and the user's rights",
        maker=config.schema,
        made=f"Ran the data definition file {config.schema}",
        unmade=f"create it, or name a data definition file in [{config.section}] schema",
        unable="mend the file, or have an administrator run it",
    )


def _two(config: InfluxConfig) -> Dialect:
    parameters = {"org": config.org, "bucket": config.bucket, "precision": "ms"}
    return Dialect(
        f"/api/v2/write?{urlencode(parameters)}",
        "Token",
        f"bucket {config.bucket}",
        f"bucket {config.bucket} of organization {config.org}",
        "token, and whether it may write to the bucket",
        maker="create = yes" if config.create else "",
        made=f"Created the bucket {config.bucket}",
        unmade=f"create it, or write create = yes in [{config.section}]",
        unable="create it, or take a token that may create buckets",
    )


def _three(config: InfluxConfig) -> Dialect:
    # With accept_partial, good lines are stored although others of the request are bad.
    parameters = {"db": config.database, "precision": "millisecond", "accept_partial": "true"}
    place = f"database {config.database}"
    login = "token, and whether it may write to the database"
    return Dialect(f"/api/v3/write_lp?{urlencode(parameters)}", "Bearer", place, place, login)
