"""Payloads as photometers and gateways publish them, and the verdict that each deserves.

`payloads.jsonl` has one case a line. `expect` is accept, filter or reject; a case that is not `firm`
could be judged otherwise with good reasons. Cases that say so come `after` another, or in one `burst` at one
moment.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

FILE = Path(__file__).parent / "payloads.jsonl"


@dataclass(frozen=True)
class Case:
    """One message; `now` is when it arrives (ms since 1970 UTC), None when any time will do."""

    id: str
    topic: str
    payload: bytes
    expect: Literal["accept", "filter", "reject"]
    why: str
    firm: bool
    retain: bool
    whitelist: frozenset[str]
    blacklist: frozenset[str]
    after: str
    burst: str
    now: int | None
    norm_name: str


def cases() -> list[Case]:
    """All of them, in the order of the file."""
    return [_case(json.loads(line)) for line in FILE.read_text("utf-8").splitlines()]


def _case(row: dict[str, Any]) -> Case:
    config = row.get("config", {})
    now = row.get("now")
    return Case(
        id=row["id"],
        topic=row["topic"],
        payload=bytes.fromhex(row["payload_hex"]) if "payload_hex" in row else row["payload"].encode(),
        expect=row["expect"],
        why=row["why"],
        firm=row["firm"],
        retain=row.get("retain", False),
        whitelist=_names(config.get("whitelist", ())),
        blacklist=_names(config.get("blacklist", ())),
        after=row.get("after", ""),
        burst=row.get("burst", ""),
        now=None if now is None else round(datetime.fromisoformat(now).timestamp() * 1_000),
        norm_name=row.get("norm_name", ""),
    )


def _names(names: list[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
