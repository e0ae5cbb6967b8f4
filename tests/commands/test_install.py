"""What `tessflux --install` puts, what an upgrade leaves alone, and what `--uninstall` takes back.

Everything happens below a root of its own, whose passwd file decides who owns what. A tester who
is root gives the files to another; an ordinary one, who cannot, to himself.
"""

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tessflux.commands.install import install, put_service, remove_service, run_command, uninstall
from tessflux.commands.manifest import MANIFEST, Manifest, Verdict, judge, write_whole
from tessflux.commands.shipped import find_source, program_path, source_places
from tessflux.errors import AlreadyRunning, CannotCreate

UID, GID = (12345, 12346) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
ROOT_ENTRY = "root:x:0:0::/root:/bin/sh\n"
USER_ENTRY = f"tessflux:x:{UID}:{GID}::/var/lib/tessflux:/usr/sbin/nologin\n"

SHIPPED = (
    "etc/tessflux/config.example",
    "etc/tessflux/influxdb.example",
    "init.d/tessflux",
    "logrotate.d/tessflux",
)
PUT = [
    "etc/tessflux/config.example",
    "etc/tessflux/config",
    "etc/tessflux/influxdb.example",
    "etc/tessflux/influxdb",
    "etc/init.d/tessflux",
    "etc/logrotate.d/tessflux",
    "etc/default/tessflux",
]


class Site:
    """A root to install into, and the files to install: each says its name and its version."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.source = directory / "source"
        self.write("etc/passwd", ROOT_ENTRY + USER_ENTRY)
        self.ship("1")

    def ship(self, version: str) -> None:
        for name in SHIPPED:
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {version}\n")

    def install(self) -> list[str]:
        """What is reported, without the root and the next steps."""
        said: list[str] = []
        put_service(self.source, self.root, None, said.append)
        return self._short(said[: said.index("next steps:")])

    def uninstall(self) -> list[str]:
        """What is reported, without the root."""
        said: list[str] = []
        remove_service(self.root, None, said.append)
        return self._short(said)

    def _short(self, said: list[str]) -> list[str]:
        return [line.replace(f"{self.root}/", "") for line in said]

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.root / name).stat().st_mode)

    def files(self) -> set[str]:
        """Every file but the passwd and the manifest."""
        paths = (path for path in self.root.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.root)) for path in paths} - {"etc/passwd", MANIFEST}


class Accounts:
    """Stands for adduser and deluser, on the passwd of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.called: list[str] = []

    def run(self, command: Sequence[str]) -> None:
        self.called.append(command[0])
        self.site.write("etc/passwd", ROOT_ENTRY + USER_ENTRY * (command[0] == "adduser"))


@contextmanager
def held_by_a_daemon(pid_file: Path) -> Iterator[None]:
    pid_file.parent.mkdir(parents=True)
    with pid_file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# The first installation


def test_puts_all_of_a_service_and_says_a_line_for_each(site: Site) -> None:
    assert site.install() == [
        "made var/lib/tessflux",
        "made var/log/tessflux",
        *(f"put {name}" for name in PUT),
    ]
    assert site.files() == set(PUT)
    assert site.read("etc/tessflux/config") == "etc/tessflux/config.example 1\n"
    assert site.read("etc/tessflux/influxdb") == "etc/tessflux/influxdb.example 1\n"
    assert site.read("etc/init.d/tessflux") == "init.d/tessflux 1\n"
    assert site.read("etc/logrotate.d/tessflux") == "logrotate.d/tessflux 1\n"


def test_the_files_of_this_distribution_are_found_and_put(site: Site) -> None:
    said: list[str] = []
    install(site.root, said.append)
    repository = source_places()[0]
    for name in ("etc/tessflux/config.example", "etc/tessflux/influxdb.example"):
        assert site.read(name) == (repository / name).read_text()
    for name in ("init.d/tessflux", "logrotate.d/tessflux"):
        assert site.read(f"etc/{name}") == (repository / name).read_text()
    uninstall(site.root, said.append)
    assert site.files() == set()


def test_ends_with_the_next_steps(site: Site) -> None:
    said: list[str] = []
    put_service(site.source, site.root, None, said.append)
    steps = said[said.index("next steps:") + 1 :]
    assert steps == [
        f"  edit {site.root}/etc/tessflux/config",
        f"  runuser -u tessflux -- {program_path(site.root)} --check",
        "  service tessflux start",
        "  update-rc.d tessflux defaults",
    ]


@pytest.mark.parametrize("umask", [0o077, 0])
def test_modes_suit_their_use_whatever_the_umask(site: Site, umask: int) -> None:
    before = os.umask(umask)
    try:
        site.install()
    finally:
        os.umask(before)
    assert site.mode("etc/tessflux/config") == 0o640
    assert site.mode("etc/init.d/tessflux") == 0o755
    assert site.mode("var/lib/tessflux") == site.mode("var/log/tessflux") == 0o750
    for name in ("etc/tessflux", "etc/init.d", "var/lib", "etc/default"):
        assert site.mode(name) == 0o755, name
    for name in set(PUT) - {"etc/tessflux/config", "etc/init.d/tessflux"}:
        assert site.mode(name) == 0o644, name


def test_the_user_owns_the_directories_and_its_group_may_read_the_config(site: Site) -> None:
    site.install()
    for name in ("var/lib/tessflux", "var/log/tessflux"):
        found = (site.root / name).stat()
        assert (found.st_uid, found.st_gid) == (UID, GID)
    config = (site.root / "etc/tessflux/config").stat()
    assert (config.st_uid, config.st_gid) == (os.geteuid(), GID)


def test_without_the_user_in_its_passwd_a_root_keeps_the_installers_owners(site: Site) -> None:
    site.write("etc/passwd", ROOT_ENTRY)
    assert "no user tessflux in etc/passwd: the owners are not set" in site.install()
    assert (site.root / "var/lib/tessflux").stat().st_uid == os.geteuid()


def test_a_directory_of_another_user_is_left_and_said(site: Site) -> None:
    site.write("etc/passwd", USER_ENTRY.replace(f":{UID}:", f":{UID + 1}:"))
    for name in ("var/lib/tessflux", "var/log/tessflux"):
        (site.root / name).mkdir(parents=True)
    mine = os.geteuid()
    assert (
        f"kept var/lib/tessflux, of user {mine}; for tessflux: chown -R tessflux: var/lib/tessflux"
        in site.install()
    )
    assert (site.root / "var/lib/tessflux").stat().st_uid == mine


# What was there before, and what was edited


@pytest.mark.parametrize(
    ("found", "put", "shipped", "once", "verdict"),
    [
        (None, None, "new", False, Verdict.PUT),
        (None, "old", "new", False, Verdict.PUT),
        (None, "old", "new", True, Verdict.PUT),
        ("new", None, "new", False, Verdict.LEAVE),
        ("new", "old", "new", True, Verdict.LEAVE),
        ("old", "old", "new", False, Verdict.REPLACE),
        ("old", "old", "new", True, Verdict.KEEP),
        ("edited", "old", "new", False, Verdict.PUT_BESIDE),
        ("edited", None, "new", False, Verdict.PUT_BESIDE),
        ("edited", "new", "new", False, Verdict.KEEP),
        ("edited", "old", "new", True, Verdict.KEEP),
    ],
)
def test_what_is_there_was_put_and_comes_decides(
    found: str | None, put: str | None, shipped: str, once: bool, verdict: Verdict
) -> None:
    assert judge(found, put, shipped, once=once) is verdict


def test_a_second_installation_changes_nothing(site: Site) -> None:
    site.install()
    before = {name: (site.root / name).stat().st_ino for name in PUT}
    assert site.install() == [f"unchanged {name}" for name in ("var/lib/tessflux", "var/log/tessflux", *PUT)]
    assert {name: (site.root / name).stat().st_ino for name in PUT} == before


def test_an_upgrade_replaces_what_nobody_edited_but_not_what_the_operator_runs(site: Site) -> None:
    site.install()
    site.ship("2")
    assert site.install()[2:] == [
        "replaced etc/tessflux/config.example",
        "kept etc/tessflux/config, which is yours",
        "replaced etc/tessflux/influxdb.example",
        "kept etc/tessflux/influxdb, which is yours",
        "replaced etc/init.d/tessflux",
        "replaced etc/logrotate.d/tessflux",
        "unchanged etc/default/tessflux",
    ]
    assert site.read("etc/init.d/tessflux") == "init.d/tessflux 2\n"
    assert site.mode("etc/init.d/tessflux") == 0o755
    assert site.read("etc/tessflux/config") == "etc/tessflux/config.example 1\n"
    assert site.files() == set(PUT)


def test_an_upgrade_keeps_an_edited_file_and_puts_the_new_one_beside_it_once(site: Site) -> None:
    site.install()
    site.write("etc/init.d/tessflux", "edited\n")
    assert "kept etc/init.d/tessflux, which is yours" in site.install()
    site.ship("2")
    assert (
        "kept etc/init.d/tessflux, which is yours; "
        "the new version is etc/init.d/tessflux.dpkg-dist" in site.install()
    )
    assert site.read("etc/init.d/tessflux") == "edited\n"
    assert site.read("etc/init.d/tessflux.dpkg-dist") == "init.d/tessflux 2\n"
    # a second script that could be run would be a second service
    assert site.mode("etc/init.d/tessflux.dpkg-dist") == 0o644

    (site.root / "etc/init.d/tessflux.dpkg-dist").unlink()
    assert "kept etc/init.d/tessflux, which is yours" in site.install()
    assert "etc/init.d/tessflux.dpkg-dist" not in site.files()


def test_a_file_that_someone_put_before_us_is_his(site: Site) -> None:
    site.write("etc/init.d/tessflux", "of 2017\n")
    site.write("etc/tessflux/config", "of 2017\n")
    site.install()
    assert site.read("etc/init.d/tessflux") == "of 2017\n"
    assert site.read("etc/init.d/tessflux.dpkg-dist") == "init.d/tessflux 1\n"
    assert site.read("etc/tessflux/config") == "of 2017\n"
    site.uninstall()
    assert site.files() == {"etc/init.d/tessflux", "etc/tessflux/config"}


def test_a_symbolic_link_is_its_makers_even_if_it_leads_to_what_we_put(site: Site) -> None:
    site.install()
    link = site.root / "etc/logrotate.d/tessflux"
    link.rename(site.root / "elsewhere")
    link.symlink_to(site.root / "elsewhere")
    site.ship("2")
    site.install()
    assert link.is_symlink()
    assert site.read("elsewhere") == "logrotate.d/tessflux 1\n"
    site.uninstall()
    assert link.is_symlink()


def test_an_interrupted_installation_is_taken_up_where_it_ended(site: Site) -> None:
    site.install()
    (site.root / MANIFEST).unlink()
    assert "unchanged etc/init.d/tessflux" in site.install()
    site.ship("2")
    assert "replaced etc/init.d/tessflux" in site.install()


# The manifest


def test_sha256sum_reads_the_manifest(site: Site) -> None:
    site.install()
    site.write("etc/tessflux/influxdb", "edited\n")
    check = subprocess.run(
        ["sha256sum", "-c", MANIFEST],
        cwd=site.root,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = dict(line.split(": ") for line in check.stdout.splitlines())
    assert verdicts == dict.fromkeys(PUT, "OK") | {"etc/tessflux/influxdb": "FAILED"}


@pytest.mark.parametrize("line", ["", "etc/tessflux/config", "12ab  etc/tessflux/config"])
def test_a_damaged_manifest_stops_both_ways_and_its_line_is_named(site: Site, line: str) -> None:
    site.install()
    site.write(MANIFEST, f"# comment\n{line}\n")
    for act in (site.install, site.uninstall):
        with pytest.raises(CannotCreate, match=r"\.installed:2: damaged"):
            act()
    assert site.files() == set(PUT)


def test_a_file_that_cannot_be_written_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError, match="target") as raised:
        write_whole(tmp_path / "target", b"content", 0o644, None)
    assert raised.value.filename == str(tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


# Taking it back


def test_uninstalling_removes_all_that_was_put_and_says_it(site: Site) -> None:
    site.install()
    assert site.uninstall() == [
        *(f"removed {name}" for name in PUT),
        "removed var/lib/tessflux",
        "removed var/log/tessflux",
    ]
    assert site.files() == set()
    assert not (site.root / "etc/tessflux").exists()


def test_uninstalling_removes_the_new_version_beside_an_edited_file(site: Site) -> None:
    site.install()
    site.write("etc/init.d/tessflux", "edited\n")
    site.ship("2")
    site.install()
    site.uninstall()
    assert site.files() == {"etc/init.d/tessflux"}


def test_uninstalling_leaves_readings_logs_and_edited_files_and_says_it(site: Site) -> None:
    site.install()
    site.write("etc/tessflux/config", "edited\n")
    site.write("var/lib/tessflux/spool.sqlite", "readings")
    site.write("var/log/tessflux/tessflux.log", "log")
    said = site.uninstall()
    assert [line for line in said if not line.startswith("removed")] == [
        "kept etc/tessflux/config, which is yours",
        "kept var/lib/tessflux: readings and logs are yours to remove",
        "kept var/log/tessflux: readings and logs are yours to remove",
    ]
    assert site.files() == {
        "etc/tessflux/config",
        "var/lib/tessflux/spool.sqlite",
        "var/log/tessflux/tessflux.log",
    }


def test_what_the_operator_removed_already_is_no_obstacle(site: Site) -> None:
    site.install()
    (site.root / "etc/logrotate.d/tessflux").unlink()
    (site.root / "var/log/tessflux").rmdir()
    site.uninstall()
    assert site.files() == set()


def test_where_nothing_was_put_nothing_is_removed(site: Site) -> None:
    site.write("etc/init.d/tessflux", "of 2017\n")
    assert site.uninstall() == ["nothing to remove: etc/tessflux/.installed names nothing"]
    assert site.files() == {"etc/init.d/tessflux"}


@pytest.mark.parametrize("pid_file", ["run/tessflux.pid", "run/tessflux/tessflux.pid", "srv/own.pid"])
def test_a_service_that_runs_is_not_uninstalled(site: Site, pid_file: str) -> None:
    site.install()
    site.write("etc/default/tessflux", "PIDFILE='/srv/own.pid'\n")
    before = site.files()
    with held_by_a_daemon(site.root / pid_file):
        with pytest.raises(AlreadyRunning, match="service tessflux stop"):
            site.uninstall()
        assert site.files() == before | {pid_file}
    site.uninstall()
    assert site.files() == {"etc/default/tessflux", pid_file}


def test_links_that_start_the_service_at_boot_are_said(site: Site) -> None:
    site.install()
    (site.root / "etc/rc2.d").mkdir()
    (site.root / "etc/rc2.d/S01tessflux").symlink_to("../init.d/tessflux")
    assert site.uninstall()[-1] == "next step: update-rc.d tessflux remove"


# The user


def test_the_user_is_made_before_files_need_it_and_removed_when_nothing_is_left(site: Site) -> None:
    site.write("etc/passwd", ROOT_ENTRY)
    accounts = Accounts(site)
    said: list[str] = []
    for _ in range(2):
        put_service(site.source, site.root, accounts.run, said.append)
    assert accounts.called == ["adduser"]
    assert said.count("made the user tessflux") == 1
    assert (site.root / "var/lib/tessflux").stat().st_uid == UID
    remove_service(site.root, accounts.run, said.append)
    assert accounts.called == ["adduser", "deluser"]
    assert said[-1] == "removed the user tessflux"


def test_the_user_stays_while_readings_do_and_goes_when_they_have_gone(site: Site) -> None:
    site.write("etc/passwd", ROOT_ENTRY)
    accounts = Accounts(site)
    said: list[str] = []
    put_service(site.source, site.root, accounts.run, said.append)
    site.write("var/lib/tessflux/spool.sqlite", "readings")
    remove_service(site.root, accounts.run, said.append)
    assert accounts.called == ["adduser"]
    assert said[-1] == "kept the user tessflux, to whom that belongs"
    (site.root / "var/lib/tessflux/spool.sqlite").unlink()
    remove_service(site.root, accounts.run, said.append)
    assert accounts.called == ["adduser", "deluser"]
    assert not (site.root / "etc/tessflux").exists()


def test_an_edited_file_that_stayed_is_still_known_to_be_edited(site: Site) -> None:
    site.install()
    site.write("etc/init.d/tessflux", "edited\n")
    site.uninstall()
    assert "kept etc/init.d/tessflux, which is yours" in site.uninstall()
    assert "kept etc/init.d/tessflux, which is yours" in site.install()


def test_a_user_who_was_there_before_us_stays(site: Site) -> None:
    accounts = Accounts(site)
    put_service(site.source, site.root, accounts.run, lambda line: None)
    remove_service(site.root, accounts.run, lambda line: None)
    assert accounts.called == []


def test_a_command_that_fails_is_named_with_its_reason() -> None:
    with pytest.raises(CannotCreate, match=r"sh -c .*: no room"):
        run_command(["sh", "-c", "echo no room >&2; exit 3"])
    run_command(["true"])


# What can go wrong


def test_only_root_changes_this_machine() -> None:
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        for act in (install, uninstall):
            with pytest.raises(CannotCreate, match="only root"):
                act(Path("/"), lambda line: None)
    finally:
        os.seteuid(before)


def test_a_root_that_cannot_be_written_is_named(site: Site) -> None:
    site.write("var", "a file where a directory has to be")
    with pytest.raises(CannotCreate, match=r"root/var.*: Not a directory"):
        site.install()


def test_a_shipped_file_that_is_missing_is_named_before_anything_is_put(site: Site) -> None:
    (site.source / "logrotate.d/tessflux").unlink()
    with pytest.raises(CannotCreate, match=r"logrotate\.d/tessflux: No such file"):
        site.install()
    assert site.files() == set()
    assert not (site.root / "var").exists()


def test_the_first_place_that_has_the_files_is_taken(site: Site, tmp_path: Path) -> None:
    assert find_source([tmp_path, site.source, site.root]) == site.source
    with pytest.raises(CannotCreate, match=r"config.example in .*nowhere and .*; install"):
        find_source([tmp_path / "nowhere", tmp_path])


# The program


def test_the_init_script_is_told_the_program_that_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/our flux/bin/tessflux", "--install"])
    site.install()
    answer = subprocess.run(
        ["sh", "-c", '. "$1"; echo "$DAEMON,$RUN_AS"', "sh", site.root / "etc/default/tessflux"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "/opt/our flux/bin/tessflux,tessflux\n"


@pytest.mark.parametrize(
    ("called", "root", "named"),
    [
        ("/opt/tessflux/bin/tessflux", "/", "/opt/tessflux/bin/tessflux"),
        ("/mnt/opt/tessflux/bin/tessflux", "/mnt", "/opt/tessflux/bin/tessflux"),
        ("/opt/tessflux/bin/tessflux", "/mnt", "/opt/tessflux/bin/tessflux"),
        ("/src/tessflux/__main__.py", "/", f"{sys.prefix}/bin/tessflux"),
    ],
)
def test_the_program_is_named_as_seen_inside_the_root(
    monkeypatch: pytest.MonkeyPatch, called: str, root: str, named: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert program_path(Path(root)) == Path(named)


def test_an_empty_root_has_an_empty_manifest(tmp_path: Path) -> None:
    assert Manifest.read(tmp_path) == Manifest({}, made_user=False)
