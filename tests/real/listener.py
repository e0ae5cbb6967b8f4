"""An operator's command that is run at every alarm."""

from pathlib import Path

from tests.real.site import DEADLINE, wait_until

SCRIPT = """\
#!/bin/sh
echo "$TESSFLUX_EVENT $TESSFLUX_STATE: $TESSFLUX_TEXT" >> {heard}
"""


class Listener:
    """An operator's command, and what it has heard."""

    def __init__(self, directory: Path) -> None:
        self.command = directory / "alarm"
        self.heard = directory / "heard"
        self.command.write_text(SCRIPT.format(heard=self.heard))
        self.command.chmod(0o755)
        self.heard.touch()

    def wait_for(self, *wanted: str) -> None:
        """Wait until something begins like each of these."""
        wait_until(
            lambda: all(any(line.startswith(each) for line in self.lines()) for each in wanted),
            lambda: f"{wanted} in\n{self.heard.read_text()}",
            # A server that was away for so long that it is an alarm is asked again after up to half a minute.
            2 * DEADLINE,
        )

    def lines(self) -> list[str]:
        return self.heard.read_text().splitlines()
