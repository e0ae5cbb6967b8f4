"""`tessflux --check`: for each thing that readings need in order to arrive, one line: "ok", or what to do.

It leaves nothing behind: no session at the broker, no point in the database.
"""

import os
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol

from tessflux.commands.output import Report
from tessflux.config import Config, InfluxConfig, MqttConfig
from tessflux.errors import ServerError
from tessflux.influx import (
    Delivered,
    Http,
    InfluxClient,
    Missing,
    Ran,
    Unauthorised,
    agent,
    read_definition,
    schema,
)
from tessflux.mqtt import Session, broker_endpoint
from tessflux.spool import FILE_NAME, RESERVE
from tessflux.tls import trust

BROKER_TIMEOUT = 10.0
"""Seconds that the broker may take to answer."""

PLACES = ("spool", "log")


class Findings:
    """Reports the result of each step, and remembers which ones failed."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._failed: set[str] = set()

    def ok(self, step: str, text: str) -> None:
        self.note(step, f"ok: {text}")

    def fail(self, step: str, text: str) -> None:
        self._failed.add(step)
        self.note(step, text)

    def note(self, step: str, text: str) -> None:
        # A server may answer with a whole page.
        self._report(f"{step:<10} {' '.join(text.split())}")

    @property
    def exit_code(self) -> int:
        """0, or EX_CANTCREAT if the daemon cannot write, or else EX_UNAVAILABLE if a server is not ready."""
        if self._failed.intersection(PLACES):
            return os.EX_CANTCREAT
        return os.EX_UNAVAILABLE if self._failed else os.EX_OK


async def check(config: Config, reactor: Any, report: Report) -> int:
    """Check all that a config leads to, and return the exit code. The config itself has been loaded, so it is
    valid."""
    findings = Findings(report)
    findings.ok("config", config.path)
    for warning in config.warnings:
        findings.note("config", f"warning: {warning}")
    check_spool(config.spool.directory, findings)
    if config.global_.log_file:
        check_log(config.global_.log_file, findings)
    await check_broker(config.mqtt, reactor, findings)
    if config.influxdb.url:
        await check_database(config.influxdb, reactor, findings)
    else:
        findings.note("database", "none: [influxdb] url is empty, readings will wait in the spool")
    return findings.exit_code


def check_spool(directory: str, findings: Findings) -> None:
    """Check, without writing, that this user can write the spool and that there is room for it."""
    existing = _existing(directory)
    if shutil.disk_usage(existing).free < RESERVE:
        room = f"{RESERVE >> 20} MB"
        findings.fail("spool", f"less than {room} are left on the disk of {directory}: make room")
        return
    file = existing / FILE_NAME
    needed = [existing, file] if os.path.exists(file) else [existing]
    _report_place("spool", directory, all(os.access(each, os.W_OK) for each in needed), findings)


def check_log(path: str, findings: Findings) -> None:
    """Check, without writing, that this user can write the log file, whose directory must exist."""
    existing = _existing(path)
    near = existing in (Path(path), Path(path).parent)
    _report_place("log", path, near and os.access(existing, os.W_OK), findings)


def _existing(path: str) -> Path:
    """The path itself, or the nearest directory above it that exists."""
    # Not Path.exists, which raises for a directory that this user may not enter.
    return next(each for each in (Path(path), *Path(path).parents) if os.path.exists(each))


def _report_place(step: str, path: str, writable: bool, findings: Findings) -> None:
    if writable:
        findings.ok(step, path)
    else:
        findings.fail(step, f"this user cannot write {path}; run the check as the user of the daemon")


async def check_broker(mqtt: MqttConfig, reactor: Any, findings: Findings) -> None:
    """Connect to the broker and subscribe, in a session that ends with the connection."""
    mqtt = replace(mqtt, client_id=f"{mqtt.client_id}-check-{os.getpid()}")
    session = Session(mqtt, lambda *message: None, lambda: None, reactor, time.time, keep=False)
    try:
        await connectProtocol(broker_endpoint(reactor, mqtt), session)
        await session.accepted.addTimeout(BROKER_TIMEOUT, reactor)
        findings.ok("broker", f"{mqtt.broker} lets us in by MQTT {mqtt.version}")
        subscribing = Deferred.fromCoroutine(session.subscribe(mqtt.topics, mqtt.qos))
        answer = await subscribing.addTimeout(BROKER_TIMEOUT, reactor)
    except Exception as error:
        reason = f"no answer within {BROKER_TIMEOUT:.0f} s" if isinstance(error, DeferredTimeout) else error
        findings.fail("broker", f"{mqtt.broker}: {reason}; check [mqtt] broker, username and password")
        return
    finally:
        if session.transport is not None:
            session.disconnect()
            await session.lost
    for topic, reason in answer.refused.items():
        findings.fail("topics", f"{topic} is refused: {reason}; the broker must allow us to read it")
    if not answer.refused:
        findings.ok(
            "topics",
            f"subscribed to {', '.join(mqtt.topics)} at QoS {mqtt.qos}. The QoS at which readings arrive is"
            " known only when they do: photometers publish at QoS 0, and what they publish while tessflux is"
            " away is kept only by a broker that upgrades it (mosquitto: upgrade_outgoing_qos true)",
        )


async def check_database(config: InfluxConfig, reactor: Any, findings: Findings) -> None:
    """Ask the server who it is, compare the data definition file with the config, and try to write."""
    http = Http(config, agent(reactor, partial(trust, config.tls_ca), config.timeout), reactor)
    influx = schema.Administration(http)
    try:
        name = await influx.name() or "a server without a name"
    except ServerError as error:
        findings.fail("database", f"{config.url}: {error}; check [influxdb] url, and whether the server runs")
        return
    # What else it answers to a ping says little: some databases know none.
    findings.ok("database", f"{name} answers at {config.url}")
    would = await check_schema(config, findings) if config.schema else None
    await check_write(config, InfluxClient(config, http), influx, would, findings)
    await http.close()


async def check_schema(config: InfluxConfig, findings: Findings) -> Ran:
    """Show what the data definition file would run, and check that it creates the database that is written
    to."""
    try:
        would = await schema.preview(read_definition(config.schema))
    except OSError as error:
        findings.fail("schema", f"{error}")
        return Ran()
    for statement in would.statements:
        condition = " (unless that shortens how long readings are kept)" if statement.alteration else ""
        findings.note("schema", f"would run: {statement.shown}{condition}")
    for text in would.left_out:
        findings.note("schema", f"warning: never run: {text}; if you want it, run it in the influx shell")
    names = [statement.database for statement in would.statements if statement.database]
    if would.problem:
        findings.fail("schema", f"{config.schema}: {would.problem}; nothing after it would run")
    elif config.dbname in names:
        findings.ok("schema", f"{config.schema} creates {config.dbname}")
    else:
        found = ", ".join(names) or "no database"
        findings.fail(
            "schema", f"{config.schema} creates {found}, but dbname is {config.dbname}; make them the same"
        )
    return would


async def check_write(
    config: InfluxConfig,
    client: InfluxClient,
    influx: schema.Administration,
    would: Ran | None,
    findings: Findings,
) -> None:
    """Write no lines, which InfluxDB accepts or refuses as it would any others: it checks the rights, the
    database and the retention policy."""
    verdict = await client.write([])
    match verdict:
        case Delivered():
            policy = f", retention policy {config.retpol}" if config.retpol else ""
            findings.ok("write", f"into database {config.dbname}{policy}")
        case Missing(reason) if would:
            await check_rights(config, influx, would, reason, findings)
        case Missing(reason):
            advice = "create it, or name a data definition file in [influxdb] schema"
            findings.fail("write", f"{reason}; {advice}")
        case Unauthorised(reason):
            findings.fail("write", f"{reason}; check [influxdb] username, password and the user's rights")
        case _:
            findings.fail("write", f"{verdict.reason}; check [influxdb] url, and the log of the server")


async def check_rights(
    config: InfluxConfig, influx: schema.Administration, would: Ran, missing: str, findings: Findings
) -> None:
    """Check that our user may create what is missing, and that the file does."""
    policies = {(config.dbname, "autogen"), *(statement.policy for statement in would.statements)}
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
    elif config.retpol and (config.dbname, config.retpol) not in policies:
        findings.fail("write", f"{config.schema} does not create the retention policy {config.retpol}")
    else:
        findings.ok("write", f"what is missing will be created, by running {config.schema}")
