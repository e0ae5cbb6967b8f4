"""Databases that are killed under load have every reading all the same, once and with all its fields.

scripts/crashes does this for longer. A cluster of VictoriaMetrics runs here if vmstorage, vminsert and
vmselect are on the PATH: they are no packages of Debian.
"""

from pathlib import Path

import pytest
from crashes import DATABASES, Case, Found, Schedule, run
from servers import ServerFailed


@pytest.mark.parametrize(
    ("database", "schedule"),
    [
        ("victoria-metrics", Schedule(kills=2, every=1, away=0.2, rate=500)),
        ("cluster", Schedule(kills=2, every=5, away=0.5, rate=500)),
    ],
)
def test_a_database_that_is_killed_twice_loses_and_doubles_nothing(
    database: str, schedule: Schedule, tmp_path: Path
) -> None:
    try:
        DATABASES[database](tmp_path / "asked for", True)
    except ServerFailed as error:
        pytest.skip(str(error))
    assert run(Case(database, once=True, resend=60.0), schedule, tmp_path) == Found(0, 0, 0)
