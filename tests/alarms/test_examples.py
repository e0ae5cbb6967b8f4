"""The commands that docs/watching.md shows say what happened, to a stand-in for the program that sends it."""

import re
import subprocess
from pathlib import Path

import pytest

from tessflux.alarms.notice import RAISED, Notice
from tests.status.site import NOW

DOCS = Path(__file__).parents[2] / "docs/watching.md"
EXAMPLES = re.findall(r"^```\n(#!/bin/sh\n.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
TEXT = "it's 50% full, $(and) -d @more"
NOTICE = Notice("spool", RAISED, "50%", TEXT, NOW, NOW)


def test_there_are_mail_ntfy_and_telegram() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("example", EXAMPLES, ids=["mail", "ntfy", "telegram"])
def test_each_sends_the_text_as_it_is(example: str, tmp_path: Path) -> None:
    for program in ("msmtp", "curl"):
        stand_in = tmp_path / program
        stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\ncat > {tmp_path}/sent\n')
        stand_in.chmod(0o755)
    script = tmp_path / "alarm"
    script.write_text(example)
    script.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **NOTICE.environment("pi")}
    subprocess.run([script], env=environment, check=True)
    sent, arguments = ((tmp_path / name).read_text() for name in ("sent", "arguments"))
    head, _, text = sent.rpartition("\n\n")
    assert text.rstrip("\n") == TEXT
    assert TEXT not in arguments
    if "msmtp" in example:
        assert head == "Subject: tessflux on pi: spool raised"
