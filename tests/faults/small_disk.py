"""A disk that can be filled: a small tmpfs that only the daemon sees, or a limit on the size of its files."""

import subprocess
from pathlib import Path

from tests.real.site import Site

_MOUNT = 'mount -t tmpfs -o "size=$0" none "$1" && shift && exec "$@"'


class SmallDisk:
    """The spool of a daemon that has not been started yet; its directory must be there."""

    def __init__(self, site: Site, megabytes: int) -> None:
        """Where this user may mount nothing, a full disk means that no file may grow any more."""
        self._site = site
        site.spool.mkdir()
        namespace = ("unshare", "--map-root-user", "--mount")
        self.mounted = subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode == 0
        if self.mounted:
            site.around = (*namespace, "sh", "-c", _MOUNT, f"{megabytes}m", str(site.spool))

    @property
    def directory(self) -> Path:
        """The spool as the daemon sees it."""
        return Path(f"/proc/{self._site.process.pid}/root{self._site.spool}")

    def fill(self) -> None:
        """Leave no room on it."""
        if not self.mounted:
            # The log of the daemon is a file too, and a smaller one.
            self._limit(f"{(self.directory / 'spool.db-wal').stat().st_size}:")
            return
        with (self.directory / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(65_536))
            except OSError:
                pass

    def free(self) -> None:
        """Make room again."""
        if self.mounted:
            (self.directory / "filler").unlink()
        else:
            self._limit("unlimited:")

    def _limit(self, size: str) -> None:
        subprocess.run(["prlimit", "--pid", str(self._site.process.pid), f"--fsize={size}"], check=True)
