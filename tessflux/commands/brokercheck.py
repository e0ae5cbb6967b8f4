"""`tessflux --check` at the broker: does it let us in, by which MQTT, and what does it grant?

It subscribes in sessions that end with it. Some brokers grant a shared subscription and send nothing by it:
that is seen by listening for a moment, in a group of its own, which takes nothing from another's members.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.task import deferLater

from tessflux.commands.findings import Findings
from tessflux.config import MqttConfig
from tessflux.errors import ServerError, in_words
from tessflux.mqtt import (
    CONNACK_TIMEOUT,
    Answer,
    Refusal,
    Session,
    broker_endpoint,
    lower_qos,
    objections,
    other_than,
    remarks,
    without_registers,
)
from tessflux.readings import Acknowledge, Message

ANSWER_TIMEOUT = 10.0
"""Seconds that the broker may take to answer SUBSCRIBE."""

LISTEN = 10.0
"""Seconds in which a network with a share group has published something."""

SETTLE = 1.0
"""Seconds after a subscription in which what comes may be of an earlier time."""


class Probe:
    """A session that ends with the check."""

    def __init__(self, mqtt: MqttConfig, reactor: Any) -> None:
        self.mqtt, self._reactor = mqtt, reactor
        self.heard: Deferred[None] = Deferred()
        """Fires with the first message that is not retained, after it was told to `listen`."""
        self._listens = False
        self.session = Session(mqtt, self._take, lambda: None, reactor, time.time, keep=False)

    def listen(self) -> None:
        self._listens = True

    def _take(self, messages: Sequence[Message], acknowledge: Acknowledge) -> None:
        if mids := [message.mid for message in messages if message.mid is not None]:
            acknowledge(mids)
        published = any(not message.retained for message in messages)
        if self._listens and published and not self.heard.called:
            self.heard.callback(None)

    async def connect(self) -> None:
        """Raises whatever keeps us out."""
        await connectProtocol(broker_endpoint(self._reactor, self.mqtt), self.session)
        await self.session.accepted.addTimeout(CONNACK_TIMEOUT, self._reactor)

    async def subscribe(self, *topics: str) -> Answer:
        """What the broker answers."""
        asking = Deferred.fromCoroutine(self.session.subscribe(topics, self.mqtt.qos))
        return await asking.addTimeout(ANSWER_TIMEOUT, self._reactor)

    async def leave(self) -> None:
        """Nothing is left of it."""
        if self.session.transport is not None:
            self.session.disconnect()
            await self.session.lost


async def check_broker(mqtt: MqttConfig, reactor: Any, findings: Findings) -> None:
    """Connect to the broker as the daemon would, and subscribe."""
    mqtt = replace(mqtt, client_id=f"{mqtt.client_id}-check-{os.getpid()}")
    probe = await _let_in(mqtt, reactor, findings)
    if probe is None:
        return
    step = "topics"
    try:
        await _check_topics(probe, findings)
        if mqtt.share_group:
            step = "share"
            await _check_share(probe, reactor, findings)
        if mqtt.register_topics:
            step = "registers"
            await _check_registers(probe, findings)
    except Exception as error:
        findings.fail(step, f"{mqtt.broker}: {_reason(error)}")
    finally:
        await probe.leave()


async def _let_in(mqtt: MqttConfig, reactor: Any, findings: Findings) -> Probe | None:
    """By the version of the config, or else by the other one."""
    failed: list[Exception] = []
    for version in (mqtt.version, other_than(mqtt.version)):
        probe = Probe(replace(mqtt, version=version), reactor)
        try:
            await probe.connect()
        except Exception as error:
            failed.append(error)
            await probe.leave()
            # Unless it read our CONNECT, or for any other reason of its own, the other version helps nothing.
            if not probe.session.reached or (isinstance(error, Refusal) and not error.bad_version):
                break
            continue
        terms = f" ({probe.session.terms})" if str(probe.session.terms) else ""
        findings.ok("broker", f"{mqtt.broker} lets us in by MQTT {version}{terms}")
        for failure in failed:
            what = "does not take" if isinstance(failure, Refusal) else "gives no answer to"
            findings.note("broker", f"warning: it {what} MQTT {mqtt.version}; set [mqtt] version = {version}")
        for remark in remarks(probe.session.terms):
            findings.note("broker", f"warning: {remark}")
        return probe
    if all(isinstance(error, Refusal) and error.bad_version for error in failed):
        findings.fail("broker", f"{mqtt.broker} takes neither MQTT 3.1.1 nor MQTT 5: it must be updated")
    else:
        # What a broker says tells more than its silence.
        told = [error for error in failed if isinstance(error, Refusal) and not error.bad_version]
        findings.fail("broker", f"{mqtt.broker}: {_reason((told or failed)[0])}")
    return None


def _reason(error: Exception) -> str:
    """In words, with what to do if the error does not say it."""
    match error:
        case ServerError():
            return str(error)
        case DeferredTimeout():
            return f"no answer within {error.args[0]:.0f} s; does a broker listen there? Check [mqtt] broker"
        case _:
            return f"{in_words(error)}; is the broker running, and is [mqtt] broker right?"


async def _check_topics(probe: Probe, findings: Findings) -> None:
    mqtt = probe.mqtt
    answer = await probe.subscribe(*mqtt.topics)
    for objection in objections(probe.session.terms, mqtt):
        findings.fail("topics", objection)
    for topic, reason in answer.refused.items():
        findings.fail("topics", f"{topic} is refused: {reason}; the broker must allow us to read it")
    for remark in lower_qos(answer.granted, mqtt.qos):
        findings.note("topics", f"warning: {remark}")
    if not answer.refused:
        findings.ok(
            "topics",
            f"subscribed to {', '.join(mqtt.topics)} at QoS {min(answer.granted.values())}. The QoS at which"
            " readings arrive is known only when they do: photometers publish at QoS 0, and what they publish"
            " while tessflux is away is kept only by a broker that upgrades it (mosquitto:"
            " upgrade_outgoing_qos true)",
        )


async def _check_registers(probe: Probe, findings: Findings) -> None:
    """Readings come without them, so nothing about them is a failure."""
    topics = probe.mqtt.register_topics
    try:
        refused = (await probe.subscribe(*topics)).refused
    except (ServerError, DeferredTimeout):
        refused = dict.fromkeys(topics, "it ends the connection")
    for remark in without_registers(sorted(refused)):
        findings.note("registers", f"warning: {remark}")
    if not refused:
        findings.ok("registers", f"subscribed to {', '.join(topics)}, where photometers say who they are")


async def _check_share(plain: Probe, reactor: Any, findings: Findings) -> None:
    """See whether what comes by the plain subscription comes by a shared one too."""
    group = f"tessflux-check-{os.getpid()}"
    shared = Probe(replace(plain.mqtt, client_id=f"{plain.mqtt.client_id}-share"), reactor)
    try:
        await shared.connect()
        answer = await shared.subscribe(*(f"$share/{group}/{topic}" for topic in plain.mqtt.topics))
        if answer.refused:
            reason = next(iter(answer.refused.values()))
            findings.fail("share", f"shared subscriptions are refused: {reason}; leave share_group blank")
            return
        shared.listen()
        await deferLater(reactor, SETTLE)
        plain.listen()
        if await _within(shared.heard, LISTEN, reactor):
            findings.ok("share", "a shared subscription brings readings")
        elif plain.heard.called:
            findings.fail(
                "share",
                "the broker grants a shared subscription and sends nothing by it, though readings come: it"
                " has no shared subscriptions; leave share_group blank, and divide the topics instead",
            )
        else:
            findings.note(
                "share",
                f"warning: no reading came within {LISTEN:.0f} s, so it is not known whether shared"
                " subscriptions bring them: some brokers grant them and send nothing. Try again when"
                " photometers publish",
            )
    finally:
        await shared.leave()


async def _within(waiting: Deferred[None], seconds: float, reactor: Any) -> bool:
    """Whether it fires in time."""
    try:
        await waiting.addTimeout(seconds, reactor)
    except DeferredTimeout:
        return False
    return True
