"""What the tests of the commands share: a root to install into, and a spool to look into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tessflux.config import SpoolConfig
from tessflux.spool.journal import Journal
from tests.commands.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def spool(tmp_path: Path) -> SpoolConfig:
    return SpoolConfig(str(tmp_path))


@pytest.fixture
def journal(spool: SpoolConfig) -> Iterator[Journal]:
    """The spool's, open all the time, as that of a running tessflux."""
    journal = Journal(spool.directory, max_size=2**30, quarantine=100)
    yield journal
    journal.close()
