"""What `tessflux --install` installs, and what an upgrade leaves alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tessflux.commands.install import install
from tessflux.commands.manifest import MANIFEST, Action, Manifest, decide, write_whole
from tessflux.commands.shipped import own_files, program_path
from tessflux.commands.system import run_command
from tessflux.commands.uninstall import uninstall
from tessflux.errors import CannotCreate
from tests.commands.site import AT_BOOT, DIRECTORIES, FILES, GID, SOURCES, UID, UNIT, USER_ENTRY, Site

ROOT = Path(__file__).parents[2]

# The first installation


def test_the_whole_service_is_installed_and_reported_with_the_next_steps(site: Site) -> None:
    assert site.install() == [
        *(f"created {name}" for name in DIRECTORIES),
        *(f"installed {name}" for name in FILES),
        "next steps:",
        "  edit etc/tessflux/config",
        f"  runuser -u tessflux -- {program_path(site.root)} --check",
        "  update-rc.d tessflux defaults",
        "  service tessflux start",
    ]
    assert site.files() == set(FILES)
    for name, source in SOURCES.items():
        assert site.read(name) == f"{source} 1\n"


def test_the_files_of_this_distribution_are_found_installed_and_removed(site: Site) -> None:
    install(site.root, lambda line: None)
    for name, source in SOURCES.items():
        assert site.read(name) == (own_files() / source).read_text()
    uninstall(site.root, lambda line: None)
    assert site.files() == set()


def test_the_whole_kit_for_grafana_is_installed_where_its_own_file_looks_for_it(site: Site) -> None:
    install(site.root, lambda line: None)
    shipped, kit = ROOT / "grafana", site.root / "usr/local/share/tessflux/grafana"
    names = {path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()}
    assert {path.relative_to(kit) for path in kit.rglob("*") if path.is_file()} == names
    text = (kit / "dashboards.yaml").read_text()
    for place in re.findall(r"/usr/local/share/\S+", text):
        assert list((site.root / place.removeprefix("/")).glob("*.json")), place
    assert re.search(r"(?m)^      path: /usr/local/share/tessflux/grafana/influxql$", text)


@pytest.mark.parametrize("umask", [0o077, 0])
def test_modes_do_not_depend_on_the_umask(site: Site, umask: int) -> None:
    before = os.umask(umask)
    try:
        site.install()
    finally:
        os.umask(before)
    special = {"etc/tessflux/config": 0o640, "etc/init.d/tessflux": 0o755}
    assert {name: site.mode(name) for name in FILES} == dict.fromkeys(FILES, 0o644) | special
    for name in DIRECTORIES:
        assert site.mode(name) == 0o750
    for name in ("etc/tessflux", "etc/init.d", "var/lib", "etc/default"):
        assert site.mode(name) == 0o755, name


def test_the_user_owns_the_directories_and_its_group_may_read_the_config(site: Site) -> None:
    site.install()
    for name in DIRECTORIES:
        assert site.owner(name) == (UID, GID)
    assert site.owner("etc/tessflux/config") == (os.geteuid(), GID)


def test_an_existing_directory_of_another_user_is_kept_and_reported(site: Site) -> None:
    site.write("etc/passwd", USER_ENTRY.replace(f":{UID}:", f":{UID + 1}:"))
    for name in DIRECTORIES:
        (site.root / name).mkdir(parents=True)
    uid = os.geteuid()
    assert site.install()[:2] == [
        f"kept {name}, which belongs to user {uid}; to change that: chown -R tessflux: {name}"
        for name in DIRECTORIES
    ]
    assert site.owner("var/lib/tessflux")[0] == uid


# An upgrade, and what was there before


@pytest.mark.parametrize(
    ("found", "installed", "once", "action"),
    [
        (None, None, False, Action.INSTALL),
        (None, "old", False, Action.INSTALL),
        (None, "old", True, Action.INSTALL),
        ("new", None, False, Action.LEAVE),
        ("new", "old", True, Action.LEAVE),
        ("old", "old", False, Action.REPLACE),
        ("old", "old", True, Action.KEEP),
        ("edited", "old", False, Action.INSTALL_BESIDE),
        ("edited", None, False, Action.INSTALL_BESIDE),
        ("edited", "new", False, Action.KEEP),
        ("edited", "old", True, Action.KEEP),
    ],
)
def test_what_is_there_and_what_was_installed_decide_about_a_new_file(
    found: str | None, installed: str | None, once: bool, action: Action
) -> None:
    assert decide(found, installed, "new", once=once) is action


def test_a_second_installation_changes_nothing(site: Site) -> None:
    site.install()
    before = {name: (site.root / name).stat().st_ino for name in FILES}
    everything = [*DIRECTORIES, *FILES]
    assert site.install()[: len(everything)] == [f"unchanged {name}" for name in everything]
    assert {name: (site.root / name).stat().st_ino for name in FILES} == before


def test_an_upgrade_replaces_what_nobody_edited_but_not_the_config_and_the_schema(site: Site) -> None:
    site.install()
    site.ship("2")
    assert site.install()[2 : 2 + len(FILES)] == [
        "replaced etc/tessflux/config.example",
        "kept etc/tessflux/config, which is yours",
        "replaced etc/tessflux/influxdb.example",
        "kept etc/tessflux/influxdb, which is yours",
        "replaced etc/init.d/tessflux",
        "replaced etc/logrotate.d/tessflux",
        "replaced usr/local/share/tessflux/grafana/dashboards.yaml",
        "replaced usr/local/share/tessflux/grafana/influxql/night.json",
        "unchanged etc/default/tessflux",
        "unchanged usr/local/share/man/man1/tessflux.1",
        "replaced usr/local/share/man/man5/tessflux.5",
    ]
    assert site.read("etc/init.d/tessflux") == "init.d/tessflux 2\n"
    assert site.mode("etc/init.d/tessflux") == 0o755
    assert site.read("etc/tessflux/config") == "etc/tessflux/config.example 1\n"
    assert site.files() == set(FILES)


def test_an_upgrade_keeps_an_edited_file_and_installs_the_new_one_beside_it_once(site: Site) -> None:
    script, beside = "etc/init.d/tessflux", "etc/init.d/tessflux.dpkg-dist"
    site.install()
    site.write(script, "edited\n")
    assert f"kept {script}, which is yours" in site.install()
    site.ship("2")
    assert f"kept {script}, which is yours; the new version is {beside}" in site.install()
    assert site.read(script) == "edited\n"
    assert site.read(beside) == "init.d/tessflux 2\n"
    # A second script that can be run would be a second service.
    assert site.mode(beside) == 0o644

    (site.root / beside).unlink()
    assert f"kept {script}, which is yours" in site.install()
    assert beside not in site.files()


def test_files_from_before_the_first_installation_stay_whatever_happens(site: Site) -> None:
    old = {"etc/init.d/tessflux", "etc/tessflux/config"}
    for name in old:
        site.write(name, "of 2017\n")
    site.install()
    assert site.read("etc/init.d/tessflux.dpkg-dist") == "init.d/tessflux 1\n"
    site.uninstall()
    assert site.files() == old
    assert {site.read(name) for name in old} == {"of 2017\n"}


def test_a_symbolic_link_stays_even_if_it_leads_to_what_was_installed(site: Site) -> None:
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


def test_an_interrupted_installation_is_completed_by_the_next(site: Site) -> None:
    site.install()
    (site.root / MANIFEST).unlink()
    assert "unchanged etc/init.d/tessflux" in site.install()
    site.ship("2")
    assert "replaced etc/init.d/tessflux" in site.install()


@pytest.mark.parametrize("systemd", [False, True])
def test_the_next_step_of_an_upgrade_is_a_restart(site: Site, systemd: bool) -> None:
    if systemd:
        site.with_systemd()
    site.install()
    site.ship("2")
    restart = f"  {program_path(site.root)} --check-config && service tessflux restart"
    assert site.install()[-2:] == ["next steps:", restart]


# The unit of systemd


def test_where_systemd_runs_its_unit_is_installed_too_and_is_the_next_step(site: Site) -> None:
    site.with_systemd()
    lines = site.install()
    assert lines[-5:] == [
        f"installed {UNIT}",
        "next steps:",
        "  edit etc/tessflux/config",
        f"  runuser -u tessflux -- {program_path(site.root)} --check",
        "  systemctl enable --now tessflux",
    ]
    assert site.files() == {*FILES, UNIT}
    assert site.read(UNIT) == "systemd/tessflux.service 1\n"
    assert site.mode(UNIT) == 0o644


def test_systemd_reads_its_units_again_only_if_ours_has_changed(site: Site) -> None:
    site.with_systemd()
    for version, calls in (("1", 1), ("1", 1), ("2", 2)):
        site.ship(version)
        site.install()
        assert site.calls == ["systemctl daemon-reload"] * calls
    site.write(UNIT, "edited\n")
    site.ship("3")
    assert f"kept {UNIT}, which is yours; the new version is {UNIT}.dpkg-dist" in site.install()
    assert site.calls == ["systemctl daemon-reload"] * 2


def test_what_started_at_boot_by_its_init_script_does_so_by_its_unit(site: Site) -> None:
    """A unit takes the place of the script, whose links systemd ignores then."""
    site.install()
    site.started_at_boot()
    site.with_systemd()
    assert f"linked {AT_BOOT}, since it starts at boot" in site.install()
    assert (site.root / AT_BOOT).readlink() == Path("/") / UNIT
    assert not [line for line in site.install() if line.startswith("linked")]


def test_what_did_not_start_at_boot_does_not_do_so_now(site: Site) -> None:
    site.with_systemd()
    site.install()
    assert not os.path.lexists(site.root / AT_BOOT)


@pytest.mark.parametrize(
    ("settings", "user"),
    [
        ("RUN_AS=\n", "root"),
        ("RUN_AS='astro'\n", "astro"),
        ("RUN_AS=tessflux\nRUN_AS=pi\n", "pi"),
        ("", "root"),
    ],
)
def test_a_service_of_another_user_stays_with_its_init_script(site: Site, settings: str, user: str) -> None:
    """The unit runs as tessflux, for whom the spool would not be writable."""
    site.with_systemd()
    site.started_at_boot()
    site.write("etc/default/tessflux", settings)
    lines = site.install()
    assert lines[0] == (
        "no unit for systemd, which would run tessflux as tessflux: by etc/default/tessflux it runs as"
        f" {user}, and the init script starts it"
    )
    assert lines[-1] == "  service tessflux start"
    assert not (site.root / UNIT).exists()
    assert not os.path.lexists(site.root / AT_BOOT)


@pytest.mark.parametrize("settings", ["RUN_AS=tessflux\n", "RUN_AS='tessflux' # as usual\n"])
def test_a_service_of_its_own_user_gets_the_unit(site: Site, settings: str) -> None:
    site.with_systemd()
    site.write("etc/default/tessflux", settings)
    site.install()
    assert (site.root / UNIT).exists()


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
    results = dict(line.split(": ") for line in check.stdout.splitlines())
    assert results == dict.fromkeys(FILES, "OK") | {"etc/tessflux/influxdb": "FAILED"}


@pytest.mark.parametrize("line", ["", "etc/tessflux/config", "12ab  etc/tessflux/config"])
def test_a_damaged_manifest_stops_both_commands_which_name_its_line(site: Site, line: str) -> None:
    site.install()
    site.write(MANIFEST, f"# comment\n{line}\n")
    for command in (site.install, site.uninstall):
        with pytest.raises(CannotCreate, match=r"\.installed:2: .* damaged"):
            command()
    assert site.files() == set(FILES)


def test_an_empty_root_has_an_empty_manifest(tmp_path: Path) -> None:
    assert Manifest.read(tmp_path) == Manifest({}, made_user=False)


def test_a_file_that_cannot_be_written_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError, match="target") as raised:
        write_whole(tmp_path / "target", b"content", 0o644, None)
    assert raised.value.filename == str(tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


# The user


def test_a_missing_user_is_added_once_before_files_need_it(site: Site) -> None:
    site.without_user(may_add=True)
    assert site.install()[0] == "added the user tessflux"
    assert site.owner("var/lib/tessflux")[0] == UID
    assert "added the user tessflux" not in site.install()
    assert site.calls == ["adduser"]


def test_without_the_user_in_its_passwd_file_another_root_keeps_the_installers_owners(site: Site) -> None:
    site.without_user(may_add=False)
    assert site.install()[0] == "no user tessflux in etc/passwd: owners are not set"
    assert site.owner("var/lib/tessflux")[0] == os.geteuid()


def test_a_command_that_fails_is_named_with_its_reason() -> None:
    with pytest.raises(CannotCreate, match=r"sh -c .*: no room"):
        run_command(["sh", "-c", "echo no room >&2; exit 3"])
    run_command(["true"])


def test_a_command_that_is_missing_is_named_with_its_package() -> None:
    """A minimal Debian 13 has no adduser."""
    with pytest.raises(CannotCreate, match=r"no-adduser is missing; install it: apt-get install adduser"):
        run_command(["no-adduser", "--system"])


# What can go wrong


def test_only_root_changes_this_machine() -> None:
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        for command in (install, uninstall):
            with pytest.raises(CannotCreate, match="only root"):
                command(Path("/"), lambda line: None)
    finally:
        os.seteuid(before)


def test_what_the_package_has_installed_is_left_to_it(site: Site) -> None:
    site.write("usr/lib/systemd/system/tessflux.service", "a unit")
    with pytest.raises(CannotCreate, match=r"the Debian package .* apt install \./tessflux_"):
        site.install()
    assert site.files() == {"usr/lib/systemd/system/tessflux.service"}


def test_a_root_that_cannot_be_written_is_named(site: Site) -> None:
    site.write("var", "a file where a directory has to be")
    with pytest.raises(CannotCreate, match=r"root/var.*: Not a directory"):
        site.install()


def test_a_missing_source_is_named_before_anything_is_installed(site: Site) -> None:
    (site.source / "logrotate.d/tessflux").unlink()
    with pytest.raises(CannotCreate, match=r"logrotate\.d/tessflux: No such file"):
        site.install()
    assert site.files() == set()
    assert not (site.root / "var").exists()


# The program


def test_the_init_script_gets_the_path_of_the_running_program(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    ("called", "root", "path"),
    [
        ("/opt/tessflux/bin/tessflux", "/", "/opt/tessflux/bin/tessflux"),
        ("/mnt/opt/tessflux/bin/tessflux", "/mnt", "/opt/tessflux/bin/tessflux"),
        ("/opt/tessflux/bin/tessflux", "/mnt", "/opt/tessflux/bin/tessflux"),
        ("/src/tessflux/__main__.py", "/", f"{sys.prefix}/bin/tessflux"),
    ],
)
def test_the_path_of_the_program_is_the_one_inside_the_root(
    monkeypatch: pytest.MonkeyPatch, called: str, root: str, path: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert program_path(Path(root)) == Path(path)
