"""A file that is there as a whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tessflux.errors import CannotCreate


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """What is written, in UTF-8, becomes the file in the end. If that fails, what stood there stays.

    A pipe or a device is written at once. Raises CannotCreate.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{os.getpid()}")
    # Not the target: of a pipe without a name, such as /dev/stdout, that leads nowhere.
    if path.exists() and not path.is_file():
        part = target = path
    with writing(str(path)):
        try:
            if part != target:
                # A killed process of our number may have left it; or, where others may write, they a link.
                part.unlink(missing_ok=True)
            with part.open("w" if part == target else "x", encoding="utf-8", newline="") as out:
                yield out
            if part != target:
                part.replace(target)
        except BaseException:
            with suppress(OSError):
                if part != target:
                    part.unlink()
            raise


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Raises CannotCreate, with this name, if the system does not let us write."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotCreate(f"{name}: {error.strerror}") from None
