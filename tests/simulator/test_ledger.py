"""The ledger says what left for the broker, and when."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tessflux.simulator.ledger import Ledger
from tessflux.simulator.network import timeline
from tests.simulator.test_network import SCENARIO


def test_each_reading_has_a_line_that_can_be_read_at_once_and_registers_have_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    messages = list(islice(timeline(replace(SCENARIO, photometers=1, tess4c=0)), 4))
    with Ledger(path) as ledger:
        for at, message in enumerate(messages, 1_700_000_000_000):
            ledger.enter(message, at)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    _, _, first, second = (message.payload for message in messages)
    tsky = [json.loads(payload)["tsky"] for payload in (first, second)]
    assert [message.kind for message in messages] == ["register", "register", "reading", "reading"]
    assert rows == [
        {"name": "stars1", "seq": 2, "tsky": tsky[0], "boot": 0, "at": 1_700_000_000_002, "payload": first},
        {"name": "stars1", "seq": 3, "tsky": tsky[1], "boot": 0, "at": 1_700_000_000_003, "payload": second},
    ]
