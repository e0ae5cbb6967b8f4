"""Every payload of the project's collection, through a real broker into a real database."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from tessflux.readings.reading import Reading, Refused, parse
from tests.readings.payloads import Case, cases
from tests.real.site import Publisher, Site, reading

LAST = ("last", 1, 0.25)
"""A reading that is published at the end: when it has arrived, all before it have."""


def groups() -> list[list[Case]]:
    """The cases in as few runs as possible: with one config, and none the duplicate of another by chance."""
    runs: list[list[Case]] = []
    placed: dict[str, list[Case]] = {}
    for case in cases():
        if case.after:
            run = placed[case.after]
        else:
            run = next((run for run in runs if all(map(_together(case), run))), [])
            if not run:
                runs.append(run)
        run.append(case)
        placed[case.id] = run
    return runs


def _together(case: Case) -> Callable[[Case], bool]:
    parsed = parse(case.payload)

    def fits(other: Case) -> bool:
        same_config = (case.whitelist, case.blacklist) == (other.whitelist, other.blacklist)
        return same_config and (isinstance(parsed, Refused) or parsed != parse(other.payload))

    return fits


def _measured(case: Case) -> tuple[str, frozenset[tuple[str, float]]]:
    parsed = parse(case.payload)
    assert isinstance(parsed, Reading), case.id
    return parsed.name, frozenset(parsed.fields.items())


@pytest.mark.parametrize("run", groups(), ids=lambda run: f"{run[0].id}-and-{len(run) - 1}-more")
def test_every_payload_gets_its_verdict(site: Site, run: list[Case]) -> None:
    """What is accepted is in the database with its values, what is rejected in quarantine, byte for byte."""
    whitelist = {*run[0].whitelist, LAST[0]} if run[0].whitelist else set()
    site.configure(
        mqtt={
            "topics": "STARS4ALL/#",
            "whitelist": ", ".join(whitelist),
            "blacklist": ", ".join(run[0].blacklist),
        }
    )
    publisher = Publisher(site.mosquitto)
    publisher.publish(((case.topic, case.payload) for case in run if case.retain), retain=True)
    site.start()
    publisher.publish((case.topic, case.payload) for case in run if not case.retain)
    publisher.publish([reading(*LAST)])
    site.wait_for_rows(1 + sum(case.expect == "accept" for case in run))
    refused = site.run("refused", "--json").stdout.splitlines()
    site.stop()
    publisher.close()
    stored = Counter(
        (
            row["name"],
            frozenset((k, v) for k, v in row.items() if v is not None and k not in ("name", "time")),
        )
        for row in site.rows()
        if row["name"] != LAST[0]
    )
    assert stored == Counter(_measured(case) for case in run if case.expect == "accept")
    # An empty payload deletes a retained message; there is nothing in it to keep.
    rejected = [
        case.payload.decode(errors="backslashreplace")
        for case in run
        if case.expect == "reject" and case.payload
    ]
    kept = [json.loads(line)["payload"] for line in refused]
    assert sorted(kept) == sorted(rejected)


def test_each_case_is_in_one_run_and_none_hides_another() -> None:
    assert sorted(case.id for run in groups() for case in run) == sorted(case.id for case in cases())
    for run in groups():
        alone = [parse(case.payload) for case in run if case.expect == "accept"]
        assert len(alone) == len({str(each) for each in alone})
