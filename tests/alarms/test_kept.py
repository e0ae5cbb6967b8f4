"""The file of the alarms: whole, or forgotten."""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from twisted.trial.unittest import SynchronousTestCase

from tessflux.alarms import kept
from tessflux.alarms.kept import FILE_NAME, Kept
from tessflux.alarms.notice import RAISED, Notice
from tessflux.status import Alarm
from tests.log_lines import record
from tests.status.site import NOW

KEPT = Kept([Alarm("spool", "50%", NOW, "full")], [Notice("spool", RAISED, "50%", "full", NOW, NOW, 3)])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert kept.load(str(tmp_path)) == Kept()
    kept.save(str(tmp_path), KEPT)
    assert kept.load(str(tmp_path)) == KEPT
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_what_a_crash_left_half_written_does_not_matter(tmp_path: Path) -> None:
    kept.save(str(tmp_path), KEPT)
    (tmp_path / "alarms.new").write_text("{")
    assert kept.load(str(tmp_path)) == KEPT
    kept.save(str(tmp_path), Kept())
    assert kept.load(str(tmp_path)) == Kept()


def test_it_is_not_written_through_a_link(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "alarms.new").symlink_to(other)
    kept.save(str(tmp_path), KEPT)
    assert other.read_text() == "mine"


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kept.save(str(tmp_path / "gone"), KEPT)


class Damaged(SynchronousTestCase):
    def test_a_damaged_file_is_forgotten(self) -> None:
        said = record(self, "tessflux")
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        directory = Path(temporary.name)
        texts = (
            b"",
            b"\xff",
            b"[]",
            b'{"raised": 1}',
            b'{"raised": [{"kind": "of later"}]}',
            msgspec.json.encode(KEPT).replace(b"full", b"\xffull"),
            b'{"of later": ' + b"[" * 100_000,
        )
        for text in texts:
            (directory / FILE_NAME).write_bytes(text)
            assert kept.load(str(directory)) == Kept()
        assert len(said()) == len(texts)
        assert all("is damaged" in line and "raised once more" in line for line in said())
