"""`tessflux --check`: for each thing that readings need in order to arrive, one line: "ok", or what to do.

It leaves nothing behind: no session at the broker, no point in the database.
"""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tessflux.commands.brokercheck import check_broker
from tessflux.commands.findings import Findings
from tessflux.commands.output import Report
from tessflux.config import Config, InfluxConfig
from tessflux.errors import ServerError
from tessflux.influx import (
    Delivered,
    Http,
    InfluxClient,
    Missing,
    Ran,
    Statement,
    Unauthorised,
    agent,
    bucket,
    dialect,
    read_definition,
    schema,
)
from tessflux.process import lock, privileges
from tessflux.spool import FILE_NAME, RESERVE
from tessflux.tls import trust


async def check(config: Config, reactor: Any, report: Report) -> int:
    """Check all that a config leads to, and return the exit code. The config itself has been loaded, so it is
    valid."""
    findings = Findings(report)
    findings.ok("config", config.path)
    for warning in config.warnings:
        findings.note("config", f"warning: {warning}")
    check_spool(config.spool.directory, findings)
    check_state(config.spool.directory, findings)
    if config.global_.log_file:
        check_log(config.global_.log_file, findings)
    if config.alarm.command:
        findings.ok("alarm", f"{config.alarm.command} can be run; tessflux test-alarm tries it")
    await check_broker(config.mqtt, reactor, findings)
    for section, output in config.outputs.items():
        if len(config.outputs) > 1:
            findings.note("output", f"[{section}]")
        for url in output.urls:
            # Each is asked, not only the first that answers.
            await check_database(replace(output, url=url), reactor, findings)
        if not output.url:
            findings.note("database", f"none: [{section}] url is empty, readings will wait in the spool")
    return findings.exit_code


def check_spool(directory: str, findings: Findings) -> None:
    """Check, without writing, that this user can write the spool and that there is room for it."""
    existing = privileges.existing(Path(directory))
    if shutil.disk_usage(existing).free < RESERVE:
        room = f"{RESERVE >> 20} MB"
        findings.fail("spool", f"less than {room} are left on the disk of {directory}: make room")
        return
    file = existing / FILE_NAME
    needed = [existing, file] if os.path.exists(file) else [existing]
    _report_place("spool", directory, all(os.access(each, os.W_OK) for each in needed), findings)


def check_state(directory: str, findings: Findings) -> None:
    """Tell what the daemon that uses the spool says of itself, if that is not as usual."""
    if state := lock.state_of_spool(directory):
        findings.note("daemon", f"warning: {state}; to resume it: service tessflux resume")


def check_log(path: str, findings: Findings) -> None:
    """Check, without writing, that this user can write the log file, whose directory must exist."""
    existing = privileges.existing(Path(path))
    near = existing in (Path(path), Path(path).parent)
    _report_place("log", path, near and os.access(existing, os.W_OK), findings)


def _report_place(step: str, path: str, writable: bool, findings: Findings) -> None:
    if writable:
        findings.ok(step, path)
    else:
        findings.fail(step, f"this user cannot write {path}; run the check as the user of the daemon")


async def check_database(config: InfluxConfig, reactor: Any, findings: Findings) -> None:
    """Ask the server who it is, compare the data definition file with the config, and try to write."""
    http = Http(config, agent(reactor, partial(trust, config.tls_ca), config.timeout), reactor)
    try:
        await _check_server(config, http, findings)
    finally:
        await http.close()


async def _check_server(config: InfluxConfig, http: Http, findings: Findings) -> None:
    influx = schema.Administration(http)
    try:
        name = await influx.name() or "a server without a name"
    except ServerError as error:
        findings.fail(
            "database", f"{config.url}: {error}; {_see(config, 'url')}, and whether the server runs"
        )
        return
    # What else it answers to a ping says little: some databases know none.
    findings.ok("database", f"{name} answers at {config.url}")
    would = await check_schema(config, findings) if config.schema else None
    await check_write(config, InfluxClient(config, http), http, influx, would, findings)


async def check_schema(config: InfluxConfig, findings: Findings) -> Ran | None:
    """Show what the data definition file would run; None if it would not run to its end. Whether it must
    create the database depends on what is missing."""
    try:
        would = await schema.preview(read_definition(config.schema))
    except OSError as error:
        findings.fail("schema", f"{error}")
        return None
    for statement in would.statements:
        findings.note("schema", f"would run: {statement.shown}{_condition(statement)}")
    for text in would.left_out:
        findings.note("schema", f"warning: never run: {text}; if you want it, run it in the influx shell")
    names = [statement.database for statement in would.statements if statement.database]
    unclear = next((statement for statement in would.statements if not statement.understood), None)
    if would.problem:
        findings.fail("schema", f"{config.schema}: {would.problem}; nothing after it would run")
        return None
    if unclear:
        advice = "is a semicolon missing before the next, or a word mistyped?"
        findings.fail("schema", f"{config.schema}: InfluxDB may not understand {unclear}: {advice}")
        return None
    if config.dbname in names:
        findings.ok("schema", f"{config.schema} creates {config.dbname} if it is missing")
    else:
        found = ", ".join(names) or "no database"
        findings.note("schema", f"warning: {config.schema} creates {found}, but dbname is {config.dbname}")
    return would


def _condition(statement: Statement) -> str:
    """On what it depends whether a statement is run as it stands."""
    if statement.alteration:
        return " (unless that shortens how long readings are kept)"
    if statement.new_default:
        return " (without DEFAULT if others have written into the database)"
    return ""


async def check_write(
    config: InfluxConfig,
    client: InfluxClient,
    http: Http,
    influx: schema.Administration,
    would: Ran | None,
    findings: Findings,
) -> None:
    """Write no lines, which InfluxDB accepts or refuses as it would any others: it checks the rights, the
    database and the retention policy."""
    verdict, target = await client.write([]), dialect(config)
    match verdict:
        case Delivered():
            findings.ok("write", f"into {target.place}")
            if config.resend and (needed := await client.stores_twice()):
                text = f"warning: it may store twice what it gets twice, so resend is off: {needed}"
                findings.note("write", text)
        case Missing(reason) if config.create:
            await check_organization(config, http, reason, findings)
        case Missing(reason) if would:
            await check_rights(config, influx, would, reason, findings)
        case Missing(reason) if config.schema:
            findings.fail("write", f"{reason}; mend {config.schema}, which is to create it")
        case Missing(reason):
            findings.fail("write", f"{reason}; {target.unmade}")
        case Unauthorised(reason):
            findings.fail("write", f"{reason}; {_see(config, target.login)}")
        case _:
            findings.fail("write", f"{verdict.reason}; {_see(config, 'url')}, and the log of the server")


def _see(config: InfluxConfig, keys: str) -> str:
    return f"check [{config.section}] {keys}"


async def check_organization(config: InfluxConfig, http: Http, missing: str, findings: Findings) -> None:
    """Check that the organization is there. Whether the token may make a bucket, only an attempt tells."""
    try:
        await bucket.find_organization(config, http)
    except (ServerError, bucket.NoOrganization) as error:
        findings.fail("write", f"{missing}; {error}: {_see(config, 'org and token')}")
    else:
        findings.note("write", f"warning: {missing}; it will be created, if the token may create buckets")


async def check_rights(
    config: InfluxConfig, influx: schema.Administration, would: Ran, missing: str, findings: Findings
) -> None:
    """Check that our user may create what is missing, and that the file does."""
    try:
        refused = await influx.may_not_create()
    except ServerError as error:
        findings.fail("write", f"{missing}; {error}")
        return
    if refused:
        findings.fail(
            "write",
            f"{missing}, and our user may not create it ({refused}): have an administrator run"
            f' {config.schema} and GRANT WRITE ON "{config.dbname}" TO "{config.username}"',
        )
    elif lacking := _not_created(config, would, missing):
        findings.fail("write", f"{missing}; {config.schema} does not create the {lacking}")
    else:
        findings.ok("write", f"what is missing will be created, by running {config.schema}")


def _not_created(config: InfluxConfig, would: Ran, missing: str) -> str:
    """What readings need and the file does not create, or nothing."""
    policies = {statement.policy for statement in would.statements}
    if "retention policy not found" not in missing:
        if all(statement.database != config.dbname for statement in would.statements):
            return f"database {config.dbname}"
        # A new database has it.
        policies.add((config.dbname, "autogen"))
    wanted = not config.retpol or (config.dbname, config.retpol) in policies
    return "" if wanted else f"retention policy {config.retpol}"
