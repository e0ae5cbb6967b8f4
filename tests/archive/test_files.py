"""A file is there as a whole, or not at all."""

import os
import threading
from pathlib import Path
from typing import TextIO

import pytest

from tessflux.archive import whole_file
from tessflux.errors import CannotCreate


def test_what_is_written_is_there_in_the_end_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "stars1.csv"
    file.write_text("old")
    with whole_file(file) as out:
        out.write("21.5 mag/arcsec²\r\n")
        assert file.read_text() == "old"
    assert file.read_bytes() == "21.5 mag/arcsec²\r\n".encode()
    assert os.listdir(tmp_path) == ["stars1.csv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, BrokenPipeError])
def test_when_it_fails_what_stood_there_stays(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "stars1.csv"
    file.write_text("old")

    def fail(out: TextIO) -> None:
        out.write("half")
        raise error

    with pytest.raises(error), whole_file(file) as out:
        fail(out)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["stars1.csv"]


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with whole_file(tmp_path / "link") as out:
        out.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_nothing_is_written_through_a_link_that_others_have_put_there(tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "stars1.csv"
    victim.write_text("precious")
    (tmp_path / f".stars1.csv.{os.getpid()}").symlink_to(victim)
    with whole_file(file) as out:
        out.write("new")
    assert (victim.read_text(), file.read_text()) == ("precious", "new")
    assert not file.is_symlink()


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with whole_file(pipe) as out:
        out.write("through")
    reader.join()
    assert read == ["through"]
    assert pipe.is_fifo()


def test_so_does_one_that_has_a_number_and_no_name() -> None:
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8") as read, open(writer, "w"):
        # As a shell passes >(gzip > stars1.csv.gz), and as /dev/stdout is.
        with whole_file(Path(f"/dev/fd/{writer}")) as out:
            out.write("through\n")
        assert read.readline() == "through\n"


@pytest.mark.parametrize("file", ["/nowhere/at/all.csv", "/dev/full", "/proc/none.csv"])
def test_what_the_system_does_not_let_us_write_is_said_with_its_name(file: str) -> None:
    with pytest.raises(CannotCreate, match=f"{file}: [A-Z]"), whole_file(Path(file)) as out:
        out.write("something")
