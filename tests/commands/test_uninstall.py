"""What `tessflux --uninstall` removes, and what it leaves to the operator."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tessflux.errors import AlreadyRunning
from tests.commands.site import AT_BOOT, DIRECTORIES, FILES, UNIT, Site


@contextmanager
def locked(pid_file: Path) -> Iterator[None]:
    """The pid file of a running daemon."""
    pid_file.parent.mkdir(parents=True)
    with pid_file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def test_everything_that_was_installed_is_removed_and_reported(site: Site) -> None:
    site.install()
    assert site.uninstall() == [f"removed {name}" for name in (*FILES, *DIRECTORIES)]
    assert site.files() == set()
    assert not (site.root / "etc/tessflux").exists()
    assert not (site.root / "usr/local/share/tessflux").exists()


def test_the_new_version_beside_an_edited_file_is_removed(site: Site) -> None:
    site.install()
    site.write("etc/init.d/tessflux", "edited\n")
    site.ship("2")
    site.install()
    site.uninstall()
    assert site.files() == {"etc/init.d/tessflux"}


def test_readings_logs_and_edited_files_are_kept_and_reported(site: Site) -> None:
    site.install()
    kept = {"etc/tessflux/config", "var/lib/tessflux/spool.sqlite", "var/log/tessflux/tessflux.log"}
    for name in kept:
        site.write(name, "theirs")
    assert [line for line in site.uninstall() if not line.startswith("removed")] == [
        "kept etc/tessflux/config, which is yours",
        "kept var/lib/tessflux: readings and logs are yours to remove",
        "kept var/log/tessflux: readings and logs are yours to remove",
    ]
    assert site.files() == kept


def test_an_edited_file_that_was_kept_is_kept_again(site: Site) -> None:
    site.install()
    site.write("etc/init.d/tessflux", "edited\n")
    site.uninstall()
    assert "kept etc/init.d/tessflux, which is yours" in site.uninstall()
    assert "kept etc/init.d/tessflux, which is yours" in site.install()


def test_what_the_operator_has_removed_already_does_no_harm(site: Site) -> None:
    site.install()
    (site.root / "etc/logrotate.d/tessflux").unlink()
    (site.root / "var/log/tessflux").rmdir()
    site.uninstall()
    assert site.files() == set()


def test_where_nothing_was_installed_nothing_is_removed(site: Site) -> None:
    site.write("etc/init.d/tessflux", "of 2017\n")
    assert site.uninstall() == ["nothing to remove: etc/tessflux/.installed lists nothing"]
    assert site.files() == {"etc/init.d/tessflux"}


@pytest.mark.parametrize("pid_file", ["run/tessflux.pid", "run/tessflux/tessflux.pid", "srv/own.pid"])
def test_a_running_service_is_not_uninstalled(site: Site, pid_file: str) -> None:
    site.install()
    site.write("etc/default/tessflux", "PIDFILE='/srv/own.pid'\n")
    before = site.files()
    with locked(site.root / pid_file):
        with pytest.raises(AlreadyRunning, match="service tessflux stop"):
            site.uninstall()
        assert site.files() == before | {pid_file}
    site.uninstall()
    assert site.files() == {"etc/default/tessflux", pid_file}


def test_links_that_start_the_service_at_boot_are_a_next_step(site: Site) -> None:
    site.install()
    (site.root / "etc/rc2.d").mkdir()
    (site.root / "etc/rc2.d/S01tessflux").symlink_to("../init.d/tessflux")
    assert site.uninstall()[-1] == "next step: update-rc.d tessflux remove"


def test_the_unit_is_removed_with_the_link_that_starts_it_at_boot_and_systemd_forgets_it(site: Site) -> None:
    site.started_at_boot()
    site.with_systemd()
    site.install()
    lines = site.uninstall()
    assert f"removed {UNIT}" in lines
    assert f"removed {AT_BOOT}" in lines
    assert site.files() == {"etc/rc2.d/S01tessflux"}
    assert site.calls == ["systemctl daemon-reload"] * 2


def test_an_edited_unit_stays_and_starts_at_boot(site: Site) -> None:
    site.started_at_boot()
    site.with_systemd()
    site.install()
    site.write(UNIT, "edited\n")
    assert f"kept {UNIT}, which is yours" in site.uninstall()
    assert (site.root / AT_BOOT).is_symlink()


def test_the_user_that_was_added_is_removed_when_nothing_of_it_is_left(site: Site) -> None:
    site.without_user(may_add=True)
    site.install()
    site.write("var/lib/tessflux/spool.sqlite", "readings")
    assert site.uninstall()[-1] == "kept the user tessflux, which owns what is left"
    (site.root / "var/lib/tessflux/spool.sqlite").unlink()
    assert site.uninstall()[-1] == "removed the user tessflux"
    assert site.calls == ["adduser", "deluser"]
    assert not (site.root / "etc/tessflux").exists()


def test_a_user_from_before_the_installation_stays(site: Site) -> None:
    site.calls = []
    site.install()
    site.uninstall()
    assert site.calls == []
