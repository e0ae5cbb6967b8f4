"""Stays connected to the broker and subscribed, for ever: connect, subscribe, listen, back off, retry.

Messages are handed on at once. What becomes of them, and when they are acknowledged, is decided by the
spool's Committer.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from tessflux.config import MqttConfig, Version
from tessflux.errors import ServerError, in_words
from tessflux.logs import RateLimit
from tessflux.mqtt import handshake, subscription
from tessflux.mqtt.handshake import Handshakes
from tessflux.mqtt.session import CONNACK_TIMEOUT, Session
from tessflux.mqtt.subscription import Asking, Subscription
from tessflux.mqtt.terms import lower_qos, objections, remarks, without_registers
from tessflux.readings import Deliver

log = Logger(namespace="mqtt")

STEADY = 60.0
"""Seconds after which a connection counts as good: after its loss the back-off begins anew."""

WATCH_PERIOD = 5.0
"""Seconds between two checks for silence, and for topics to ask for again."""

BACKPRESSURE_CHECK = 1.0
"""Seconds between two checks whether there is room for what a new connection would bring."""

QOS_NOTICE = 100
"""If all of so many messages came at QoS 0, the operator should know."""

PROBLEM_PERIOD = 600.0
PROBLEM_LINES = 10
"""A lasting problem is logged again after so many seconds, and only so many different ones within them."""

NEVER_SHARED = "; some brokers grant a shared subscription and send nothing by it: --check tells"
"""What may be wrong when a member of a share group has never heard anything."""

SESSION_LOSSES = 3
"""After so many connections that were lost in our earlier session before they could subscribe, none of which
did since, the session may be the cause."""

BAD_SESSION = (
    "; it has ended several connections like this. If it cannot go on with our earlier session, another"
    " [mqtt] client_id begins a new one, without what waits in the earlier one"
)

REMARK_PERIOD = 86_400.0
"""What a broker grants less of than it should is logged again after so many seconds."""


class Memory(subscription.Memory, handshake.Memory, Protocol):
    """Keeps, over restarts, what is known of a broker. Raises nothing."""


class Subscriber(Service):
    """`take` gets messages and what acknowledges them; `idle` is called when all that arrived was taken;
    `resumed` when the broker accepts us in our earlier session, before any of its messages is taken.

    `memory` keeps what the broker may have us subscribed to, `now` is the time of day in seconds since
    1970 UTC, `backoff` gives the delay after so many failures.
    """

    def __init__(
        self,
        config: MqttConfig,
        *,
        take: Deliver,
        idle: Callable[[], None],
        resumed: Callable[[], None],
        memory: Memory,
        clock: IReactorTime,
        now: Callable[[], float],
        endpoint: Callable[[MqttConfig], IStreamClientEndpoint],
        backoff: Callable[[int], float],
    ) -> None:
        self._config = config
        self._take, self._idle, self._resumed, self._memory = take, idle, resumed, memory
        self._clock, self._now = clock, now
        self._endpoint, self._backoff = endpoint, backoff
        self._handshakes = Handshakes(config, memory, clock, now, recall=True)
        self._problems = RateLimit(clock, period=PROBLEM_PERIOD, lines=PROBLEM_LINES)
        self._refusals = RateLimit(clock, period=PROBLEM_PERIOD, lines=PROBLEM_LINES)
        self._asking = Asking(clock)
        self._loop: Deferred[None] | None = None
        self._waiting: Deferred[Any] | None = None
        self._session: Session | None = None
        self._subscription: Subscription | None = None
        self._reconnecting = False
        self._backpressure = False
        self._session_losses = 0
        self._remarks = RateLimit(clock, period=REMARK_PERIOD, lines=PROBLEM_LINES)
        self._qos_known = self._heard = False
        self._problem = ""
        self.connected = False
        """Whether the broker has accepted us and our topics."""
        self.since = clock.seconds()
        """When that began or ended (clock seconds)."""

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Disconnect; the broker keeps our session and what we did not acknowledge."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._interrupt()
        if self._loop is not None:
            await self._loop

    @property
    def listening(self) -> bool:
        """Whether the broker can send us what is published on our topics, and we read it."""
        return self._subscription is not None and not self._backpressure

    @property
    def problem(self) -> str:
        """Why nothing comes, or not everything, in words; "" if all is well or was not tried yet."""
        if self.connected and self._subscription is not None and (refused := self._subscription.refused):
            return f"it refuses {', '.join(refused)}"
        return self._problem

    def _is_connected(self, connected: bool) -> None:
        if connected != self.connected:
            self.connected, self.since = connected, self._clock.seconds()

    def backpressure(self, on: bool) -> None:
        """Stop reading from the broker, or go on."""
        self._backpressure = on
        if self._session is not None:
            # A response that is under way is not read either: after RESPONSE_TIMEOUT the connection ends.
            self._session.backpressure(on)
            self._synchronise()

    def redeliver(self) -> None:
        """Have the broker send again what was not acknowledged. It does so for a new connection."""
        if self._session is not None:
            log.info("Reconnecting, for the messages that were left to the broker")
            self._reconnect()

    def reconfigure(self, config: MqttConfig) -> None:
        """Use another config. Other topics are subscribed on this connection, another login on a new one."""
        before, self._config = self._config, config
        self._heard = False
        self._session_losses = 0
        self._handshakes = Handshakes(config, self._memory, self._clock, self._now, recall=False)
        self._problems.over()
        self._refusals.over()
        self._asking = Asking(self._clock)
        if before.connection != config.connection:
            if self._session is not None:
                log.info("Reconnecting, for the new config")
            self._reconnect()
        elif self._subscription is not None:
            self._subscription.want(config)
            self._synchronise()

    def _reconnect(self) -> None:
        """Without a delay: what photometers publish at QoS 0 in between is lost."""
        self._reconnecting = True
        self._interrupt()

    def _interrupt(self) -> None:
        """End what the loop waits for."""
        if self._session is not None:
            self._session.disconnect()
        elif self._waiting is not None:
            self._waiting.cancel()

    async def _run(self) -> None:
        failures = 0
        while self.running:
            if self._backpressure:
                # A new connection would bring again what is not acknowledged yet.
                await self._wait(BACKPRESSURE_CHECK)
                continue
            self._reconnecting = False
            began = self._clock.seconds()
            try:
                await self._connection()
            except Exception as error:
                self._log_problem(error)
            if self._clock.seconds() - began >= STEADY:
                failures = 0
            if self.running and not self._reconnecting:
                await self._wait(self._backoff(failures))
                failures += 1
            if self._reconnecting:
                failures = 0

    async def _wait(self, seconds: float) -> None:
        self._waiting = deferLater(self._clock, seconds)
        try:
            await self._waiting
        except CancelledError:
            pass  # Interrupted.
        finally:
            self._waiting = None

    @property
    def _interrupted(self) -> bool:
        """Whether we ended the connection ourselves."""
        return self._reconnecting or not self.running

    async def _connection(self) -> None:
        """One connection, from its beginning to its end."""
        handshakes = self._handshakes
        version = await handshakes.version()
        if self._interrupted:
            return
        config = replace(self._config, version=version)
        session = Session(config, self._take, self._idle, self._clock, self._now)
        self._waiting = connectProtocol(self._endpoint(config), session)
        try:
            await self._waiting
        except (CancelledError, ConnectingCancelledError):
            return  # Interrupted.
        finally:
            self._waiting = None
        self._session = session
        if self._backpressure:
            session.backpressure(True)
        watch = LoopingCall(self._watch, session)
        watch.clock = self._clock
        try:
            await self._handshake(session, handshakes, version)
            subscribed = Subscription(
                session, self._config, self._memory, self._clock, self._refusals, self._asking
            )
            self._subscription = subscribed
            watch.start(WATCH_PERIOD, now=False)
            await self._subscribe(session, subscribed)
            self._problems.over()
            self._is_connected(True)
            self._problem = ""
            self._remark(session, subscribed)
            reason = await session.lost
        finally:
            self._session = self._subscription = None
            self._is_connected(False)
            if watch.running:
                watch.stop()
            session.abort("given up")
            if not session.lost.called:
                await session.lost
        if not self._interrupted:
            self._problem = f"the connection was lost: {reason}"
            log.warn(
                "Lost the connection to the broker {broker}: {reason}",
                broker=str(config.broker),
                reason=reason,
            )

    async def _handshake(self, session: Session, handshakes: Handshakes, version: Version) -> None:
        try:
            await session.accepted.addTimeout(CONNACK_TIMEOUT, self._clock)
        except (ServerError, DeferredTimeout) as error:
            # Under backpressure no answer is read.
            if session.reached and not self._interrupted and not self._backpressure:
                handshakes.failed(version, error)
            raise
        if session.session_present:
            # Messages may have come in the same bytes. They are read when this waits for something again.
            self._resumed()
        log.info(
            "Connected to the broker {broker} by MQTT {version}, {session} session",
            broker=str(self._config.broker),
            version=version,
            session="in our earlier" if session.session_present else "in a new",
        )
        await handshakes.accepted(version)

    async def _subscribe(self, session: Session, subscription: Subscription) -> None:
        try:
            await subscription.synchronise()
        except ServerError as error:
            if session.is_open or not session.session_present or self._interrupted:
                raise
            # As mochi 2.7.9 does with a session that it has read from its storage.
            self._session_losses += 1
            if self._session_losses < SESSION_LOSSES:
                raise
            raise ServerError(f"{error}{BAD_SESSION}") from error
        self._session_losses = 0

    def _synchronise(self) -> None:
        """Bring the subscription in line with the config. Under backpressure no response would be read."""
        session, subscription = self._session, self._subscription
        if session is None or subscription is None or self._backpressure:
            return

        async def synchronise() -> None:
            try:
                await subscription.synchronise()
                self._remark(session, subscription)
            except Exception as error:
                # The next connection subscribes to everything, and logs what is wrong.
                session.abort(_describe(error))

        Deferred.fromCoroutine(synchronise())

    def _remark(self, session: Session, subscription: Subscription) -> None:
        """Log what the broker grants less of than it should."""
        granted = lower_qos(subscription.granted_readings, self._config.qos)
        refused = without_registers(subscription.without_registers)
        for remark in objections(session.terms, self._config) + remarks(session.terms) + granted + refused:
            if self._remarks.admits(remark):
                log.warn("At {broker} {remark}", broker=str(self._config.broker), remark=remark)

    def _watch(self, session: Session) -> None:
        """End a silent connection, ask again for refused topics, and notice at which QoS messages come."""
        silence = self._clock.seconds() - session.last_message
        self._heard = self._heard or session.above_qos0 or session.qos0_messages > 0
        if 0 < self._config.silence <= silence and not self._backpressure:
            never = self._config.share_group and not self._heard
            session.abort(f"no message for {silence:.0f} s{NEVER_SHARED if never else ''}")
        elif self._subscription is not None and self._subscription.overdue:
            self._synchronise()
        if self._qos_known:
            return
        if session.above_qos0:
            self._qos_known = True
        elif session.qos0_messages >= QOS_NOTICE:
            self._qos_known = True
            log.info(
                "All messages come at QoS 0: the broker keeps none while tessflux is away."
                " Mosquitto does with 'upgrade_outgoing_qos true'."
            )

    def _log_problem(self, error: Exception) -> None:
        problem = _describe(error)
        if self._interrupted:
            return
        self._problem = problem
        if self._problems.admits(problem):
            log.error(
                "Cannot use the broker {broker}: {problem}; tessflux keeps trying",
                broker=str(self._config.broker),
                problem=problem,
            )


def _describe(error: Exception) -> str:
    if isinstance(error, DeferredTimeout):
        return f"no answer within {error.args[0]:.0f} s"
    return in_words(error)
