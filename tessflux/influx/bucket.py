"""Makes the bucket of an InfluxDB 2, by its HTTP API."""

import json
from typing import Any
from urllib.parse import urlencode

import msgspec

from tessflux.config import InfluxConfig
from tessflux.influx.definition import Ran
from tessflux.influx.http import Answer, Http
from tessflux.influx.verdict import LONGEST_REASON, error_text

DAY = 86_400
_JSON = {"Content-Type": "application/json"}


class _Organization(msgspec.Struct):
    id: str
    name: str


class _Organizations(msgspec.Struct):
    orgs: list[_Organization] = []


class NoOrganization(Exception):
    """We see no organization of that name; the message is for the operator."""


async def create(config: InfluxConfig, http: Http) -> Ran:
    """Make the bucket. That it is there already is no problem: another may have made it meanwhile.

    Raises ServerError if the server does not answer.
    """
    try:
        organization = await find_organization(config, http)
    except NoOrganization as error:
        return Ran(problem=str(error))
    bucket: dict[str, Any] = {"orgID": organization, "name": config.bucket, "retentionRules": []}
    if config.retention:
        bucket["retentionRules"] = [{"type": "expire", "everySeconds": config.retention * DAY}]
    answer = await http.post("/api/v2/buckets", json.dumps(bucket).encode(), _JSON)
    if answer.code == 201 or "already exists" in error_text(answer.body):
        return Ran()
    return Ran(problem=_said(http, answer))


async def find_organization(config: InfluxConfig, http: Http) -> str:
    """The id of the organization. Raises ServerError if the server does not answer, and NoOrganization."""
    answer = await http.get(f"/api/v2/orgs?{urlencode({'org': config.org})}")
    if answer.code != 200:
        raise NoOrganization(_said(http, answer))
    try:
        found = msgspec.json.decode(answer.body, type=_Organizations).orgs
    except msgspec.MsgspecError:
        raise NoOrganization("its answer is not that of an InfluxDB 2") from None
    for each in found:
        if each.name == config.org:
            return each.id
    raise NoOrganization(f"the token sees no organization {config.org}")


def _said(http: Http, answer: Answer) -> str:
    return f"{answer.code} {http.hide(error_text(answer.body))[:LONGEST_REASON]}".rstrip()
