"""`tessflux --check`: one line for each thing that must be so for readings to arrive; "ok", or what to do.

It leaves nothing behind: no session at the broker, no point in the database.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.threads import deferToThread

from tessflux.config import Config, InfluxConfig
from tessflux.errors import CannotCreate, ServerError
from tessflux.influx import Delivered, InfluxClient, Missing, Unauthorised, agent, schema
from tessflux.mqtt import Login, Session, broker_endpoint
from tessflux.spool import FILE_NAME, RESERVE
from tessflux.tls import trust

UNAVAILABLE = 69
"""The exit code when a server is not ready (EX_UNAVAILABLE of sysexits.h)."""

ANSWER = 10.0
"""Seconds that the broker may take for an answer."""

Say = Callable[[str], None]


async def check(config: Config, reactor: Any, say: Say) -> int:
    """Try broker and database; returns an exit code. The config has been read already, so it is good."""
    say(f"config     ok: {config.path}")
    for warning in config.warnings:
        say(f"config     warning: {warning}")
    places = _places(config, say)
    broker = await _broker(config, reactor, say)
    database = await _database(config.influxdb, reactor, say)
    if not places:
        return CannotCreate.exit_code
    return 0 if broker and database else UNAVAILABLE


def _places(config: Config, say: Say) -> bool:
    """Whether the user who asks may write where the daemon would, without writing."""
    good = True
    log_file = config.global_.log_file
    for what, path in (("spool", config.spool.directory), ("log", log_file)):
        if not path:
            continue
        # What is not there yet is made in the next directory above that is.
        there = next(each for each in (Path(path), *Path(path).parents) if each.exists())
        makes_parents = what == "spool" or there in (Path(path), Path(path).parent)
        free = shutil.disk_usage(there).free
        if what == "spool" and free < RESERVE:
            good = False
            say(f"{what:<10} less than {RESERVE >> 20} MB are left on the disk of {path}: make room")
        elif makes_parents and all(os.access(each, os.W_OK) for each in _written(there)):
            say(f"{what:<10} ok: {path}")
        else:
            good = False
            say(f"{what:<10} this user cannot write {path}; run the check as the user of the daemon")
    return good


def _written(place: Path) -> list[Path]:
    """What the daemon writes: the log file, or the directory and the spool in it."""
    spool = place / FILE_NAME
    return [place, spool] if os.path.exists(spool) else [place]


async def _broker(config: Config, reactor: Any, say: Say) -> bool:
    mqtt = config.mqtt
    login = Login(
        f"{mqtt.client_id}-check-{os.getpid()}",
        mqtt.username,
        mqtt.password,
        mqtt.keepalive,
        mqtt.version,
        keep_session=False,
    )
    session = Session(login, lambda *message: None, lambda: None, reactor, time.time)
    try:
        await connectProtocol(broker_endpoint(reactor, mqtt), session)
        await session.accepted.addTimeout(ANSWER, reactor)
        say(f"broker     ok: {mqtt.broker} lets us in by MQTT {mqtt.version}")
        asked = Deferred.fromCoroutine(session.subscribe(mqtt.topics, mqtt.qos))
        refused = await asked.addTimeout(ANSWER, reactor)
    except Exception as error:
        text = f"no answer within {ANSWER:.0f} s" if isinstance(error, DeferredTimeout) else error
        say(f"broker     {mqtt.broker}: {text}; check [mqtt] broker, username and password")
        return False
    finally:
        if session.transport is not None:
            session.disconnect()
            await session.lost
    for topic, reason in refused.items():
        say(f"topics     {topic} is refused: {reason}; the broker must allow us to read it")
    if refused:
        return False
    say(
        f"topics     ok: subscribed to {', '.join(mqtt.topics)} at QoS {mqtt.qos}. At which QoS readings"
        " come is known only when they do: photometers publish at QoS 0, and what they publish while"
        " tessflux is away is kept only by a broker that upgrades it (mosquitto: upgrade_outgoing_qos true)"
    )
    return True


async def _database(config: InfluxConfig, reactor: Any, say: Say) -> bool:
    if not config.url:
        say("database   none: [influxdb] url is empty, readings will wait in the spool")
        return True
    try:
        version = await deferToThread(_administer, config, lambda influx: influx.version())
        say(f"database   ok: InfluxDB {version} at {config.url}")
    except ServerError as error:
        say(f"database   {error}; check [influxdb] url, and whether the server runs")
        return False
    good = _definition(config, say)
    connections = agent(reactor, trust(config.tls_ca), config.timeout)
    # InfluxDB judges a write of no lines like any other, by rights, database and retention policy.
    verdict = await InfluxClient(config, connections, reactor).write([])
    policy = f", retention policy {config.retpol}" if config.retpol else ""
    match verdict:
        case Delivered():
            say(f"write      ok: into database {config.dbname}{policy}")
            return good
        case Missing(reason):
            if config.schema:
                return await _may_create(config, say) and good
            say(f"write      {reason}; create it, or name a data definition file in [influxdb] schema")
        case Unauthorised(reason):
            say(f"write      {reason}; check [influxdb] username, password and the user's rights")
        case _:
            say(f"write      {getattr(verdict, 'reason', verdict)}")
    return False


async def _may_create(config: InfluxConfig, say: Say) -> bool:
    if await deferToThread(_administer, config, lambda influx: influx.may_create()):
        say(f"write      ok: what is missing will be created, by running {config.schema}")
        return True
    say(
        "write      database or retention policy are missing, and our user is no administrator:"
        f' have one run {config.schema} and GRANT WRITE ON "{config.dbname}" TO "{config.username}"'
    )
    return False


def _definition(config: InfluxConfig, say: Say) -> bool:
    if not config.schema:
        return True
    names = schema.databases(Path(config.schema).read_text(errors="replace"))
    if config.dbname in names:
        say(f"schema     ok: {config.schema} creates {config.dbname}")
        return True
    found = f"creates {', '.join(names)}" if names else "creates no database"
    say(f"schema     {config.schema} {found}, but dbname is {config.dbname}; make them the same")
    return False


def _administer(config: InfluxConfig, work: Callable[[schema.Administration], Any]) -> Any:
    with closing(schema.Administration(config)) as influx:
        return work(influx)
