"""Config files that exist for one test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tessflux.config import Config
from tessflux.config.loading import load as load_file
from tessflux.errors import ConfigError
from tests.certificates import self_signed

Load = Callable[..., Config]
Problems = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
def load(file: Path) -> Load:
    """Loads a text as if it stood in the config file; variables are given by name."""

    def load_text(text: str | bytes, **environ: str) -> Config:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(0o640)
        return load_file(str(file), environ)

    return load_text


@pytest.fixture
def problems(load: Load) -> Problems:
    """Loads a wrong text, and gives the line and the text of each problem."""

    def problems_of(text: str | bytes, **environ: str) -> list[tuple[int, str]]:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return [(problem.line, problem.text) for problem in caught.value.problems]

    return problems_of


@pytest.fixture
def pem(tmp_path: Path) -> str:
    """The path of a certificate and its key."""
    path = tmp_path / "a.pem"
    path.write_bytes(self_signed())
    path.chmod(0o640)
    return str(path)
